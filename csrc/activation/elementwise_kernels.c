// The elementwise kernels, and small helpers for the drivers. CMake compiles this file once for each instruction set
// and dtype, and each object exports one constant table; all else is static, so that no code for a wide instruction set
// can be linked in place of the baseline's.
#include "activation/activations.h"
#include "math/half.h"
#include "runtime/tables.h"

enum { TOGETHER = REGISTERS / 8 };  // vectors: a formula needs about eight registers
#define STEP (TOGETHER * LANES)
typedef void Formula(V *out, const V *in, const V *p);

// Several vectors are loaded before any is stored, so that the compiler may interleave their formulas.
ALWAYS_INLINE void map_group(size_t i, void *const *out, const void *const *in, const V *p, int outputs, int inputs,
                             Formula *formula) {
    V x[TOGETHER][FASTNN_MAX_INPUTS], y[TOGETHER][FASTNN_MAX_OUTPUTS];
#pragma GCC unroll 4
    for (int u = 0; u < TOGETHER; u++)
        for (int k = 0; k < inputs; k++) x[u][k] = vload((const real *)in[k] + i + u * LANES);
#pragma GCC unroll 4
    for (int u = 0; u < TOGETHER; u++) formula(y[u], x[u], p);
#pragma GCC unroll 4
    for (int u = 0; u < TOGETHER; u++)
        for (int k = 0; k < outputs; k++) vstore((real *)out[k] + i + u * LANES, y[u][k]);
}

// The loops over vectors. `formula` and the counts are constants at every call, so each call compiles to its own loop.
#if REGISTERS == 16
#define OPERANDS FASTNN_MAX_INPUTS
#define SETTINGS double
#define ALIGNED_FROM LEAST_ALIGNED
#include "simd/passes.h"

ALWAYS_INLINE void map_steps(size_t n, void *const *out, const void *const *in, const double *parameters, int outputs,
                             int inputs, Formula *formula) {
    void *to[FASTNN_MAX_OUTPUTS];
    const void *from[FASTNN_MAX_INPUTS];
    const V p[FASTNN_MAX_PARAMETERS] = {vset((real)parameters[0]), vset((real)parameters[1])};
    for (int k = 0; k < outputs; k++) to[k] = out[k];
    for (int k = 0; k < inputs; k++) from[k] = in[k];
    for (size_t i = 0; i < n; i += STEP) map_group(i, to, from, p, outputs, inputs, formula);
}

// run_passes(), compiled once for each number of outputs and inputs.
#define PASSES(outputs, inputs)                                                                             \
    static __attribute__((noinline)) void passes_##outputs##_##inputs(                                      \
        size_t n, void *const *out, const void *const *in, const double *parameters, fastnn_kernel *loop) { \
        run_passes(n, out, in, (1u << inputs) - 1, (1u << outputs) - 1, out[0], parameters, loop);          \
    }
PASSES(1, 1)
PASSES(1, 2)
PASSES(1, 3)
PASSES(2, 3)
#undef PASSES

#define LOOP(name, outputs, inputs, formula)                                                               \
    static void name##_loop(size_t n, void *const *out, const void *const *in, const double *parameters) { \
        if (is_one_pass(n, out[0]))                                                                        \
            map_steps(n, out, in, parameters, outputs, inputs, formula);                                   \
        else                                                                                               \
            passes_##outputs##_##inputs(n, out, in, parameters, name##_loop);                              \
    }
#else
ALWAYS_INLINE void map(size_t n, void *const *out, const void *const *in, const double *parameters, int outputs,
                       int inputs, Formula *formula) {
    void *to[FASTNN_MAX_OUTPUTS];
    const void *from[FASTNN_MAX_INPUTS];
    const V p[FASTNN_MAX_PARAMETERS] = {vset((real)parameters[0]), vset((real)parameters[1])};
    for (int k = 0; k < outputs; k++) to[k] = out[k];
    for (int k = 0; k < inputs; k++) from[k] = in[k];
    size_t head = n < LEAST_ALIGNED ? 0 : vahead(to[0]);
    for (size_t i = 0, part; i < n; i += part, head = 0) {
        if (head == 0)
            for (; i + STEP <= n; i += STEP) map_group(i, to, from, p, outputs, inputs, formula);
        // What is before the first aligned vector, whole vectors, and a part of one, by the same code.
        V x[FASTNN_MAX_INPUTS], y[FASTNN_MAX_OUTPUTS];
        part = head != 0 ? head : n - i < LANES ? n - i : LANES;
        for (int k = 0; k < inputs; k++) x[k] = vload_some((const real *)from[k] + i, part);
        formula(y, x, p);
        for (int k = 0; k < outputs; k++) vstore_some((real *)to[k] + i, part, y[k]);
    }
}

