"""Beam search over the states of a transition system, for Cython code.

A Beam keeps the `width` best analyses. The states are the caller's own: it gives C
functions that make, change, finish and delete them (search.pxd), fills a table of
scores for each step, and calls advance. MaxViolation compares the beam of a model with
one that is held to the gold standard and keeps the step at which the model was most
wrong: what to train on.

Python sees the results; the methods that search are for C. An exception in a callback
leaves the beam as it was before the call.
"""
from cpython.ref cimport Py_DECREF, Py_INCREF
from libc.float cimport DBL_MAX
from libc.math cimport exp, isnan
from libc.stdint cimport SIZE_MAX
from libc.string cimport memcpy, memset
from libcpp.unordered_set cimport unordered_set
from libcpp.vector cimport vector

cimport cython


# Without tp_clear: collecting a reference cycle must not take away the memory pool
# before __dealloc__ has handed it to del_func.
@cython.no_gc_clear
cdef class Beam:
    """The best analyses of a search, best first.

    nr_class: transitions to choose from at each step, at least 1.
    width: analyses to keep, at least 1.
    min_density: candidates less likely than this times the best candidate of the same
        step are dropped, 0.0 to keep all. May be changed between steps.

    Raises ValueError for a size below 1. Cannot be pickled: its states are C objects.
    """

    def __init__(self, nr_class, width, weight_t min_density=0.0):
        if self._states is not NULL:
            raise ValueError("Beam: already constructed; make a new one instead")
        for name, size in (("nr_class", nr_class), ("width", width)):
            if size < 1:
                raise ValueError(f"Beam: {name} must be at least 1, got {size}")
        cdef class_t classes = nr_class
        cdef class_t states = width
        if classes > SIZE_MAX // (2 * sizeof(_State)) // states:
            raise MemoryError(f"Beam: no memory for {width} states of {nr_class} classes")
        cdef Pool mem = Pool()
        parents = <_State*>mem.alloc(states, sizeof(_State))
        scores = <weight_t**>new_table(mem, states, classes, sizeof(weight_t))
        costs = <weight_t**>new_table(mem, states, classes, sizeof(weight_t))
        is_valid = <int**>new_table(mem, states, classes, sizeof(int))
        current = <_State*>mem.alloc(states, sizeof(_State))
        histories = [[] for _ in range(width)]
        parent_histories = [[] for _ in range(width)]

        self.mem = mem
        # A second reference, which the garbage collector does not see: the pool of a
        # beam in a cycle then looks as if in use elsewhere and is not cleared either.
        Py_INCREF(mem)
        self.nr_class = classes
        self.width = states
        self.size = 1
        self.t = 0
        self.is_done = False
        self.min_density = min_density
        self.histories = histories
        self._parent_histories = parent_histories
        self.scores = scores
        self.costs = costs
        self.is_valid = is_valid
        self._parents = parents
        self._states = current

    def __dealloc__(self):
        if self._states is not NULL:
            delete_contents(self)
            Py_DECREF(self.mem)

    def __reduce__(self):
        raise TypeError(
            f"A {type(self).__name__} holds C objects of this process: it cannot be pickled "
            "or copied"
        )

    def __len__(self):
        return self.size

    @property
    def score(self):
        """Score of the best analysis."""
        require_constructed(self)
        return self._states[0].score

    @property
    def min_score(self):
        """Score of the worst analysis kept."""
        require_constructed(self)
        return self._states[self.size - 1].score

    @property
    def loss(self):
        """Summed costs of the best analysis."""
        require_constructed(self)
        return self._states[0].loss

    @property
    def probs(self):
        """Softmax over the analyses' scores: a list of len(self) floats."""
        return softmax(state_scores(self))

    # The C field `scores` is another thing, the table of the next step.
    @property
    def scores(self):
        """Scores of the analyses: a list of len(self) floats, the best first."""
        return state_scores(self)

    # ---- for C --------------------------------------------------------------

    cdef int initialize(
        self, init_func_t init_func, del_func_t del_func, int n, void* extra_args
    ) except -1:
        """Make all 2 * width states, with init_func(pool, n, extra_args), and start anew.

        del_func(pool, state, NULL) is called for each of them when the beam goes, or when
        it is initialized again; NULL if there is nothing to do. The pool outlives them.
        Raises ValueError if init_func is NULL, and what init_func raises: then the states
        made so far are deleted and the beam is as before.
        """
        cdef vector[void*] made
        cdef class_t i
        require_constructed(self)
        if init_func is NULL:
            raise ValueError("Beam.initialize: init_func is NULL")
        made.reserve(2 * self.width)
        try:
            while made.size() < 2 * self.width:
                made.push_back(init_func(self.mem, n, extra_args))
            histories = [[] for _ in range(self.width)]
            parent_histories = [[] for _ in range(self.width)]
        except:  # noqa: E722 - whatever it was, the states must go
            for content in made:
                delete_content(self.mem, del_func, content)
            raise
        delete_contents(self)
        memset(self._states, 0, self.width * sizeof(_State))
        memset(self._parents, 0, self.width * sizeof(_State))
        for i in range(self.width):
            self._states[i].content = made[2 * i]
            self._parents[i].content = made[2 * i + 1]
        self.histories = histories
        self._parent_histories = parent_histories
        self.del_func = del_func
        self.size = 1
        self.t = 0
        self.is_done = False
        clear_tables(self)
        return 0

    @cython.boundscheck(True)  # histories is in the hands of Python code
    cdef int _fill(self, Queue* q, weight_t** scores, int** is_valid) except -1:
        """Put every candidate that is dense enough into q.

        A final state is one candidate, of class 0. Its score is raised by its mean score
        per step, so that short analyses keep up with those that still collect scores.
        Raises ValueError for a score that is NaN: there is no order to search in.
        """
        cdef vector[Entry] candidates
        cdef Entry candidate
        cdef weight_t score, best = 0
        cdef class_t i, j
        require_constructed(self)
        for i in range(self.size):
            score = self._states[i].score
            if self._states[i].is_done:
                if self.t > 0 and self.histories[i]:
                    score += score / self.t
                candidates.push_back(Entry(score, i * self.nr_class))
                continue
            for j in range(self.nr_class):
                if is_valid[i][j]:
                    candidates.push_back(Entry(score + scores[i][j], i * self.nr_class + j))
        for i in range(candidates.size()):
            if isnan(candidates[i].first):
                raise ValueError(
                    f"Beam: step {self.t}: the score of class {candidates[i].second % self.nr_class} "
                    f"in state {candidates[i].second // self.nr_class} is NaN"
                )
            if i == 0 or candidates[i].first > best:
                best = candidates[i].first
        for candidate in candidates:
            if is_dense(candidate.first, best, self.min_density):
                q.push(candidate)
        return 0

    @cython.boundscheck(True)
    cdef int advance(
        self, trans_func_t transition_func, hash_func_t hash_func, void* extra_args
    ) except -1:
        """One step: the best `width` of all continuations become the states.

        scores, is_valid and costs must hold a row for each state that is not final; they
        are zero afterwards. Of equal scores, the later state and then the higher class
        comes first. hash_func may be NULL; of states with equal keys the best one is
        kept. Final states are candidates as they are, and are not hashed.

        Raises ValueError if no state can go on (no valid class, or min_density above 1),
        and what the callbacks raise: then the beam is as before.
        """
        cdef Queue q
        cdef vector[Entry] kept
        cdef unordered_set[hash_t] seen
        cdef Entry entry
        cdef class_t i, p, clas
        cdef hash_t key
        cdef _State* target
        require_initialized(self, "advance")
        if transition_func is NULL:
            raise ValueError("Beam.advance: transition_func is NULL")
        self._fill(&q, self.scores, self.is_valid)

        # Only the spare states change before the step is certain.
        histories = []
        while kept.size() < self.width and not q.empty():
            entry = q.top()
            q.pop()
            p = entry.second // self.nr_class
            clas = entry.second % self.nr_class
            if self._states[p].is_done:
                histories.append(list(self.histories[p]))
            else:
                target = &self._parents[kept.size()]
                transition_func(target.content, self._states[p].content, clas, extra_args)
                if hash_func is not NULL:
                    key = hash_func(target.content, extra_args)
                    if key > 1 and not seen.insert(key).second:
                        continue
                target.score = entry.first
                target.loss = self._states[p].loss + self.costs[p][clas]
                target.i = 0
                target.t = 0
                target.is_done = False
                history = list(self.histories[p])
                history.append(clas)
                histories.append(history)
            kept.push_back(entry)
        if kept.empty():
            raise ValueError(
                f"Beam.advance: none of the {self.size} states can go on: no class is valid, "
                f"or min_density ({self.min_density}) is above 1"
            )
        while len(histories) < <Py_ssize_t>self.width:
            histories.append([])

        for i in range(kept.size()):
            p = kept[i].second // self.nr_class
            if self._states[p].is_done:
                # Its only candidate, so nobody else needs the state: no copy.
                self._states[p], self._parents[i] = self._parents[i], self._states[p]
                self._parents[i].score = kept[i].first
                self._states[p].is_done = False
        self._states, self._parents = self._parents, self._states
        self._parent_histories = self.histories
        self.histories = histories
        self.size = kept.size()
        self.t += 1
        clear_tables(self)
        return 0

    cdef int check_done(self, finish_func_t finish_func, void* extra_args) except -1:
        """Ask finish_func which states are final; is_done is whether all of them are.

        It is not asked again about a state that is. Raises ValueError if it is NULL, and
        what it raises: then all states are as before.
        """
        cdef vector[int] answers
        cdef class_t i
        require_initialized(self, "check_done")
        if finish_func is NULL:
            raise ValueError("Beam.check_done: finish_func is NULL")
        for i in range(self.size):
            if self._states[i].is_done:
                answers.push_back(True)
            else:
                answers.push_back(finish_func(self._states[i].content, extra_args) != 0)
        self.is_done = True
        for i in range(self.size):
            self._states[i].is_done = answers[i]
            if not answers[i]:
                self.is_done = False
        return 0

    cdef int set_row(
        self, int i, const weight_t* scores, const int* is_valid, const weight_t* costs
    ) except -1:
        """Copy the nr_class scores, validities and costs of state i for the next step.

        Raises IndexError if i is not in [0, width).
        """
        require_constructed(self)
        if i < 0 or <class_t>i >= self.width:
            raise IndexError(f"Beam.set_row: no row {i} in a beam of width {self.width}")
        memcpy(self.scores[i], scores, self.nr_class * sizeof(weight_t))
        memcpy(self.is_valid[i], is_valid, self.nr_class * sizeof(int))
        memcpy(self.costs[i], costs, self.nr_class * sizeof(weight_t))
        return 0

    cdef int set_table(self, weight_t** scores, int** is_valid, weight_t** costs) except -1:
        """Copy all `width` rows, as set_row does."""
        cdef int i
        require_constructed(self)
        for i in range(<int>self.width):
            self.set_row(i, scores[i], is_valid[i], costs[i])
        return 0


