"""CapturedPredict and CapturedUpdate on fake_cupy, whose graphs repeat recorded operations.

While it captures, the stand-in does nothing, as CUDA: what a graph gives is what its
launches compute.
"""

import fake_cupy
import gpu_cases
import numpy
import pytest
from fake_cupy import STATS, no_waiting
from numpy.testing import assert_allclose

from thinc import cuda_graphs
from thinc.api import (
    Adam,
    Dropout,
    HashEmbed,
    Linear,
    Maxout,
    Ragged,
    Relu,
    Softmax,
    chain,
    concatenate,
    fix_random_seed,
    list2array,
    reduce_mean,
    set_deterministic,
    set_dropout_rate,
    uniqued,
    with_array,
)
from thinc.backends import CupyOps
from thinc.backends.captures import capturing
from thinc.cuda_graphs import CapturedPredict, CapturedUpdate, NotCapturable


@pytest.fixture(autouse=True)
def cupy(monkeypatch):
    return fake_cupy.install(monkeypatch)


def classifier():
    model = chain(Maxout(5, normalize=True), Relu(4), Softmax(3)).initialize(X=gpu_cases.floats())
    model.layers[2].get_param("W")[...] = gpu_cases.floats(3, 4)
    return model


def twins(model):
    on_gpu = model.copy()
    on_gpu.to_gpu(0)
    return model, on_gpu, CupyOps()


def targets(rows):
    return numpy.eye(3, dtype="float32")[numpy.arange(rows) % 3]


def difference(Y, T):
    return Y - T


@pytest.mark.parametrize("buckets", [None, (4, 16)])
def test_predictions_are_the_models(buckets):
    model, on_gpu, ops = twins(classifier())
    predict = CapturedPredict(on_gpu, row_buckets=buckets)
    for rows in (3, 11, 4, 3, 16, 1):
        X = gpu_cases.floats(rows, seed=rows)
        Y = predict(ops.asarray(X))
        assert_allclose(Y.get(), model.predict(X), rtol=1e-4, atol=1e-6)
    assert predict.n_graphs == (2 if buckets else 5)


def test_a_repeated_prediction_is_one_launch_besides_copies():
    _, on_gpu, ops = twins(classifier())
    predict = CapturedPredict(on_gpu)
    X = ops.asarray(gpu_cases.floats())
    first = predict(X)
    STATS.reset()
    with no_waiting():
        second = predict(X * 1)
    assert [note.split()[-1] for note in STATS.launches] == ["mul", "setitem", "graph", "copy"]
    assert_allclose(second.get(), first.get())
    assert second is not first and second.data.ptr != first.data.ptr


def test_batches_above_the_largest_bucket_and_models_on_the_cpu_just_run():
    model, on_gpu, ops = twins(classifier())
    predict = CapturedPredict(on_gpu, row_buckets=[4])
    X = gpu_cases.floats(5)
    assert_allclose(predict(ops.asarray(X)).get(), model.predict(X), rtol=1e-4, atol=1e-6)
    assert predict(ops.asarray(X[:0])).shape == (0, 3)
    assert_allclose(CapturedPredict(model)(X), model.predict(X))
    assert predict.n_graphs == 0
    update = CapturedUpdate(model, difference)
    assert_allclose(update(X, targets(5)), model.predict(X))


@pytest.mark.parametrize("buckets", [None, (8, 16)])
@pytest.mark.parametrize("mean", [True, False])
def test_training_is_the_same_as_without_graphs(buckets, mean):
    model, on_gpu, ops = twins(classifier())
    update = CapturedUpdate(on_gpu, difference, mean=mean, row_buckets=buckets)
    optimizers = Adam(0.01), Adam(0.01)
    for rows in (11, 7, 11, 16, 7, 11):
        X, T = gpu_cases.floats(rows, seed=rows), targets(rows)
        Y, backprop = model.begin_update(X)
        backprop((Y - T) / (rows if mean else 1))
        found = update(ops.asarray(X), ops.asarray(T))
        assert_allclose(found.get(), Y, rtol=1e-3, atol=1e-5)
        for node, twin in zip(model.walk(), on_gpu.walk(), strict=True):
            for name in node.grad_names:
                gradient = twin.get_grad(name).get()
                assert_allclose(gradient, node.get_grad(name), rtol=1e-3, atol=1e-5)
        model.finish_update(optimizers[0])
        on_gpu.finish_update(optimizers[1])
    assert update.n_graphs == (2 if buckets else 3)


