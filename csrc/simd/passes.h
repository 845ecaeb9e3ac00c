// The ends of a loop that takes STEP elements at a time and stores to memory aligned to a vector. In the first pass the
// loop begins at the first aligned vector of an output and does whole steps. What lies before and behind is done by the
// same code in passes of one step each: a second loop would have all formulas again, and make the wheel larger. Where
// such a step overlaps the elements of the first pass, it stores the same bits once more; its inputs are saved before,
// since an output may be an input.
//
// The file that includes this defines OPERANDS, the most inputs or outputs, and STEP.
#ifndef FASTNN_PASSES_H
#define FASTNN_PASSES_H

#include <stdbool.h>

#include "simd/simd.h"

typedef struct {
    // A pass: the loop does elements begin ... end - 1 of these.
    real *to[OPERANDS];
    const real *from[OPERANDS];
    size_t begin, end;

    size_t n, head, tail;
    unsigned reads, writes;
    real *out[OPERANDS];
    real first[OPERANDS][STEP], last[OPERANDS][STEP];
} passes;

// Fewer elements than a step: in memory of their own, with zeros behind them. Results go to `last`.
static void begin_few(passes *p) {
    p->begin = p->head = p->tail = 0;
    p->end = p->n > 0 ? STEP : 0;
    for (int k = 0; p->reads >> k != 0; k++) {
        memset(p->first[k], 0, sizeof p->first[k]);
        if (p->reads >> k & 1) p->from[k] = memcpy(p->first[k], p->from[k], p->n * sizeof(real));
    }
    for (int k = 0; p->writes >> k != 0; k++) p->to[k] = p->last[k];
}

// The first pass. Bit k of `reads` and `writes`: there is an input from[k], an output to[k]. `deciding` is the output
// whose stores become aligned.
static __attribute__((noinline)) void begin_passes(passes *p, size_t n, unsigned reads, const void *const *from,
                                                   unsigned writes, void *const *to, int deciding) {
    p->n = n;
    p->reads = reads;
    p->writes = writes;
    for (int k = 0; reads >> k != 0; k++) p->from[k] = from[k];
    for (int k = 0; writes >> k != 0; k++) p->out[k] = p->to[k] = to[k];
    if (n < STEP) {
        begin_few(p);
        return;
    }
    p->begin = p->head = n < LEAST_ALIGNED ? 0 : vahead(to[deciding]);
    p->tail = (n - p->head) % STEP;
    p->end = n - p->tail;
    for (int k = 0; reads >> k != 0; k++) {
        if (p->head != 0 && (reads >> k & 1)) memcpy(p->first[k], p->from[k], sizeof p->first[k]);
        if (p->tail != 0 && (reads >> k & 1)) memcpy(p->last[k], p->from[k] + n - STEP, sizeof p->last[k]);
    }
}

static void end_few(const passes *p) {
    for (int k = 0; p->writes >> k != 0; k++)
        if (p->writes >> k & 1) memcpy(p->out[k], p->last[k], p->n * sizeof(real));
}

// The next pass; false: there is none.
static __attribute__((noinline)) bool next_pass(passes *p) {
    if (p->n < STEP) end_few(p);
    if ((p->head | p->tail) == 0) return false;
    const bool before = p->head != 0;
    for (int k = 0; p->reads >> k != 0; k++) p->from[k] = before ? p->first[k] : p->last[k];
    for (int k = 0; p->writes >> k != 0; k++) p->to[k] = before ? p->out[k] : p->out[k] + p->n - STEP;
    *(before ? &p->head : &p->tail) = p->begin = 0;
    p->end = STEP;
    return true;
}

#endif
