# Activations, and maps of a kernel over arrays of any layout. Part of _kernels.pyx.

cdef extern from "fastnn.h" nogil:
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
    int fastnn_find_kernel(const char *)

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
    ctypedef struct fastnn_uniform_state:
        uint64_t seed, offset, first
        double lower, upper
    fastnn_outcome fastnn_run_map(const fastnn_map *)
    fastnn_outcome fastnn_run_contiguous(int, bint, size_t, void **, const double *)
    void fastnn_generate_uniform(const fastnn_operand *, size_t, size_t, void *) noexcept


# ---- the table ---------------------------------------------------------------------------------------------------

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


cdef inline double parameter(int kernel, int index, object value) except? -1:
    if PyFloat_CheckExact(value):
        return PyFloat_AsDouble(value)
    name = fastnn_activations[kernel // 2].parameters[index].name
    return real_number("" if name is NULL else (<bytes>name).decode(), value)


# ---- plain arrays ------------------------------------------------------------------------------------------------

cdef int run_contiguous(int kernel, cnp.ndarray like, void **data, const double *parameters) except -1:
    cdef size_t count = <size_t>cnp.PyArray_SIZE(like)
    cdef bint float64 = cnp.PyArray_TYPE(like) == cnp.NPY_DOUBLE
    cdef fastnn_outcome outcome
    if count < GIL_FREE_ELEMENTS:
        outcome = fastnn_run_contiguous(kernel, float64, count, data, parameters)
    else:
        with nogil:
            outcome = fastnn_run_contiguous(kernel, float64, count, data, parameters)
    return conclude(outcome)


def forward(int kernel, input, out, p0=0.0, p1=0.0):
    """`kernel` (the number of an activation's forward) of `input`."""
    cdef double[2] parameters = [parameter(kernel, 0, p0), parameter(kernel, 1, p1)]
    cdef void *data[2]
    if not is_plain(input, PLAIN):
        return general("forward", input, (kernel, input, out, parameters[0], parameters[1]))
    if out is None:
        out = new_like(input)
    elif not fits(out, input):
        return general("forward", input, (kernel, input, out, parameters[0], parameters[1]))
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
        return general("backward", dy, (kernel, dy, saved, out, parameters[0], parameters[1]))
    data[0] = cnp.PyArray_DATA(<cnp.ndarray>out)
    data[1] = cnp.PyArray_DATA(<cnp.ndarray>dy)
    data[2] = cnp.PyArray_DATA(<cnp.ndarray>saved)
    run_contiguous(kernel, out, data, parameters)
    return out


# ---- arrays of any layout ----------------------------------------------------------------------------------------

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
    cdef fastnn_outcome outcome
    with nogil:
        outcome = fastnn_run_map(map)
    return conclude(outcome)


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


def map_arrays(int kernel, tuple outputs, tuple inputs, double p0=0.0, double p1=0.0):
    """A kernel on arrays of any layout and of the four floating dtypes, in this machine's byte order.

    They have one shape, and no output shares memory with an input of another layout.
    """
    cdef double[2] parameters = [p0, p1]
    run_map(kernel, outputs, inputs, parameters, NULL)


def map_with_uniform(int kernel, tuple outputs, tuple inputs, key, double lower, double upper):
    """The same with a last input that is drawn: uniform in (lower, upper), element by element."""
    cdef fastnn_uniform_state state
    open_key(key, outputs[0], 1, &state.seed, &state.offset, &state.first)
    state.lower, state.upper = lower, upper
    run_map(kernel, outputs, inputs, NULL, &state)
