// Crops, flips and padding: pixels that only move. A row of y is a run of a row of x, forwards or backwards, between
// two short parts beyond the edges.
#include <string.h>

#include "augment/images.h"

// Element i along an axis is first + step i of an axis of x that has `length`; elements from ... to - 1 lie within it.
typedef struct {
    ptrdiff_t first, step, length;
    size_t from, to, count;
} crop_axis;

static crop_axis make_axis(const int64_t *first_and_step, size_t length, size_t count) {
    crop_axis axis = {(ptrdiff_t)first_and_step[0], (ptrdiff_t)first_and_step[1], (ptrdiff_t)length, 0, 0, count};
    const ptrdiff_t before = axis.step > 0 ? -axis.first : axis.first - axis.length + 1;  // so many are beyond the edge
    axis.from = before > 0 ? smaller((size_t)before, count) : 0;
    const ptrdiff_t end = before + axis.length;
    axis.to = end > 0 ? larger(smaller((size_t)end, count), axis.from) : axis.from;
    return axis;
}

// The place in x of element i; -1: there is none.
static ptrdiff_t place(const crop_axis *axis, size_t i, fastnn_padding padding) {
    const ptrdiff_t at = axis->first + axis->step * (ptrdiff_t)i, last = axis->length - 1;
    if (at >= 0 && at <= last) return at;
    switch (padding) {
    case FASTNN_EDGE: return at < 0 ? 0 : last;
    case FASTNN_REFLECT: return at < 0 ? -at : 2 * last - at;
    case FASTNN_SYMMETRIC: return at < 0 ? -at - 1 : 2 * last + 1 - at;
    default: return -1;
    }
}

// ---- runs ----------------------------------------------------------------------------------------------------------

// memcpy, but that short runs, of which small images have many, take no call.
static inline void copy(void *to, const void *from, size_t bytes) {
    enum { STEP = 16, FEW = 8 };
    if (bytes < STEP || bytes > FEW * STEP) {
        memcpy(to, from, bytes);
        return;
    }
    char *out = to;
    const char *in = from;
    for (size_t i = 0; i + STEP < bytes; i += STEP) memcpy(out + i, in + i, STEP);
    memcpy(out + bytes - STEP, in + bytes - STEP, STEP);
}

// to[i] = from[-i]
static inline void reverse_1(uint8_t *to, const uint8_t *from, size_t count) {
    size_t i = 0;
    for (; i + 8 <= count; i += 8) {
        uint64_t eight;
        memcpy(&eight, from - i - 7, 8);
        eight = __builtin_bswap64(eight);
        memcpy(to + i, &eight, 8);
    }
    for (; i < count; i++) to[i] = *(from - i);
}
static inline void reverse_4(uint32_t *restrict to, const uint32_t *restrict from, size_t count) {
    for (size_t i = 0; i < count; i++) to[i] = *(from - i);
}
static inline void reverse_8(uint64_t *restrict to, const uint64_t *restrict from, size_t count) {
    for (size_t i = 0; i < count; i++) to[i] = *(from - i);
}

// ---- planes --------------------------------------------------------------------------------------------------------

typedef struct {
    fastnn_images images;
    fastnn_padding padding;
    const void *fill;
    const int64_t *crops;
} crop_job;

// One for each size of a pixel, whose bits are moved as those of an integer.
#define CROP_PLANE(bytes, type)                                                                                        \
    static void beyond_##bytes(const crop_job *job, const crop_axis *columns, size_t from, size_t to, const type *row, \
                               type *y, type fill) {                                                                   \
        for (size_t j = from; j < to; j++) {                                                                           \
            const ptrdiff_t at = place(columns, j, job->padding);                                                      \
            y[j] = at < 0 ? fill : row[at];                                                                            \
        }                                                                                                              \
    }                                                                                                                  \
    static void crop_plane_##bytes(const crop_job *job, size_t plane) {                                                \
        const fastnn_images *m = &job->images;                                                                         \
        const int64_t *crop = job->crops + 4 * (plane / m->channels);                                                  \
        const crop_axis rows = make_axis(crop, m->height, m->out_height);                                              \
        const crop_axis columns = make_axis(crop + 2, m->width, m->out_width);                                         \
        const type *x = (const type *)m->x + plane * plane_pixels(m);                                                  \
        const type fill = ((const type *)job->fill)[plane % m->channels];                                              \
        const size_t count = columns.to - columns.from;                                                                \
        type *y = (type *)m->y + plane * out_plane_pixels(m);                                                          \
        for (size_t i = 0; i < rows.count; i++, y += columns.count) {                                                  \
            const ptrdiff_t at = place(&rows, i, job->padding);                                                        \
            if (at < 0) {                                                                                              \
                for (size_t j = 0; j < columns.count; j++) y[j] = fill;                                                \
                continue;                                                                                              \
            }                                                                                                          \
            const type *row = x + at * columns.length;                                                                 \
            const type *run = row + columns.first + columns.step * (ptrdiff_t)columns.from;                            \
            beyond_##bytes(job, &columns, 0, columns.from, row, y, fill);                                              \
            if (columns.step > 0)                                                                                      \
                copy(y + columns.from, run, count * sizeof(type));                                                     \
            else                                                                                                       \
                reverse_##bytes(y + columns.from, run, count);                                                         \
            beyond_##bytes(job, &columns, columns.to, columns.count, row, y, fill);                                    \
        }                                                                                                              \
    }
CROP_PLANE(1, uint8_t)
CROP_PLANE(4, uint32_t)
CROP_PLANE(8, uint64_t)

static void crop_piece(const void *context, size_t index) {
    static void (*const crop_plane[])(const crop_job *, size_t) = {
        [FASTNN_BYTES] = crop_plane_1, [FASTNN_FLOATS] = crop_plane_4, [FASTNN_DOUBLES] = crop_plane_8};
    const crop_job *job = context;
    const size_t planes = planes_in_piece(&job->images), first = index * planes;
    const size_t end = smaller(first + planes, planes_of(&job->images));
    for (size_t plane = first; plane < end; plane++) crop_plane[job->images.pixels](job, plane);
}

fastnn_outcome fastnn_crop_images(const fastnn_images *images, fastnn_padding padding, const void *fill,
                                  const int64_t *crops) {
    if (is_empty(images)) return FASTNN_DONE;
    const crop_job job = {*images, padding, fill, crops};
    return fastnn_parallel(divided_up(planes_of(images), planes_in_piece(images)), crop_piece, &job);
}