cdef int require_constructed(Beam beam) except -1:
    if beam._states is NULL:
        raise ValueError("Beam: not constructed; a subclass must call Beam.__init__")
    return 0


cdef int require_initialized(Beam beam, str what) except -1:
    require_constructed(beam)
    if beam._states[0].content is NULL:
        raise ValueError(f"Beam.{what}: call initialize first, there are no states")
    return 0


cdef void** new_table(Pool mem, class_t rows, class_t columns, size_t item) except NULL:
    """rows pointers to rows of `columns` zeros."""
    cdef class_t i
    block = <char*>mem.alloc(rows, columns * item)
    table = <void**>mem.alloc(rows, sizeof(void*))
    for i in range(rows):
        table[i] = block + i * columns * item
    return table


cdef void clear_tables(Beam beam) noexcept:
    # The rows of a table are one block.
    cdef size_t count = beam.width * beam.nr_class
    memset(beam.scores[0], 0, count * sizeof(weight_t))
    memset(beam.is_valid[0], 0, count * sizeof(int))
    memset(beam.costs[0], 0, count * sizeof(weight_t))


cdef void delete_content(Pool mem, del_func_t del_func, void* content) noexcept:
    # noexcept: an error is reported through sys.unraisablehook, for the others must go too.
    if content is not NULL and del_func is not NULL:
        del_func(mem, content, NULL)


