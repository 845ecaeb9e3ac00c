// Copies images to phase planes (fastnn_block) and back. Part of window_kernels.c. It must not know what the windows
// are for.
#ifndef FASTNN_WINDOW_PLANES_H
#define FASTNN_WINDOW_PLANES_H

#include "simd/simd.h"
#include "window/window_kernels.h"

FORCE_INLINE void fill_run(real *to, size_t n, real value) {
    const V v = vset(value);
    size_t i = 0;
    for (; i + LANES <= n; i += LANES) vstore(to + i, v);
    if (i < n) vstore_part(to + i, n - i, v);
}

FORCE_INLINE void copy_run(real *to, const real *from, size_t n) {
    size_t i = 0;
    for (; i + LANES <= n; i += LANES) vstore(to + i, vload(from + i));
    if (i < n) vstore_part(to + i, n - i, vload_part(from + i, n - i));
}

// The same in whole vectors: up to LANES - 1 elements behind the run are overwritten, so callers leave room there.
FORCE_INLINE void fill_over(real *to, size_t n, real value) {
    for (size_t i = 0; i < n; i += LANES) vstore(to + i, vset(value));
}
FORCE_INLINE void copy_over(real *to, const real *from, size_t n) {
    size_t i = 0;
    for (; i + LANES <= n; i += LANES) vstore(to + i, vload(from + i));
    if (i < n) vstore(to + i, vload_part(from + i, n - i));
}

// Every stride-th element. A vector of stride 2 reads one element more than it takes, so the last element is never
// taken by a vector.
FORCE_INLINE void take_every(real *to, const real *from, size_t n, size_t stride) {
    size_t i = 0;
    if (stride == 2)
        for (; i + LANES < n; i += LANES) vstore(to + i, veven(vload(from + 2 * i), vload(from + 2 * i + LANES)));
    for (; i < n; i++) to[i] = from[i * stride];
}

// A line is a row or a column of a phase plane. Elements begin ... end - 1 of the `extent` elements of a line are in
// the image, at element `first` of it or after. `index`: the place in the image of the line's first element.
typedef struct {
    size_t begin, end;
} inside;

static inside inside_of(const fastnn_axis *axis, ptrdiff_t index, size_t extent, size_t first) {
    const ptrdiff_t stride = (ptrdiff_t)axis->stride, before = (ptrdiff_t)first - index;
    const ptrdiff_t left = (ptrdiff_t)axis->size - index;
    const size_t begin = before <= 0 ? 0 : (size_t)((before + stride - 1) / stride);
    const size_t end = left <= 0 ? 0 : (size_t)((left + stride - 1) / stride);
    const inside found = {begin, end < extent ? end : extent};
    return found.begin < found.end ? found : (inside){0, 0};
}

// The place in the image of a line's first element.
static ptrdiff_t line_start(const fastnn_block *block, int d, size_t slot) {
    const fastnn_axis *axis = &block->axis[d];
    return fastnn_lowest(axis) + (ptrdiff_t)(block->first[d] * axis->stride + fastnn_phase(axis, slot));
}

static void prepare_plane(const fastnn_block *block, const real *image, size_t row_slot, size_t column_slot, real fill,
                          real *to) {
    const size_t rows = block->extent[0], columns = block->extent[1], stride = block->axis[1].stride;
    const ptrdiff_t top = line_start(block, 0, row_slot), start = line_start(block, 1, column_slot);
    const inside across = inside_of(&block->axis[1], start, columns, 0);
    const inside down = inside_of(&block->axis[0], top, rows, 0);
    for (size_t row = 0; row < rows; row++, to += columns) {
        if (row < down.begin || row >= down.end) {
            fill_over(to, columns, fill);
            continue;
        }
        const ptrdiff_t y = top + (ptrdiff_t)(row * block->axis[0].stride);
        const ptrdiff_t x = start + (ptrdiff_t)(across.begin * stride);
        const real *from = image + y * (ptrdiff_t)block->row_stride + x;
        fill_over(to, across.begin, fill);
        if (stride == 1)
            copy_over(to + across.begin, from, across.end - across.begin);
        else
            take_every(to + across.begin, from, across.end - across.begin, stride);
        fill_over(to + across.end, columns - across.end, fill);
    }
}

