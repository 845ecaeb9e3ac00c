# Softmax and the losses. Part of _kernels.pyx. Calls with wrong parameters go the general way, too, which says so.

from libc.math cimport INFINITY, isfinite
from libc.stdint cimport int64_t

cdef extern from "fastnn.h" nogil:
    ctypedef enum fastnn_samples_operation:
        FASTNN_SOFTMAX, FASTNN_LOG_SOFTMAX, FASTNN_SOFTMAX_BACKWARD, FASTNN_LOG_SOFTMAX_BACKWARD
        FASTNN_CROSS_ENTROPY, FASTNN_HINGE, FASTNN_NLL
        FASTNN_BCE_WITH_LOGITS, FASTNN_BCE, FASTNN_MSE, FASTNN_HUBER, FASTNN_KL_DIV, FASTNN_KL_DIV_OF_LOG
    ctypedef struct fastnn_samples:
        size_t outer, classes, inner
        const void *x
        const void *other
        void *out
        const int64_t *labels
        int64_t ignored
        const void *weight
        const void *pos_weight
        double keep, uniform, margin
        double numbers[3]
        double scale
        void *losses
    fastnn_outcome fastnn_run_samples(fastnn_samples_operation, bint, const fastnn_samples *, double *)
    bint fastnn_are_probabilities(bint, size_t, const void *)
    size_t fastnn_check_labels(bint, size_t, const int64_t *, size_t, int64_t, const void *, double *)

SOFTMAX, LOG_SOFTMAX = FASTNN_SOFTMAX, FASTNN_LOG_SOFTMAX
CROSS_ENTROPY, NLL = FASTNN_CROSS_ENTROPY, FASTNN_NLL
BCE_WITH_LOGITS, BCE, MSE, HUBER = FASTNN_BCE_WITH_LOGITS, FASTNN_BCE, FASTNN_MSE, FASTNN_HUBER
KL_DIV, KL_DIV_OF_LOG = FASTNN_KL_DIV, FASTNN_KL_DIV_OF_LOG


cdef inline void *data_of(object array):
    return NULL if array is None else cnp.PyArray_DATA(<cnp.ndarray>array)


cdef int split(fastnn_samples *call, cnp.ndarray x, int axis) except -1:
    """Describes x as (outer, classes, inner), with the classes along `axis`; 0 dimensions are one class."""
    call.outer = call.classes = call.inner = 1
    for d in range(cnp.PyArray_NDIM(x)):
        if d < axis:
            call.outer *= <size_t>cnp.PyArray_DIM(x, d)
        elif d == axis:
            call.classes = <size_t>cnp.PyArray_DIM(x, d)
        else:
            call.inner *= <size_t>cnp.PyArray_DIM(x, d)
    return 0


cdef double run_samples(fastnn_samples_operation operation, cnp.ndarray like, const fastnn_samples *call) except? -1:
    cdef bint float64 = cnp.PyArray_TYPE(like) == cnp.NPY_DOUBLE
    cdef fastnn_outcome outcome
    cdef double loss = 0
    if <size_t>cnp.PyArray_SIZE(like) < GIL_FREE_ELEMENTS:
        outcome = fastnn_run_samples(operation, float64, call, &loss)
    else:
        with nogil:
            outcome = fastnn_run_samples(operation, float64, call, &loss)
    conclude(outcome)
    return loss


# ---- softmax -----------------------------------------------------------------------------------------------------

cdef object plain_softmax(int operation, input, dim, out):
    cdef fastnn_samples call
    if not (is_plain(input, PLAIN) and (out is None or fits(out, input))):
        return None
    cdef int axis = axis_of(dim, input)
    if axis < 0:
        return None
    if out is None:
        out = new_like(input)
    split(&call, input, axis)
    call.x, call.other, call.out = data_of(input), NULL, data_of(out)
    run_samples(<fastnn_samples_operation>operation, out, &call)
    return out


def softmax(int operation, input, dim, out):
    """SOFTMAX or LOG_SOFTMAX of a plain array."""
    result = plain_softmax(operation, input, dim, out)
    return general("softmax", input, (operation, input, dim, out)) if result is None else result


cdef object plain_softmax_backward(int operation, dy, output, dim, out):
    cdef fastnn_samples call
    if not (is_plain(dy, PLAIN) and is_plain(output, PLAIN) and same_form(dy, output)):
        return None
    cdef int axis = axis_of(dim, dy)
    if axis < 0 or not (out is None or (fits(out, dy) and fits(out, output))):
        return None
    if out is None:
        out = new_like(dy)
    split(&call, dy, axis)
    call.x, call.other, call.out = data_of(output), data_of(dy), data_of(out)
    run_samples(FASTNN_SOFTMAX_BACKWARD if operation == FASTNN_SOFTMAX else FASTNN_LOG_SOFTMAX_BACKWARD, out, &call)
    return out


