"""CupyOps without a device, on fake_cupy: our logic between Python and the kernels.

The tests that hold for every backend run on it as well: see BACKENDS in
test_ops_generic.py, test_hash.py and test_lstm_ops.py. On a device, see tests/gpu.
"""

import gc
import pickle

import fake_cupy
import numpy
import pytest
from fake_cupy import STATS, no_waiting
from numpy.testing import assert_allclose, assert_array_equal

from thinc import compat
from thinc.api import set_deterministic, set_gpu_checks
from thinc.backends import (
    CupyOps,
    NumpyOps,
    Ops,
    cuda_kernels,
    cuda_launch,
    cupy_arrays,
    device_facts,
)
from thinc.backends.device_facts import facts_of, limits_of, without_checks
from thinc.backends.ops_training import ParameterStep
from thinc.types import Ragged


@pytest.fixture
def cupy(monkeypatch):
    fake_cupy.install(monkeypatch)
    yield fake_cupy
    set_deterministic(False)
    set_gpu_checks(None)


@pytest.fixture
def ops(cupy):
    return CupyOps()


def rows(n=6, width=4, dtype="float32", seed=0):
    return numpy.random.RandomState(seed).normal(size=(n, width)).astype(dtype)


def test_can_be_made_without_cupy():
    ops = CupyOps(device_id=3)
    assert (ops.name, ops.device_type, ops.device_id) == ("cupy", "gpu", 3)
    assert (ops.xp is None) == (not compat.has_cupy)


def test_gemm_refuses_arrays_on_the_host():
    X = numpy.ones((2, 2), dtype="float32")
    with pytest.raises(ValueError, match="can't multiply numpy arrays"):
        CupyOps().gemm(X, X)


def test_can_be_pickled(ops):
    ops._table([ParameterStep(*(ops.alloc1f(3) for _ in range(5)), 0.1)])
    assert ops._tables
    copied = pickle.loads(pickle.dumps(ops))
    assert type(copied) is CupyOps and copied._tables == {}


# ---- between host and device ---------------------------------------------------------------


def test_arrays_do_not_mix_with_those_on_the_host(ops):
    """What the stand-in has to be like for the other tests to mean something."""
    X = ops.asarray(rows())
    for function in (lambda: X + rows(), lambda: ops.xp.concatenate([X, rows()])):
        with pytest.raises(TypeError, match="Unsupported type"):
            function()
    with pytest.raises(TypeError, match="Implicit conversion"):
        numpy.asarray(X)
    assert X.sum().shape == () and isinstance(X.sum(), ops.xp.ndarray)


def test_waiting_is_noticed(ops):
    X = ops.asarray(rows())
    for wait in (bool, float, int):
        with no_waiting(), pytest.raises(fake_cupy.Waited):
            wait(X.sum())
    for wait in (lambda: X.get(), lambda: X[X > 0], lambda: X.tolist(), lambda: ops.xp.unique(X)):
        with no_waiting(), pytest.raises(fake_cupy.Waited):
            wait()
    STATS.reset()
    float(X.sum())
    assert len(STATS.syncs) == 1 and "test_cupy_ops" in STATS.syncs[0]


def test_to_numpy_brings_arrays_to_the_host(ops):
    assert_array_equal(ops.to_numpy(ops.asarray([1, 2])), [1, 2])
    big = ops.to_numpy(ops.asarray([1, 2]), byte_order=">")
    assert big.dtype.byteorder == ">" and big.tolist() == [1, 2]
    with pytest.raises(AttributeError):
        ops.to_numpy([1])


def test_asarray(ops):
    X = ops.asarray(numpy.ones(2))
    assert ops.asarray(X) is X
    assert ops.asarray(X, "float32").dtype == "float32"
    assert ops.asarray([1, 2], dtype="int32").dtype == "int32"
    assert ops.asarray([1.5]).dtype == "float64"
    assert ops.asarray([X, X]).shape == (2, 2)
    assert ops.asarray([[X, X]]).shape == (1, 2, 2)
    assert ops.asarray(3).shape == ()


# ---- what the host knows --------------------------------------------------------------------


