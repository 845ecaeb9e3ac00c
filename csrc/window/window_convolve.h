// Convolution on phase planes: sums of products of weights and taps, and of gradients and taps. Part of
// window_kernels.c.
//
// A tap of neighbouring windows is one unaligned load, so nothing is gathered: a matrix product would read a row of its
// right factor here; this reads the planes, a tap's offset from the windows' place.
#ifndef FASTNN_WINDOW_CONVOLVE_H
#define FASTNN_WINDOW_CONVOLVE_H

#include "simd/simd.h"
#include "window/window_kernels.h"

enum {
    PANEL = REGISTERS / 4,      // outputs, times
    VECTORS = 3,                // vectors of windows: sums that are in registers together
    GRADIENTS = REGISTERS / 4,  // outputs, times
    RUNS = 3,                   // taps
};

// The compiler moves no load over this. Factors are loaded one by one: all of them at once would not fit into the
// registers beside the sums.
#define LOAD_NOW __asm__ volatile("" ::: "memory")

static size_t panel_width(size_t outputs) {
    size_t width = PANEL;
    while (width / 2 >= outputs) width /= 2;
    return width;
}

// Interleaves rows: first the elements at lane 0 of v[0], v[1], ..., then those at lane 1, ... Each step puts the
// elements of the upper half of the rows between those of the lower half, which rotates the bits of an element's
// number, (row, lane), by one.
ALWAYS_INLINE void interleave_rows(V *v, size_t width) {
    for (size_t step = 1; step < width; step *= 2) {
        V next[PANEL];
        UNROLL
        for (size_t i = 0; i < width / 2; i++) {
            next[2 * i] = vzip_low(v[i], v[i + width / 2]);
            next[2 * i + 1] = vzip_high(v[i], v[i + width / 2]);
        }
        UNROLL
        for (size_t i = 0; i < width; i++) v[i] = next[i];
    }
}

// n adjacent weights of each output; the outputs are `apart` elements apart.
ALWAYS_INLINE void pack_run(const real *from, ptrdiff_t apart, size_t outputs, size_t width, size_t n, real *to) {
    for (size_t first = 0, some; first < n; first += some) {
        V v[PANEL];
        some = n - first < LANES ? n - first : LANES;
        UNROLL
        for (size_t o = 0; o < width; o++)
            v[o] = o < outputs ? vload_some(from + (ptrdiff_t)o * apart + (ptrdiff_t)first, some) : vzero();
        interleave_rows(v, width);
        for (size_t i = 0; i * LANES < some * width; i++, to += LANES)
            vstore_some(to, some * width - i * LANES < LANES ? some * width - i * LANES : LANES, v[i]);
        to -= (LANES - some * width % LANES) % LANES;
    }
}

ALWAYS_INLINE void pack_runs(const fastnn_weights *weights, size_t width, real *to) {
    const size_t taps = weights->taps[0] * weights->taps[1];
    const bool together = weights->channel == (ptrdiff_t)taps;
    const size_t n = together ? weights->channels * taps : taps, runs = together ? 1 : weights->channels;
    for (size_t c = 0; c < runs; c++, to += n * width)
        pack_run((const real *)weights->data + (ptrdiff_t)c * weights->channel, weights->output, weights->outputs,
                 width, n, to);
}

// The same for taps that are not adjacent in memory.
static void pack_apart(const fastnn_weights *weights, size_t width, real *to) {
    for (size_t c = 0; c < weights->channels; c++)
        for (size_t row = 0; row < weights->taps[0]; row++)
            for (size_t column = 0; column < weights->taps[1]; column++, to += width) {
                const real *from = (const real *)weights->data + (ptrdiff_t)c * weights->channel +
                                   (ptrdiff_t)row * weights->tap[0] + (ptrdiff_t)column * weights->tap[1];
                for (size_t o = 0; o < width; o++)
                    to[o] = o < weights->outputs ? from[(ptrdiff_t)o * weights->output] : 0;
            }
}