static void prepare(const fastnn_block *block, const void *images, size_t channels, double fill, void *memory) {
    const size_t size = block->extent[0] * block->extent[1];
    for (size_t channel = 0; channel < channels; channel++) {
        const real *image = (const real *)images + channel * block->channel_stride;
        real *start = (real *)memory + channel * block->channel, *to = start;
        for (size_t row_slot = 0; row_slot < block->phases[0]; row_slot++)
            for (size_t column_slot = 0; column_slot < block->phases[1]; column_slot++)
                for (size_t sample = 0; sample < block->samples; sample++, to += size)
                    prepare_plane(block, image + sample * block->sample_stride, row_slot, column_slot, (real)fill, to);
        fill_run(to, (size_t)(start + block->channel - to), (real)fill);
    }
}

// The elements of a phase back to the image.
FORCE_INLINE void put_every(real *to, const real *from, size_t n, size_t stride) {
    if (stride == 1)
        copy_run(to, from, n);
    else
        for (size_t i = 0; i < n; i++) to[i * stride] = from[i];
}

static void deliver(const fastnn_delivery *d, const void *from, void *to) {
    for (size_t sample = 0; sample < d->samples; sample++)
        for (size_t row = 0; row < d->rows; row++)
            put_every((real *)to + sample * d->to_sample + row * d->to_row,
                      (const real *)from + sample * d->from_sample + row * d->from_row, d->columns, d->to_column);
}

FORCE_INLINE void interleave(real *to, const real *even, const real *odd, size_t pairs) {
    size_t i = 0;
    for (; i + LANES <= pairs; i += LANES) {
        const V a = vload(even + i), b = vload(odd + i);
        vstore(to + 2 * i, vzip_low(a, b));
        vstore(to + 2 * i + LANES, vzip_high(a, b));
    }
    for (; i < pairs; i++) to[2 * i] = even[i], to[2 * i + 1] = odd[i];
}

static void restore_row(const fastnn_block *block, const real *from, real *row) {
    const fastnn_axis *axis = &block->axis[1];
    const real *first[2] = {NULL, NULL};  // stride 2: the phases of elements 0, 2, ... and 1, 3, ...
    size_t count[2] = {0, 0}, done = 0;
    if (axis->stride == 2 && block->phases[1] == 2) {
        for (size_t slot = 0; slot < 2; slot++) {
            const ptrdiff_t start = line_start(block, 1, slot);
            const inside across = inside_of(axis, start, block->extent[1], 0);
            const ptrdiff_t odd = start + 2 * (ptrdiff_t)across.begin;
            if (across.begin == across.end || odd > 1) continue;
            first[odd] = from + slot * block->plane + across.begin;
            count[odd] = across.end - across.begin;
        }
        const size_t pairs = count[0] < count[1] ? count[0] : count[1];
        if (pairs > 0) interleave(row, first[0], first[1], pairs);
        done = 2 * pairs;
    }
    fill_run(row + done, axis->size - done, 0);
    for (size_t slot = 0; slot < block->phases[1]; slot++) {
        const ptrdiff_t start = line_start(block, 1, slot);
        const inside across = inside_of(axis, start, block->extent[1], done);
        const ptrdiff_t x = start + (ptrdiff_t)(across.begin * axis->stride);
        put_every(row + x, from + slot * block->plane + across.begin, across.end - across.begin, axis->stride);
    }
}

static void restore(const fastnn_block *block, const void *memory, size_t first_row, size_t end_row, void *image) {
    const fastnn_axis *axis = &block->axis[0];
    for (size_t y = first_row; y < end_row; y++)
        fill_run((real *)image + y * block->row_stride, block->axis[1].size, 0);
    for (size_t slot = 0; slot < block->phases[0]; slot++) {
        const ptrdiff_t top = line_start(block, 0, slot);
        const real *from = (const real *)memory + slot * block->phases[1] * block->plane;
        for (size_t row = 0; row < block->extent[0]; row++) {
            const ptrdiff_t y = top + (ptrdiff_t)(row * axis->stride);
            if (y >= (ptrdiff_t)first_row && y < (ptrdiff_t)end_row)
                restore_row(block, from + row * block->extent[1], (real *)image + y * (ptrdiff_t)block->row_stride);
        }
    }
}

#endif