def test_lengths_sent_from_the_host_are_not_fetched_back(ops):
    X, lengths = ops.asarray(rows()), ops.asarray1i([2, 0, 4])
    with no_waiting():
        Y = ops.reduce_sum(X, lengths)
        ops.backprop_reduce_sum(Y, lengths)
        ops.unflatten(X, lengths)
        ops.seq2col(X, 1, lengths=lengths)
        with pytest.raises(IndexError, match="must sum up to the number of rows"):
            ops.reduce_sum(X, ops.asarray1i([2, 0]))
        with pytest.raises(ValueError, match="must be >= 0"):
            ops.reduce_sum(X, ops.asarray1i([8, -2]))


def test_lengths_nobody_has_seen_are_fetched_once(ops):
    X, lengths = ops.asarray(rows()), ops.xp.asarray(numpy.array([2, 4], dtype="int32"))
    STATS.reset()
    for _ in range(3):
        Y, which = ops.reduce_max(X, lengths)
        ops.backprop_reduce_max(Y, which, lengths)
    assert len(STATS.syncs) == 1
    STATS.reset()
    ops.reduce_max(X, lengths)
    assert not STATS.uploads  # their offsets are on the device, too


def test_nothing_is_known_of_the_next_array_at_the_same_place(ops):
    lengths = ops.asarray1i([1, 2])
    key = id(lengths)
    assert facts_of(lengths).host.tolist() == [1, 2]
    assert key in device_facts._facts
    del lengths
    gc.collect()
    assert key not in device_facts._facts


def test_limits_follow_views_batches_and_conversions(ops):
    ids = ops.asarray(numpy.array([[3, 1], [7, 2], [0, 5]]))
    assert limits_of(ids) == (0, 7)
    assert limits_of(ids[:, 0]) == (0, 7)
    assert limits_of(ops.asarray(ids, dtype="int32")) == (0, 7)
    assert limits_of(ops.asarray(ids - 1)) is None
    with no_waiting():
        for batch in ops.minibatch(2, ids):
            assert limits_of(batch) == (0, 7)
    wide = ops.asarray(numpy.array([300, 2]))
    assert limits_of(wide.astype("int8")) is None
    assert limits_of(ops.asarray(wide, dtype="int8")) is None  # 300 does not fit
    assert facts_of(ops.asarray(wide, dtype="int16")).host.dtype == "int16"
    assert limits_of(ops.asarray(numpy.ones(3))) is None


def test_ragged_batches_do_not_wait(ops):
    data = Ragged(ops.asarray(rows()), ops.asarray1i([2, 1, 3]))
    with no_waiting():
        batches = list(ops.minibatch(2, data))
    assert [len(batch) for batch in batches] == [2, 1]
    assert batches[0].lengths.get().tolist() == [2, 1]


@pytest.mark.parametrize("index", [-1, 5])
def test_indices_are_checked_unless_told_otherwise(ops, index):
    table = ops.asarray(rows(5))
    known = ops.asarray(numpy.array([[0, index]]))
    unknown = ops.xp.asarray(numpy.array([[0, index]]))
    for indices in (known, unknown):
        with pytest.raises(IndexError, match=r"gather_add: indices must lie in \[0, 5\)"):
            ops.gather_add(table, indices)
    set_gpu_checks(False)
    with no_waiting():
        found = ops.gather_add(table, unknown)
    assert_allclose(found.get()[0], table.get()[0])  # the other one counts as absent
    with pytest.raises(ValueError, match="True, False or None"):
        set_gpu_checks("off")


def test_indices_are_not_checked_while_a_graph_is_captured(ops):
    table, indices = ops.asarray(rows(5)), ops.xp.asarray(numpy.array([[0, 9]]))
    with without_checks(), no_waiting():
        ops.gather_add(table, indices)
    with pytest.raises(IndexError):
        ops.gather_add(table, indices)