#define LOOP(name, outputs, inputs, formula)                                                               \
    static void name##_loop(size_t n, void *const *out, const void *const *in, const double *parameters) { \
        map(n, out, in, parameters, outputs, inputs, formula);                                             \
    }
#endif
#define ACTIVATION(name, ...)                                                                              \
    FORCE_INLINE void name##_forward_formula(V *out, const V *in, const V *p) { out[0] = name(in[0], p); } \
    FORCE_INLINE void name##_backward_formula(V *out, const V *in, const V *p) {                           \
        out[0] = name##_backward(in[0], in[1], p);                                                         \
    }                                                                                                      \
    LOOP(name##_forward, 1, 1, name##_forward_formula)                                                     \
    LOOP(name##_backward, 1, 2, name##_backward_formula)
#define KERNEL(name, outputs, inputs, cost) LOOP(name, outputs, inputs, name)
#include "activation/activations.def"
#undef ACTIVATION
#undef KERNEL

static void stream_copy(size_t n, void *to_memory, const void *from_memory) {
    real *to = to_memory;
    const real *from = from_memory;
    size_t i = 0;
    for (; i + LANES <= n; i += LANES) vstream(to + i, vload(from + i));
    memcpy(to + i, from + i, (n - i) * sizeof(real));
}

// Pairwise down to blocks of 128, in which eight sums run side by side.
static double sum(size_t n, const void *memory) {
    const real *x = memory;
    if (n > 128) {
        const size_t half = (n / 2 + 127) / 128 * 128;
        return sum(half, x) + sum(n - half, x + half);
    }
    double partial[8] = {0};
    size_t i = 0;
    for (; i + 8 <= n; i += 8)
        for (size_t k = 0; k < 8; k++) partial[k] += x[i + k];
    for (; i < n; i++) partial[i % 8] += x[i];
    return ((partial[0] + partial[1]) + (partial[2] + partial[3])) +
           ((partial[4] + partial[5]) + (partial[6] + partial[7]));
}

static double get(const void *memory, size_t i) { return (double)((const real *)memory)[i]; }

// Eight at a time: a loop of constant length is what compilers vectorise at -O2.
static void add_to(size_t n, double *restrict sums, const void *memory) {
    const real *restrict x = memory;
    size_t i = 0;
    for (; i + 8 <= n; i += 8)
        for (size_t k = 0; k < 8; k++) sums[i + k] += (double)x[i + k];
    for (; i < n; i++) sums[i] += (double)x[i];
}

static void take_bit(size_t n, void *memory, int weight, uint8_t *bits) {
    real *x = memory;
    const V w = vset((real)weight);
    for (size_t i = 0; i < n; i += 64) {
        uint64_t word = 0;
        const size_t end = n - i < 64 ? n - i : 64;
        for (size_t j = 0; j < end; j += LANES) {
            const size_t part = end - j < LANES ? end - j : LANES;
            const V v = vload_some(x + i + j, part);
            const M set = vle(w, v);
            vstore_some(x + i + j, part, vselect(set, v - w, v));
            word |= (uint64_t)vmask_bits(set) << j;
        }
        memcpy(bits + i / 8, &word, (end + 7) / 8);
    }
}
static void add_bit(size_t n, void *memory, int weight, const uint8_t *bits) {
    real *x = memory;
    const V w = vset((real)weight);
    for (size_t i = 0; i < n; i += 64) {
        uint64_t word = 0;
        const size_t end = n - i < 64 ? n - i : 64;
        memcpy(&word, bits + i / 8, (end + 7) / 8);
        for (size_t j = 0; j < end; j += LANES) {
            const size_t part = end - j < LANES ? end - j : LANES;
            const M set = vmask_of_bits((unsigned)(word >> j));
            vstore_some(x + i + j, part, vload_some(x + i + j, part) + vkeep(set, w));
        }
    }
}

static void spread_to_winners(size_t n, size_t k, void *dx_memory, const void *dy_memory, const void *winners_memory) {
    real *dx = dx_memory;
    const real *dy = dy_memory, *winners = winners_memory;
    memset(dx, 0, n * k * sizeof(real));
    for (size_t i = 0; i < n; i++)
        if (winners[i] < (real)k)
            dx[i * k + (size_t)winners[i]] = dy[i];  // always so, unless someone wrote to the planes
}

const fastnn_table FASTNN_TABLE(elementwise) = {
    .kernels =
        {
#define ACTIVATION(name, ...) name##_forward_loop, name##_backward_loop,
#define KERNEL(name, ...) name##_loop,
#include "activation/activations.def"
        },
    .stream_copy = stream_copy,
    .get = get,
    .sum = sum,
    .add_to = add_to,
    .take_bit = take_bit,
    .add_bit = add_bit,
    .spread_to_winners = spread_to_winners,
#if FASTNN_BITS == 32
    .from_half = {from_float16, from_bfloat16},
    .to_half = {to_float16, to_bfloat16},
#endif
};
