# The steps of the optimisers. Part of _kernels.pyx.

from libc.math cimport sqrt
from libc.stdlib cimport calloc, free


cdef extern from "fastnn.h" nogil:
    enum: FASTNN_RULE_OPERANDS
    enum: FASTNN_RULE_NUMBERS
    ctypedef struct fastnn_tensor:
        size_t count
        void *operands[5]
        double factor
        const void *sources[5]
    ctypedef struct fastnn_penalties:
        bint negate
        double decay, l1, shrink
    ctypedef struct fastnn_step:
        int rule
        bint float64
        size_t tensors
        const fastnn_tensor *tensor
        fastnn_penalties penalties
        double numbers[8]
    ctypedef enum fastnn_reduction:
        FASTNN_SQUARES, FASTNN_SIZES, FASTNN_LARGEST
    int fastnn_find_rule(const char *)
    const char *fastnn_rule_name(int)
    int fastnn_rule_operands(int)
    void fastnn_run_step(const fastnn_step *)
    fastnn_outcome fastnn_run_reduction(const fastnn_step *, fastnn_reduction, double *)
    void fastnn_limit_rows(bint, size_t, size_t, void *, double)

SQUARES, SIZES, LARGEST = FASTNN_SQUARES, FASTNN_SIZES, FASTNN_LARGEST


def find_rule(str name):
    """The number of an optimiser's rule."""
    cdef int rule = fastnn_find_rule(name.encode())
    if rule < 0:
        raise ValueError(f"no rule is called {name!r}")
    return rule


def rules():
    """The rules of optimizers.def, in its order: {name: how many arrays the rule takes for each parameter}."""
    numbers = {}
    while fastnn_rule_name(len(numbers)) is not NULL:
        numbers[(<bytes>fastnn_rule_name(len(numbers))).decode()] = fastnn_rule_operands(len(numbers))
    return numbers


cdef class Tensors:
    """A list of tensors of one dtype, each with the arrays that a rule takes: parameter, gradient, states.

    The list keeps the arrays alive that it points to. Only the thread that made it may call it.
    """

    cdef unsigned long owner
    cdef fastnn_tensor *tensors
    cdef fastnn_step call
    cdef list kept
    cdef size_t room, elements

    def __cinit__(self, size_t room):
        self.tensors = <fastnn_tensor *>calloc(room + 1, sizeof(fastnn_tensor))
        if self.tensors is NULL:
            raise MemoryError
        self.owner = PyThread_get_thread_ident()
        self.room = room
        self.kept = []
        self.call.tensor = self.tensors

    def __dealloc__(self):
        free(self.tensors)

    def __len__(self):
        return self.call.tensors

    def add(self, tuple arrays):
        """Adds a tensor if its arrays are plain and of one form, and the first is writable; returns whether it was added."""
        check_owner(self.owner, "a list of tensors")
        cdef cnp.ndarray first, array
        cdef int k = 0
        if self.call.tensors == self.room or len(arrays) > FASTNN_RULE_OPERANDS or not is_plain(arrays[0], PLAIN_OUT):
            return False
        first = arrays[0]
        cdef fastnn_tensor *tensor = &self.tensors[self.call.tensors]
        cdef bint float64 = cnp.PyArray_TYPE(first) == cnp.NPY_DOUBLE
        if self.call.tensors > 0 and float64 != self.call.float64:
            return False
        for value in arrays:
            if not (is_plain(value, PLAIN) and same_form(value, first) and apart_or_same(value, first)):
                return False
            array = value
            tensor.operands[k] = cnp.PyArray_DATA(array)
            k += 1
        tensor.count = <size_t>cnp.PyArray_SIZE(first)
        tensor.factor = 1
        self.call.float64 = float64
        self.call.tensors += 1
        self.elements += tensor.count
        self.kept.append(arrays)
        return True

    cdef int start(self, int rule, tuple penalties, tuple numbers, int scratch_operands) except -1:
        """Fills in what a call takes beside the tensors."""
        check_owner(self.owner, "a list of tensors")
        cdef int k
        self.call.rule = rule
        self.call.penalties.negate, self.call.penalties.decay, self.call.penalties.l1, self.call.penalties.shrink = penalties
        for k in range(FASTNN_RULE_NUMBERS):
            self.call.numbers[k] = numbers[k] if k < len(numbers) else 0
        for arrays in self.kept:
            if rule >= 0 and len(arrays) < fastnn_rule_operands(rule) - scratch_operands:
                raise ValueError(f"a tensor of {len(arrays)} arrays; the rule takes {fastnn_rule_operands(rule)}")
        return 0

    def update(self, int rule, tuple penalties, tuple numbers, factors=None):
        """One step of a rule; penalties: (negate, decay, l1, shrink); factors: one for the step of each tensor."""
        self.start(rule, penalties, numbers, 0)
        if factors is not None:
            for k in range(self.call.tensors):
                self.tensors[k].factor = factors[k]
        if self.elements < GIL_FREE_ELEMENTS:
            fastnn_run_step(&self.call)
        else:
            with nogil:
                fastnn_run_step(&self.call)

    def reduce(self, fastnn_reduction reduction, int rule=-1, tuple penalties=(False, 0.0, 0.0, 0.0), tuple numbers=()):
        """For each tensor two sums of squares, sums of sizes or largest sizes: that of its first array, and that of the
        direction of `rule`, which runs meanwhile. Without a rule (-1) the second is 0."""
        self.start(rule, penalties, numbers, 1)
        cdef cnp.npy_intp sizes[2]
        sizes[0], sizes[1] = self.call.tensors, 2
        cdef cnp.ndarray results = new_array(2, sizes, cnp.NPY_DOUBLE, 8)
        cdef double *p_results = <double *>cnp.PyArray_DATA(results)
        cdef fastnn_outcome outcome
        with nogil:
            outcome = fastnn_run_reduction(&self.call, reduction, p_results)
        conclude(outcome)
        return results

    def update_by_trust(self, int rule, int direction, tuple penalties, tuple numbers, double coefficient, double decay):
        """One step of a rule whose size is, for each tensor, times coefficient |p| / (|d| + decay |p|).

        d is what the rule `direction` gives. The factor is 1 where one of the norms is 0. The direction of LAMB moves
        its averages, so both passes are one call, without a place in Python where a signal handler could raise.
        """
        cdef cnp.ndarray squares = self.reduce(FASTNN_SQUARES, direction, penalties, numbers)
        cdef double *sums = <double *>cnp.PyArray_DATA(squares)
        cdef double p, d
        cdef size_t k
        factors = []
        for k in range(self.call.tensors):
            p, d = sqrt(sums[2 * k]), sqrt(sums[2 * k + 1])
            factors.append(coefficient * p / (d + decay * p) if p != 0 and d != 0 else 1.0)
        self.update(rule, penalties, numbers, factors)


