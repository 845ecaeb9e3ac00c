# Norms of rows: layer norm, RMS norm, group norm, instance norm. Part of _kernels.pyx.

cdef extern from "fastnn.h" nogil:
    ctypedef struct fastnn_norm:
        bint float64, channels_last, given
        size_t rows, groups, channels, inner
        double eps
        const void *x
        const void *weight
        const void *bias
        double *mean
        double *rstd
        double *variance
        void *y
        const void *dy
        void *dx
        void *dweight
        void *dbias
    fastnn_outcome fastnn_run_norm(const fastnn_norm *)
    fastnn_outcome fastnn_run_norm_backward(const fastnn_norm *)


cdef inline bint is_parameter(object array, cnp.ndarray x, object out):
    """Whether it is None, or a plain array of x's dtype whose memory is apart from that of `out`."""
    if array is None:
        return True
    if not (is_plain(array, PLAIN) and cnp.PyArray_TYPE(<cnp.ndarray>array) == cnp.PyArray_TYPE(x)):
        return False
    return out is None or are_apart(array, out)


cdef object new_doubles(tuple shape):
    return new_of_shape(shape, cnp.NPY_DOUBLE, 8)


cdef int start_norm(fastnn_norm *norm, cnp.ndarray x, weight, mean, cnp.ndarray rstd, bint given, tuple blocks,
                    bint channels_last) except -1:
    """Sets the fields that forward and backward share; blocks: (groups, channels, inner)."""
    norm.float64 = cnp.PyArray_TYPE(x) == cnp.NPY_DOUBLE
    norm.channels_last = channels_last
    norm.given = given
    norm.rows = <size_t>cnp.PyArray_SIZE(rstd)
    norm.groups, norm.channels, norm.inner = blocks
    norm.x = cnp.PyArray_DATA(x)
    norm.weight = data_or_null(weight)
    norm.mean = <double *>data_or_null(mean)
    norm.rstd = <double *>cnp.PyArray_DATA(rstd)
    return 0


cdef object plain_norm(input, weight, bias, out, tuple rows, tuple blocks, double eps, bint centred, tuple given, variance,
                       bint channels_last):
    cdef fastnn_norm norm
    cdef fastnn_outcome outcome
    if not (is_plain(input, PLAIN) and (out is None or fits(out, input))):
        return None
    cdef cnp.ndarray x = input
    if not (is_parameter(weight, x, out) and is_parameter(bias, x, out)):
        return None
    if given is None:
        mean, rstd = new_doubles(rows) if centred else None, new_doubles(rows)
    else:
        mean, rstd = given
    if out is None:
        out = new_like(x)
    start_norm(&norm, x, weight, mean, rstd, given is not None, blocks, channels_last)
    norm.eps = eps
    norm.bias = data_or_null(bias)
    norm.variance = <double *>data_or_null(variance)
    norm.y = cnp.PyArray_DATA(<cnp.ndarray>out)
    if cnp.PyArray_SIZE(x) < GIL_FREE_ELEMENTS:
        outcome = fastnn_run_norm(&norm)
    else:
        with nogil:
            outcome = fastnn_run_norm(&norm)
    conclude(outcome)
    return out, mean, rstd


def norm(input, weight, bias, out, tuple rows, tuple blocks, double eps, bint centred, tuple given, variance,
         bint channels_last=False):
    """Returns (y, mean, rstd), the last two of shape `rows`, and fills `variance`.

    blocks: (groups, channels, inner). With `centred` false, the RMS norm, mean is None. given: the (mean, rstd) to
    normalise by, or None for those of the input. channels_last: input and out are plain arrays of shape (N, ..., C).
    """
    result = plain_norm(input, weight, bias, out, rows, blocks, eps, centred, given, variance, channels_last)
    if result is not None:
        return result
    return general("norm", input, (input, weight, bias, out, rows, blocks, eps, centred, given, variance))


cdef object plain_norm_backward(dy, input, weight, bias, out, mean, rstd, bint given, tuple blocks, tuple parameters,
                                bint channels_last):
    cdef fastnn_norm norm
    cdef fastnn_outcome outcome
    if not (is_plain(dy, PLAIN) and is_plain(input, PLAIN) and same_form(dy, input)
            and (out is None or (fits(out, dy) and fits(out, input)))):
        return None
    cdef cnp.ndarray x = input
    cdef int type = cnp.PyArray_TYPE(x)
    if not (is_parameter(weight, x, out) and is_parameter(bias, x, None)):  # dbias has the dtype of bias
        return None
    dweight = None if weight is None else new_of_shape(parameters, type, cnp.PyArray_ITEMSIZE(x))
    dbias = None if bias is None else new_of_shape(parameters, type, cnp.PyArray_ITEMSIZE(x))
    if out is None:
        out = new_like(x)
    start_norm(&norm, x, weight, mean, rstd, given, blocks, channels_last)
    norm.dy = cnp.PyArray_DATA(<cnp.ndarray>dy)
    norm.dx = cnp.PyArray_DATA(<cnp.ndarray>out)
    norm.dweight = data_or_null(dweight)
    norm.dbias = data_or_null(dbias)
    if cnp.PyArray_SIZE(x) < GIL_FREE_ELEMENTS:
        outcome = fastnn_run_norm_backward(&norm)
    else:
        with nogil:
            outcome = fastnn_run_norm_backward(&norm)
    conclude(outcome)
    return out, dweight, dbias


def norm_backward(dy, input, weight, bias, out, mean, rstd, bint given, tuple blocks, tuple parameters,
                  bint channels_last=False):
    """Returns (dx, dweight, dbias), the last two of shape `parameters`, and None where weight or bias is.

    given: whether forward was given mean and rstd; channels_last: as in `norm`.
    """
    result = plain_norm_backward(dy, input, weight, bias, out, mean, rstd, given, blocks, parameters, channels_last)
    if result is not None:
        return result
    return general("norm_backward", dy, (dy, input, weight, bias, out, mean, rstd, given, blocks, parameters))