def softmax_backward(int operation, dy, output, dim, out):
    """The gradient of SOFTMAX or LOG_SOFTMAX; plain arrays of one form."""
    result = plain_softmax_backward(operation, dy, output, dim, out)
    return general("softmax_backward", dy, (operation, dy, output, dim, out)) if result is None else result


# ---- losses ------------------------------------------------------------------------------------------------------

cdef inline bint are_labels(object target, cnp.ndarray x):
    """A plain array of int64, one for each sample of x: its shape without axis 1."""
    if not cnp.PyArray_CheckExact(target):
        return False
    cdef cnp.ndarray a = target
    cdef int dims = cnp.PyArray_NDIM(x)
    if (cnp.PyArray_TYPE(a) != cnp.NPY_INT64 or (cnp.PyArray_FLAGS(a) & PLAIN) != PLAIN
            or not cnp.PyArray_ISNOTSWAPPED(a) or cnp.PyArray_NDIM(a) != dims - 1):
        return False
    for d in range(dims - 1):
        if cnp.PyArray_DIM(a, d) != cnp.PyArray_DIM(x, d + (d > 0)):
            return False
    return True


cdef inline bint is_class_weight(object weight, cnp.ndarray x):
    if not is_plain(weight, PLAIN):
        return False
    cdef cnp.ndarray w = weight
    return (cnp.PyArray_TYPE(w) == cnp.PyArray_TYPE(x) and cnp.PyArray_NDIM(w) == 1
            and cnp.PyArray_DIM(w, 0) == cnp.PyArray_DIM(x, 1))


cdef inline bint is_reduction(object reduction, bint by_batch=False):
    return isinstance(reduction, str) and (reduction == "mean" or reduction == "sum" or reduction == "none"
                                           or (by_batch and reduction == "batchmean"))


cdef object new_losses(cnp.ndarray x, bint by_sample):
    """An array for the losses: of x's shape or, by sample, of that without axis 1."""
    cdef cnp.npy_intp shape[FASTNN_MAX_DIMS]
    cdef int dims = 0
    for d in range(cnp.PyArray_NDIM(x)):
        if d != 1 or not by_sample:
            shape[dims] = cnp.PyArray_DIM(x, d)
            dims += 1
    return new_array(dims, shape, cnp.PyArray_TYPE(x), cnp.PyArray_ITEMSIZE(x))


cdef object run_loss(fastnn_samples_operation operation, fastnn_samples *call, cnp.ndarray x, object out, object reduction,
                     double count, bint by_sample):
    """(loss, gradient) of a call whose x, out, scale and losses are still to be set; `count` divides the mean."""
    cdef bint none = reduction == "none"
    cdef bint mean = not none and reduction != "sum"
    if out is None:
        out = new_like(x)
    losses = new_losses(x, by_sample) if none else None
    call.x, call.out, call.losses = data_of(x), data_of(out), data_of(losses)
    call.scale = 1
    if mean:
        call.scale = 1 / count if count != 0 else 0
    cdef double loss = run_samples(operation, x, call)
    if losses is not None:
        return losses, out
    if mean:
        loss = loss / count if count != 0 else loss * INFINITY  # NaN, or with smoothing infinity
    return loss, out


cdef object plain_cross_entropy(int operation, input, target, weight, ignore_index, reduction, label_smoothing, out):
    cdef fastnn_samples call
    if not (is_plain(input, PLAIN) and is_reduction(reduction) and type(label_smoothing) is float
            and 0 <= label_smoothing <= 1 and type(ignore_index) is int):
        return None
    cdef cnp.ndarray x = input
    cdef bint float64 = cnp.PyArray_TYPE(x) == cnp.NPY_DOUBLE
    cdef bint hard
    cdef double count, smoothing = label_smoothing
    if cnp.PyArray_NDIM(x) < 2 or cnp.PyArray_DIM(x, 1) == 0 or not (weight is None or is_class_weight(weight, x)):
        return None
    hard = are_labels(target, x)
    if not (hard or (operation == FASTNN_CROSS_ENTROPY and is_plain(target, PLAIN) and same_form(target, x))):
        return None
    if out is not None and not (fits(out, x) and are_apart(out, target) and (weight is None or are_apart(out, weight))):
        return None
    if not -2**63 <= ignore_index < 2**63:
        return None
    split(&call, x, 1)
    call.other, call.labels = NULL, NULL
    call.ignored, call.weight = ignore_index, data_of(weight)
    call.keep, call.uniform = 1 - smoothing, smoothing / <double>call.classes
    count = <double>(call.outer * call.inner)
    if hard:
        call.labels = <const int64_t *>data_of(target)
        if fastnn_check_labels(float64, call.outer * call.inner, call.labels, call.classes, call.ignored, call.weight,
                               &count) < call.outer * call.inner:
            return None
    else:
        call.other = data_of(target)
    return run_loss(<fastnn_samples_operation>operation, &call, x, out, reduction, count, True)