def test_our_own_results_need_no_check(ops):
    X, E = ops.asarray(rows()), ops.asarray(rows(9))
    with no_waiting():
        best, which = ops.maxout(ops.reshape3f(X, 6, 2, 2))
        ops.backprop_maxout(best, which, 2)
        Y, used = ops.hash_embed(E, ops.asarray(numpy.arange(5, dtype="uint64")), 3)
        ops.backprop_gather_add(E, Y, used)
        firsts, starts_ends = ops.reduce_first(X, ops.asarray1i([2, 4]))
        ops.backprop_reduce_first(firsts, starts_ends)
        lasts, places = ops.reduce_last(X, ops.asarray1i([2, 4]))
        ops.backprop_reduce_last(lasts, places)
        padded = ops.list2padded([X[:2], X[2:]])
        ops.padded2list(padded)


def test_rows_found_by_reduce_max_are_no_lengths(ops):
    _, which = ops.reduce_max(ops.asarray(rows()), ops.asarray1i([5, 1]))
    assert facts_of(which).host is None
    assert facts_of(ops.asarray(which, dtype="int64")).host is None
    assert ops._on_host(which).shape == (2, 4)


def test_which_of_other_lengths_is_checked(ops):
    X = ops.asarray(rows())
    Y, which = ops.reduce_max(X, ops.asarray1i([5, 1]))
    which.fill(4)
    with pytest.raises(IndexError, match="must lie inside its sequence"):
        ops.backprop_reduce_max(Y, which, ops.asarray1i([1, 5]))


# ---- kernels or not --------------------------------------------------------------------------


def launches(function):
    STATS.reset()
    function()
    return [note.split(" ", 1)[1] for note in STATS.launches]


def test_a_dense_layer_is_two_launches(ops):
    X, W, b = ops.asarray(rows()), ops.asarray(rows(5)), ops.asarray(rows(1, 5)[0])
    for name in ("relu", "gelu", "mish"):
        assert launches(lambda name=name: ops.affine_activation(name, X, W, b)) == [
            "dot",
            "kernel add_bias",
        ]
    W3, b3 = ops.reshape3f(ops.asarray(rows(6)), 2, 3, 4), ops.asarray(rows(2, 3))
    assert launches(lambda: ops.affine_maxout(X, W3, b3)) == ["dot", "kernel maxout"]


def test_a_product_is_added_to_a_gradient_in_place(ops):
    X, dY, dW = ops.asarray(rows()), ops.asarray(rows(6, 3)), ops.asarray(rows(3, 4, seed=1))
    expected = dW.get() + dY.get().T @ X.get()
    assert launches(lambda: ops.gemm_add(dW, dY, X, trans1=True)) == ["gemm"]
    assert_allclose(dW.get(), expected, rtol=1e-5)
    # cuBLAS may not read what it writes.
    square = ops.asarray(rows(4))
    expected = square.get() + square.get() @ square.get()
    ops.gemm_add(square, square, square)
    assert_allclose(square.get(), expected, rtol=1e-5)


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_kernels_take_arrays_of_any_layout(ops, dtype):
    X = rows(6, 8, dtype)
    for name in ("relu", "gelu", "softmax", "mish"):
        expected = getattr(Ops(), name)(X[::-1, ::2].copy())
        strided = ops.asarray(X)[::-1, ::2]
        found = getattr(ops, name)(strided)
        assert_allclose(found.get(), expected, rtol=1e-2 if dtype == "float16" else 1e-5)
        assert found.dtype == dtype
        assert getattr(ops, name)(strided, inplace=True) is strided
        assert_allclose(strided.get(), expected, rtol=1e-2 if dtype == "float16" else 1e-5)


def test_the_kernels_take_the_dtypes_that_we_think(ops):
    assert set(cupy_arrays.ACCUMULATORS) == set(cuda_kernels.STORAGE)
    for dtype, sums in cupy_arrays.ACCUMULATORS.items():
        assert cuda_launch.compute_dtype(dtype) == sums
    assert set(cupy_arrays.INDEX_DTYPES) == set(cuda_kernels.INDICES)
    assert cupy_arrays.NR_PARAMS == cuda_kernels.NR_PARAMS
    assert cupy_arrays.padded_params((2,)) == (2.0, 0.0, 0.0, 0.0)


def test_other_dtypes_are_for_the_generic_code(ops):
    X = ops.asarray(numpy.arange(6).reshape(2, 3))
    assert launches(lambda: ops.relu(X))[0] != "kernel map_values"
    assert_array_equal(ops.relu(X).get(), X.get())


