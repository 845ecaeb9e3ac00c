// Boxes of images resized by bilinear interpolation, with or without antialiasing. A row of the result is first
// summed from rows of the box, as long as they are, and then from that row's own pixels.
#include <math.h>

#include "augment/images.h"
#include "runtime/scratch.h"

typedef struct {
    fastnn_images images;
    bool antialias;
    const int64_t *boxes;
    size_t most_taps, most_width;
    fastnn_scratch scratch;
} resize_job;

// What one pixel of the result is made of, along an axis: `count` pixels from `first` on.
typedef struct {
    size_t first, count;
} resize_taps;

// How many pixels of the box the triangle of weights reaches to each side.
static double reach(size_t length, size_t out, bool antialias) {
    const double scale = (double)length / (double)out;
    return antialias && scale > 1 ? scale : 1;
}

// Pixel i of `out`, whose centre lies at (i + 1/2) length / out, and the weights of its taps, which add up to 1.
static resize_taps find_taps(size_t i, size_t length, size_t out, bool antialias, double *weights) {
    const double wide = reach(length, out, antialias), centre = ((double)i + 0.5) * ((double)length / (double)out);
    const double low = centre - wide + 0.5, high = centre + wide + 0.5;
    resize_taps taps = {low > 0 ? (size_t)low : 0, 0};
    const size_t end = smaller((size_t)high, length);
    double sum = 0;
    for (size_t at = taps.first; at < end; at++) {
        const double weight = 1 - fabs((double)at + 0.5 - centre) / wide;
        if (weight <= 0) break;  // the last one: a pixel of no weight may be NaN
        weights[taps.count++] = weight;
        sum += weight;
    }
    for (size_t k = 0; k < taps.count; k++) weights[k] /= sum;
    return taps;
}

// ---- one plane -----------------------------------------------------------------------------------------------------

#define ADD_ROW(name, type)                                                     \
    static void name(double weight, const void *x, size_t count, double *sum) { \
        const type *from = x;                                                   \
        for (size_t j = 0; j < count; j++) sum[j] += weight * (double)from[j];  \
    }
ADD_ROW(add_bytes, uint8_t)
ADD_ROW(add_floats, float)
ADD_ROW(add_doubles, double)

static void resize_plane(const resize_job *job, size_t plane, double *memory) {
    static void (*const add_row[])(double, const void *, size_t, double *) = {
        [FASTNN_BYTES] = add_bytes, [FASTNN_FLOATS] = add_floats, [FASTNN_DOUBLES] = add_doubles};
    const fastnn_images *m = &job->images;
    const int64_t *box = job->boxes + 4 * (plane / m->channels);
    const size_t top = (size_t)box[0], left = (size_t)box[1], height = (size_t)box[2], width = (size_t)box[3];
    double *sum = memory, *row_weights = sum + job->most_width, *weights = row_weights + job->most_taps;
    resize_taps *columns = (resize_taps *)(weights + m->out_width * job->most_taps);
    for (size_t j = 0; j < m->out_width; j++)
        columns[j] = find_taps(j, width, m->out_width, job->antialias, weights + j * job->most_taps);
    for (size_t i = 0; i < m->out_height; i++) {
        const resize_taps rows = find_taps(i, height, m->out_height, job->antialias, row_weights);
        for (size_t j = 0; j < width; j++) sum[j] = 0;
        for (size_t k = 0; k < rows.count; k++) {
            const size_t at = (plane * m->height + top + rows.first + k) * m->width + left;
            const void *x = (const char *)m->x + at * pixel_bytes(m->pixels);
            add_row[m->pixels](row_weights[k], x, width, sum);
        }
        for (size_t j = 0; j < m->out_width; j++) {
            double value = 0;
            for (size_t k = 0; k < columns[j].count; k++)
                value += weights[j * job->most_taps + k] * sum[columns[j].first + k];
            store(m->pixels, m->y, (plane * m->out_height + i) * m->out_width + j, value);
        }
    }
}

static void resize_piece(const void *context, size_t index) {
    const resize_job *job = context;
    char *slot = fastnn_take_scratch(&job->scratch);
    resize_plane(job, index, (double *)(void *)slot);
    fastnn_give_scratch(&job->scratch, slot);
}

fastnn_outcome fastnn_resize_boxes(const fastnn_images *images, bool antialias, const int64_t *boxes) {
    if (is_empty(images)) return FASTNN_DONE;
    const double row_reach = reach(images->height, images->out_height, antialias);
    const double column_reach = reach(images->width, images->out_width, antialias);
    const size_t taps = 2 * (size_t)ceil(fmax(row_reach, column_reach)) + 1;
    resize_job job = {*images, antialias, boxes, taps, images->width, {0}};
    const size_t numbers = job.most_width + taps + images->out_width * taps;
    const size_t bytes = numbers * sizeof(double) + images->out_width * sizeof(resize_taps);
    if (!fastnn_open_scratch(&job.scratch, planes_of(images), bytes, 0)) return FASTNN_NO_MEMORY;
    const fastnn_outcome outcome = fastnn_parallel(planes_of(images), resize_piece, &job);
    fastnn_close_scratch(&job.scratch);
    return outcome;
}