def cross_entropy(int operation, input, target, weight, ignore_index, reduction, label_smoothing, out):
    """(loss, gradient) of CROSS_ENTROPY or NLL; target: labels in range, or for the first probabilities."""
    result = plain_cross_entropy(operation, input, target, weight, ignore_index, reduction, label_smoothing, out)
    if result is not None:
        return result
    return general("cross_entropy", input,
                   (operation, input, target, weight, ignore_index, reduction, label_smoothing, out))


cdef object plain_hinge_loss(input, target, margin, reduction, out):
    cdef fastnn_samples call
    if not (is_plain(input, PLAIN) and is_reduction(reduction) and type(margin) is float and isfinite(margin)):
        return None
    cdef cnp.ndarray x = input
    cdef double count = 0
    if cnp.PyArray_NDIM(x) < 2 or cnp.PyArray_DIM(x, 1) == 0 or not are_labels(target, x):
        return None
    if out is not None and not (fits(out, x) and are_apart(out, target)):
        return None
    split(&call, x, 1)
    call.other, call.labels, call.margin = NULL, <const int64_t *>data_of(target), margin
    # The hinge loss ignores no label: 0 is in range anyhow.
    if fastnn_check_labels(False, call.outer * call.inner, call.labels, call.classes, 0, NULL,
                           &count) < call.outer * call.inner:
        return None
    return run_loss(FASTNN_HINGE, &call, x, out, reduction, <double>(call.outer * call.inner), True)


def hinge_loss(input, target, margin, reduction, out):
    """(loss, gradient); target: labels in range."""
    result = plain_hinge_loss(input, target, margin, reduction, out)
    return general("hinge_loss", input, (input, target, margin, reduction, out)) if result is None else result


cdef object plain_elements_loss(int operation, input, target, weight, pos_weight, tuple numbers, reduction, out):
    cdef fastnn_samples call
    cdef bint by_batch = operation == FASTNN_KL_DIV or operation == FASTNN_KL_DIV_OF_LOG
    if not (is_plain(input, PLAIN) and is_reduction(reduction, by_batch)):
        return None
    cdef cnp.ndarray x = input
    for array in (target, weight, pos_weight):
        if array is not None and not (is_plain(array, PLAIN) and same_form(array, x)
                                      and (out is None or fits(out, array))):
            return None
    if target is None or not (out is None or fits(out, x)):
        return None
    cdef size_t size = <size_t>cnp.PyArray_SIZE(x)
    if operation == FASTNN_BCE and not fastnn_are_probabilities(cnp.PyArray_TYPE(x) == cnp.NPY_DOUBLE, size, data_of(x)):
        return None
    call.outer, call.classes, call.inner = size, 1, 1
    call.other, call.weight, call.pos_weight = data_of(target), data_of(weight), data_of(pos_weight)
    memset(call.numbers, 0, sizeof(call.numbers))
    for i in range(3 if operation == FASTNN_HUBER else 0):
        call.numbers[i] = numbers[i]
    cdef double count = <double>size
    if by_batch and reduction == "batchmean":
        if cnp.PyArray_NDIM(x) == 0:
            return None
        count = <double>cnp.PyArray_DIM(x, 0)
    return run_loss(<fastnn_samples_operation>operation, &call, x, out, reduction, count, False)


def elements_loss(int operation, input, target, weight, pos_weight, tuple numbers, reduction, out):
    """(loss, gradient) of a loss of elements; plain arrays of one form, the weights None or of it too.

    numbers: HUBER's (csrc/fastnn.h), of others anything.
    """
    result = plain_elements_loss(operation, input, target, weight, pos_weight, numbers, reduction, out)
    if result is not None:
        return result
    return general("elements_loss", input, (operation, input, target, weight, pos_weight, numbers, reduction, out))
