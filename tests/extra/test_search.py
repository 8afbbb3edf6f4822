"""Beam search and MaxViolation, driven from C, against a search written in Python."""

import ctypes
import gc
import itertools
import math
import pickle

import numpy
import pytest
from c_client import compiled
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose

from thinc.extra import search
from thinc.extra.search import Beam, MaxViolation

NR_CLASS = 3
F = numpy.float32


@pytest.fixture(scope="module")
def client():
    return compiled("search_client")


@pytest.fixture
def behaviour(client):
    """Counters and orders of the callbacks; all states must be gone at the end."""
    behaviour = client.reset()
    yield behaviour
    gc.collect()
    assert behaviour.deleted == behaviour.made


def started(client, width=3, nr_class=NR_CLASS, **kwargs):
    beam = Beam(nr_class, width, **kwargs)
    client.initialize(beam)
    return beam


def rows(client, beam, scores, is_valid=None, costs=None, through="cell"):
    """Fill the tables of the next step. scores: (states, nr_class)."""
    scores = numpy.array(scores, dtype="f")
    is_valid = numpy.ones_like(scores) if is_valid is None else is_valid
    costs = numpy.zeros_like(scores) if costs is None else costs
    client.fill(
        beam, scores, numpy.array(is_valid, dtype="int32"), numpy.array(costs, dtype="f"), through
    )


def step(client, beam, scores, is_valid=None, costs=None):
    rows(client, beam, scores, is_valid, costs)
    client.advance(beam)
    client.check_done(beam)


# ---- what compiled packages check and touch ------------------------------------------


def test_types_have_the_sizes_that_compiled_clients_expect():
    assert (Beam.__basicsize__, MaxViolation.__basicsize__) == (136, 104)
    for cls in (Beam, MaxViolation):
        capsule = vars(cls)["__pyx_vtable__"]
        assert "NULL" in repr(capsule)
    assert not hasattr(search, "__pyx_capi__")


def test_fields_are_where_compiled_clients_read_them(client, behaviour):
    beam = started(client, width=2, nr_class=5, min_density=0.25)
    step(client, beam, [[1, 9, 3, 7, 5]])

    def at(offset, kind):
        return kind.from_address(id(beam) + offset).value

    word = ctypes.c_uint64
    assert [at(offset, word) for offset in (32, 40, 48)] == [5, 2, 1]
    assert at(56, ctypes.c_float) == 0.25
    assert [at(60, ctypes.c_int), at(64, ctypes.c_int)] == [1, 0]
    assert at(72, word) == id(beam.histories)
    state = at(120, word)
    assert ctypes.c_float.from_address(state + 16).value == 9
    rows(client, beam, [[1, 2, 3, 4, 5]], [[0, 1, 0, 1, 1]], [[6, 7, 8, 9, 10]])
    for offset, kind, expected in [
        (88, ctypes.c_float, [1, 2, 3, 4, 5]),
        (96, ctypes.c_int, [0, 1, 0, 1, 1]),
        (104, ctypes.c_float, [6, 7, 8, 9, 10]),
    ]:
        row = word.from_address(at(offset, word)).value
        assert list((kind * 5).from_address(row)) == expected


# ---- construction ---------------------------------------------------------------------


def test_a_new_beam():
    beam = Beam(3, 4, min_density=0.5)
    assert (len(beam), beam.is_done, beam.min_density) == (1, False, 0.5)
    assert (beam.scores, beam.probs, beam.score, beam.loss) == ([0.0], [1.0], 0.0, 0.0)
    assert beam.histories == [[], [], [], []]
    beam.min_density = 0.25
    assert beam.min_density == 0.25
    for name in ("is_done", "histories", "score", "scores"):
        with pytest.raises(AttributeError):
            setattr(beam, name, 1)


@pytest.mark.parametrize("name", ["nr_class", "width"])
@pytest.mark.parametrize("size", [0, -1, -(2**70)])
def test_sizes_below_one_are_refused(name, size):
    with pytest.raises(ValueError, match=f"Beam: {name} must be at least 1, got {size}"):
        Beam(**{"nr_class": 2, "width": 2, name: size})


