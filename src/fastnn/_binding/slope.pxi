# PReLU, whose slopes are an array. Part of _kernels.pyx.

cdef extern from "fastnn.h" nogil:
    fastnn_outcome fastnn_prelu(bint, size_t, size_t, size_t, const void *, const void *, void *)
    fastnn_outcome fastnn_prelu_backward(bint, size_t, size_t, size_t, const void *, const void *, const void *, void *,
                                         double *)


cdef int LEAKY_RELU = fastnn_find_kernel(b"leaky_relu")


cdef object plain_prelu(input, weight, out):
    if not (is_plain(input, PLAIN) and is_plain(weight, PLAIN) and (out is None or fits(out, input))):
        return None
    cdef cnp.ndarray x = input, w = weight
    cdef int type = cnp.PyArray_TYPE(x)
    cdef size_t channels = <size_t>cnp.PyArray_SIZE(w), inner = 1
    cdef bint float64 = type == cnp.NPY_DOUBLE
    cdef fastnn_outcome outcome
    if cnp.PyArray_NDIM(w) != 1 or cnp.PyArray_TYPE(w) != type:
        return None
    if channels == 1:
        value = (<double *>cnp.PyArray_DATA(w))[0] if float64 else (<float *>cnp.PyArray_DATA(w))[0]
        return forward(LEAKY_RELU, input, out, value)
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
        outcome = fastnn_prelu(float64, outer, channels, inner, p_x, p_w, p_y)
    conclude(outcome)
    return out


def prelu(input, weight, out):
    """PReLU of an input (N, C, ...) and a weight (1,) or (C,)."""
    result = plain_prelu(input, weight, out)
    return general("prelu", input, (input, weight, out)) if result is None else result


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
