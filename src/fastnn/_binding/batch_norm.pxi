# Batch norm and activations after it in one call, forward and backward: the quick way for plain arrays, as layers call
# it on few elements. Each function returns None, and has written nothing, for other arrays and stages and for what is
# not right: fastnn._chain.run does these, and has the errors. Part of _kernels.pyx.

cdef enum:
    MOST_BATCHES = 0x7fffffffffffffff


cdef inline bint is_optional_vector(value, cnp.ndarray x, out):
    """`value` is None, or a plain array with an element for each channel of x, apart from `out`."""
    return value is None or (
        is_vector(value, cnp.PyArray_DIM(x, 1), x) and (out is None or are_apart(<cnp.ndarray>value, <cnp.ndarray>out))
    )


cdef inline bint is_writeable(array):
    return cnp.PyArray_ISWRITEABLE(<cnp.ndarray>array)


cdef inline bint is_counter(array):
    """A plain int64 of one element that can be counted up."""
    if not cnp.PyArray_CheckExact(array):
        return False
    cdef cnp.ndarray a = array
    if cnp.PyArray_TYPE(a) != cnp.NPY_INT64 or cnp.PyArray_SIZE(a) != 1 or not cnp.PyArray_ISBEHAVED(a):
        return False
    return 0 <= (<int64_t *>cnp.PyArray_DATA(a))[0] < MOST_BATCHES


cdef Chain begin_chain(x, out, weight, bias, tuple stages):
    """The chain of these arrays, without its stages; None where this is no way for them."""
    if not (is_plain(x, PLAIN) and cnp.PyArray_NDIM(<cnp.ndarray>x) > 1 and (out is None or fits(out, x))):
        return None
    for stage in stages:
        if not hasattr(stage, "row"):
            return None
    cdef cnp.npy_intp size = cnp.PyArray_SIZE(<cnp.ndarray>x), outer = cnp.PyArray_DIM(<cnp.ndarray>x, 0)
    cdef cnp.npy_intp channels = cnp.PyArray_DIM(<cnp.ndarray>x, 1), inner
    if size == 0 or channels == 1 or not (is_optional_vector(weight, x, out) and is_optional_vector(bias, x, out)):
        return None
    inner = size // (outer * channels)
    return Chain(cnp.PyArray_TYPE(<cnp.ndarray>x) == cnp.NPY_DOUBLE, outer, channels, inner, inner == 1)


cdef int add_activations(Chain chain, tuple stages) except -1:
    for stage in stages:
        p0, p1 = stage.values
        chain.activate(stage.row, p0, p1)
    return 0


def batch_norm(head, tuple stages, input, running_mean, running_var, batches, weight, bias, out):
    """Batch norm by the stage `head`, and activations: (y, mean, mean_low, rstd, elsewhere), or None."""
    cdef Chain chain = begin_chain(input, out, weight, bias, stages)
    if chain is None or (running_mean is None) != (running_var is None):
        return None
    cdef bint training = head.training, biased, skip
    ranks = head.ranks if training else None
    cdef double values, momentum
    cdef size_t elsewhere = 0
    if not (is_optional_vector(running_mean, input, out) and is_optional_vector(running_var, input, out)):
        return None
    mean_low = None
    if not training:
        if running_mean is None:
            return None
        mean, rstd = chain.evaluate(head.eps, running_mean, running_var, weight, bias)
    else:
        values = <double>(chain.chain.outer * chain.chain.inner)
        if (values == 1 and ranks is None) or not (batches is None or is_counter(batches)):
            return None
        if running_mean is not None:
            if not (is_writeable(running_mean) and is_writeable(running_var)):
                return None
            if head.momentum is not None:
                momentum = head.momentum
            elif batches is not None:
                momentum = 1 / (<double>(<int64_t *>cnp.PyArray_DATA(<cnp.ndarray>batches))[0] + 1)
            else:
                return None
            biased, skip = head.biased_running_var, head.skip_nonfinite
        if ranks is None:
            mean, mean_low, rstd, variance = chain.normalise(head.eps, weight, bias)
        else:
            mean, mean_low, rstd, variance, elsewhere = normalise_across(
                chain, ranks, head.eps, input, running_mean, weight, bias
            )
            values += elsewhere
    add_activations(chain, stages)
    y = new_like(input) if out is None else out
    chain.forward(input, y)
    if training and running_mean is not None:
        move_running(running_mean, running_var, mean, variance, 1 if biased else values / (values - 1), momentum, skip)
    if training and batches is not None:
        (<int64_t *>cnp.PyArray_DATA(<cnp.ndarray>batches))[0] += 1
    return y, mean, mean_low, rstd, elsewhere


def batch_norm_backward(dy, saved, out):
    """The gradients (dx, dweight, dbias) from what `batch_norm` saved, or None. dweight and dbias are None for None."""
    head, stages, x, mean, mean_low, rstd, weight, bias, _, _, elsewhere = saved
    cdef Chain chain = begin_chain(dy, out, weight, bias, stages)
    if chain is None or not (is_plain(x, PLAIN) and same_form(x, dy)):
        return None
    if out is not None and not are_apart(<cnp.ndarray>out, <cnp.ndarray>x):
        return None
    cdef bint training = head.training
    chain.scale(training, mean, mean_low, rstd, weight, bias, elsewhere)
    add_activations(chain, stages)
    dbias = dweight = None
    if training or weight is not None or bias is not None:
        dbias, dweight = doubles(cnp.PyArray_DIM(<cnp.ndarray>x, 1)), doubles(cnp.PyArray_DIM(<cnp.ndarray>x, 1))
    dx = new_like(x) if out is None else out
    if training and head.ranks is not None:
        backward_across(chain, head.ranks, dy, x, dx, dbias, dweight)
    else:
        chain.backward(dy, x, dx, dbias, dweight)
    return dx, gradient_of(weight, dweight), gradient_of(bias, dbias)


cdef object gradient_of(vector, sums):
    """Sums in double as the gradient of a vector, in its dtype; None for None."""
    if vector is None:
        return None
    return as_float32(sums) if cnp.PyArray_TYPE(<cnp.ndarray>vector) == cnp.NPY_FLOAT else sums