@pytest.mark.parametrize("sizes", [(2**40, 2**40), (2**62, 1), (1, 2**58)])
def test_impossible_sizes_are_a_memory_error(sizes):
    with pytest.raises(MemoryError):
        Beam(*sizes)


def test_wrong_kinds_of_sizes_are_refused():
    for arguments in [("a", 1), (1, None), (1, 1, "dense"), (), (1,)]:
        with pytest.raises(TypeError):
            Beam(*arguments)


def test_a_beam_is_constructed_once():
    beam = Beam(2, 2)
    with pytest.raises(ValueError, match="already constructed"):
        beam.__init__(3, 3)


def test_an_unconstructed_beam_says_so(client, behaviour):
    class Forgetful(Beam):
        def __init__(self):
            pass

    for beam in (Beam.__new__(Beam), Forgetful()):
        assert len(beam) == 0
        for use in (
            lambda b: b.score, lambda b: b.min_score, lambda b: b.loss, lambda b: b.probs,
            lambda b: b.scores, client.initialize, client.advance, client.check_done,
            lambda b: MaxViolation().check(b, b), lambda b: MaxViolation().check_crf(b, b),
            lambda b: client.set_row(b, 0, *[numpy.zeros(1, dtype=t) for t in ("f", "i4", "f")]),
        ):  # fmt: skip
            with pytest.raises(ValueError, match="not constructed"):
                use(beam)


def test_a_beam_cannot_be_pickled():
    with pytest.raises(TypeError, match="Beam holds C objects.*cannot be pickled"):
        pickle.dumps(Beam(2, 2))


# ---- states belong to the beam ----------------------------------------------------------


def test_every_state_is_made_and_deleted_once(client, behaviour):
    beam = started(client, width=4)
    assert (behaviour.made, behaviour.deleted, len(beam)) == (8, 0, 1)
    step(client, beam, [[1, 2, 3]])
    assert behaviour.made == 8
    del beam
    assert (behaviour.deleted, behaviour.given) == (8, "Pool")


def test_a_beam_that_was_never_initialized_can_go(client, behaviour):
    for _ in range(100):
        Beam(3, 2)
    assert behaviour.deleted == 0


@pytest.mark.parametrize("made", range(6))
def test_states_made_before_a_failure_are_deleted(client, behaviour, made):
    beam = Beam(NR_CLASS, 3)
    behaviour.fail_in, behaviour.fail_after = "init", made
    with pytest.raises(RuntimeError, match="init fails"):
        client.initialize(beam)
    assert (behaviour.made, behaviour.deleted) == (made, made)
    with pytest.raises(ValueError, match="Beam.advance: call initialize first"):
        client.advance(beam)
    behaviour.fail_in = None
    client.initialize(beam)
    step(client, beam, [[1, 2, 3]])
    assert client.paths(beam) == [[2], [1], [0]]


def test_initializing_again_starts_anew(client, behaviour):
    beam = started(client)
    step(client, beam, [[1, 2, 3]], costs=[[1, 1, 1]])
    before = client.snapshot(beam)
    behaviour.fail_in = "init"
    with pytest.raises(RuntimeError):
        client.initialize(beam)
    assert client.snapshot(beam) == before
    behaviour.fail_in = None
    client.initialize(beam)
    assert (behaviour.made, behaviour.deleted) == (12, 6)
    assert (len(beam), beam.scores, beam.loss, beam.histories) == (1, [0.0], 0.0, [[], [], []])


def test_states_may_need_no_deletion(client):
    behaviour = client.reset()
    beam = Beam(2, 2)
    client.initialize(beam, deletes=False)
    del beam
    assert (behaviour.made, behaviour.deleted) == (4, 0)


@pytest.mark.parametrize("through", ["attribute", "histories"])
def test_a_beam_in_a_cycle_still_has_its_pool_when_it_goes(client, behaviour, through):
    class Holder(Beam):
        pass

    for _ in range(20):
        beam = Holder(NR_CLASS, 3)
        client.initialize(beam)
        if through == "attribute":
            beam.me = beam
        else:
            beam.histories.append(beam)
        del beam
    gc.collect()
    assert behaviour.deleted == behaviour.made == 120


