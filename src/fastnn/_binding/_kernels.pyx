# cython: language_level=3, binding=False, boundscheck=False, wraparound=False, initializedcheck=False
"""The binding over csrc/: arrays in, arrays out. It knows memory, not mathematics.

A call on plain arrays (C-contiguous float32 or float64) takes a short path here; everything else is made ready by
fastnn._core.arrays and goes through the strided driver.
"""

from libc.math cimport isnan
from libc.stddef cimport ptrdiff_t
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t, uintptr_t
from libc.string cimport memcpy, memset

cimport cython
cimport numpy as cnp


cdef extern from "Python.h":
    bint PyFloat_CheckExact(object)
    double PyFloat_AsDouble(object) except? -1
    int PyErr_CheckSignals() noexcept  # an exception stays set, for `finish`

cdef extern from "fastnn.h" nogil:
    ctypedef enum fastnn_outcome:
        FASTNN_DONE, FASTNN_INTERRUPTED, FASTNN_NO_MEMORY
    ctypedef enum fastnn_dtype:
        FASTNN_FLOAT32, FASTNN_FLOAT64, FASTNN_FLOAT16, FASTNN_BFLOAT16
    ctypedef struct fastnn_parameter:
        const char *name
        double value
    ctypedef struct fastnn_activation:
        const char *name
        bint saves_output
        fastnn_parameter parameters[2]
    const fastnn_activation fastnn_activations[]
    const int fastnn_activation_count
    enum: FASTNN_MAX_DIMS
    int fastnn_find_kernel(const char *)

    bint fastnn_select_isa(const char *)
    const char *fastnn_isa()
    const char *fastnn_available_isa(int)
    const char *fastnn_compiler()

    ctypedef struct fastnn_operand:
        char *data
        const ptrdiff_t *strides
        fastnn_dtype dtype
        void (*generate)(const fastnn_operand *, size_t, size_t, void *) noexcept nogil
        const void *state
    ctypedef struct fastnn_map:
        int kernel
        bint float64
        int dims
        const size_t *shape
        int outputs, inputs
        fastnn_operand operands[5]
        double parameters[2]
    bint fastnn_run_map(const fastnn_map *)
    bint fastnn_run_contiguous(int, bint, size_t, void **, const double *)
    bint fastnn_prelu(bint, size_t, size_t, size_t, const void *, const void *, void *)
    fastnn_outcome fastnn_prelu_backward(bint, size_t, size_t, size_t, const void *, const void *, const void *, void *,
                                         double *)
    bint fastnn_maxout(bint, size_t, size_t, size_t, size_t, const void *, void *, int, uint8_t *)
    bint fastnn_maxout_backward(bint, size_t, size_t, size_t, size_t, const void *, int, const uint8_t *, void *)

    ctypedef struct fastnn_uniform_state:
        uint64_t seed, offset
        double lower, upper
    ctypedef struct fastnn_dropout:
        uint64_t seed, offset
        uint32_t threshold
        double scale, shift, dropped
    bint fastnn_run_dropout(const fastnn_map *, const fastnn_dropout *, size_t)
    bint fastnn_run_dropout_mask(const fastnn_dropout *, uint64_t, size_t, bint, uint8_t *)
    void fastnn_draw_blocks(uint64_t, uint64_t, uint64_t, size_t, uint16_t *)
    void fastnn_philox4x32(const uint32_t *, const uint32_t *, uint32_t *)
    void fastnn_generate_uniform(const fastnn_operand *, size_t, size_t, void *) noexcept

    int fastnn_get_num_threads()
    void fastnn_set_num_threads(int)
    int fastnn_usable_cpus()
    int fastnn_parse_cpu_max(const char *)
    void fastnn_set_interrupt_check(int (*)() noexcept)

    size_t fastnn_cached_bytes()
    void fastnn_empty_cache()

cdef extern from "_numpy_memory.h":
    object fastnn_new_array(int, cnp.npy_intp *, int)

cnp.import_array()

cdef enum:
    CACHED_BYTES = 65536  # from here on results come from the caching allocator: below, NumPy's own is as quick
    GIL_FREE_ELEMENTS = 8192  # from here on a call lets other Python threads run

