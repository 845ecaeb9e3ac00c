// The ends of a loop that does whole steps of STEP elements and stores to memory aligned to a vector. run_passes() does
// any number of elements, from any address on, by calls of that loop: the main pass begins at the first aligned vector
// of an output, and what lies before and behind are passes of one step each. A second loop would have all formulas
// again, and make the wheel larger. These steps overlap the main pass. They come first, since an output may be an
// input; their results are stored at the end, over the same bits.
//
// The file that includes this defines OPERANDS, the most inputs or outputs, STEP, SETTINGS, the type of what a loop is
// given besides, and ALIGNED_FROM, the number of elements from which on aligned stores pay for two more passes.
#ifndef FASTNN_PASSES_H
#define FASTNN_PASSES_H

#include <stdbool.h>

#include "simd/simd.h"

typedef void StepLoop(size_t n, void *const *to, const void *const *from, const SETTINGS *settings);
typedef real step_memory[OPERANDS][STEP];

// Whether one pass is enough. `deciding` is the output whose stores become aligned.
FORCE_INLINE bool is_one_pass(size_t n, const void *deciding) {
    return n % STEP == 0 && (n < ALIGNED_FROM || vahead(deciding) == 0);
}

// Less than a step. There are as many tests as n has bits; memcpy() would take longer to choose its way.
FORCE_INLINE void copy_few(real *to, const real *from, size_t n) {
    _Static_assert(STEP <= 16, "one test for each bit of n");
    size_t i = 0;
#pragma GCC unroll 4
    for (size_t part = STEP / 2; part > 0; part /= 2)
        if (n & part) memcpy(to + i, from + i, part * sizeof(real)), i += part;
}

// One step from element `start` on. Bit k of `reads` and `writes`: there is an input from[k], an output to[k].
FORCE_INLINE void run_step(const void *const *from, size_t start, step_memory results, unsigned reads, unsigned writes,
                           const SETTINGS *settings, StepLoop *loop) {
    const void *in[OPERANDS];
    void *out[OPERANDS];
    for (int k = 0; reads >> k != 0; k++) in[k] = (const real *)from[k] + start;
    for (int k = 0; writes >> k != 0; k++) out[k] = results[k];
    loop(STEP, out, in, settings);
}

FORCE_INLINE void store_step(void *const *to, size_t start, step_memory results, unsigned writes) {
    for (int k = 0; writes >> k != 0; k++)
        if (writes >> k & 1) memcpy((real *)to[k] + start, results[k], sizeof results[k]);
}

// Fewer elements than a step: in memory of their own, with zeros behind them.
FORCE_INLINE void run_few(size_t n, void *const *to, const void *const *from, unsigned reads, unsigned writes,
                          const SETTINGS *settings, StepLoop *loop) {
    step_memory inputs, results;
    const void *in[OPERANDS];
    for (int k = 0; reads >> k != 0; k++) {
        memset(inputs[k], 0, sizeof inputs[k]);
        if (reads >> k & 1) copy_few(inputs[k], from[k], n);
        in[k] = inputs[k];
    }
    run_step(in, 0, results, reads, writes, settings, loop);
    for (int k = 0; writes >> k != 0; k++)
        if (writes >> k & 1) copy_few(to[k], results[k], n);
}

FORCE_INLINE void run_passes(size_t n, void *const *to, const void *const *from, unsigned reads, unsigned writes,
                             const void *deciding, const SETTINGS *settings, StepLoop *loop) {
    if (n < STEP) {
        if (n > 0) run_few(n, to, from, reads, writes, settings, loop);
        return;
    }
    const size_t head = n < ALIGNED_FROM ? 0 : vahead(deciding), tail = (n - head) % STEP;
    step_memory first, last;
    const void *in[OPERANDS];
    void *out[OPERANDS];
    for (int k = 0; reads >> k != 0; k++) in[k] = (const real *)from[k] + head;
    for (int k = 0; writes >> k != 0; k++) out[k] = (real *)to[k] + head;
    if (head > 0) run_step(from, 0, first, reads, writes, settings, loop);
    if (tail > 0) run_step(from, n - STEP, last, reads, writes, settings, loop);
    loop(n - head - tail, out, in, settings);
    if (head > 0) store_step(to, 0, first, writes);
    if (tail > 0) store_step(to, n - STEP, last, writes);
}

#endif