def test_a_failing_deletion_is_reported_and_the_others_happen(client, monkeypatch):
    behaviour = client.reset()
    reported = []
    monkeypatch.setattr("sys.unraisablehook", lambda report: reported.append(report))
    beam = started(client, width=2)
    behaviour.fail_in = "del"
    del beam
    assert behaviour.deleted == 4
    assert [str(r.exc_value) for r in reported] == ["del fails as it was told"] * 4
    assert "thinc.extra.search" in str(reported[0].object)


def test_nothing_leaks(client, behaviour):
    resource = pytest.importorskip("resource", reason="measures memory as Unix does")

    def peak_kb():
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

    scores = numpy.random.default_rng(0).normal(size=(8, 500)).astype("f")

    def once(fail):
        beam = started(client, width=8, nr_class=500)
        step(client, beam, scores[:1])
        rows(client, beam, scores)
        behaviour.fail_in, behaviour.fail_after = ("trans", 3) if fail else (None, 0)
        try:
            client.advance(beam)
        except RuntimeError:
            assert fail
        behaviour.fail_in = None
        violation = MaxViolation()
        violation.check_crf(beam, beam)

    for i in range(40):
        once(i % 2)
    before = peak_kb()
    for i in range(600):  # 4000 candidates of 16 bytes each: 37 MB if the queue stayed
        once(i % 2)
    assert peak_kb() - before < 8000


# ---- searching ---------------------------------------------------------------------------


class PlainSearch:
    """The same search with lists: all candidates sorted, as the documentation says."""

    def __init__(self, nr_class, width, min_density, key):
        self.nr_class, self.width, self.min_density, self.key = nr_class, width, min_density, key
        self.states = [(F(0), F(0), (), False)]  # score, loss, path, final
        self.t = 0

    def advance(self, scores, is_valid, costs):
        candidates = []
        for i, (score, _, _, final) in enumerate(self.states):
            if final:
                mean = score / F(self.t) if self.t else F(0)
                candidates.append((F(score + mean), i * self.nr_class))
            else:
                for j in range(self.nr_class):
                    if is_valid[i][j]:
                        candidates.append((F(score + scores[i][j]), i * self.nr_class + j))
        best = max((c[0] for c in candidates), default=0)
        dense = [
            c for c in candidates
            if self.min_density <= 0 or math.exp(float(c[0]) - float(best)) >= self.min_density
        ]  # fmt: skip
        kept, seen = [], set()
        for score, index in sorted(dense, reverse=True):
            if len(kept) == self.width:
                break
            i, j = divmod(index, self.nr_class)
            _, loss, path, final = self.states[i]
            if not final:
                path = (*path, j)
                if self.key == "classes":
                    if tuple(sorted(path)) in seen:
                        continue
                    seen.add(tuple(sorted(path)))
                loss = F(loss + costs[i][j])
            kept.append((score, loss, path, final))
        if not kept:
            return False
        self.states = kept
        self.t += 1
        return True

    def check_done(self):
        self.states = [(s, c, p, f or p[-1:] == (0,)) for s, c, p, f in self.states]


@settings(max_examples=100)
@given(data=st.data())
def test_the_beam_is_what_a_plain_search_finds(client, data):
    behaviour = client.reset()
    nr_class, width = data.draw(st.integers(1, 4)), data.draw(st.integers(1, 5))
    min_density = F(data.draw(st.sampled_from([0, 0, -1, 0.01, 0.3, 1.0])))
    behaviour.key = data.draw(st.sampled_from([None, "one", "classes"]))
    through = data.draw(st.sampled_from(["cell", "row"]))
    coarse = data.draw(st.booleans())  # many equal scores
    rng = numpy.random.default_rng(data.draw(st.integers(0, 2**32 - 1)))
    beam = started(client, width, nr_class, min_density=min_density)
    plain = PlainSearch(nr_class, width, min_density, behaviour.key)
    for _ in range(6):
        shape = (len(beam), nr_class)
        scores = (rng.integers(-2, 3, size=shape) if coarse else rng.normal(size=shape)).astype("f")
        is_valid = (rng.random(shape) < 0.8).astype("int32")
        costs = rng.integers(0, 3, size=shape).astype("f")
        rows(client, beam, scores, is_valid, costs, through)
        before = client.snapshot(beam)
        if not plain.advance(scores, is_valid, costs):
            with pytest.raises(ValueError, match="can go on"):
                client.advance(beam)
            assert client.snapshot(beam) == before
            return
        client.advance(beam)
        # Before anybody was asked: nothing is final but what was.
        assert client.states(beam) == [(s, c, f) for s, c, _, f in plain.states]
        client.check_done(beam)
        plain.check_done()
        assert client.table_is_clear(beam)
        assert client.states(beam) == [(s, c, f) for s, c, _, f in plain.states]
        assert client.paths(beam) == [list(p) for _, _, p, _ in plain.states]
        assert beam.histories[: len(beam)] == client.paths(beam)
        assert len(beam.histories) == width
        assert beam.is_done == all(f for *_, f in plain.states)
        assert beam.scores == [s for s, *_ in plain.states]
        assert (beam.score, beam.min_score) == (plain.states[0][0], plain.states[-1][0])
        powers = numpy.exp(numpy.array(beam.scores) - max(beam.scores))
        assert_allclose(beam.probs, powers / powers.sum())


