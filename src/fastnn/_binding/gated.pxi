# Activations that join parts of their input: GLU, SwiGLU and Maxout. Part of _kernels.pyx.

cdef extern from "fastnn.h" nogil:
    fastnn_outcome fastnn_maxout(bint, size_t, size_t, size_t, size_t, const void *, void *, int, uint8_t *)
    fastnn_outcome fastnn_maxout_backward(bint, size_t, size_t, size_t, size_t, const void *, int, const uint8_t *, void *)


cdef int halve(fastnn_operand *halves, cnp.ndarray array, int axis) except -1:
    """The two halves of a plain array along an axis."""
    fill_operand(&halves[0], array)
    halves[1] = halves[0]
    halves[1].data += cnp.PyArray_DIM(array, axis) // 2 * cnp.PyArray_STRIDE(array, axis)
    return 0


cdef int half_shape(object array, object dim, cnp.npy_intp *shape) noexcept:
    """The axis of a plain array that `dim` names, and the shape of its halves; -1 where it cannot be halved."""
    if not is_plain(array, PLAIN) or cnp.PyArray_NDIM(<cnp.ndarray>array) == 0:
        return -1
    cdef cnp.ndarray x = array
    cdef int axis = axis_of(dim, x), d
    if axis < 0 or cnp.PyArray_DIM(x, axis) % 2:
        return -1
    for d in range(cnp.PyArray_NDIM(x)):
        shape[d] = cnp.PyArray_DIM(x, d)
    shape[axis] //= 2
    return axis


cdef inline bint has_form(object array, int flags, cnp.ndarray like, cnp.npy_intp *shape):
    """Whether it is a plain array of this shape and of the dtype of `like`, which has as many dimensions."""
    return (
        is_plain(array, flags)
        and cnp.PyArray_TYPE(<cnp.ndarray>array) == cnp.PyArray_TYPE(like)
        and has_shape(array, cnp.PyArray_NDIM(like), shape)
    )


def gated(int kernel, input, dim, out):
    """A gated kernel on the two halves of an array along a dimension."""
    cdef cnp.npy_intp shape[FASTNN_MAX_DIMS]
    cdef fastnn_map map
    cdef int axis = half_shape(input, dim, shape)
    if axis < 0 or not (out is None or (has_form(out, PLAIN_OUT, input, shape) and are_apart(out, input))):
        return general("gated", input, (kernel, input, dim, out))
    cdef cnp.ndarray x = input
    if out is None:
        out = new_array(cnp.PyArray_NDIM(x), shape, cnp.PyArray_TYPE(x), cnp.PyArray_ITEMSIZE(x))
    fill_operand(&map.operands[0], out)
    halve(&map.operands[1], x, axis)
    start_map(&map, kernel, 1, 2, out)
    run(&map)
    return out


def gated_backward(int kernel, dy, input, dim, out):
    """The gradient of that; `out` has input's form, and may be the input."""
    cdef cnp.npy_intp shape[FASTNN_MAX_DIMS]
    cdef fastnn_map map
    cdef int axis = half_shape(input, dim, shape)
    if axis < 0 or not (has_form(dy, PLAIN, input, shape)
                        and (out is None or (fits(out, input) and are_apart(out, dy)))):
        return general("gated_backward", dy, (kernel, dy, input, dim, out))
    cdef cnp.ndarray x = input, g = dy
    if out is None:
        out = new_like(x)
    halve(&map.operands[0], out, axis)
    fill_operand(&map.operands[2], g)
    halve(&map.operands[3], x, axis)
    start_map(&map, kernel, 2, 3, g)
    run(&map)
    return out


def maxout(cnp.ndarray input, cnp.ndarray out, cnp.ndarray planes, size_t outer, size_t groups, size_t k, size_t inner):
    """Fills out and the bit planes of the winners, from contiguous (outer, groups, k, inner) elements."""
    cdef bint float64 = cnp.PyArray_TYPE(out) == cnp.NPY_DOUBLE
    cdef void *p_x = cnp.PyArray_DATA(input)
    cdef void *p_y = cnp.PyArray_DATA(out)
    cdef uint8_t *p_planes = <uint8_t *>cnp.PyArray_DATA(planes)
    cdef int bits = <int>cnp.PyArray_DIM(planes, 0)
    cdef fastnn_outcome outcome
    with nogil:
        outcome = fastnn_maxout(float64, outer, groups, k, inner, p_x, p_y, bits, p_planes)
    conclude(outcome)


def maxout_backward(cnp.ndarray dy, cnp.ndarray planes, cnp.ndarray dx, size_t outer, size_t groups, size_t k, size_t inner):
    """Fills dx: dy where a piece won, else 0."""
    cdef bint float64 = cnp.PyArray_TYPE(dx) == cnp.NPY_DOUBLE
    cdef void *p_dy = cnp.PyArray_DATA(dy)
    cdef void *p_dx = cnp.PyArray_DATA(dx)
    cdef uint8_t *p_planes = <uint8_t *>cnp.PyArray_DATA(planes)
    cdef int bits = <int>cnp.PyArray_DIM(planes, 0)
    cdef fastnn_outcome outcome
    with nogil:
        outcome = fastnn_maxout_backward(float64, outer, groups, k, inner, p_dy, bits, p_planes, p_dx)
    conclude(outcome)
