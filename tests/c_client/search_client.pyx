"""A small transition system for thinc.extra.search, in C.

A state is the list of classes that led to it. It is final after class 0, and in any
case after LONGEST classes. Behaviour of the callbacks is set in module variables.
"""
from cymem.cymem cimport Pool

from thinc.extra.search cimport (
    Beam, MaxViolation, class_t, del_func_t, finish_func_t, hash_func_t, hash_t, init_func_t,
    trans_func_t,
)

cdef enum:
    LONGEST = 12


cdef struct State:
    int length
    int classes[LONGEST]


cdef class Behaviour:
    """What the callbacks did, and what they shall do."""

    cdef public int made, deleted, transitions, finish_calls
    cdef public object fail_in  # name of a callback
    cdef public int fail_after  # so many successful calls
    cdef public object key  # None, "one", "classes" (whatever their order)
    cdef public object given  # the pool of the last deletion

    def __init__(self):
        self.made = self.deleted = self.transitions = self.finish_calls = 0
        self.fail_in = self.key = self.given = None
        self.fail_after = 0

    cdef int called(self, str what) except -1:
        if self.fail_in == what:
            if self.fail_after == 0:
                raise RuntimeError(f"{what} fails as it was told")
            self.fail_after -= 1
        return 0


cdef Behaviour behaviour = Behaviour()


def reset():
    global behaviour
    behaviour = Behaviour()
    return behaviour


cdef void* new_state(Pool mem, int n, void* extra) except NULL:
    behaviour.called("init")
    behaviour.made += 1
    return mem.alloc(1, sizeof(State))


cdef int delete_state(Pool mem, void* state, void* extra) except -1:
    assert extra is NULL
    behaviour.given = type(mem).__name__
    mem.free(state)  # KeyError unless it is in this pool
    behaviour.deleted += 1
    behaviour.called("del")
    return 0


cdef int apply_class(void* dest_, void* src_, class_t clas, void* extra) except -1:
    cdef State* dest = <State*>dest_
    cdef State* src = <State*>src_
    assert dest is not src
    # Overwritten first: a failing callback may leave anything behind.
    dest.length = -1
    behaviour.called("trans")
    behaviour.transitions += 1
    dest[0] = src[0]
    dest.classes[dest.length] = <int>clas
    dest.length += 1
    return 0


cdef hash_t key_of(void* state_, void* extra) except 0:
    cdef State* state = <State*>state_
    behaviour.called("hash")
    if behaviour.key == "one":
        return 1
    cdef hash_t key = 1000
    for i in range(state.length):
        key += 1 << (4 * state.classes[i])
    return key


cdef int is_final(void* state_, void* extra) except -1:
    cdef State* state = <State*>state_
    behaviour.finish_calls += 1
    behaviour.called("finish")
    return state.length == LONGEST or (state.length > 0 and state.classes[state.length - 1] == 0)


def initialize(Beam beam, bint deletes=True, bint has_init=True):
    cdef init_func_t init = new_state
    cdef del_func_t delete = delete_state
    if not has_init:
        init = NULL
    if not deletes:
        delete = NULL
    return beam.initialize(init, delete, 7, NULL)


def fill(Beam beam, scores, is_valid, costs, str through="cell"):
    """Set the rows of the first len(scores) states."""
    cdef float[::1] s, c
    cdef int[::1] v
    cdef float* score_rows[64]
    cdef float* cost_rows[64]
    cdef int* valid_rows[64]
    for i in range(len(scores)):
        s, v, c = scores[i], is_valid[i], costs[i]
        if through == "row":
            beam.set_row(i, &s[0], &v[0], &c[0])
        elif through == "table":
            score_rows[i], valid_rows[i], cost_rows[i] = &s[0], &v[0], &c[0]
        else:
            with nogil:
                for j in range(s.shape[0]):
                    beam.set_cell(i, j, s[j], v[j], c[j])
    if through == "table":
        beam.set_table(score_rows, valid_rows, cost_rows)


def set_row(Beam beam, int i, float[::1] scores, int[::1] is_valid, float[::1] costs):
    beam.set_row(i, &scores[0], &is_valid[0], &costs[0])


def advance(Beam beam, bint has_transition=True):
    cdef trans_func_t transition = apply_class
    cdef hash_func_t key = key_of
    if not has_transition:
        transition = NULL
    if behaviour.key is None:
        key = NULL
    return beam.advance(transition, key, NULL)


def check_done(Beam beam, bint has_finish=True):
    cdef finish_func_t finish = is_final
    if not has_finish:
        finish = NULL
    return beam.check_done(finish, NULL)


def paths(Beam beam):
    """The classes of each state."""
    cdef State* state
    result = []
    for i in range(len(beam)):
        with nogil:
            state = <State*>beam.at(i)
        result.append([state.classes[j] for j in range(state.length)])
    return result


def snapshot(Beam beam):
    """All of the beam that a caller or the next step can see."""
    states = [
        (beam._states[i].score, beam._states[i].loss, bool(beam._states[i].is_done))
        for i in range(len(beam))
    ]
    table = [
        (beam.scores[i][j], beam.is_valid[i][j], beam.costs[i][j])
        for i in range(beam.width)
        for j in range(beam.nr_class)
    ]
    return (
        states, table, paths(beam) if beam.at(0) != NULL else None,
        [list(h) for h in beam.histories], beam.is_done, beam.t, beam.size,
    )


def states(Beam beam):
    """(score, loss, is_done) of each state."""
    return snapshot(beam)[0]


def table_is_clear(Beam beam):
    return set(snapshot(beam)[1]) == {(0.0, 0, 0.0)}


def violation(MaxViolation self):
    """cost and delta."""
    return self.cost, self.delta


def check_crf_from_c(MaxViolation violation, Beam pred, Beam gold):
    return violation.check_crf(pred, gold)