def test_a_wide_beam_finds_the_best_of_all_paths(client, behaviour):
    steps = numpy.random.default_rng(1).normal(size=(4, 2, 3)).astype("f")  # by the class before

    def score_of(path):
        total, previous = F(0), 0
        for t, clas in enumerate(path):
            total = F(total + steps[t, int(previous > 0), clas - 1])
            previous = clas - 1
        return total

    beam = started(client, width=81, nr_class=4)
    for t in range(4):
        last = [path[-1] - 1 if path else 0 for path in client.paths(beam)]
        table = [[0, *steps[t, int(previous > 0)]] for previous in last]
        step(client, beam, table, is_valid=[[0, 1, 1, 1]] * len(beam))
    paths = sorted(itertools.product([1, 2, 3], repeat=4), key=score_of, reverse=True)
    assert [tuple(path) for path in client.paths(beam)] == paths
    assert beam.scores == [score_of(path) for path in paths]


def test_all_rows_can_be_set_at_once(client, behaviour):
    one, other = started(client), started(client)
    for beam in (one, other):
        step(client, beam, [[1, 2, 3]], is_valid=[[0, 1, 1]])
    scores = [[1, 5, 2], [3, 3, 8], [0, 0, 0]]
    rows(client, one, scores, through="table")
    rows(client, other, scores)
    assert client.snapshot(one) == client.snapshot(other)


@pytest.mark.parametrize("row", [-1, 3, 2**31 - 1])
def test_rows_outside_the_beam_are_an_index_error(client, behaviour, row):
    beam = started(client, width=3)
    cells = [numpy.zeros(NR_CLASS, dtype=t) for t in ("f", "i4", "f")]
    with pytest.raises(IndexError, match=f"no row {row} in a beam of width 3"):
        client.set_row(beam, row, *cells)


def test_of_equal_scores_the_later_candidate_comes_first(client, behaviour):
    beam = started(client, width=2)
    step(client, beam, [[5, 5, 5]], is_valid=[[0, 1, 1]])
    assert client.paths(beam) == [[2], [1]]
    step(client, beam, [[1, 1, 1]] * 2, is_valid=[[0, 1, 1]] * 2)
    assert client.paths(beam) == [[1, 2], [1, 1]]


def test_a_final_state_gains_its_mean_score(client, behaviour):
    beam = started(client, width=2)
    step(client, beam, [[4, 3, 0]], is_valid=[[1, 1, 0]])
    assert client.states(beam) == [(4, 0, True), (3, 0, False)]
    step(client, beam, [[9, 9, 9], [0, 2, 1]], is_valid=[[1, 1, 1], [0, 1, 1]])
    assert client.paths(beam) == [[0], [1, 1]]
    assert beam.scores == [8, 5]
    behaviour.finish_calls = 0
    client.check_done(beam)
    assert behaviour.finish_calls == 1  # the final one is not asked again


