import numpy
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

from thinc.api import LSTM, NumpyOps, Ops, Padded, bidirectional, with_padded
from thinc.testing import check_gradients

OPS = NumpyOps()


def padded(*lengths, width=3, dtype="float32"):
    rng = numpy.random.default_rng(len(lengths))
    return OPS.list2padded([rng.uniform(-1, 1, (n, width)).astype(dtype) for n in lengths])


def lstm(nO=4, nI=3, **options):
    model = LSTM(nO, nI, **options).initialize()
    rng = numpy.random.default_rng(5)
    for name in model.param_names:
        model.set_param(name, rng.uniform(-1, 1, model.get_param(name).shape).astype("f"))
    return model


def sigmoid(x):
    return 1 / (1 + numpy.exp(-x))


def reference(model, seqs):
    """The layer's docstring, one number after another."""
    depth, dirs = model.get_dim("depth"), model.get_dim("dirs")
    nH = model.get_dim("nO") // dirs
    flat = model.get_param("LSTM").astype("d")
    HC0 = model.get_param("HC0").astype("d")
    at = 0

    def take(*shape):
        nonlocal at
        size = int(numpy.prod(shape))
        at += size
        return flat[at - size : at].reshape(shape)

    for layer in range(depth):
        outputs = [[] for _ in seqs]
        for direction in range(dirs):
            width = seqs[0].shape[1]
            Wx, bx, Wh, bh = take(4, nH, width), take(4, nH), take(4, nH, nH), take(4, nH)
            for s, seq in enumerate(seqs):
                h, c = HC0[0, layer, direction], HC0[1, layer, direction]
                rows = []
                for x in seq if direction == 0 else seq[::-1]:
                    f, i, o, g = Wx @ x + bx + Wh @ h + bh
                    c = sigmoid(f) * c + sigmoid(i) * numpy.tanh(g)
                    h = sigmoid(o) * numpy.tanh(c)
                    rows.append(h)
                rows = numpy.array(rows).reshape(-1, nH)
                outputs[s].append(rows if direction == 0 else rows[::-1])
        seqs = [numpy.concatenate(parts, axis=1) for parts in outputs]
    assert at == flat.size
    return seqs


@pytest.mark.parametrize("ops", [NumpyOps(), Ops()], ids=["numpy", "generic"])
@pytest.mark.parametrize("bi", [False, True])
@pytest.mark.parametrize("depth", [1, 2])
@pytest.mark.parametrize("lengths", [(3, 1, 0, 4), (2, 2, 2), (5,), (1, 1)])
def test_output_is_the_recurrence(ops, bi, depth, lengths):
    model = lstm(bi=bi, depth=depth)
    model.ops = ops
    X = padded(*lengths)
    expected = reference(model, [x.astype("d") for x in OPS.padded2list(X)])
    for Y in (model.predict(X), model.begin_update(X)[0]):
        assert isinstance(Y, Padded)
        assert Y.data.shape == X.data.shape[:2] + (4,)
        assert_array_equal(Y.lengths, X.lengths)
        assert_array_equal(Y.indices, X.indices)
        for got, want in zip(OPS.padded2list(Y), expected, strict=True):
            assert_allclose(got, want, rtol=1e-5, atol=1e-6)
        real = numpy.arange(len(X.lengths)) < X.size_at_t[:, None]
        assert not Y.data[~real].any()


def test_known_values():
    model = LSTM(2, 2).initialize()
    model.set_param("LSTM", ((numpy.arange(48) - 24) / 50).astype("f"))
    X = OPS.list2padded([numpy.array([[1, -1], [0.5, 2]], "f"), numpy.array([[0, 1]], "f")])
    first, second = OPS.padded2list(model.predict(X))
    assert_allclose(first, [[0.114056, 0.128781], [0.008588, 0.037464]], atol=2e-6)
    assert_allclose(second, [[0.041728, 0.064422]], atol=2e-6)
    model = LSTM(2, 2, bi=True).initialize()
    model.set_param("LSTM", ((numpy.arange(40) - 18) / 40).astype("f"))
    first, second = OPS.padded2list(model.predict(X))
    assert_allclose(first, [[-0.033140, 0.549991], [-0.045939, 0.444900]], atol=2e-6)
    assert_allclose(second, [[-0.051645, 0.368049]], atol=2e-6)


@pytest.mark.parametrize("ops", [NumpyOps(), Ops()], ids=["numpy", "generic"])
@pytest.mark.parametrize("bi", [False, True])
@pytest.mark.parametrize("depth", [1, 2])
def test_gradients_match_central_differences(ops, bi, depth):
    model = lstm(bi=bi, depth=depth)
    model.ops = ops
    # HC0 is a constant: no gradient reaches it.
    check_gradients(model, padded(3, 1, 0, 2), skip_params=("HC0",), max_entries=60)


def test_gradients_of_one_step():
    check_gradients(lstm(bi=True), padded(1), skip_params=("HC0",), max_entries=60)


