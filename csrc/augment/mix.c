// Images made of two: a weighted mean of a sample and the one before it, and a box of another sample or of one colour.
#include <string.h>

#include "augment/images.h"

typedef struct {
    fastnn_images images;
    const double *weights;
    const int64_t *boxes;
    const void *source, *fill;
    size_t back;
} mix_job;

// ---- means ---------------------------------------------------------------------------------------------------------

#define BLEND(name, type, real, half)                                                                      \
    static void name(void *to, const void *x, const void *before, size_t count, double weight) {           \
        const real w = (real)weight, rest = (real)(1 - weight);                                            \
        type *y = to;                                                                                      \
        const type *a = x, *b = before;                                                                    \
        for (size_t i = 0; i < count; i++) y[i] = (type)(w * (real)a[i] + rest * (real)b[i] + (real)half); \
    }
BLEND(blend_bytes, uint8_t, float, 0.5)
BLEND(blend_floats, float, float, 0)
BLEND(blend_doubles, double, double, 0)

static void blend_sample(const void *context, size_t sample) {
    static void (*const blend[])(void *, const void *, const void *, size_t, double) = {
        [FASTNN_BYTES] = blend_bytes, [FASTNN_FLOATS] = blend_floats, [FASTNN_DOUBLES] = blend_doubles};
    const mix_job *job = context;
    const fastnn_images *m = &job->images;
    const size_t count = m->channels * plane_pixels(m), bytes = count * pixel_bytes(m->pixels);
    const size_t before = (sample > 0 ? sample : m->samples) - 1;
    const char *x = m->x;
    blend[m->pixels]((char *)m->y + sample * bytes, x + sample * bytes, x + before * bytes, count,
                     job->weights[sample]);
}

fastnn_outcome fastnn_blend_samples(const fastnn_images *images, const double *weights) {
    if (is_empty(images)) return FASTNN_DONE;
    const mix_job job = {.images = *images, .weights = weights};
    return fastnn_parallel(images->samples, blend_sample, &job);
}

// ---- boxes ---------------------------------------------------------------------------------------------------------

static void fill_row(char *y, const char *pixel, size_t bytes, size_t count) {
    for (size_t j = 0; j < count; j++) memcpy(y + j * bytes, pixel, bytes);
}

static void patch_plane(const mix_job *job, size_t plane) {
    const fastnn_images *m = &job->images;
    const size_t bytes = pixel_bytes(m->pixels), whole = plane_pixels(m) * bytes;
    const size_t sample = plane / m->channels, channel = plane % m->channels;
    const size_t other = (sample + m->samples - job->back) % m->samples * m->channels + channel;
    char *y = (char *)m->y + plane * whole;
    memcpy(y, (const char *)m->x + plane * whole, whole);
    const int64_t *box = job->boxes + 4 * sample;
    const size_t width = (size_t)(box[3] - box[1]);
    for (size_t i = (size_t)box[0]; i < (size_t)box[2]; i++) {
        const size_t at = (i * m->width + (size_t)box[1]) * bytes;
        if (job->source)
            memcpy(y + at, (const char *)job->source + other * whole + at, width * bytes);
        else
            fill_row(y + at, (const char *)job->fill + channel * bytes, bytes, width);
    }
}

static void patch_piece(const void *context, size_t index) {
    const mix_job *job = context;
    const size_t planes = planes_in_piece(&job->images), first = index * planes;
    const size_t end = smaller(first + planes, planes_of(&job->images));
    for (size_t plane = first; plane < end; plane++) patch_plane(job, plane);
}

fastnn_outcome fastnn_patch_images(const fastnn_images *images, const int64_t *boxes, const void *source, size_t back,
                                   const void *fill) {
    if (is_empty(images)) return FASTNN_DONE;
    const mix_job job = {.images = *images, .boxes = boxes, .source = source, .fill = fill, .back = back};
    return fastnn_parallel(divided_up(planes_of(images), planes_in_piece(images)), patch_piece, &job);
}
