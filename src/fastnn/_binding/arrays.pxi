# What the binding needs to know of arrays and numbers: whether they are plain, and new ones. Part of _kernels.pyx.

import numpy

cdef extern from "Python.h":
    bint PyFloat_CheckExact(object)
    double PyFloat_AsDouble(object) except? -1

cdef extern from "fastnn.h" nogil:
    enum: FASTNN_MAX_DIMS

cdef extern from "_numpy_memory.h":
    object fastnn_memory_handler()
    object fastnn_new_array(object, int, cnp.npy_intp *, int)

cdef enum:
    CACHED_BYTES = 65536  # from here on results come from the caching allocator: below, NumPy's own is as quick

cdef object memory_handler = fastnn_memory_handler()

cdef double MOST_BYTES = 2.0**63  # of an array

cdef int PLAIN = cnp.NPY_ARRAY_C_CONTIGUOUS | cnp.NPY_ARRAY_ALIGNED
cdef int PLAIN_OUT = PLAIN | cnp.NPY_ARRAY_WRITEABLE


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
    """The memory of two contiguous arrays has nothing in common; that of an empty one has with none."""
    cdef uintptr_t p = <uintptr_t>cnp.PyArray_DATA(a), q = <uintptr_t>cnp.PyArray_DATA(b)
    cdef uintptr_t m = <uintptr_t>cnp.PyArray_NBYTES(a), n = <uintptr_t>cnp.PyArray_NBYTES(b)
    return p + m <= q or q + n <= p or m == 0 or n == 0


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
    """Whether a kernel takes them as they are: plain arrays of one form, and `out` (or None) fits them all."""
    first = inputs[0]
    for array in inputs:
        if not (is_plain(array, PLAIN) and is_plain(first, PLAIN) and same_form(array, first) and (out is None or fits(out, array))):
            return False
    return True


def are_apart_from(out, tuple inputs):
    """Whether all are plain arrays, or None, whose memory has nothing in common with that of the plain array `out`."""
    if not is_plain(out, PLAIN):
        return False
    for array in inputs:
        if not (array is None or (is_plain(array, PLAIN) and are_apart(array, out))):
            return False
    return True


cdef object new_array(int dims, cnp.npy_intp *shape, int type, size_t bytes):
    """An uninitialised C-ordered array of elements of `bytes` bytes."""
    cdef int d
    for d in range(dims):
        bytes *= <size_t>shape[d]
    if bytes < CACHED_BYTES:
        return cnp.PyArray_EMPTY(dims, shape, type, 0)
    return fastnn_new_array(memory_handler, dims, shape, type)


cdef inline object new_like(cnp.ndarray array):
    """An uninitialised array of the form of a plain one."""
    return new_array(cnp.PyArray_NDIM(array), cnp.PyArray_DIMS(array), cnp.PyArray_TYPE(array),
                     cnp.PyArray_ITEMSIZE(array))


cdef object new_of_shape(tuple shape, int type, size_t bytes):
    """The same for the shape as a tuple, which may come from a user."""
    cdef cnp.npy_intp sizes[FASTNN_MAX_DIMS]
    cdef double total = bytes  # NumPy counts a size of 0 as 1 here
    if len(shape) > FASTNN_MAX_DIMS:
        raise ValueError(f"the result's shape must have at most {FASTNN_MAX_DIMS} dimensions, got {len(shape)}")
    for d in range(len(shape)):
        sizes[d] = shape[d]
        total *= max(sizes[d], 1)
    if total >= MOST_BYTES:
        raise ValueError(f"the result's shape must be one of fewer than 2**63 bytes, got {shape}")
    return new_array(len(shape), sizes, type, bytes)


def empty(tuple shape, dtype):
    """An uninitialised C-ordered array; a large one has its memory from the caching allocator."""
    form = cnp.dtype(dtype)
    return new_of_shape(shape, form.num, form.itemsize)


cdef inline bint is_tensor(object value):
    """Another library's array: it has DLPack or is on a GPU. What most arguments are is told at once."""
    if value is None or isinstance(value, (float, int, tuple, list, str)) or cnp.PyArray_Check(value):
        return False
    return hasattr(value, "__dlpack__") or hasattr(value, "__cuda_array_interface__")


def has_tensor(tuple args, dict kwargs):
    """Whether another library's tensor is among the arguments."""
    for value in args:
        if is_tensor(value):
            return True
    for value in kwargs.values():
        if is_tensor(value):
            return True
    return False


cdef inline void *data_or_null(object array) except? NULL:
    return NULL if array is None else cnp.PyArray_DATA(<cnp.ndarray>array)


cdef tuple REAL = (int, float, numpy.integer, numpy.floating)  # bool is an int


def real_number(str name, value):
    """`value` as a float; an error that names the parameter if it is not one real number in the range of floats."""
    if PyFloat_CheckExact(value):
        return value
    if not isinstance(value, REAL):
        raise TypeError(f"{name} must be a real number, got {type(value).__name__}")
    try:
        return float(value)
    except OverflowError:
        raise ValueError(f"{name} must be in the range of float64, got {type(value).__name__} beyond it") from None


cdef inline int axis_of(object dim, cnp.ndarray x):
    """`dim` as an axis >= 0; -1 if it is none. An array without dimensions has one axis."""
    cdef Py_ssize_t dims = cnp.PyArray_NDIM(x), axis
    if type(dim) is not int:
        return -1
    if dims == 0:
        dims = 1
    if not -dims <= dim < dims:
        return -1
    axis = dim
    return <int>(axis + dims if axis < 0 else axis)