def test_many_sequences_are_padded_by_one_kernel(ops):
    seqs = [ops.asarray(rows(n)) for n in (3, 0, 2, 5)]
    for method in (ops.pad, ops.list2padded, lambda Xs: ops.insert_into((4, 6, 4), Xs)):
        assert launches(lambda method=method: method(seqs)).count("kernel pad_rows") == 1
    expected = NumpyOps().list2padded([seq.get() for seq in seqs])
    found = ops.list2padded(seqs)
    for name in ("data", "size_at_t", "lengths", "indices"):
        assert_array_equal(getattr(found, name).get(), getattr(expected, name))


# ---- determinism, randomness -------------------------------------------------------------------


def test_rows_are_added_in_order_if_asked_for(ops):
    table, dY = ops.alloc2f(4, 3), ops.asarray(rows(5, 3))
    indices = ops.asarray(numpy.array([[0, 1], [1, 3], [0, 0], [2, 1], [3, 3]], dtype="uint32"))
    assert launches(lambda: ops.backprop_gather_add(table, dY, indices)) == ["kernel scatter_add"]
    set_deterministic(True)
    other = ops.alloc2f(4, 3)
    assert "kernel scatter_add_sorted" in launches(
        lambda: ops.backprop_gather_add(other, dY, indices)
    )
    assert_allclose(other.get(), table.get(), rtol=1e-6)
    vector = ops.alloc1f(4)
    found = launches(lambda: ops.scatter_add(vector, ops.asarray([1, 1, -1]), ops.alloc1f(3) + 1))
    assert "kernel scatter_add_sorted" in found
    assert_array_equal(vector.get(), [0, 2, 0, 1])


def test_scatter_add(ops):
    table = ops.alloc2f(2, 1)
    one = ops.alloc2f(2, 1) + 1
    assert ops.scatter_add(table, ops.asarray([0, -2]), one) is None
    assert_array_equal(table.get(), [[2], [0]])
    for bad in (2, -3):
        with pytest.raises(IndexError, match=f"index {bad} is outside the table of 2 rows"):
            ops.scatter_add(table, ops.asarray([0, bad]), one)


@pytest.mark.parametrize("dtype", ["int32", "int64", "uint64", "float16", "float64"])
def test_tables_of_many_dtypes_are_added_to(ops, dtype):
    table = ops.alloc1f(4, dtype=dtype)
    values = ops.asarray(numpy.array([1, 2, 3]).astype(dtype))
    ops.scatter_add(table, ops.asarray([1, 1, 3]), values)
    assert table.dtype == dtype and table.get().tolist() == [0, 3, 0, 3]


def test_seeds_decide_which_columns_are_dropped(ops):
    def masks():
        numpy.random.seed(3)
        return [ops.get_dropout_mask((50, 4), 0.25).get() for _ in range(2)]

    first, again = masks(), masks()
    assert_array_equal(first, again)
    assert (first[0] != first[1]).any()
    assert set(numpy.unique(first)) == {0.0, numpy.float32(1 / 0.75)}
    assert_array_equal(ops.get_dropout_mask((2, 2), 1.0).get(), 0)
    assert_array_equal(ops.get_dropout_mask(3, None).get(), 1)


# ---- training ---------------------------------------------------------------------------------


@pytest.mark.parametrize("threshold", [0.0, 1.0, 5.0, 9.0])
def test_clip_gradient(ops, threshold):
    gradient = ops.asarray(numpy.array([3.0, 4.0]))
    with no_waiting():
        assert ops.clip_gradient(gradient, threshold) is gradient
    assert_allclose(gradient.get(), numpy.array([3.0, 4.0]) * min(1, threshold / 5))
    nothing = ops.alloc1f(2)
    assert_array_equal(ops.clip_gradient(nothing, threshold).get(), [0, 0])


def parameters(ops, shapes, dtype="float32"):
    sizes = [int(numpy.prod(shape)) for shape in shapes]
    makers = [rows(1, size, dtype, seed=i)[0] for i, size in enumerate(sizes)]
    return [
        ParameterStep(
            ops.asarray(X.reshape(shape)),
            ops.asarray(3 * X.reshape(shape) + 1),
            ops.alloc1f(X.size, dtype=X.dtype),
            ops.alloc1f(X.size, dtype=X.dtype),
            ops.alloc(shape, dtype="float32"),
            0.1 + i,
            l2=0.01 * i,
            decay=0.02,
            ema_rate=0.3,
            use_variance=i != 1,
        )
        for i, (X, shape) in enumerate(zip(makers, shapes, strict=True))
    ]


