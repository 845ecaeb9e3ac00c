// Brightness, contrast and saturation, image by image: x is copied to y, and each step changes y while it is in cache.
// Formulas and order of roundings are torchvision's.
#include <string.h>

#include "augment/images.h"

typedef struct {
    fastnn_images images;
    size_t steps;
    const int64_t *adjustments;
    const double *factors;
} colour_job;

enum { TOGETHER = 256 };  // pixels whose grey is found at a time

// For floats a colour is at most 1 and stays as it is computed; for bytes it is at most 255, and rounded down.
#define WHOLE(v) ((float)(int)(v))
#define AS_IS(v) (v)
#define COLOURS(name, type, real, largest, ROUNDED)                                                             \
    /* y = factor y + rest other, within its range; NaN stays. `by` is 0 where `other` is one number. */        \
    static void blend_##name(type *y, size_t count, real factor, real rest, const real *other, size_t by) {     \
        for (size_t i = 0; i < count; i++) {                                                                    \
            const real v = (real)y[i] * factor + rest * other[i * by];                                          \
            y[i] = (type)(v < 0 ? 0 : v > largest ? largest : v);                                               \
        }                                                                                                       \
    }                                                                                                           \
    static void grey_##name(const type *y, size_t plane, size_t channels, size_t count, real *grey) {           \
        for (size_t i = 0; i < count; i++) {                                                                    \
            const real v = channels == 1 ? (real)y[i]                                                           \
                                         : (real)0.2989 * (real)y[i] + (real)0.587 * (real)y[plane + i] +       \
                                               (real)0.114 * (real)y[2 * plane + i];                            \
            grey[i] = ROUNDED(v);                                                                               \
        }                                                                                                       \
    }                                                                                                           \
    static real mean_##name(const type *y, size_t plane, size_t channels) {                                     \
        double sum = 0;                                                                                         \
        for (size_t i = 0, count; i < plane; i += count) {                                                      \
            real grey[TOGETHER];                                                                                \
            count = smaller(TOGETHER, plane - i);                                                               \
            grey_##name(y + i, plane, channels, count, grey);                                                   \
            for (size_t k = 0; k < count; k++) sum += (double)grey[k];                                          \
        }                                                                                                       \
        return (real)(sum / (double)plane);                                                                     \
    }                                                                                                           \
    static void adjust_##name(void *image, size_t plane, size_t channels, int64_t adjustment, double factor) {  \
        type *y = image;                                                                                        \
        const real f = (real)factor, rest = (real)(1 - factor), black = 0;                                      \
        if (adjustment == FASTNN_BRIGHTNESS) {                                                                  \
            blend_##name(y, channels * plane, f, 0, &black, 0);                                                 \
        } else if (adjustment == FASTNN_CONTRAST) {                                                             \
            const real mean = mean_##name(y, plane, channels);                                                  \
            blend_##name(y, channels * plane, f, rest, &mean, 0);                                               \
        } else if (channels == 3) {                                                                             \
            for (size_t i = 0, count; i < plane; i += count) {                                                  \
                real grey[TOGETHER];                                                                            \
                count = smaller(TOGETHER, plane - i);                                                           \
                grey_##name(y + i, plane, channels, count, grey);                                               \
                for (size_t c = 0; c < channels; c++) blend_##name(y + c * plane + i, count, f, rest, grey, 1); \
            }                                                                                                   \
        }                                                                                                       \
    }
COLOURS(bytes, uint8_t, float, 255, WHOLE)
COLOURS(floats, float, float, 1, AS_IS)
COLOURS(doubles, double, double, 1, AS_IS)

static void colour_image(const void *context, size_t sample) {
    static void (*const adjust[])(void *, size_t, size_t, int64_t, double) = {
        [FASTNN_BYTES] = adjust_bytes, [FASTNN_FLOATS] = adjust_floats, [FASTNN_DOUBLES] = adjust_doubles};
    const colour_job *job = context;
    const fastnn_images *m = &job->images;
    const size_t plane = plane_pixels(m), bytes = m->channels * plane * pixel_bytes(m->pixels);
    void *y = (char *)m->y + sample * bytes;
    memcpy(y, (const char *)m->x + sample * bytes, bytes);
    for (size_t k = sample * job->steps; k < (sample + 1) * job->steps; k++)
        adjust[m->pixels](y, plane, m->channels, job->adjustments[k], job->factors[k]);
}

fastnn_outcome fastnn_adjust_colours(const fastnn_images *images, size_t steps, const int64_t *adjustments,
                                     const double *factors) {
    if (is_empty(images)) return FASTNN_DONE;
    const colour_job job = {*images, steps, adjustments, factors};
    return fastnn_parallel(images->samples, colour_image, &job);
}