cdef int PLAIN = cnp.NPY_ARRAY_C_CONTIGUOUS | cnp.NPY_ARRAY_ALIGNED
cdef int PLAIN_OUT = PLAIN | cnp.NPY_ARRAY_WRITEABLE


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


cdef inline int finish(bint done) except -1:
    """Raises what the interrupt check left."""
    return 0 if done else pending_error()


cdef inline int conclude(fastnn_outcome outcome) except -1:
    """The same for calls that allocate scratch memory."""
    if outcome == FASTNN_NO_MEMORY:
        raise MemoryError("no scratch memory for this call")
    return finish(outcome == FASTNN_DONE)


# ---- arrays ------------------------------------------------------------------------------------------------------

cdef inline bint is_plain(object array, int flags):
    if not cnp.PyArray_CheckExact(array):
        return False
    cdef cnp.ndarray a = array
    cdef int type = cnp.PyArray_TYPE(a)
    return (
        (type == cnp.NPY_FLOAT or type == cnp.NPY_DOUBLE)
        and (cnp.PyArray_FLAGS(a) & flags) == flags
        and cnp.PyArray_ISNOTSWAPPED(a)
    )


cdef inline bint has_shape(cnp.ndarray array, int dims, cnp.npy_intp *shape):
    cdef int d  # or it would be a Python integer
    if cnp.PyArray_NDIM(array) != dims:
        return False
    for d in range(dims):
        if cnp.PyArray_DIM(array, d) != shape[d]:
            return False
    return True


cdef inline bint are_apart(cnp.ndarray a, cnp.ndarray b):
    """The memory of two contiguous arrays has nothing in common."""
    cdef uintptr_t p = <uintptr_t>cnp.PyArray_DATA(a), q = <uintptr_t>cnp.PyArray_DATA(b)
    return p + <uintptr_t>cnp.PyArray_NBYTES(a) <= q or q + <uintptr_t>cnp.PyArray_NBYTES(b) <= p


cdef inline bint same_form(cnp.ndarray a, cnp.ndarray b):
    """Shape and dtype agree."""
    return cnp.PyArray_TYPE(a) == cnp.PyArray_TYPE(b) and has_shape(a, cnp.PyArray_NDIM(b), cnp.PyArray_DIMS(b))


cdef inline bint apart_or_same(cnp.ndarray a, cnp.ndarray b):
    """The memory of two contiguous arrays of one form is the same, or has nothing in common."""
    return cnp.PyArray_DATA(a) == cnp.PyArray_DATA(b) or are_apart(a, b)


cdef inline bint fits(object out, object like):
    """`out` is a plain array of the form of `like`, and the same memory or apart from it."""
    return is_plain(out, PLAIN_OUT) and same_form(out, like) and apart_or_same(out, like)


def are_plain(tuple inputs, out):
    """Whether the short way is open: plain arrays of one form, and `out` (or None) fits them all."""
    first = inputs[0]
    for array in inputs:
        if not (is_plain(array, PLAIN) and is_plain(first, PLAIN) and same_form(array, first) and (out is None or fits(out, array))):
            return False
    return True


cdef object new_array(int dims, cnp.npy_intp *shape, int type, size_t bytes):
    """An uninitialised C-ordered array of elements of `bytes` bytes."""
    cdef int d
    for d in range(dims):
        bytes *= <size_t>shape[d]
    if bytes < CACHED_BYTES:
        return cnp.PyArray_EMPTY(dims, shape, type, 0)
    return fastnn_new_array(dims, shape, type)


cdef inline object new_like(cnp.ndarray array):
    """An uninitialised array of the form of a plain one."""
    return new_array(cnp.PyArray_NDIM(array), cnp.PyArray_DIMS(array), cnp.PyArray_TYPE(array),
                     cnp.PyArray_ITEMSIZE(array))


def empty(tuple shape, dtype):
    """An uninitialised C-ordered array; a large one has its memory from the caching allocator."""
    cdef cnp.npy_intp sizes[FASTNN_MAX_DIMS]
    form = cnp.dtype(dtype)
    for d in range(len(shape)):
        sizes[d] = shape[d]
    return new_array(len(shape), sizes, form.num, form.itemsize)


cdef inline bint is_tensor(object value):
    """Has DLPack or is on a GPU, and is not NumPy's own. What most arguments are is found at once."""
    if value is None or isinstance(value, (float, int, tuple, list, str)) or cnp.PyArray_Check(value):
        return False
    return hasattr(value, "__dlpack__") or hasattr(value, "__cuda_array_interface__")


