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

// ---- parts of a row ------------------------------------------------------------------------------------------------

typedef uint8_t chunk __attribute__((vector_size(16)));
typedef uint16_t chunk_2 __attribute__((vector_size(16)));
typedef uint32_t chunk_4 __attribute__((vector_size(16)));
typedef uint64_t chunk_8 __attribute__((vector_size(16)));
enum { CHUNK = sizeof(chunk), MANY_CHUNKS = 16 };

#ifdef __clang__
#define SHUFFLE(v, ...) __builtin_shufflevector(v, v, __VA_ARGS__)
#else
#define SHUFFLE(v, ...) __builtin_shuffle(v, (__typeof__(v)){__VA_ARGS__})
#endif

ALWAYS_INLINE chunk take(const char *from) {
    chunk taken;
    memcpy(&taken, from, CHUNK);
    return taken;
}
ALWAYS_INLINE void put(char *to, chunk given) { memcpy(to, &given, CHUNK); }

// The chunk with its pixels, of 1, 4 or 8 bytes, in reverse order.
ALWAYS_INLINE chunk reverse(chunk c, size_t pixel) {
    if (pixel == 8) return (chunk)SHUFFLE((chunk_8)c, 1, 0);
    const chunk_4 fours = SHUFFLE((chunk_4)c, 3, 2, 1, 0);
    if (pixel == 4) return (chunk)fours;
    const chunk_2 twos = (chunk_2)(fours << 16 | fours >> 16);  // SSE2 has no quicker way
    return (chunk)(twos << 8 | twos >> 8);
}

// Copies a run, of which `from` is the lowest address, forwards or backwards. The last chunk lies over the one before.
ALWAYS_INLINE void copy_run(char *to, const char *from, size_t bytes, size_t pixel, bool backwards) {
    if (!backwards && bytes >= MANY_CHUNKS * CHUNK) {
        memcpy(to, from, bytes);
    } else if (bytes >= CHUNK) {
        const size_t last = bytes - CHUNK;
        for (size_t i = 0; i < last; i += CHUNK)
            put(to + i, backwards ? reverse(take(from + last - i), pixel) : take(from + i));
        put(to + last, backwards ? reverse(take(from), pixel) : take(from + last));
    } else {
        for (size_t i = 0; i < bytes; i += pixel) memcpy(to + i, from + (backwards ? bytes - pixel - i : i), pixel);
    }
}

// Fills `left` bytes at the start and `right` at the end of a row, or more: what lies between them is written later.
ALWAYS_INLINE void fill_ends(char *row, size_t bytes, size_t left, size_t right, chunk fill, size_t pixel) {
    if (bytes >= CHUNK) {
        const size_t last = bytes - CHUNK;
        for (size_t i = 0; i < left; i += CHUNK) put(row + smaller(i, last), fill);
        for (size_t i = 0; i < right; i += CHUNK) put(row + last - smaller(i, last), fill);
    } else {
        for (size_t i = 0; i < bytes; i += pixel) memcpy(row + i, &fill, pixel);
    }
}

// ---- planes --------------------------------------------------------------------------------------------------------

typedef struct {
    fastnn_images images;
    fastnn_padding padding;
    const void *fill;
    const int64_t *crops;
} crop_job;

ALWAYS_INLINE void copy_mirrored(char *y, const char *row, const crop_axis *columns, size_t from, size_t to,
                                 fastnn_padding padding, size_t pixel) {
    for (size_t j = from; j < to; j++) memcpy(y + j * pixel, row + (size_t)place(columns, j, padding) * pixel, pixel);
}

ALWAYS_INLINE void crop_plane(const crop_job *job, size_t plane, size_t pixel, bool backwards) {
    const fastnn_images *m = &job->images;
    const int64_t *crop = job->crops + 4 * (plane / m->channels);
    const crop_axis rows = make_axis(crop, m->height, m->out_height);
    const crop_axis columns = make_axis(crop + 2, m->width, m->out_width);
    const size_t bytes = m->out_width * pixel, run = (columns.to - columns.from) * pixel;
    const ptrdiff_t lowest = columns.first + columns.step * (ptrdiff_t)(backwards ? columns.to - 1 : columns.from);
    const char *x = (const char *)m->x + plane * plane_pixels(m) * pixel;
    char *y = (char *)m->y + plane * out_plane_pixels(m) * pixel;
    chunk fill;
    for (size_t i = 0; i < CHUNK; i += pixel)
        memcpy((char *)&fill + i, (const char *)job->fill + plane % m->channels * pixel, pixel);
    for (size_t i = 0; i < rows.count; i++, y += bytes) {
        const ptrdiff_t at = place(&rows, i, job->padding);
        if (at < 0) {
            fill_ends(y, bytes, bytes, 0, fill, pixel);
            continue;
        }
        const char *row = x + (size_t)at * m->width * pixel;
        if (job->padding == FASTNN_CONSTANT)
            fill_ends(y, bytes, columns.from * pixel, bytes - columns.to * pixel, fill, pixel);
        if (run > 0) copy_run(y + columns.from * pixel, row + (size_t)lowest * pixel, run, pixel, backwards);
        if (job->padding != FASTNN_CONSTANT) {
            copy_mirrored(y, row, &columns, 0, columns.from, job->padding, pixel);
            copy_mirrored(y, row, &columns, columns.to, columns.count, job->padding, pixel);
        }
    }
}

#define CROP_PLANE(pixel)                                                              \
    static void crop_plane_##pixel(const crop_job *job, size_t plane) {                \
        const bool backwards = job->crops[4 * (plane / job->images.channels) + 3] < 0; \
        if (backwards)                                                                 \
            crop_plane(job, plane, pixel, true);                                       \
        else                                                                           \
            crop_plane(job, plane, pixel, false);                                      \
    }
CROP_PLANE(1)
CROP_PLANE(4)
CROP_PLANE(8)

static void crop_piece(const void *context, size_t index) {
    static void (*const crop[])(const crop_job *, size_t) = {
        [FASTNN_BYTES] = crop_plane_1, [FASTNN_FLOATS] = crop_plane_4, [FASTNN_DOUBLES] = crop_plane_8};
    const crop_job *job = context;
    const size_t planes = planes_in_piece(&job->images), first = index * planes;
    const size_t end = smaller(first + planes, planes_of(&job->images));
    for (size_t plane = first; plane < end; plane++) crop[job->images.pixels](job, plane);
}

fastnn_outcome fastnn_crop_images(const fastnn_images *images, fastnn_padding padding, const void *fill,
                                  const int64_t *crops) {
    if (is_empty(images)) return FASTNN_DONE;
    const crop_job job = {*images, padding, fill, crops};
    return fastnn_parallel(divided_up(planes_of(images), planes_in_piece(images)), crop_piece, &job);
}
