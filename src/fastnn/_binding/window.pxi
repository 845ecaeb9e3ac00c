# Windows that slide over images: convolution and pooling. Part of _kernels.pyx. fastnn.functional has made the arrays
# plain and checked their shapes.

cdef extern from "fastnn.h" nogil:
    ctypedef struct fastnn_axis:
        size_t size, places, taps, stride
        ptrdiff_t start, step
    ctypedef struct fastnn_convolution:
        bint float64
        size_t samples, groups, channels, outputs
        fastnn_axis axis[2]
        const void *x
        const void *weight
        const void *bias
        void *y
        const void *dy
        void *dx
        void *dweight
        void *dbias
    fastnn_outcome fastnn_convolve(const fastnn_convolution *)
    fastnn_outcome fastnn_convolve_backward_input(const fastnn_convolution *)
    fastnn_outcome fastnn_convolve_backward_weight(const fastnn_convolution *)
    ctypedef enum fastnn_pool_mode:
        FASTNN_MAX_POOL, FASTNN_MEAN_POOL
    ctypedef struct fastnn_pool:
        fastnn_pool_mode mode
        bint float64
        size_t images
        fastnn_axis axis[2]
        size_t argmax_bytes
        const double *divisor[2]
        const void *x
        void *y
        const void *dy
        void *dx
        void *argmax
    fastnn_outcome fastnn_run_pool(const fastnn_pool *)
    ctypedef struct fastnn_regions:
        fastnn_pool_mode mode
        bint float64, per_image
        size_t images
        size_t size[2]
        size_t places[2]
        size_t argmax_bytes
        const int64_t *begin[2]
        const int64_t *end[2]
        const void *x
        void *y
        const void *dy
        void *dx
        void *argmax
    fastnn_outcome fastnn_run_regions(const fastnn_regions *)


cdef int set_axes(fastnn_axis *axes, tuple windows) except -1:
    """windows: (size, places, taps, stride, start, step) for rows and columns."""
    for d in range(2):
        axes[d].size, axes[d].places, axes[d].taps, axes[d].stride, axes[d].start, axes[d].step = windows[d]
    return 0


cdef int start_convolution(fastnn_convolution *call, cnp.ndarray like, cnp.ndarray weight, size_t samples,
                           size_t groups, tuple windows) except -1:
    memset(call, 0, sizeof(call[0]))
    call.float64 = cnp.PyArray_TYPE(like) == cnp.NPY_DOUBLE
    call.samples, call.groups = samples, groups
    call.outputs, call.channels = <size_t>cnp.PyArray_DIM(weight, 0) // groups, <size_t>cnp.PyArray_DIM(weight, 1)
    return set_axes(call.axis, windows)


def convolve(cnp.ndarray x, cnp.ndarray weight, bias, cnp.ndarray y, size_t groups, tuple windows):
    """Fills y (N, O, ...) from x (N, C, H, W), weight (O, C / groups, ...) and bias (O,) or None."""
    cdef fastnn_convolution call
    cdef fastnn_outcome outcome
    start_convolution(&call, x, weight, <size_t>cnp.PyArray_DIM(x, 0), groups, windows)
    call.x, call.weight, call.bias = cnp.PyArray_DATA(x), cnp.PyArray_DATA(weight), data_or_null(bias)
    call.y = cnp.PyArray_DATA(y)
    with nogil:
        outcome = fastnn_convolve(&call)
    conclude(outcome)


def convolve_backward(cnp.ndarray dy, cnp.ndarray x, cnp.ndarray weight, dx, dweight, dbias, size_t groups, tuple windows):
    """Fills those of dx, dweight and dbias that are not None."""
    cdef fastnn_convolution call
    cdef fastnn_outcome outcome = FASTNN_DONE
    start_convolution(&call, x, weight, <size_t>cnp.PyArray_DIM(x, 0), groups, windows)
    call.x, call.weight, call.dy = cnp.PyArray_DATA(x), cnp.PyArray_DATA(weight), cnp.PyArray_DATA(dy)
    call.dx, call.dweight, call.dbias = data_or_null(dx), data_or_null(dweight), data_or_null(dbias)
    with nogil:
        if call.dx is not NULL:
            outcome = fastnn_convolve_backward_input(&call)
        if outcome == FASTNN_DONE and (call.dweight is not NULL or call.dbias is not NULL):
            outcome = fastnn_convolve_backward_weight(&call)
    conclude(outcome)