def test_dropout_is_on_the_weights():
    model = lstm(dropout=0.5)
    X = padded(2, 1)
    Y, backprop = model.begin_update(X)
    assert (Y.data != model.predict(X).data).any()
    weights = model.get_param("LSTM").copy()
    backprop(Y)
    assert_array_equal(model.get_param("LSTM"), weights)
    share = (model.get_grad("LSTM") == 0).mean()
    assert 0.3 < share < 0.7
    check_gradients(model, X, skip_params=("HC0",), max_entries=60)


def test_neither_input_nor_gradient_is_changed():
    model = lstm()
    X = padded(2, 2)
    before = X.data.copy()
    Y, backprop = model.begin_update(X)
    y_before = Y.data.copy()
    backprop(Y)
    backprop(Y)
    assert_array_equal(X.data, before)
    assert_array_equal(Y.data, y_before)


@given(nO=st.integers(1, 5), nI=st.integers(1, 5), depth=st.integers(1, 3), bi=st.booleans())
def test_sizes_of_the_parameters(nO, nI, depth, bi):
    nO *= 1 + bi
    model = LSTM(nO, nI, bi=bi, depth=depth).initialize()
    dirs = 1 + bi
    nH = nO // dirs
    size = sum(
        dirs * (4 * nH * ((nI if layer == 0 else nO) + nH) + 8 * nH) for layer in range(depth)
    )
    assert model.get_param("LSTM").shape == (size,)
    assert model.get_param("HC0").shape == (2, depth, dirs, nH)
    assert not model.get_param("HC0").any()


def test_constructor_and_samples():
    model = LSTM(bi=True, depth=2, dropout=0.1)
    assert model.name == "lstm"
    assert model.dim_names == ("nO", "nI", "depth", "dirs")
    assert model.attrs == {"registry_name": "LSTM.v1", "dropout_rate": 0.1}
    model.initialize(X=padded(2, 1), Y=padded(2, 1, width=4))
    assert (model.get_dim("nI"), model.get_dim("nO")) == (3, 4)
    with pytest.raises(ValueError, match="depth of at least 1, got 0"):
        LSTM(depth=0)
    with pytest.raises(ValueError, match="even nO.* got 3"):
        LSTM(3, 2, bi=True)
    with pytest.raises(ValueError, match="even nO.* got 3"):
        LSTM(bi=True).initialize(X=padded(2), Y=padded(2))


def test_gates_are_drawn_one_by_one():
    shapes = []

    def record(ops, shape):
        shapes.append(shape)
        return ops.alloc_f(shape) + len(shapes)

    model = LSTM(2, 3, init_W=record, init_b=record).initialize()
    assert shapes == [(2, 3)] * 4 + [(2,)] * 4 + [(2, 2)] * 4 + [(2,)] * 4
    sizes = [numpy.prod(shape) for shape in shapes]
    assert_array_equal(model.get_param("LSTM"), numpy.repeat(numpy.arange(1, 17), sizes))


@pytest.mark.parametrize("X", [OPS.list2padded([]), padded(0, 0)])
@pytest.mark.parametrize("bi", [False, True])
def test_no_time_step(X, bi):
    model = lstm(bi=bi)
    Y, backprop = model.begin_update(X)
    assert Y.data.shape == X.data.shape[:2] + (4,)
    assert backprop(Y).data.shape == X.data.shape
    assert with_padded(model).predict([]) == []


@pytest.mark.parametrize("width", [2, 4])
def test_width_is_checked(width):
    with pytest.raises(ValueError, match=f"input width {width} does not match nI=3"):
        lstm().predict(padded(2, 1, width=width))


def test_other_mistakes():
    with pytest.raises(TypeError, match="expected a Padded of width nI=3, got list"):
        lstm().predict([numpy.zeros((2, 3), "f")])
    _, backprop = lstm()(padded(2), is_train=False)
    with pytest.raises(ValueError, match="is_train=True"):
        backprop(padded(2, width=4))
    X = padded(3, 2)
    X.size_at_t = numpy.array([2, 1, 1], "int32")
    with pytest.raises(ValueError, match="lengths sum to 5, but size_at_t to 4"):
        lstm().predict(X)


def test_bidirectional_of_two_lstms_is_one():
    """The layer's own two directions are the combinator's."""
    both = lstm(bi=True)
    one_way = [lstm(nO=2), lstm(nO=2)]
    half = one_way[0].get_param("LSTM").size
    for i, model in enumerate(one_way):
        model.set_param("LSTM", both.get_param("LSTM")[i * half : (i + 1) * half])
        model.set_param("HC0", both.get_param("HC0")[:, :, i : i + 1])
    X = padded(3, 1, 4)
    joined, backprop_joined = bidirectional(*one_way).begin_update(X)
    Y, backprop = both.begin_update(X)
    assert_allclose(joined.data, Y.data, rtol=1e-5, atol=1e-6)
    dY = padded(3, 1, 4, width=4)
    assert_allclose(backprop_joined(dY).data, backprop(dY).data, rtol=1e-5, atol=1e-6)