def test_a_pruned_final_state_does_not_make_others_final(client, behaviour):
    beam = started(client, width=2)
    step(client, beam, [[5, 4, 0]], is_valid=[[1, 1, 0]])
    assert [final for *_, final in client.states(beam)] == [True, False]
    step(client, beam, [[0, 0, 0], [0, 20, 19]], is_valid=[[0, 0, 0], [0, 1, 1]])
    assert client.paths(beam) == [[1, 1], [1, 2]]  # the final state is gone
    for t in range(4):
        step(client, beam, [[0, 2, 1]] * 2, is_valid=[[0, 1, 1]] * 2)
        assert [final for *_, final in client.states(beam)] == [False, False]
        assert [len(path) for path in client.paths(beam)] == [t + 3] * 2
    assert not beam.is_done


def test_infinite_scores(client, behaviour):
    beam = started(client, width=3, min_density=0.1)
    step(client, beam, [[-math.inf, math.inf, 0]])
    assert client.paths(beam) == [[1]]
    beam = started(client, width=3, min_density=0.1)
    step(client, beam, [[-math.inf] * 3])
    assert client.paths(beam) == [[2], [1], [0]]
    assert beam.probs == [1 / 3] * 3


@pytest.mark.parametrize("where", [0, 1, 2])
def test_a_score_that_is_nan_is_an_error(client, behaviour, where):
    beam = started(client, width=3)
    scores = [1.0, 2.0, 3.0]
    scores[where] = math.nan
    rows(client, beam, [scores])
    before = client.snapshot(beam)
    with pytest.raises(ValueError, match=f"step 0: the score of class {where} in state 0 is NaN"):
        client.advance(beam)
    assert repr(client.snapshot(beam)) == repr(before)
    rows(client, beam, [scores], is_valid=[[i != where for i in range(3)]])
    client.advance(beam)


@pytest.mark.parametrize("density", [0, 1.5])
def test_a_beam_that_cannot_go_on_says_why(client, behaviour, density):
    beam = started(client, min_density=density)
    rows(client, beam, [[1, 2, 3]], is_valid=[[density, density, density]])
    before = client.snapshot(beam)
    with pytest.raises(ValueError, match="none of the 1 states can go on"):
        client.advance(beam)
    assert client.snapshot(beam) == before


def test_missing_functions_are_an_error(client, behaviour):
    beam = Beam(2, 2)
    with pytest.raises(ValueError, match="init_func is NULL"):
        client.initialize(beam, has_init=False)
    with pytest.raises(ValueError, match="check_done: call initialize first"):
        client.check_done(beam)
    client.initialize(beam)
    with pytest.raises(ValueError, match="transition_func is NULL"):
        client.advance(beam, has_transition=False)
    with pytest.raises(ValueError, match="finish_func is NULL"):
        client.check_done(beam, has_finish=False)


@pytest.mark.parametrize("what", ["trans", "hash"])
@pytest.mark.parametrize("after", [0, 1])
def test_a_failing_step_changes_nothing(client, behaviour, what, after):
    beam = started(client, width=3)
    step(client, beam, [[5, 4, 3]])
    step(client, beam, [[0, 0, 0], [0, 3, 1], [0, 1, 0]])  # the first state is final
    rows(client, beam, [[0, 0, 0]] + [[1, 2, 3]] * 2, costs=[[1, 1, 1]] * 3)
    before = client.snapshot(beam)
    behaviour.key = "classes"
    behaviour.fail_in, behaviour.fail_after = what, after
    with pytest.raises(RuntimeError, match=f"{what} fails as it was told"):
        client.advance(beam)
    assert client.snapshot(beam) == before
    behaviour.fail_in = None

    undisturbed = started(client, width=3)
    behaviour.key = None
    step(client, undisturbed, [[5, 4, 3]])
    step(client, undisturbed, [[0, 0, 0], [0, 3, 1], [0, 1, 0]])
    rows(client, undisturbed, [[0, 0, 0]] + [[1, 2, 3]] * 2, costs=[[1, 1, 1]] * 3)
    behaviour.key = "classes"
    client.advance(beam)
    client.advance(undisturbed)
    assert client.snapshot(beam) == client.snapshot(undisturbed)