static void pack(const fastnn_weights *weights, void *to) {
    const size_t width = panel_width(weights->outputs);
    if (weights->tap[1] != 1 || weights->tap[0] != (ptrdiff_t)weights->taps[1]) {
        pack_apart(weights, width, to);
        return;
    }
    switch (width) {
    case 1: pack_runs(weights, 1, to); break;
    case 2: pack_runs(weights, 2, to); break;
    case 4: pack_runs(weights, 4, to); break;
#if REGISTERS == 32
    case 8: pack_runs(weights, 8, to); break;
#endif
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

ALWAYS_INLINE void convolve_vectors(const panel *p, size_t width, size_t vectors, const fastnn_place *places) {
    const size_t channels = p->channels, taps = p->taps, channel = p->block->channel, *offsets = p->offsets;
    V sum[PANEL][VECTORS];
    const real *at[VECTORS], *weight = p->packed;
    UNROLL
    for (size_t v = 0; v < vectors; v++) at[v] = p->from + places[v].at;
    UNROLL
    for (size_t o = 0; o < width; o++) {
        UNROLL
        for (size_t v = 0; v < vectors; v++) sum[o][v] = vset(p->bias == NULL ? 0 : p->bias[o]);
    }
    // Asks for the results' cache lines, which come during the sums: conv2d of (64, 32, 16, 16) to 64 channels is 5%
    // quicker.
    for (size_t o = 0; o < p->outputs; o++)
        for (size_t v = 0; v < vectors; v++) __builtin_prefetch(p->to + o * p->pitch + places[v].to, 1);
    for (size_t c = 0; c < channels; c++) {
        for (size_t t = 0; t < taps; t++, weight += width) {
            V x[VECTORS];
            UNROLL
            for (size_t v = 0; v < vectors; v++) x[v] = vload(at[v] + offsets[t]);
            UNROLL
            for (size_t o = 0; o < width; o++) {
                const V w = vset(weight[o]);
                UNROLL
                for (size_t v = 0; v < vectors; v++) sum[o][v] = vmadd(w, x[v], sum[o][v]);
                LOAD_NOW;
            }
        }
        UNROLL
        for (size_t v = 0; v < vectors; v++) at[v] += channel;
    }
    UNROLL
    for (size_t o = 0; o < width; o++) {
        UNROLL
        for (size_t v = 0; v < vectors; v++)
            if (o < p->outputs) vstore_some(p->to + o * p->pitch + places[v].to, places[v].count, sum[o][v]);
    }
}

ALWAYS_INLINE void convolve_panel(const panel *p, size_t width, const fastnn_place *places, size_t vectors) {
    size_t v = 0, left = vectors;
    for (; left >= VECTORS && left != VECTORS + 1; v += VECTORS, left -= VECTORS)
        convolve_vectors(p, width, VECTORS, places + v);
    for (; left >= 2; v += 2, left -= 2) convolve_vectors(p, width, 2, places + v);
    if (left == 1) convolve_vectors(p, width, 1, places + v);
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

// The sums of RUNS taps for some outputs: dot products of x and dy over all places.
ALWAYS_INLINE void gradient_tile(const real *const *from, const real *dy, size_t dy_pitch, size_t outputs,
                                 const fastnn_place *places, size_t vectors, real sums[GRADIENTS][RUNS]) {
    V sum[GRADIENTS][RUNS];
    const real *at[RUNS];
    UNROLL
    for (size_t r = 0; r < RUNS; r++) at[r] = from[r];
    UNROLL
    for (size_t o = 0; o < outputs; o++) {
        UNROLL
        for (size_t r = 0; r < RUNS; r++) sum[o][r] = vzero();
    }
    for (size_t v = 0; v < vectors; v++) {
        const real *row = dy + places[v].to;
        const size_t place = places[v].at;
        V x[RUNS];
        UNROLL
        for (size_t r = 0; r < RUNS; r++) x[r] = vload(at[r] + place);
        UNROLL
        for (size_t o = 0; o < outputs; o++, row += dy_pitch) {
            const V g = vload(row);
            LOAD_NOW;  // so that g is loaded once, and not for each product
            UNROLL
            for (size_t r = 0; r < RUNS; r++) sum[o][r] = vmadd(g, x[r], sum[o][r]);
            LOAD_NOW;
        }
    }
    UNROLL
    for (size_t o = 0; o < outputs; o++) {
        UNROLL
        for (size_t r = 0; r < RUNS; r++) sums[o][r] = vsum(sum[o][r]);
    }
}

ALWAYS_INLINE void gradient_rows(const real *from, const size_t *runs, size_t count, const real *dy, size_t dy_pitch,
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

static size_t outputs_within(size_t outputs) {
    size_t width = GRADIENTS;
    while (width > outputs) width /= 2;
    return width;
}

static void gradient(const void *from, const size_t *runs, size_t count, const void *dy, size_t dy_pitch,
                     size_t outputs, const fastnn_place *places, size_t vectors, double *sums, size_t pitch) {
    const real *g = dy;
    for (size_t o = 0, some; o < outputs; o += some, g += some * dy_pitch, sums += some * pitch) {
        some = outputs_within(outputs - o);
        switch (some) {
        case 1: gradient_rows(from, runs, count, g, dy_pitch, 1, places, vectors, sums, pitch); break;
        case 2: gradient_rows(from, runs, count, g, dy_pitch, 2, places, vectors, sums, pitch); break;
        case 4: gradient_rows(from, runs, count, g, dy_pitch, 4, places, vectors, sums, pitch); break;
#if REGISTERS == 32
        case 8: gradient_rows(from, runs, count, g, dy_pitch, 8, places, vectors, sums, pitch); break;
#endif
        }
    }
}

static void round_sums(size_t n, const double *sums, void *to) {
    for (size_t i = 0; i < n; i++) ((real *)to)[i] = (real)sums[i];
}

#endif