def step(int rule, tuple numbers, tuple arrays, bint in_place):
    """One step of a rule: parameter, gradient and states after it, as new arrays but for the gradient unless `in_place`. None if
    the arrays are not plain and of one form, or cannot be written to."""
    cdef fastnn_tensor tensor
    cdef fastnn_step call
    cdef cnp.ndarray first, array
    cdef int k
    if len(arrays) != fastnn_rule_operands(rule) or len(numbers) > FASTNN_RULE_NUMBERS or not is_plain(arrays[0], PLAIN):
        return None
    first = arrays[0]
    for value in arrays:
        if not (is_plain(value, PLAIN) and same_form(value, first)):
            return None
        if in_place and not (cnp.PyArray_ISWRITEABLE(first) and apart_or_same(value, first)):
            return None
    memset(&tensor, 0, sizeof(tensor))
    memset(&call, 0, sizeof(call))
    cdef list results = list(arrays)
    for k in range(len(results)):
        array = results[k]
        tensor.sources[k] = cnp.PyArray_DATA(array)
        if not in_place and k != 1:
            array = results[k] = new_like(array)
        tensor.operands[k] = cnp.PyArray_DATA(array)
    tensor.count, tensor.factor = <size_t>cnp.PyArray_SIZE(first), 1
    call.rule, call.float64 = rule, cnp.PyArray_TYPE(first) == cnp.NPY_DOUBLE
    call.tensors, call.tensor = 1, &tensor
    for k in range(len(numbers)):
        call.numbers[k] = numbers[k]
    if tensor.count < GIL_FREE_ELEMENTS:
        fastnn_run_step(&call)
    else:
        with nogil:
            fastnn_run_step(&call)
    return results


def limit_rows(cnp.ndarray array, double limit):
    """Scales the rows (along the first axis) of a plain array down to a norm of at most `limit`."""
    cdef size_t rows = cnp.PyArray_DIM(array, 0)
    cdef size_t length = cnp.PyArray_SIZE(array) // rows if rows > 0 else 0
    cdef bint float64 = cnp.PyArray_TYPE(array) == cnp.NPY_DOUBLE
    cdef void *data = cnp.PyArray_DATA(array)
    with nogil:
        fastnn_limit_rows(float64, rows, length, data, limit)