def test_a_captured_training_step_does_not_wait():
    _, on_gpu, ops = twins(classifier())
    update, optimizer = CapturedUpdate(on_gpu, difference), Adam(0.01)
    X, T = ops.asarray(gpu_cases.floats()), ops.asarray(targets(11))
    with no_waiting():
        for _ in range(3):
            STATS.reset()
            update(X, T)
            on_gpu.finish_update(optimizer)
    # Two inputs, the weights, the graph, a copy of the output; norms and Adam.
    assert len(STATS.launches) == 8
    assert update.n_graphs == 1


def test_gradients_that_are_there_are_added_to():
    _, on_gpu, ops = twins(classifier())
    X, T = ops.asarray(gpu_cases.floats()), ops.asarray(targets(11))
    update = CapturedUpdate(on_gpu, difference)
    update(X, T)
    once = on_gpu.layers[1].get_grad("W").get()
    fresh = CapturedUpdate(on_gpu, difference)  # captures while there are gradients
    fresh(X, T)
    update(X, T)
    assert_allclose(on_gpu.layers[1].get_grad("W").get(), 3 * once, rtol=1e-4, atol=1e-6)


def test_dropout_differs_from_launch_to_launch():
    model = chain(Linear(6, 6), Dropout(0.5)).initialize()
    _, on_gpu, ops = twins(model)
    update = CapturedUpdate(on_gpu, difference)
    X = ops.asarray(gpu_cases.floats(50))

    def masks():
        fix_random_seed(0)
        update.clear()
        return [(update(X, ops.xp.zeros_like(X)).get() != 0) for _ in range(3)]

    first, second, third = masks()
    assert (first != second).any() and (second != third).any() and (first != third).any()
    assert 0.3 < first.mean() < 0.7
    for mask, again in zip((first, second, third), masks(), strict=True):
        assert (mask == again).all()


def test_what_a_graph_was_made_of_may_change():
    model, on_gpu, ops = twins(classifier())
    predict = CapturedPredict(on_gpu)
    X = gpu_cases.floats()
    x = ops.asarray(X)
    before = predict(x).get()
    on_gpu.layers[1].get_param("W")[...] *= 2  # in place: the graph sees it
    model.layers[1].get_param("W")[...] *= 2
    changed = predict(x).get()
    assert (changed != before).any()
    assert_allclose(changed, model.predict(X), rtol=1e-4, atol=1e-6)
    assert predict.n_graphs == 1
    W = on_gpu.layers[1].get_param("W")
    with on_gpu.use_params({(on_gpu.layers[1].id, "W"): W * 0}):
        nothing = predict(x).get()
    model.layers[1].get_param("W")[...] = 0
    assert_allclose(nothing, model.predict(X), rtol=1e-4, atol=1e-6)
    assert_allclose(predict(x).get(), changed)
    assert predict.n_graphs == 2


def test_another_dropout_rate_is_another_graph():
    model = chain(Linear(6, 6), Dropout(0.5)).initialize()
    _, on_gpu, ops = twins(model)
    update = CapturedUpdate(on_gpu, difference)
    X = ops.asarray(gpu_cases.floats(50))
    update(X, X)
    set_dropout_rate(on_gpu, 0.0)
    assert update(X, X).get().all()
    assert update.n_graphs == 2


def test_the_oldest_graph_goes_first():
    _, on_gpu, ops = twins(classifier())
    predict = CapturedPredict(on_gpu, max_graphs=2)
    for rows in (1, 2, 3):
        predict(ops.asarray(gpu_cases.floats(rows)))
    assert [key[2][0][0][0] for key in predict._graphs] == [2, 3]


def test_a_ragged_is_captured_for_its_lengths():
    model = chain(with_array(Relu(4)), reduce_mean(), Softmax(3)).initialize(X=gpu_cases.ragged())
    model.layers[2].get_param("W")[...] = gpu_cases.floats(3, 4)
    _, on_gpu, ops = twins(model)
    predict, update = CapturedPredict(on_gpu), CapturedUpdate(on_gpu, difference)
    for lengths in ((3, 1, 5, 2), (4, 7), (3, 1, 5, 2)):
        X = gpu_cases.ragged(lengths)
        x = Ragged(ops.asarray(X.data), ops.asarray(X.lengths))
        T = targets(len(lengths))
        assert_allclose(predict(x).get(), model.predict(X), rtol=1e-4, atol=1e-6)
        Y, backprop = model.begin_update(X)
        backprop((Y - T) / len(T))
        assert_allclose(update(x, ops.asarray(T)).get(), Y, rtol=1e-4, atol=1e-6)
    found = on_gpu.layers[0].layers[0].get_grad("W").get()
    assert_allclose(found, model.layers[0].layers[0].get_grad("W"), rtol=1e-4, atol=1e-6)
    assert predict.n_graphs == update.n_graphs == 2
    with pytest.raises(NotCapturable, match="leave row_buckets out"):
        CapturedPredict(on_gpu, row_buckets=[16])(x)


