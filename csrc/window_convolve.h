// Convolution on phase planes: products of weights and taps, and of gradients and taps. Part of window_kernels.c.
//
// A tap of neighbouring windows is one unaligned load, so nothing is gathered: where a matrix product would read a row
// of its right side, this reads the planes `offset` elements from the windows' place.
#ifndef FASTNN_WINDOW_CONVOLVE_H
#define FASTNN_WINDOW_CONVOLVE_H

#include "simd/simd.h"
#include "window_kernels.h"

enum {
    PANEL = REGISTERS / 4,      // outputs, times
    VECTORS = 3,                // vectors of windows: sums that are in registers together
    GRADIENTS = REGISTERS / 8,  // outputs, times
    RUNS = 6,                   // taps
};

static size_t panel_width(size_t outputs) {
    size_t width = PANEL;
    while (width / 2 >= outputs) width /= 2;
    return width;
}

static void pack(const fastnn_weights *weights, void *memory) {
    real *to = memory;
    const size_t width = panel_width(weights->outputs);
    for (size_t c = 0; c < weights->channels; c++)
        for (size_t row = 0; row < weights->taps[0]; row++)
            for (size_t column = 0; column < weights->taps[1]; column++, to += width) {
                const real *from = (const real *)weights->data + (ptrdiff_t)c * weights->channel +
                                   (ptrdiff_t)row * weights->tap[0] + (ptrdiff_t)column * weights->tap[1];
                for (size_t o = 0; o < width; o++)
                    to[o] = o < weights->outputs ? from[(ptrdiff_t)o * weights->output] : 0;
            }
}

// What all vectors of a panel share.
typedef struct {
    const fastnn_block *block;
    const real *from, *packed, *bias;
    size_t channels, outputs, taps;
    const size_t *offsets;  // of the taps
    real *to;
    size_t pitch;
} panel;

FORCE_INLINE void convolve_vectors(const panel *p, size_t width, size_t vectors, const fastnn_place *places) {
    V sum[PANEL][VECTORS];
    const real *at[VECTORS], *weight = p->packed;
#pragma GCC unroll 8
    for (size_t v = 0; v < vectors; v++) at[v] = p->from + places[v].at;
#pragma GCC unroll 8
    for (size_t o = 0; o < width; o++)
#pragma GCC unroll 8
        for (size_t v = 0; v < vectors; v++) sum[o][v] = vset(p->bias == NULL ? 0 : p->bias[o]);
    for (size_t c = 0; c < p->channels; c++) {
        for (size_t t = 0; t < p->taps; t++, weight += width) {
            const size_t offset = p->offsets[t];
            V x[VECTORS];
#pragma GCC unroll 8
            for (size_t v = 0; v < vectors; v++) x[v] = vload(at[v] + offset);
#pragma GCC unroll 8
            for (size_t o = 0; o < width; o++) {
                const V w = vset(weight[o]);
#pragma GCC unroll 8
                for (size_t v = 0; v < vectors; v++) sum[o][v] = vmadd(w, x[v], sum[o][v]);
            }
        }
#pragma GCC unroll 8
        for (size_t v = 0; v < vectors; v++) at[v] += p->block->channel;
    }
#pragma GCC unroll 8
    for (size_t o = 0; o < width; o++)
#pragma GCC unroll 8
        for (size_t v = 0; v < vectors; v++)
            if (o < p->outputs) vstore_some(p->to + o * p->pitch + places[v].to, places[v].count, sum[o][v]);
}

FORCE_INLINE void convolve_panel(const panel *p, size_t width, const fastnn_place *places, size_t vectors) {
    size_t v = 0;
    for (; v + VECTORS <= vectors; v += VECTORS) convolve_vectors(p, width, VECTORS, places + v);
    if (vectors - v == 2)
        convolve_vectors(p, width, 2, places + v);
    else if (vectors - v == 1)
        convolve_vectors(p, width, 1, places + v);
}

static void convolve(const fastnn_block *block, const void *from, size_t channels, size_t outputs, const void *packed,
                     const void *bias, const size_t *offsets, const fastnn_place *places, size_t vectors, void *to,
                     size_t pitch) {
    const size_t taps = block->axis[0].taps * block->axis[1].taps;
    const panel p = {block, from, packed, bias, channels, outputs, taps, offsets, to, pitch};
    switch (panel_width(outputs)) {
    case 1: convolve_panel(&p, 1, places, vectors); break;
    case 2: convolve_panel(&p, 2, places, vectors); break;
    case 4: convolve_panel(&p, 4, places, vectors); break;
#if REGISTERS == 32
    case 8: convolve_panel(&p, 8, places, vectors); break;
#endif
    }
}

// The sums of RUNS taps for some outputs: dot products along all places.
FORCE_INLINE void gradient_tile(const real *const *from, const real *dy, size_t dy_pitch, size_t outputs,
                                const fastnn_place *places, size_t vectors, real sums[GRADIENTS][RUNS]) {
    V sum[GRADIENTS][RUNS];
#pragma GCC unroll 8
    for (size_t o = 0; o < outputs; o++)
#pragma GCC unroll 8
        for (size_t r = 0; r < RUNS; r++) sum[o][r] = vzero();
    for (size_t v = 0; v < vectors; v++) {
        const size_t at = places[v].at;
        V g[GRADIENTS];
#pragma GCC unroll 8
        for (size_t o = 0; o < outputs; o++) g[o] = vload(dy + o * dy_pitch + v * LANES);
#pragma GCC unroll 8
        for (size_t r = 0; r < RUNS; r++) {
            const V x = vload(from[r] + at);
#pragma GCC unroll 8
            for (size_t o = 0; o < outputs; o++) sum[o][r] = vmadd(g[o], x, sum[o][r]);
        }
    }
#pragma GCC unroll 8
    for (size_t o = 0; o < outputs; o++)
#pragma GCC unroll 8
        for (size_t r = 0; r < RUNS; r++) sums[o][r] = vsum(sum[o][r]);
}

FORCE_INLINE void gradient_rows(const real *from, const size_t *runs, size_t count, const real *dy, size_t dy_pitch,
                                size_t outputs, const fastnn_place *places, size_t vectors, double *sums,
                                size_t pitch) {
    for (size_t first = 0; first < count; first += RUNS) {
        const size_t some = count - first < RUNS ? count - first : RUNS;
        const real *at[RUNS];
        real tile[GRADIENTS][RUNS];
        for (size_t r = 0; r < RUNS; r++) at[r] = from + runs[first + (r < some ? r : 0)];
        gradient_tile(at, dy, dy_pitch, outputs, places, vectors, tile);
        for (size_t o = 0; o < outputs; o++)
            for (size_t r = 0; r < some; r++) sums[o * pitch + first + r] += (double)tile[o][r];
    }
}

static void gradient(const void *from, const size_t *runs, size_t count, const void *dy, size_t dy_pitch,
                     size_t outputs, const fastnn_place *places, size_t vectors, double *sums, size_t pitch) {
    const real *g = dy;
    size_t o = 0;
    for (; o + GRADIENTS <= outputs; o += GRADIENTS)
        gradient_rows(from, runs, count, g + o * dy_pitch, dy_pitch, GRADIENTS, places, vectors, sums + o * pitch,
                      pitch);
    for (; o < outputs; o++)
        gradient_rows(from, runs, count, g + o * dy_pitch, dy_pitch, 1, places, vectors, sums + o * pitch, pitch);
}

#endif