cdef void delete_contents(Beam beam) noexcept:
    cdef class_t i
    for i in range(beam.width):
        delete_content(beam.mem, beam.del_func, beam._states[i].content)
        delete_content(beam.mem, beam.del_func, beam._parents[i].content)
        beam._states[i].content = NULL
        beam._parents[i].content = NULL


cdef inline bint is_dense(double score, double best, double min_density) noexcept:
    if not min_density > 0:
        return True
    # The best one itself may be infinite.
    return (1.0 if score == best else exp(score - best)) >= min_density


cdef list state_scores(Beam beam):
    cdef class_t i
    require_constructed(beam)
    return [beam._states[i].score for i in range(beam.size)]


cdef list softmax(list scores):
    cdef double best, total
    if not scores:
        return []
    best = max(scores)
    powers = [1.0 if score == best else exp(score - best) for score in scores]
    total = sum(powers)
    return [power / total for power in powers]


# ---- what to train on -------------------------------------------------------


cdef class MaxViolation:
    """The step of two searches at which the prediction beats the gold standard by most.

    Call check_crf (or check) after each step with a beam that searched freely and one
    that followed gold analyses only. The violation is the difference between the best
    scores (Huang, Fayong and Guo, "Structured perceptron with inexact search", 2012);
    the gradients are those of a globally normalized model (Andor et al., "Globally
    normalized transition-based neural networks", 2016).
    """

    def __init__(self):
        self.cost = 0
        self.delta = -1
        self.p_score = 0
        self.g_score = 0
        self.Z = 0
        self.gZ = 0
        self.n = 0
        self.p_hist = []
        self.g_hist = []
        self.p_probs = []
        self.g_probs = []

    cpdef int check(self, Beam pred, Beam gold) except -1:
        """Keep this step if the prediction's loss is at least 1 and it is the worst yet.

        Sets p_score, g_score and p_hist, g_hist (a copy of the history of the best state
        of each beam); gZ, the sum of e ** score over gold states without loss, and Z, the
        same and that over predicted states with loss, both at most the largest double.

        Raises TypeError if a beam is None.
        """
        cdef weight_t loss, delta
        cdef class_t i
        cdef double Z, gZ
        require_beams("check", pred, gold)
        loss = pred._states[0].loss
        delta = pred._states[0].score - gold._states[0].score
        if not (loss >= 1 and (self.cost == 0 or delta > self.delta)):
            return 0
        gZ = 1e-10  # not zero: clients divide by it
        for i in range(gold.size):
            if gold._states[i].loss == 0:
                gZ += exp(gold._states[i].score)
        Z = gZ
        for i in range(pred.size):
            if pred._states[i].loss > 0:
                Z += exp(pred._states[i].score)
        p_hist = list(pred.histories[0])
        g_hist = list(gold.histories[0])
        self.cost = loss
        self.delta = delta
        self.p_hist = p_hist
        self.g_hist = g_hist
        self.p_score = pred._states[0].score
        self.g_score = gold._states[0].score
        self.gZ = min(gZ, DBL_MAX)
        self.Z = min(Z, DBL_MAX)
        return 0

    @cython.boundscheck(True)  # histories are in the hands of Python code
    cpdef int check_crf(self, Beam pred, Beam gold) except -1:
        """Keep this step if the prediction has a loss and it is the worst yet.

        Sets p_hist to the histories of the predicted states with loss, g_hist to those of
        the others that are not in the gold beam and then of the gold states without loss;
        p_probs, g_probs: for each of them the gradient of -log(sum of gold probabilities)
        with respect to its score. They sum to 0.

        Raises TypeError if a beam is None.
        """
        cdef weight_t loss, delta
        cdef class_t i
        require_beams("check_crf", pred, gold)
        loss = pred._states[0].loss
        delta = pred._states[0].score - gold._states[0].score
        if not (loss > 0 and (self.cost == 0 or delta > self.delta)):
            return 0
        p_scores, g_scores, p_hist, g_hist = [], [], [], []
        in_gold = {tuple(gold.histories[i]) for i in range(gold.size)}
        for i in range(pred.size):
            history = list(pred.histories[i])
            if pred._states[i].loss > 0:
                p_scores.append(pred._states[i].score)
                p_hist.append(history)
            elif tuple(history) not in in_gold:
                g_scores.append(pred._states[i].score)
                g_hist.append(history)
        for i in range(gold.size):
            if gold._states[i].loss == 0:
                g_scores.append(gold._states[i].score)
                g_hist.append(list(gold.histories[i]))
        together = softmax(p_scores + g_scores)
        wanted = softmax(g_scores)
        self.p_probs = together[: len(p_scores)]
        self.g_probs = [a - b for a, b in zip(together[len(p_scores) :], wanted)]
        self.p_hist = p_hist
        self.g_hist = g_hist
        self.cost = loss
        self.delta = delta
        return 0


cdef int require_beams(str what, Beam pred, Beam gold) except -1:
    for name, beam in (("pred", pred), ("gold", gold)):
        if beam is None:
            raise TypeError(f"MaxViolation.{what}: {name} must be a Beam, got None")
        require_constructed(beam)
    return 0
