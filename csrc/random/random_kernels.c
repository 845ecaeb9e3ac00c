// Dropout masks and uniform numbers from Philox, compiled once for each instruction set and dtype.
#include "random/random_kernels.h"

#include "math/exact_sum.h"
#include "random/philox.h"

FORCE_INLINE void store_draws(const philox_stream *stream, uint64_t first, size_t blocks, uint16_t *draws) {
    for (size_t done = 0; done < blocks; done += PHILOX_BLOCKS) {
        U low[PHILOX_VECTORS], high[PHILOX_VECTORS];
        philox_following(stream, first + done, low, high);
        for (size_t v = 0; v < PHILOX_VECTORS; v++) ustore_draws(draws + 8 * (done + v * ULANES), low[v], high[v]);
    }
}
static void draw_blocks(uint64_t seed, uint64_t offset, uint64_t first, size_t blocks, uint16_t *draws) {
    const philox_stream stream = philox_open(seed, offset);
    store_draws(&stream, first, blocks, draws);
}

static void uniform(const fastnn_uniform_state *state, uint64_t first, size_t count, void *memory) {
    enum { ROOM = 512 };
    double step = state->upper / 65536, step_low = 0, start = state->lower, start_low = 0;
    add_exactly(&step, &step_low, -state->lower / 65536);
    add_exactly(&start, &start_low, step / 2);
    const V scale = vset((real)step), scale_low = vset(REST_OF(step, step_low));
    const V shift = vset((real)start), shift_low = vset(REST_OF(start, start_low + step_low / 2));
    const philox_stream stream = philox_open(state->seed, state->offset);
    uint16_t draws[ROOM + DRAWS_BEYOND];
    real *to = memory;
    for (size_t done = 0, part; done < count; done += part) {
        const size_t skip = (first + done) % 8;
        part = count - done < ROOM - 8 ? count - done : ROOM - skip;
        store_draws(&stream, (first + done) / 8, (skip + part + 7) / 8, draws);
        for (size_t i = 0; i < part; i += LANES) {
            const V draw = vload_draws(draws + skip + i);
            const V x = vfma(draw, scale, shift) + vfma(draw, scale_low, shift_low);
            if (part - i >= LANES)
                vstore(to + done + i, x);
            else
                vstore_part(to + done + i, part - i, x);
        }
    }
}

// Moves all bits down by `skip`, so that bit `skip` becomes bit 0; reads up to 8 bytes beyond the last.
static void skip_bits(uint8_t *bits, size_t bytes, unsigned skip) {
    for (size_t i = 0; skip > 0 && i < bytes; i += 8) {
        uint64_t word;
        memcpy(&word, bits + i, 8);
        word = word >> skip | (uint64_t)bits[i + 8] << (64 - skip);
        memcpy(bits + i, &word, 8);
    }
}

// Nothing is drawn where all elements are kept or none is.
static bool keep_all_or_none(const fastnn_dropout *dropout, size_t blocks, uint8_t *bits) {
    if (dropout->threshold != 0 && dropout->threshold != 65536) return false;
    memset(bits, dropout->threshold == 0 ? 0 : 0xff, blocks);
    return true;
}

static void keep_bits(const fastnn_dropout *dropout, uint64_t first, size_t count, uint8_t *bits) {
    const size_t blocks = (first % 8 + count + 7) / 8;
    if (keep_all_or_none(dropout, blocks, bits)) return;
    const philox_stream stream = philox_open(dropout->seed, dropout->offset);
    const uint16_t limit = (uint16_t)(dropout->threshold - 1);
    for (size_t done = 0; done < blocks; done += PHILOX_BLOCKS) {
        U low[PHILOX_VECTORS], high[PHILOX_VECTORS];
        philox_following(&stream, first / 8 + done, low, high);
        for (size_t v = 0; v < PHILOX_VECTORS; v++) ustore_below(bits + done + v * ULANES, low[v], high[v], limit);
    }
    skip_bits(bits, blocks, first % 8);
}

static void keep_blocks(const fastnn_dropout *dropout, size_t count, const uint64_t *blocks, uint8_t *bits) {
    if (keep_all_or_none(dropout, count, bits)) return;
    const philox_stream stream = philox_open(dropout->seed, dropout->offset);
    const uint16_t limit = (uint16_t)(dropout->threshold - 1);
    for (size_t done = 0; done < count; done += PHILOX_BLOCKS) {
        U block[PHILOX_VECTORS], low[PHILOX_VECTORS], high[PHILOX_VECTORS];
        for (size_t v = 0; v < PHILOX_VECTORS; v++) block[v] = uload(blocks + done + v * ULANES);
        philox_blocks(&stream, block, low, high);
        for (size_t v = 0; v < PHILOX_VECTORS; v++) ustore_below(bits + done + v * ULANES, low[v], high[v], limit);
    }
}

// The loop over vectors and the bits of their elements, 64 at a time. `formula` is a constant at every call, so each
// call compiles to its own loop.
typedef V Masked(M kept, V x, const V *p);
FORCE_INLINE void masked(size_t n, void *y_memory, const void *x_memory, const uint8_t *bits, const V *p,
                         Masked *formula) {
    real *y = y_memory;
    const real *x = x_memory;
    size_t i = 0;
    for (; i + 64 <= n; i += 64) {
        uint64_t word;
        memcpy(&word, bits + i / 8, 8);
#pragma GCC unroll 32
        for (size_t j = 0; j < 64; j += LANES)
            vstore(y + i + j, formula(vmask_of_bits((unsigned)(word >> j)), vload(x + i + j), p));
    }
    if (i == n) return;
    uint64_t word = 0;
    memcpy(&word, bits + i / 8, (n - i + 7) / 8);
    for (; i < n; i += LANES, word >>= LANES) {
        const size_t part = n - i < LANES ? n - i : LANES;
        vstore_part(y + i, part, formula(vmask_of_bits((unsigned)word), vload_part(x + i, part), p));
    }
}

FORCE_INLINE V scale_or_zero(M kept, V x, const V *p) { return vkeep(kept, x * p[0]); }
static void mask(size_t n, void *y, const void *x, const uint8_t *bits, double scale) {
    const V p[] = {vset((real)scale)};
    masked(n, y, x, bits, p, scale_or_zero);
}

FORCE_INLINE V line_or_constant(M kept, V x, const V *p) { return vselect(kept, vfma(x, p[0], p[1]), p[2]); }
static void mask_line(size_t n, void *y, const void *x, const uint8_t *bits, double scale, double shift,
                      double dropped) {
    const V p[] = {vset((real)scale), vset((real)shift), vset((real)dropped)};
    masked(n, y, x, bits, p, line_or_constant);
}

const fastnn_random_table FASTNN_TABLE(random) = {
    .draw_blocks = draw_blocks,
    .uniform = uniform,
    .keep_bits = keep_bits,
    .keep_blocks = keep_blocks,
    .mask = mask,
    .mask_line = mask_line,
};