@pytest.mark.parametrize("clip", [0.0, 1.0])
@pytest.mark.parametrize("method", ["adam_steps", "sgd_steps"])
def test_all_parameters_take_one_launch(ops, method, clip):
    shapes = [(3, 4), (2,), (5000,), (1, 1, 1)]
    steps, expected = parameters(ops, shapes), parameters(Ops(), shapes)
    numbers = {} if method == "sgd_steps" else {"beta1": 0.9, "beta2": 0.99, "eps": 1e-8}
    with no_waiting():
        found = launches(lambda: getattr(ops, method)(steps, clip=clip, **numbers))
    assert found == ["kernel gradient_squares", "kernel gradient_norms"][: 2 * bool(clip)] + [
        f"kernel {method[:-6]}"
    ]
    getattr(Ops(), method)(expected, clip=clip, **numbers)
    for step, other in zip(steps, expected, strict=True):
        for array, reference in zip(step[:5], other[:5], strict=True):
            assert_allclose(array.get(), reference, rtol=2e-5, atol=1e-6)


def test_the_table_of_parameters_is_sent_once(ops):
    steps = parameters(ops, [(3, 4), (2,)])
    ops.sgd_steps(steps)
    STATS.reset()
    ops.sgd_steps(steps)
    assert len(STATS.uploads) == 1  # the rates


def test_parameters_no_kernel_takes_are_updated_all_the_same(ops):
    odd = ops.asarray(rows(4, 6))[:, ::2]
    steps = [*parameters(ops, [(3, 4)]), ParameterStep(odd, odd * 2, None, None, None, 0.5)]
    before = odd.get()
    ops.sgd_steps(steps)
    assert_allclose(odd.get(), before - 0.5 * 2 * before, atol=1e-6)


# ---- the rest ------------------------------------------------------------------------------------


def test_position_encode_fills_an_array_on_the_host(ops):
    out = numpy.zeros((2, 4), dtype="float32")
    assert ops.position_encode(2, 4, out=out) is out
    assert_allclose(out, Ops().position_encode(2, 4))
    with pytest.raises(ValueError, match="float32"):
        ops.position_encode(2, 4, out=numpy.zeros((2, 4)))
    on_device = ops.alloc2f(2, 4)
    assert ops.position_encode(2, 4, out=on_device) is on_device
    assert_allclose(on_device.get(), out, rtol=1e-6)


def test_prefetched_batches_arrive_unchanged_and_in_order(ops, cupy):
    lengths = numpy.array([1, 2], dtype="int32")
    batches = [
        (rows(3, seed=i), {"ids": numpy.arange(i)}, Ragged(rows(3), lengths)) for i in range(5)
    ]
    with no_waiting():
        found = list(ops.prefetch(batches, ahead=2))
    assert len(found) == 5
    for (X, other, ragged), (Y, sent, r) in zip(batches, found, strict=True):
        assert_array_equal(Y.get(), X)
        assert_array_equal(sent["ids"].get(), other["ids"])
        assert_array_equal(r.data.get(), ragged.data)
        assert facts_of(r.lengths).host.tolist() == [1, 2]
    assert 0 < cupy.cuda.pinned_allocations < 5 * 4
    with pytest.raises(ValueError, match="ahead must be at least 1"):
        next(ops.prefetch(batches, ahead=0))
    with pytest.raises(ValueError, match="ahead must be at least 1"):
        next(Ops().prefetch(batches, ahead=0))
    assert list(NumpyOps().prefetch(batches)) == batches


def test_prefetch_takes_no_more_than_it_was_told(ops):
    taken = []

    def batches():
        for i in range(6):
            taken.append(i)
            yield rows(seed=i)

    stream = ops.prefetch(batches(), ahead=2)
    next(stream)
    assert taken == [0, 1, 2]
    assert len(list(stream)) == 5
