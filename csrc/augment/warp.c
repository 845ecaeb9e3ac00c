// Affine maps of images, pixel by pixel of the result: where in x it comes from, and what x has there.
#include <math.h>

#include "augment/images.h"

enum { STRIP_ROWS = 16 };

typedef struct {
    fastnn_images images;
    bool bilinear;
    const double *fill, *matrices;
} warp_job;

typedef struct {
    ptrdiff_t row, column;
} pixel_place;

static bool is_within(const fastnn_images *m, double row, double column, double margin) {
    return row > -margin && column > -margin && row < (double)m->height - 1 + margin &&
           column < (double)m->width - 1 + margin;  // false for NaN too
}

ALWAYS_INLINE double load(fastnn_pixels pixels, const void *x, size_t i) {
    if (pixels == FASTNN_BYTES) return ((const uint8_t *)x)[i];
    return pixels == FASTNN_FLOATS ? (double)((const float *)x)[i] : ((const double *)x)[i];
}

// The pixel of a plane, or `fill` beyond its edges.
ALWAYS_INLINE double pixel(const fastnn_images *m, fastnn_pixels pixels, size_t plane, pixel_place at, double fill) {
    const bool inside =
        at.row >= 0 && at.column >= 0 && at.row < (ptrdiff_t)m->height && at.column < (ptrdiff_t)m->width;
    return inside ? load(pixels, m->x, (plane * m->height + (size_t)at.row) * m->width + (size_t)at.column) : fill;
}

// One pixel of y, in all channels; `to` is its place in the plane of the first.
ALWAYS_INLINE void warp_pixel(const warp_job *job, fastnn_pixels pixels, size_t sample, double row, double column,
                              size_t to) {
    const fastnn_images *m = &job->images;
    const bool inside = is_within(m, row, column, job->bilinear ? 1 : 0.5 + 1e-9);
    const double low_row = job->bilinear ? floor(row) : nearest(row);
    const double low_column = job->bilinear ? floor(column) : nearest(column);
    const double down = job->bilinear ? row - low_row : 0, right = job->bilinear ? column - low_column : 0;
    pixel_place low = {0, 0};
    if (inside) low = (pixel_place){(ptrdiff_t)low_row, (ptrdiff_t)low_column};
    // A neighbour of no weight is not looked at: it may be NaN, or beyond the edge.
    const pixel_place high = {low.row + (down > 0), low.column + (right > 0)};
    for (size_t c = 0; c < m->channels; c++) {
        const size_t plane = sample * m->channels + c;
        const double fill = job->fill[c];
        double value = fill;
        if (inside) {
            value = pixel(m, pixels, plane, low, fill);
            if (down > 0 || right > 0) {
                const double beside = pixel(m, pixels, plane, (pixel_place){low.row, high.column}, fill);
                const double below = pixel(m, pixels, plane, (pixel_place){high.row, low.column}, fill);
                const double across = pixel(m, pixels, plane, high, fill);
                value =
                    (1 - down) * ((1 - right) * value + right * beside) + down * ((1 - right) * below + right * across);
            }
        }
        store(pixels, m->y, plane * out_plane_pixels(m) + to, value);
    }
}

ALWAYS_INLINE void warp_strip(const warp_job *job, fastnn_pixels pixels, size_t sample, size_t first, size_t end) {
    const double *t = job->matrices + 6 * sample;
    const size_t width = job->images.out_width;
    for (size_t i = first; i < end; i++)
        for (size_t j = 0; j < width; j++)
            warp_pixel(job, pixels, sample, t[3] * (double)j + t[4] * (double)i + t[5],
                       t[0] * (double)j + t[1] * (double)i + t[2], i * width + j);
}

static void warp_piece(const void *context, size_t index) {
    const warp_job *job = context;
    const size_t height = job->images.out_height, strips = divided_up(height, STRIP_ROWS);
    const size_t sample = index / strips, first = index % strips * STRIP_ROWS;
    const size_t end = smaller(first + STRIP_ROWS, height);
    switch (job->images.pixels) {
    case FASTNN_BYTES: warp_strip(job, FASTNN_BYTES, sample, first, end); break;
    case FASTNN_FLOATS: warp_strip(job, FASTNN_FLOATS, sample, first, end); break;
    case FASTNN_DOUBLES: warp_strip(job, FASTNN_DOUBLES, sample, first, end); break;
    }
}

fastnn_outcome fastnn_warp_images(const fastnn_images *images, bool bilinear, const double *fill,
                                  const double *matrices) {
    if (is_empty(images)) return FASTNN_DONE;
    const warp_job job = {*images, bilinear, fill, matrices};
    return fastnn_parallel(images->samples * divided_up(images->out_height, STRIP_ROWS), warp_piece, &job);
}
