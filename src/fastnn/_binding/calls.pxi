# Which thread may call an object, how a call of the C library ends, and where a call goes whose arrays are not plain.
# Part of _kernels.pyx.

cdef extern from "Python.h":
    int PyErr_CheckSignals() noexcept  # an exception stays set, for `conclude`
    unsigned long PyThread_get_thread_ident()

cdef extern from "fastnn.h" nogil:
    ctypedef enum fastnn_outcome:
        FASTNN_DONE, FASTNN_INTERRUPTED, FASTNN_NO_MEMORY
    void fastnn_set_interrupt_check(int (*)() noexcept)

cdef enum:
    GIL_FREE_ELEMENTS = 8192  # from here on a call lets other Python threads run


# ---- objects of one thread -----------------------------------------------------------------------------------------

cdef int check_owner(unsigned long owner, str kind) except -1:
    """Raises where another thread calls an object than the one that made it: the C structure in it has no lock."""
    if PyThread_get_thread_ident() != owner:
        raise RuntimeError(f"{kind} must be called by the thread that made it")
    return 0


# ---- interrupts --------------------------------------------------------------------------------------------------

cdef int check_signals() noexcept with gil:
    """Called without the GIL by the thread that waits for a long call."""
    return PyErr_CheckSignals()


cdef extern from *:
    """
    static int fastnn_pending_error(void) { return -1; }
    """
    int pending_error "fastnn_pending_error"() except -1


fastnn_set_interrupt_check(check_signals)


cdef inline int conclude(fastnn_outcome outcome) except -1:
    """Raises what the interrupt check left, or a MemoryError."""
    if outcome == FASTNN_DONE:
        return 0
    if outcome == FASTNN_NO_MEMORY:
        raise MemoryError("no scratch memory for this call")
    return pending_error()


# ---- arrays that are not plain -----------------------------------------------------------------------------------

cdef dict general_ways = {}


def register_general(str call, way, twin_for):
    """Makes `way` what the function `call` of this module does for arrays that are not plain.

    It takes the same arguments. twin_for(type) returns what takes its place for arrays of a type that is always in a
    GPU's memory, or None.
    """
    general_ways[call] = way, twin_for


cdef object general(str call, object like, tuple args):
    """The general way of a function of this module; `like` is its first array."""
    way, twin_for = general_ways[call]
    if not cnp.PyArray_Check(like):
        twin = twin_for(type(like))
        if twin is not None:
            return twin(*args)
    return way(*args)