def test_a_failing_check_of_the_ends_changes_nothing(client, behaviour):
    beam = started(client, width=3)
    rows(client, beam, [[5, 4, 3]])
    client.advance(beam)
    before = client.snapshot(beam)
    behaviour.fail_in, behaviour.fail_after = "finish", 1
    with pytest.raises(RuntimeError, match="finish fails"):
        client.check_done(beam)
    assert client.snapshot(beam) == before


@pytest.mark.parametrize("harm", [list.clear, lambda h: h.pop(), lambda h: h.insert(0, 3)])
def test_histories_that_python_code_spoiled_are_an_error(client, behaviour, harm):
    beam = started(client, width=3)
    step(client, beam, [[5, 4, 3]])
    harm(beam.histories)
    rows(client, beam, [[1, 2, 3]] * 3)
    with pytest.raises((IndexError, TypeError)):
        client.advance(beam)


# ---- violations -------------------------------------------------------------------------


def beams(client, seed, width=4, steps=3):
    """A free beam with some costs and one where only class 1 and 2 cost nothing."""
    rng = numpy.random.default_rng(seed)
    pair = started(client, width), started(client, width)
    for _ in range(steps):
        for beam, valid in zip(pair, [(1, 1, 1), (0, 1, 1)], strict=True):
            shape = (len(beam), NR_CLASS)
            costs = numpy.tile(F([1, 0, 0]), (shape[0], 1))
            step(client, beam, rng.normal(size=shape), [valid] * shape[0], costs)
    return pair


def live(client, beam):
    return [
        (score, loss, history)
        for (score, loss, _), history in zip(client.states(beam), beam.histories, strict=False)
    ]


def test_a_new_violation():
    violation = MaxViolation()
    assert (violation.p_score, violation.g_score, violation.Z, violation.gZ) == (0, 0, 0, 0)
    assert violation.p_hist == violation.g_hist == violation.p_probs == violation.g_probs == []
    with pytest.raises(AttributeError):
        violation.p_hist = [1]
    with pytest.raises(TypeError):
        MaxViolation(1)


@pytest.mark.parametrize("check", ["check", "check_crf"])
def test_none_is_not_a_beam(check, client, behaviour):
    beam = started(client)
    violation = MaxViolation()
    for pair, name in [((None, beam), "pred"), ((beam, None), "gold"), ((None, None), "pred")]:
        with pytest.raises(TypeError, match=f"MaxViolation.{check}: {name} must be a Beam, got No"):
            getattr(violation, check)(*pair)
    with pytest.raises(TypeError):
        getattr(violation, check)(beam, [1])
    with pytest.raises(TypeError, match="pred must be a Beam"):
        client.check_crf_from_c(violation, None, beam)


@pytest.mark.parametrize("seed", range(12))
def test_check_crf_gives_the_gradients_of_the_gold_probability(client, behaviour, seed):
    pred, gold = beams(client, seed)
    violation = MaxViolation()
    assert violation.check_crf(pred, gold) == 0
    if pred.loss == 0:
        assert violation.p_hist == violation.g_hist == []
        assert client.violation(violation) == (0, -1)
        return
    in_gold = [history for _, _, history in live(client, gold)]
    wrong = [(s, h) for s, loss, h in live(client, pred) if loss > 0]
    right = [(s, h) for s, loss, h in live(client, pred) if loss <= 0 and h not in in_gold]
    right += [(s, h) for s, loss, h in live(client, gold) if loss == 0]
    assert violation.p_hist == [h for _, h in wrong]
    assert violation.g_hist == [h for _, h in right]
    assert client.violation(violation) == (pred.loss, F(F(pred.score) - F(gold.score)))

    def negative_log_probability(scores):
        powers = numpy.exp(numpy.array(scores, dtype="longdouble"))
        return -numpy.log(powers[len(wrong) :].sum() / powers.sum())

    scores = [float(s) for s, _ in wrong + right]
    found = violation.p_probs + violation.g_probs
    for i, gradient in enumerate(found):
        up, down = list(scores), list(scores)
        up[i] += 1e-4
        down[i] -= 1e-4
        difference = negative_log_probability(up) - negative_log_probability(down)
        assert gradient == pytest.approx(float(difference) / 2e-4, abs=1e-7)
    assert sum(found) == pytest.approx(0, abs=1e-12)
    assert (violation.p_score, violation.Z) == (0, 0)  # those are check's


