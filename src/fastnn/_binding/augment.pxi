# Batches of images for augmentation. Part of _kernels.pyx. fastnn.augment has made the arrays plain: images (samples,
# channels, height, width) of uint8, float32 or float64, fills with a pixel of that dtype for each channel (of float64
# for warp_images), and parameters, int64 or float64, with a row for each sample.

cdef extern from "fastnn.h" nogil:
    ctypedef enum fastnn_pixels:
        FASTNN_BYTES, FASTNN_FLOATS, FASTNN_DOUBLES
    ctypedef enum fastnn_padding:
        pass
    ctypedef struct fastnn_images:
        fastnn_pixels pixels
        size_t samples, channels, height, width, out_height, out_width
        const void *x
        void *y
    fastnn_outcome fastnn_crop_images(const fastnn_images *, fastnn_padding, const void *, const int64_t *)
    fastnn_outcome fastnn_warp_images(const fastnn_images *, bint, const double *, const double *)
    fastnn_outcome fastnn_resize_boxes(const fastnn_images *, bint, const int64_t *)
    fastnn_outcome fastnn_adjust_colours(const fastnn_images *, size_t, const int64_t *, const double *)
    ctypedef struct fastnn_noise:
        uint64_t seed, offset, first
        double mean, sigma
        bint clip
    fastnn_outcome fastnn_add_noise(const fastnn_images *, const fastnn_noise *)
    fastnn_outcome fastnn_blend_samples(const fastnn_images *, const double *)
    fastnn_outcome fastnn_patch_images(const fastnn_images *, const int64_t *, const void *, size_t, const void *)


cdef cnp.ndarray start_images(fastnn_images *images, cnp.ndarray x, size_t height, size_t width):
    """Describes x and a new array for the result, with images of this size, which is returned."""
    cdef int type = cnp.PyArray_TYPE(x)
    cdef cnp.npy_intp sizes[4]
    sizes[0], sizes[1] = cnp.PyArray_DIM(x, 0), cnp.PyArray_DIM(x, 1)
    sizes[2], sizes[3] = height, width
    cdef cnp.ndarray y = new_array(4, sizes, type, cnp.PyArray_ITEMSIZE(x))
    images.pixels = FASTNN_BYTES if type == cnp.NPY_UINT8 else FASTNN_FLOATS if type == cnp.NPY_FLOAT else FASTNN_DOUBLES
    images.samples, images.channels = <size_t>sizes[0], <size_t>sizes[1]
    images.height, images.width = <size_t>cnp.PyArray_DIM(x, 2), <size_t>cnp.PyArray_DIM(x, 3)
    images.out_height, images.out_width = height, width
    images.x, images.y = cnp.PyArray_DATA(x), cnp.PyArray_DATA(y)
    return y


def crop_images(cnp.ndarray x, size_t height, size_t width, int padding, cnp.ndarray fill, cnp.ndarray crops):
    """Images of this size, which may lie over the edges; crops: (top, row step, left, column step), steps 1 or -1."""
    cdef fastnn_images images
    cdef fastnn_outcome outcome
    cdef cnp.ndarray y = start_images(&images, x, height, width)
    with nogil:
        outcome = fastnn_crop_images(&images, <fastnn_padding>padding, cnp.PyArray_DATA(fill),
                                     <const int64_t *>cnp.PyArray_DATA(crops))
    conclude(outcome)
    return y


def warp_images(cnp.ndarray x, bint bilinear, cnp.ndarray fill, cnp.ndarray matrices):
    """Images of x's size; matrices: what makes the place in x, (column, row), of (column, row, 1) of the result."""
    cdef fastnn_images images
    cdef fastnn_outcome outcome
    cdef cnp.ndarray y = start_images(&images, x, cnp.PyArray_DIM(x, 2), cnp.PyArray_DIM(x, 3))
    with nogil:
        outcome = fastnn_warp_images(&images, bilinear, <const double *>cnp.PyArray_DATA(fill),
                                     <const double *>cnp.PyArray_DATA(matrices))
    conclude(outcome)
    return y


def resize_boxes(cnp.ndarray x, size_t height, size_t width, bint antialias, cnp.ndarray boxes):
    """Boxes of x, (top, left, height, width), resized to images of this size."""
    cdef fastnn_images images
    cdef fastnn_outcome outcome
    cdef cnp.ndarray y = start_images(&images, x, height, width)
    with nogil:
        outcome = fastnn_resize_boxes(&images, antialias, <const int64_t *>cnp.PyArray_DATA(boxes))
    conclude(outcome)
    return y


def adjust_colours(cnp.ndarray x, cnp.ndarray adjustments, cnp.ndarray factors):
    """Images of 1 or 3 channels, adjusted: a column of both arrays is a step."""
    cdef fastnn_images images
    cdef fastnn_outcome outcome
    cdef size_t steps = <size_t>cnp.PyArray_DIM(factors, 1)
    cdef cnp.ndarray y = start_images(&images, x, cnp.PyArray_DIM(x, 2), cnp.PyArray_DIM(x, 3))
    with nogil:
        outcome = fastnn_adjust_colours(&images, steps, <const int64_t *>cnp.PyArray_DATA(adjustments),
                                        <const double *>cnp.PyArray_DATA(factors))
    conclude(outcome)
    return y


def add_noise(cnp.ndarray x, key, double mean, double sigma, bint clip):
    """x with normal noise."""
    cdef fastnn_images images
    cdef fastnn_outcome outcome
    cdef fastnn_noise noise
    open_key(key, x, 1, &noise.seed, &noise.offset, &noise.first)
    noise.mean, noise.sigma, noise.clip = mean, sigma, clip
    cdef cnp.ndarray y = start_images(&images, x, cnp.PyArray_DIM(x, 2), cnp.PyArray_DIM(x, 3))
    with nogil:
        outcome = fastnn_add_noise(&images, &noise)
    conclude(outcome)
    return y


def blend_samples(cnp.ndarray x, cnp.ndarray weights):
    """Each sample times its weight, and the sample before it times the rest."""
    cdef fastnn_images images
    cdef fastnn_outcome outcome
    cdef cnp.ndarray y = start_images(&images, x, cnp.PyArray_DIM(x, 2), cnp.PyArray_DIM(x, 3))
    with nogil:
        outcome = fastnn_blend_samples(&images, <const double *>cnp.PyArray_DATA(weights))
    conclude(outcome)
    return y


def patch_images(cnp.ndarray x, cnp.ndarray boxes, source, size_t back, fill):
    """x but for boxes, (top, left, bottom, right), from `source` of `back` samples before, or filled if that is None."""
    cdef fastnn_images images
    cdef fastnn_outcome outcome
    cdef const void *from_source = data_or_null(source)
    cdef const void *from_fill = data_or_null(fill)
    cdef cnp.ndarray y = start_images(&images, x, cnp.PyArray_DIM(x, 2), cnp.PyArray_DIM(x, 3))
    with nogil:
        outcome = fastnn_patch_images(&images, <const int64_t *>cnp.PyArray_DATA(boxes), from_source, back, from_fill)
    conclude(outcome)
    return y
