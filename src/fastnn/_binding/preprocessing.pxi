# Centring and scaling of samples. Part of _kernels.pyx. fastnn.preprocessing has made the arrays contiguous and checked them.

cdef extern from "fastnn.h" nogil:
    ctypedef struct fastnn_standardization:
        bint float64, bytes, channels_last, each
        size_t samples, channels, inner
        const void *mean
        const void *mean_low
        const void *factor
    fastnn_outcome fastnn_standardize(const fastnn_standardization *, const void *, void *)


def standardize(cnp.ndarray x, bint channels_last, cnp.ndarray mean, cnp.ndarray mean_low, cnp.ndarray factor, cnp.ndarray out):
    """Fills `out`, of shape (samples, channels, ...), with (x - mean) factor.

    x is uint8 or of the dtype of `out`, and in memory (samples, channels, ...) or with channels_last (samples, ...,
    channels). The other three have the dtype of `out`, and an element for each channel or for each element of a sample.
    """
    cdef size_t statistics = <size_t>cnp.PyArray_SIZE(mean)
    cdef fastnn_standardization call
    cdef fastnn_outcome outcome
    call.float64 = cnp.PyArray_TYPE(out) == cnp.NPY_DOUBLE
    call.bytes = cnp.PyArray_TYPE(x) == cnp.NPY_UINT8
    call.channels_last = channels_last
    call.samples, call.channels = <size_t>cnp.PyArray_DIM(out, 0), <size_t>cnp.PyArray_DIM(out, 1)
    call.inner = 1
    for d in range(2, cnp.PyArray_NDIM(out)):
        call.inner *= <size_t>cnp.PyArray_DIM(out, d)
    call.each = statistics != call.channels
    if not channels_last and statistics == call.channels * call.inner:  # a channel of all elements is quickest
        call.each, call.inner, call.channels = True, statistics, 1
    call.mean, call.mean_low = cnp.PyArray_DATA(mean), cnp.PyArray_DATA(mean_low)
    call.factor = cnp.PyArray_DATA(factor)
    with nogil:
        outcome = fastnn_standardize(&call, cnp.PyArray_DATA(x), cnp.PyArray_DATA(out))
    conclude(outcome)
