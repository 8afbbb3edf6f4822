"""What belongs to a context stays in it; what is shared is safe to share."""

import contextvars
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy
import pytest
from numpy.testing import assert_array_equal
from small_models import carrier, two_layers

from thinc.backends import Ops, get_current_ops, set_current_ops
from thinc.model import Model


def in_thread(function):
    """The result of a function that runs in a new thread."""
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(function).result()


def bound(model):
    try:
        return model >> model
    except TypeError:
        return "unbound"


def test_ids_are_unique_across_threads():
    barrier = threading.Barrier(8)

    def work():
        barrier.wait()
        return [carrier().id for _ in range(500)]

    with ThreadPoolExecutor(8) as pool:
        ids = [id_ for job in [pool.submit(work) for _ in range(8)] for id_ in job.result()]
    assert len(set(ids)) == 8 * 500


def test_operators_stay_in_their_thread():
    model = carrier()
    with Model.define_operators({">>": lambda a, b: "bound"}):
        assert bound(model) == "bound"
        assert in_thread(lambda: bound(model)) == "unbound"
        context = contextvars.copy_context()
    assert in_thread(lambda: context.run(bound, model)) == "bound"
    assert bound(model) == "unbound"


def test_two_threads_bind_different_operators_at_once():
    model = carrier()
    barrier = threading.Barrier(2)

    def work(result):
        with Model.define_operators({">>": lambda a, b: result}):
            barrier.wait()
            seen = {bound(model) for _ in range(1000)}
            barrier.wait()
        return seen | {bound(model)}

    with ThreadPoolExecutor(2) as pool:
        jobs = [pool.submit(work, name) for name in ("one", "two")]
        assert [job.result() for job in jobs] == [{"one", "unbound"}, {"two", "unbound"}]


def test_current_ops_stay_in_their_thread():
    class OwnOps(Ops):
        name = "own"
        xp = numpy

    before = get_current_ops()
    own = OwnOps()
    set_current_ops(own)
    try:
        assert carrier().ops is own
        assert not isinstance(in_thread(get_current_ops), OwnOps)
        context = contextvars.copy_context()
        assert in_thread(lambda: context.run(get_current_ops)) is own
    finally:
        set_current_ops(before)


@pytest.mark.parametrize("n_threads", [2, 8])
def test_predicting_in_many_threads_gives_the_same_bits(n_threads):
    model = two_layers()
    batches = [numpy.random.RandomState(i).randn(50, 3).astype("f") for i in range(40)]
    expected = [model.predict(X) for X in batches]
    with ThreadPoolExecutor(n_threads) as pool:
        for _ in range(5):
            for Y, Z in zip(expected, pool.map(model.predict, batches), strict=True):
                assert_array_equal(Y, Z)


def test_saving_and_copying_while_others_predict():
    model = two_layers()
    data = model.to_bytes()
    X = numpy.ones((4, 3), dtype="f")
    expected = model.predict(X)
    with ThreadPoolExecutor(4) as pool:
        saved = [pool.submit(model.to_bytes) for _ in range(20)]
        copies = [pool.submit(model.copy) for _ in range(20)]
        outputs = [pool.submit(model.predict, X) for _ in range(20)]
        assert all(job.result() == data for job in saved)
        assert all(job.result().to_bytes() == data for job in copies)
        for job in outputs:
            assert_array_equal(job.result(), expected)


def test_errors_in_many_threads_keep_their_own_place():
    model = two_layers()
    bad = numpy.ones((2, 5), dtype="f")

    def message(_):
        with pytest.raises(ValueError) as caught:
            model.predict(bad)
        return str(caught.value)

    with ThreadPoolExecutor(4) as pool:
        messages = set(pool.map(message, range(100)))
    assert messages == {'first (layers[0] of "outer"): input width 5 does not match nI=3'}