@pytest.mark.parametrize("seed", range(8))
def test_check_keeps_the_best_of_each_beam(client, behaviour, seed):
    pred, gold = beams(client, seed)
    violation = MaxViolation()
    violation.check(pred, gold)
    if pred.loss < 1:
        assert (violation.p_hist, violation.Z) == ([], 0)
        return
    assert (violation.p_hist, violation.g_hist) == (pred.histories[0], gold.histories[0])
    assert (violation.p_score, violation.g_score) == (pred.score, gold.score)
    gold_sum = sum(math.exp(s) for s, loss, _ in live(client, gold) if loss == 0)
    pred_sum = sum(math.exp(s) for s, loss, _ in live(client, pred) if loss > 0)
    assert violation.gZ == pytest.approx(gold_sum)
    assert violation.Z == pytest.approx(gold_sum + pred_sum)


@pytest.mark.parametrize("check", ["check", "check_crf"])
def test_only_a_worse_violation_replaces_one(client, behaviour, check):
    def pair(difference, loss=1):
        pred, gold = started(client), started(client)
        step(client, pred, [[difference, 0, 0]], [[1, 0, 0]], [[loss, 0, 0]])
        step(client, gold, [[0, 0, 0]], [[0, 1, 0]])
        return pred, gold

    violation = MaxViolation()
    for difference, loss, kept in [
        (-5, 0, (0, -1)),  # no loss
        (-5, 1, (1, -5)),  # the first counts, however small
        (2, 3, (3, 2)),
        (1, 9, (3, 2)),
        (2, 9, (3, 2)),
        (4, 1, (1, 4)),
    ]:
        getattr(violation, check)(*pair(difference, loss))
        assert client.violation(violation) == kept


def test_check_needs_a_whole_unit_of_loss(client, behaviour):
    pred, gold = started(client), started(client)
    step(client, pred, [[1, 0, 0]], [[1, 0, 0]], [[0.5, 0, 0]])
    step(client, gold, [[0, 0, 0]], [[0, 1, 0]])
    violation = MaxViolation()
    violation.check(pred, gold)
    assert client.violation(violation) == (0, -1)
    violation.check_crf(pred, gold)
    assert client.violation(violation) == (0.5, 1)


def test_sums_of_large_scores_stay_finite(client, behaviour):
    pred, gold = started(client), started(client)
    step(client, pred, [[2000, 0, 0]], [[1, 0, 0]], [[1, 0, 0]])
    step(client, gold, [[0, 1999, 0]], [[0, 1, 0]])
    violation = MaxViolation()
    violation.check(pred, gold)
    assert math.isfinite(violation.Z) and math.isfinite(violation.gZ)
    violation = MaxViolation()
    violation.check_crf(pred, gold)
    a = math.exp(1) / (1 + math.exp(1))
    assert violation.p_probs == [pytest.approx(a)]
    assert violation.g_probs == [pytest.approx(-a)]


def test_a_violation_keeps_copies(client, behaviour):
    pred, gold = beams(client, 0)
    step(client, pred, [[50, 0, 0]] * len(pred), costs=[[1, 0, 0]] * len(pred))
    violation = MaxViolation()
    violation.check(pred, gold)
    kept = list(violation.p_hist), list(violation.g_hist)
    pred.histories[0].append(9)
    gold.histories[0].append(9)
    assert (violation.p_hist, violation.g_hist) == kept


def test_violations_can_be_pickled(client, behaviour):
    class_of = MaxViolation
    pred, gold = started(client), started(client)
    step(client, pred, [[3, 0, 0]], [[1, 0, 0]], [[2, 0, 0]])
    step(client, gold, [[0, 1, 0]], [[0, 1, 0]])
    violation = class_of()
    violation.check(pred, gold)
    violation.check_crf(pred, gold)
    copy = pickle.loads(pickle.dumps(violation))
    assert type(copy) is MaxViolation
    assert client.violation(copy) == client.violation(violation) == (2, 2)
    for name in ("p_score", "g_score", "Z", "gZ", "p_hist", "g_hist", "p_probs", "g_probs"):
        assert getattr(copy, name) == getattr(violation, name), name
    copy.check_crf(pred, gold)
