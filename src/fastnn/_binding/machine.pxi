# The machine: instruction set, threads, the cache of memory. Part of _kernels.pyx.

cdef extern from "fastnn.h" nogil:
    bint fastnn_select_isa(const char *)
    const char *fastnn_isa()
    const char *fastnn_available_isa(int)
    const char *fastnn_compiler()
    int fastnn_get_num_threads()
    void fastnn_set_num_threads(int)
    int fastnn_usable_cpus()
    size_t fastnn_usable_memory()
    size_t fastnn_cached_bytes()
    void fastnn_empty_cache()


def nothing():
    """Does nothing: what an empty call costs."""


def available_isas():
    """The instruction sets that this machine runs, best first."""
    names = []
    while fastnn_available_isa(len(names)) is not NULL:
        names.append((<bytes>fastnn_available_isa(len(names))).decode())
    return names


def select_isa(name):
    """Uses the instruction set `name`, or the best one for None; a ValueError if this machine lacks it."""
    encoded = None if name is None else name.encode()
    if not fastnn_select_isa(NULL if encoded is None else <const char *>encoded):
        raise ValueError(f"FASTNN_ISA={name!r} is not available here; this machine runs: {', '.join(available_isas())}")


def isa():
    """The instruction set in use."""
    return (<bytes>fastnn_isa()).decode()


def compiler():
    """The compiler that built the kernels, and its version."""
    return (<bytes>fastnn_compiler()).decode()


def get_num_threads():
    """How many threads a call may use."""
    return fastnn_get_num_threads()


def set_num_threads(int count):
    """Sets how many threads a call may use, from now on and in every Python thread; count >= 1."""
    fastnn_set_num_threads(count)


def usable_cpus():
    """The CPUs that this process may use, by affinity and a container's quota; on macOS the performance cores."""
    return fastnn_usable_cpus()


def usable_memory():
    """The bytes of memory of the machine, or of the container."""
    return fastnn_usable_memory()


def cached_bytes():
    """The bytes that the caching allocator keeps for later arrays."""
    return fastnn_cached_bytes()


def empty_cache():
    """Gives the memory that the caching allocator keeps back to the system."""
    fastnn_empty_cache()
