# Batch norm in training of a batch that several ranks have, each some rows: what they tell each other between the two
# passes over their arrays. `ranks` is a fastnn._core.ranks.Ranks. Part of _kernels.pyx.
#
# All ranks add up equally often, whatever rows they have: once in each pass, and twice in a forward pass in which the
# running means are far from those of the batch. What they decide by is the same on all of them: sums over all ranks,
# and the running statistics.

cdef extern from "fastnn.h" nogil:
    fastnn_outcome fastnn_chain_moments(const fastnn_chain *, const void *)
    void fastnn_moments_to_sums(const fastnn_chain *, const double *, double *)
    bint fastnn_sums_to_statistics(const fastnn_chain *, const double *, const double *)
    fastnn_outcome fastnn_chain_sums(const fastnn_chain *, const void *, const void *, void *, double **)
    fastnn_outcome fastnn_chain_gradient(const fastnn_chain *, const void *, const void *, void *, double **)


cpdef normalise_across(Chain chain, ranks, double eps, cnp.ndarray x, running_mean, weight, bias):
    """Begins a chain with batch norm of the batch of all ranks, of which x, as `forward` takes it, is this one's part.

    Returns (mean, mean_low, rstd, variance, elsewhere): what `normalise` returns, filled, and how many elements of a
    channel the other ranks have. Raises ValueError on all ranks if all together have one.
    """
    chain.normalise(eps, weight, bias)
    cdef void *p_x = cnp.PyArray_DATA(x)
    cdef fastnn_outcome outcome
    with nogil:
        outcome = fastnn_chain_moments(&chain.chain, p_x)
    conclude(outcome)

    cdef fastnn_chain whole = chain.chain
    cdef cnp.npy_intp channels = <cnp.npy_intp>whole.channels
    mean, mean_low, rstd, variance = doubles(channels), doubles(channels), doubles(channels), doubles(channels)
    whole.mean, whole.mean_low = <double *>data_or_null(mean), <double *>data_or_null(mean_low)
    whole.rstd, whole.variance = <double *>data_or_null(rstd), <double *>data_or_null(variance)
    near, sums = finite_doubles(running_mean, channels), doubles(1 + 2 * channels)
    cdef double *p_near = <double *>data_or_null(near)
    cdef double *p_sums = <double *>data_or_null(sums)
    for _ in range(2):
        fastnn_moments_to_sums(&chain.chain, p_near, p_sums)
        ranks.add_up(sums)
        if not fastnn_sums_to_statistics(&whole, p_sums, p_near):
            break
        memcpy(p_near, whole.mean, channels * sizeof(double))
    if p_sums[0] == 1:
        raise ValueError(
            "batch_norm in training needs more than one value per channel, got one on all ranks together: the variance of"
            " one value is 0; use a larger batch or eval()"
        )
    cdef size_t elsewhere = <size_t>p_sums[0] - whole.outer * whole.inner
    chain.scale(False, mean, mean_low, rstd, weight, bias, elsewhere)
    return mean, mean_low, rstd, variance, elsewhere


cpdef backward_across(Chain chain, ranks, cnp.ndarray dy, cnp.ndarray x, cnp.ndarray dx, dbias, dweight):
    """As `chain.backward`; dx is that of the batch of all ranks, dbias and dweight are sums over this one's elements."""
    cdef cnp.npy_intp channels = <cnp.npy_intp>chain.chain.channels
    chain.run_backward(fastnn_chain_sums, dy, x, dx, dbias, dweight)
    sums = doubles(2 * channels)
    cdef double *p_sums = <double *>data_or_null(sums)
    memcpy(p_sums, data_or_null(dbias), channels * sizeof(double))
    memcpy(p_sums + channels, data_or_null(dweight), channels * sizeof(double))
    ranks.add_up(sums)
    chain.run_backward(fastnn_chain_gradient, dy, x, dx, sums[:channels], sums[channels:])


cdef object finite_doubles(numbers, cnp.npy_intp count):
    """Numbers, of any floating dtype, in float64, 0 for those that are not finite; zeros for None."""
    if numbers is None:
        return numpy.zeros(count)
    doubles = numpy.array(numbers, numpy.float64, order="C")
    cdef double *p = <double *>cnp.PyArray_DATA(<cnp.ndarray>doubles)
    cdef cnp.npy_intp i
    for i in range(count):
        if not isfinite(p[i]):
            p[i] = 0
    return doubles