cdef bint any_tensor(tuple values):
    for value in values:
        if is_tensor(value):
            return True
    return False


def has_tensor(tuple args, dict kwargs):
    """Whether another library's tensor is among the arguments, and fastnn._core.dlpack must be asked."""
    return any_tensor(args) or any_tensor(tuple(kwargs.values()))


cdef object dlpack = None  # fastnn._core.dlpack, which is imported once, and not before: it itself needs this module

cdef object call_with_tensors(function, like, tuple names, tuple args):
    """What fastnn._core.dlpack.call returns; quicker where the arrays' type says that they are on a GPU."""
    global dlpack
    if dlpack is None:
        from fastnn._core import dlpack
        dlpack = dlpack
    twin = dlpack.twin_for(function, type(like))
    return dlpack.call(function, like, names, args) if twin is None else twin(*args)


cdef inline void *data_or_null(object array) except? NULL:
    return NULL if array is None else cnp.PyArray_DATA(<cnp.ndarray>array)


cdef inline double parameter(int kernel, int index, object value) except? -1:
    if PyFloat_CheckExact(value):
        return PyFloat_AsDouble(value)
    from fastnn._core import arrays  # which itself needs this module

    name = fastnn_activations[kernel // 2].parameters[index].name
    return arrays.real_number("" if name is NULL else (<bytes>name).decode(), value)


# ---- activations -------------------------------------------------------------------------------------------------

cdef int run_contiguous(int kernel, cnp.ndarray like, void **data, const double *parameters) except -1:
    cdef size_t count = <size_t>cnp.PyArray_SIZE(like)
    cdef bint float64 = cnp.PyArray_TYPE(like) == cnp.NPY_DOUBLE
    cdef bint done
    if count < GIL_FREE_ELEMENTS:
        done = fastnn_run_contiguous(kernel, float64, count, data, parameters)
    else:
        with nogil:
            done = fastnn_run_contiguous(kernel, float64, count, data, parameters)
    return finish(done)


def forward(int kernel, input, out, p0=0.0, p1=0.0):
    """`kernel` (the number of an activation's forward) of `input`."""
    cdef double[2] parameters = [parameter(kernel, 0, p0), parameter(kernel, 1, p1)]
    cdef void *data[2]
    if not is_plain(input, PLAIN):
        return general(kernel, ("kernel", "input", "out", "p0", "p1"), (input,), out, parameters)
    if out is None:
        out = new_like(input)
    elif not fits(out, input):
        return general(kernel, ("kernel", "input", "out", "p0", "p1"), (input,), out, parameters)
    data[0] = cnp.PyArray_DATA(<cnp.ndarray>out)
    data[1] = cnp.PyArray_DATA(<cnp.ndarray>input)
    run_contiguous(kernel, out, data, parameters)
    return out


def backward(int kernel, dy, saved, out, p0=0.0, p1=0.0):
    """`kernel` (the number of an activation's backward) of `dy` and what forward's input or output was."""
    cdef double[2] parameters = [parameter(kernel, 0, p0), parameter(kernel, 1, p1)]
    cdef void *data[3]
    cdef bint plain = is_plain(dy, PLAIN) and is_plain(saved, PLAIN) and same_form(dy, saved)
    if plain and out is None:
        out = new_like(dy)
    else:
        plain = plain and fits(out, dy) and fits(out, saved)
    if not plain:
        names = ("kernel", "dy", "input", "out", "p0", "p1")
        if fastnn_activations[kernel // 2].saves_output:
            names = ("kernel", "dy", "output", "out", "p0", "p1")
        return general(kernel, names, (dy, saved), out, parameters)
    data[0] = cnp.PyArray_DATA(<cnp.ndarray>out)
    data[1] = cnp.PyArray_DATA(<cnp.ndarray>dy)
    data[2] = cnp.PyArray_DATA(<cnp.ndarray>saved)
    run_contiguous(kernel, out, data, parameters)
    return out


cdef object general(int kernel, tuple names, tuple inputs, out, const double *parameters):
    """Any arrays of one shape: promoted, checked, and run through the strided driver. names: of all arguments."""
    if any_tensor(inputs) or is_tensor(out):
        again = backward if kernel % 2 else forward
        args = (kernel,) + inputs + (out, parameters[0], parameters[1])  # stars would take longer
        return call_with_tensors(again, inputs[0], names, args)
    from fastnn._core import arrays  # which itself needs this module

    inputs, target = arrays.prepare(tuple(zip(names[1:], inputs)), out)
    run_map(kernel, (target,), inputs, parameters, NULL)
    return arrays.deliver(target, out)


cdef int fill_operand(fastnn_operand *operand, cnp.ndarray array) except -1:
    cdef int type = cnp.PyArray_TYPE(array)
    operand.data = <char *>cnp.PyArray_DATA(array)
    operand.strides = <const ptrdiff_t *>cnp.PyArray_STRIDES(array)
    if type == cnp.NPY_FLOAT:
        operand.dtype = FASTNN_FLOAT32
    elif type == cnp.NPY_DOUBLE:
        operand.dtype = FASTNN_FLOAT64
    else:
        operand.dtype = FASTNN_FLOAT16 if type == cnp.NPY_FLOAT16 else FASTNN_BFLOAT16
    return 0


cdef int start_map(fastnn_map *map, int kernel, int outputs, int inputs, cnp.ndarray like) except -1:
    """All of a map but its operands; it has the shape and dtype of `like`, which must outlive it."""
    map.kernel = kernel
    map.dims = cnp.PyArray_NDIM(like)
    map.shape = <const size_t *>cnp.PyArray_DIMS(like)
    map.float64 = cnp.PyArray_TYPE(like) == cnp.NPY_DOUBLE
    map.outputs = outputs
    map.inputs = inputs
    map.parameters[0] = map.parameters[1] = 0
    return 0


cdef int run(const fastnn_map *map) except -1:
    cdef bint done
    with nogil:
        done = fastnn_run_map(map)
    return finish(done)


cdef int run_map(int kernel, tuple outputs, tuple inputs, const double *parameters,
                 const fastnn_uniform_state *uniform) except -1:
    """The strided driver on ready arrays of one shape; with `uniform` a generated input follows them."""
    cdef fastnn_map map
    cdef int k = 0
    start_map(&map, kernel, len(outputs), len(inputs), outputs[0])
    for array in outputs + inputs:
        fill_operand(&map.operands[k], array)
        k += 1
    if uniform is not NULL:
        map.operands[k].data = NULL
        map.operands[k].strides = NULL
        map.operands[k].dtype = FASTNN_FLOAT64 if map.float64 else FASTNN_FLOAT32
        map.operands[k].generate = fastnn_generate_uniform
        map.operands[k].state = uniform
        map.inputs += 1
    if parameters is not NULL:
        memcpy(map.parameters, parameters, sizeof(map.parameters))
    return run(&map)


def map_arrays(int kernel, tuple outputs, tuple inputs):
    """A kernel without parameters on arrays that fastnn._core.arrays has made ready: one shape, no harmful overlap."""
    run_map(kernel, outputs, inputs, NULL, NULL)


def map_with_uniform(int kernel, tuple outputs, tuple inputs, uint64_t seed, uint64_t offset, double lower, double upper):
    """The same with a last input that is drawn: uniform in (lower, upper), element by element."""
    cdef fastnn_uniform_state state
    state.seed, state.offset, state.lower, state.upper = seed, offset, lower, upper
    run_map(kernel, outputs, inputs, NULL, &state)


def prelu(int leaky_relu, input, weight, out):
    """PReLU of plain arrays, (N, C, ...) and (1,) or (C,), of one dtype; None if they are not that."""
    if not (is_plain(input, PLAIN) and is_plain(weight, PLAIN) and (out is None or fits(out, input))):
        return None
    cdef cnp.ndarray x = input, w = weight
    cdef int type = cnp.PyArray_TYPE(x)
    cdef size_t channels = <size_t>cnp.PyArray_SIZE(w), inner = 1
    cdef bint float64 = type == cnp.NPY_DOUBLE, done
    if cnp.PyArray_NDIM(w) != 1 or cnp.PyArray_TYPE(w) != type:
        return None
    if channels == 1:
        value = (<double *>cnp.PyArray_DATA(w))[0] if float64 else (<float *>cnp.PyArray_DATA(w))[0]
        return forward(leaky_relu, input, out, value)
    if cnp.PyArray_NDIM(x) < 2 or <size_t>cnp.PyArray_DIM(x, 1) != channels:
        return None
    if out is not None and not are_apart(out, w):
        return None
    if out is None:
        out = new_like(x)
    for d in range(2, cnp.PyArray_NDIM(x)):
        inner *= <size_t>cnp.PyArray_DIM(x, d)
    cdef size_t outer = <size_t>cnp.PyArray_DIM(x, 0)
    cdef void *p_x = cnp.PyArray_DATA(x)
    cdef void *p_w = cnp.PyArray_DATA(w)
    cdef void *p_y = cnp.PyArray_DATA(<cnp.ndarray>out)
    with nogil:
        done = fastnn_prelu(float64, outer, channels, inner, p_x, p_w, p_y)
    finish(done)
    return out


cdef int halve(fastnn_operand *halves, cnp.ndarray array, int axis) except -1:
    """The two halves of a plain array along an axis."""
    fill_operand(&halves[0], array)
    halves[1] = halves[0]
    halves[1].data += cnp.PyArray_DIM(array, axis) // 2 * cnp.PyArray_STRIDE(array, axis)
    return 0


cdef int half_shape(cnp.ndarray array, int axis, cnp.npy_intp *shape) except -1:
    for d in range(cnp.PyArray_NDIM(array)):
        shape[d] = cnp.PyArray_DIM(array, d)
    shape[axis] //= 2
    return 0


def gated(int kernel, input, int axis, out):
    """A gated kernel on the halves of a plain array along an axis >= 0; None if the arrays are not plain."""
    cdef cnp.npy_intp shape[FASTNN_MAX_DIMS]
    cdef fastnn_map map
    if not is_plain(input, PLAIN):
        return None
    cdef cnp.ndarray x = input
    half_shape(x, axis, shape)
    if out is None:
        out = new_array(cnp.PyArray_NDIM(x), shape, cnp.PyArray_TYPE(x), cnp.PyArray_ITEMSIZE(x))
    elif not (is_plain(out, PLAIN_OUT) and cnp.PyArray_TYPE(<cnp.ndarray>out) == cnp.PyArray_TYPE(x)
              and has_shape(out, cnp.PyArray_NDIM(x), shape) and are_apart(out, x)):
        return None
    fill_operand(&map.operands[0], out)
    halve(&map.operands[1], x, axis)
    start_map(&map, kernel, 1, 2, out)
    run(&map)
    return out


def gated_backward(int kernel, dy, input, int axis, out):
    """The same for the gradient; `out` has input's form, and may be the input."""
    cdef cnp.npy_intp shape[FASTNN_MAX_DIMS]
    cdef fastnn_map map
    if not (is_plain(input, PLAIN) and is_plain(dy, PLAIN) and (out is None or fits(out, input))):
        return None
    cdef cnp.ndarray x = input, g = dy
    half_shape(x, axis, shape)
    if cnp.PyArray_TYPE(g) != cnp.PyArray_TYPE(x) or not has_shape(g, cnp.PyArray_NDIM(x), shape):
        return None
    if out is None:
        out = new_like(x)
    elif not are_apart(out, g):
        return None
    halve(&map.operands[0], out, axis)
    fill_operand(&map.operands[2], g)
    halve(&map.operands[3], x, axis)
    start_map(&map, kernel, 2, 3, g)
    run(&map)
    return out


def prelu_backward(cnp.ndarray dy, cnp.ndarray input, cnp.ndarray weight, cnp.ndarray dx, size_t outer, size_t inner):
    """Fills dx; returns dweight in float64. All contiguous, of one dtype; (outer, weight.size, inner) elements."""
    cdef size_t channels = <size_t>cnp.PyArray_SIZE(weight)
    cdef bint float64 = cnp.PyArray_TYPE(dx) == cnp.NPY_DOUBLE
    cdef fastnn_outcome outcome
    cdef cnp.npy_intp sizes[1]
    sizes[0] = channels
    cdef cnp.ndarray dweight = new_array(1, sizes, cnp.NPY_DOUBLE, 8)
    cdef void *p_dy = cnp.PyArray_DATA(dy)
    cdef void *p_x = cnp.PyArray_DATA(input)
    cdef void *p_weight = cnp.PyArray_DATA(weight)
    cdef void *p_dx = cnp.PyArray_DATA(dx)
    cdef double *p_dweight = <double *>cnp.PyArray_DATA(dweight)
    with nogil:
        outcome = fastnn_prelu_backward(float64, outer, channels, inner, p_dy, p_x, p_weight, p_dx, p_dweight)
    conclude(outcome)
    return dweight


def maxout(cnp.ndarray input, cnp.ndarray out, cnp.ndarray planes, size_t outer, size_t groups, size_t k, size_t inner):
    """Fills out and the bit planes of the winners, from contiguous (outer, groups, k, inner) elements."""
    cdef bint float64 = cnp.PyArray_TYPE(out) == cnp.NPY_DOUBLE
    cdef void *p_x = cnp.PyArray_DATA(input)
    cdef void *p_y = cnp.PyArray_DATA(out)
    cdef uint8_t *p_planes = <uint8_t *>cnp.PyArray_DATA(planes)
    cdef int bits = <int>cnp.PyArray_DIM(planes, 0)
    cdef bint done
    with nogil:
        done = fastnn_maxout(float64, outer, groups, k, inner, p_x, p_y, bits, p_planes)
    finish(done)


def maxout_backward(cnp.ndarray dy, cnp.ndarray planes, cnp.ndarray dx, size_t outer, size_t groups, size_t k, size_t inner):
    """Fills dx: dy where a piece won, else 0."""
    cdef bint float64 = cnp.PyArray_TYPE(dx) == cnp.NPY_DOUBLE
    cdef void *p_dy = cnp.PyArray_DATA(dy)
    cdef void *p_dx = cnp.PyArray_DATA(dx)
    cdef uint8_t *p_planes = <uint8_t *>cnp.PyArray_DATA(planes)
    cdef int bits = <int>cnp.PyArray_DIM(planes, 0)
    cdef bint done
    with nogil:
        done = fastnn_maxout_backward(float64, outer, groups, k, inner, p_dy, bits, p_planes, p_dx)
    finish(done)


include "channel.pxi"
include "random.pxi"
include "row.pxi"
include "softmax.pxi"
include "gemm.pxi"
include "window.pxi"
include "optimizer.pxi"


# ---- the table, the machine ---------------------------------------------------------------------------------------

def nothing():
    """Does nothing: what an empty call costs."""


def find_kernel(str name):
    """The number of a kernel of activations.def; `x_backward` for the backward of activation x."""
    kernel = fastnn_find_kernel(name.encode())
    if kernel < 0:
        raise LookupError(f"no kernel is called {name!r}")
    return kernel


def activations():
    """The rows of activations.def: {name: (what backward needs, {parameter: default})}; a required one is None."""
    rows = {}
    for i in range(fastnn_activation_count):
        row = fastnn_activations[i]
        parameters = {}
        for j in range(2):
            if row.parameters[j].name is not NULL:
                value = row.parameters[j].value
                parameters[(<bytes>row.parameters[j].name).decode()] = None if isnan(value) else value
        rows[(<bytes>row.name).decode()] = ("output" if row.saves_output else "input", parameters)
    return rows


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


def philox4x32(counter, key):
    """One block of Philox4x32-10: four words from a counter of four and a key of two."""
    cdef uint32_t[4] c = counter
    cdef uint32_t[2] k = key
    cdef uint32_t[4] words
    fastnn_philox4x32(c, k, words)
    return words[0], words[1], words[2], words[3]


def get_num_threads():
    """How many threads a call may use."""
    return fastnn_get_num_threads()


def set_num_threads(int count):
    """Sets how many threads a call may use, from now on and in every Python thread; count >= 1."""
    fastnn_set_num_threads(count)


def usable_cpus():
    """The CPUs that this process may use, by affinity and cgroup quota."""
    return fastnn_usable_cpus()


def parse_cpu_max(str line):
    """CPUs in a line of cgroup v2's cpu.max, rounded up; 0 for no limit."""
    return fastnn_parse_cpu_max(line.encode())


def cached_bytes():
    """The bytes that the caching allocator keeps for later arrays."""
    return fastnn_cached_bytes()


def empty_cache():
    """Gives the memory that the caching allocator keeps back to the system."""
    fastnn_empty_cache()