cdef int start_pool(fastnn_pool *call, cnp.ndarray like, argmax, divisors, size_t images, tuple windows) except -1:
    memset(call, 0, sizeof(call[0]))
    call.mode = FASTNN_MEAN_POOL if argmax is None else FASTNN_MAX_POOL
    call.float64 = cnp.PyArray_TYPE(like) == cnp.NPY_DOUBLE
    call.images = images
    if argmax is None:
        call.divisor[0] = <const double *>cnp.PyArray_DATA(<cnp.ndarray>divisors[0])
        call.divisor[1] = <const double *>cnp.PyArray_DATA(<cnp.ndarray>divisors[1])
    else:
        call.argmax = cnp.PyArray_DATA(<cnp.ndarray>argmax)
        call.argmax_bytes = <size_t>cnp.PyArray_ITEMSIZE(<cnp.ndarray>argmax)
    return set_axes(call.axis, windows)


def pool(cnp.ndarray x, cnp.ndarray y, argmax, divisors, size_t images, tuple windows):
    """Fills y with the largest element of each window, and `argmax` with its tap; or y with the means, if `argmax` is None.

    divisors: of rows and columns of windows, float64.
    """
    cdef fastnn_pool call
    cdef fastnn_outcome outcome
    start_pool(&call, x, argmax, divisors, images, windows)
    call.x, call.y = cnp.PyArray_DATA(x), cnp.PyArray_DATA(y)
    with nogil:
        outcome = fastnn_run_pool(&call)
    conclude(outcome)


def pool_backward(cnp.ndarray dy, cnp.ndarray dx, argmax, divisors, size_t images, tuple windows):
    """Fills dx."""
    cdef fastnn_pool call
    cdef fastnn_outcome outcome
    start_pool(&call, dy, argmax, divisors, images, windows)
    call.dy, call.dx = cnp.PyArray_DATA(dy), cnp.PyArray_DATA(dx)
    with nogil:
        outcome = fastnn_run_pool(&call)
    conclude(outcome)


cdef int start_regions(fastnn_regions *call, cnp.ndarray like, argmax, size_t images, tuple size, tuple bounds) except -1:
    """bounds: (begin, end) of rows and of columns, int64, of shape (places,) or (images, places)."""
    cdef cnp.ndarray begin, end
    memset(call, 0, sizeof(call[0]))
    call.mode = FASTNN_MEAN_POOL if argmax is None else FASTNN_MAX_POOL
    call.float64 = cnp.PyArray_TYPE(like) == cnp.NPY_DOUBLE
    call.images = images
    for d in range(2):
        begin, end = bounds[d]
        call.per_image = cnp.PyArray_NDIM(begin) == 2
        call.size[d] = size[d]
        call.places[d] = <size_t>cnp.PyArray_DIM(begin, cnp.PyArray_NDIM(begin) - 1)
        call.begin[d] = <const int64_t *>cnp.PyArray_DATA(begin)
        call.end[d] = <const int64_t *>cnp.PyArray_DATA(end)
    call.argmax = data_or_null(argmax)
    call.argmax_bytes = 1 if argmax is None else <size_t>cnp.PyArray_ITEMSIZE(<cnp.ndarray>argmax)
    return 0


def pool_regions(cnp.ndarray x, cnp.ndarray y, argmax, size_t images, tuple size, tuple bounds):
    """The same over regions; size: rows and columns of an image; bounds: as in start_regions."""
    cdef fastnn_regions call
    cdef fastnn_outcome outcome
    start_regions(&call, x, argmax, images, size, bounds)
    call.x, call.y = cnp.PyArray_DATA(x), cnp.PyArray_DATA(y)
    with nogil:
        outcome = fastnn_run_regions(&call)
    conclude(outcome)


def pool_regions_backward(cnp.ndarray dy, cnp.ndarray dx, argmax, size_t images, tuple size, tuple bounds):
    """Fills dx."""
    cdef fastnn_regions call
    cdef fastnn_outcome outcome
    start_regions(&call, dy, argmax, images, size, bounds)
    call.dy, call.dx = cnp.PyArray_DATA(dy), cnp.PyArray_DATA(dx)
    with nogil:
        outcome = fastnn_run_regions(&call)
    conclude(outcome)