def test_pairs_of_arrays_are_inputs_too():
    case = gpu_cases.CASES["CauchySimilarity"]
    model, on_gpu, ops = twins(case.make().initialize(X=case.X()))
    predict = CapturedPredict(on_gpu, row_buckets=[16])
    X = case.X()
    found = predict(tuple(map(ops.asarray, X)))
    assert_allclose(found.get(), model.predict(X), rtol=1e-4)
    with pytest.raises(ValueError, match=r"same number of rows .* \[11, 10\]"):
        predict((ops.asarray(X[0]), ops.asarray(X[1][:10])))


@pytest.mark.parametrize("name", ["uniqued", "LSTM of a Ragged", "with_ragged of a list"])
def test_models_that_look_at_values_are_refused(name):
    if name == "uniqued":
        model = uniqued(HashEmbed(4, 30, seed=2, column=0)).initialize(X=gpu_cases.ids())
        X = gpu_cases.ids()
    else:
        case = gpu_cases.CASES[name]
        X = case.X()
        model = case.make().initialize(X=X)
    _, on_gpu, ops = twins(model)
    x = gpu_cases.map_arrays(ops.asarray, X)
    with pytest.raises(NotCapturable, match="cannot be captured as a CUDA graph|CUDA graphs take"):
        CapturedPredict(on_gpu)(x)
    assert STATS.capturing is None  # and the stream captures no longer
    on_gpu.predict(x)


def test_many_arrays_side_by_side_are_refused():
    """CuPy sends the addresses of more than eight arrays to the device."""
    few, many = (
        concatenate(*[Linear(2) for _ in range(n)]).initialize(X=gpu_cases.floats()) for n in (8, 9)
    )
    X = gpu_cases.floats()
    _, on_gpu, ops = twins(few)
    assert_allclose(CapturedPredict(on_gpu)(ops.asarray(X)).get(), few.predict(X), rtol=1e-4)
    _, on_gpu, ops = twins(many)
    with pytest.raises(NotCapturable, match="cannot be captured"):
        CapturedPredict(on_gpu)(ops.asarray(X))


def test_embeddings_are_captured_unless_rows_are_sorted():
    case = gpu_cases.CASES["HashEmbed"]
    model, on_gpu, ops = twins(case.make().initialize(X=case.X()))
    X, T = case.X(), gpu_cases.floats(11, 4)
    Y, backprop = model.begin_update(X)
    backprop((Y - T) / 11)
    CapturedUpdate(on_gpu, difference)(ops.asarray(X), ops.asarray(T))
    assert_allclose(on_gpu.get_grad("E").get(), model.get_grad("E"), rtol=1e-4, atol=1e-6)
    set_deterministic(True)
    try:
        with pytest.raises(NotCapturable):
            CapturedUpdate(on_gpu, difference)(ops.asarray(X), ops.asarray(T))
    finally:
        set_deterministic(False)


def test_sending_is_allowed_again_after_a_capture():
    model, on_gpu, ops = twins(classifier())
    refuse = cuda_graphs._no_upload_while_capturing(fake_cupy)
    with pytest.raises(NotCapturable, match="sent from the host"), capturing(object()):
        refuse(8)
    refuse(8)
    CapturedPredict(on_gpu)(ops.asarray(gpu_cases.floats()))
    assert fake_cupy.cuda.pinned == fake_cupy.cuda.default_pool.malloc


def test_lists_are_refused_in_words():
    _, on_gpu, ops = twins(chain(list2array(), Linear(2, 6)).initialize())
    with pytest.raises(NotCapturable, match="got list: run the model without a graph"):
        CapturedPredict(on_gpu)([ops.asarray(gpu_cases.floats())])


@pytest.mark.parametrize("options", [{"row_buckets": []}, {"row_buckets": [0]}, {"max_graphs": 0}])
def test_options_that_make_no_sense(options):
    with pytest.raises(ValueError, match="at least 1"):
        CapturedPredict(classifier(), **options)
