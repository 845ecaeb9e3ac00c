// The tables of kernels, by which drivers call them: each *_kernels.c is compiled once for every instruction set and
// dtype, and exports one table. Here are the elementwise table, which most drivers use, and the set of all tables; the
// others' types are in *_kernels.h.
#ifndef FASTNN_TABLES_H
#define FASTNN_TABLES_H

#include "fastnn.h"

// A kernel of activations.def, on n contiguous elements. An output may be one of the inputs.
typedef void fastnn_kernel(size_t n, void *const *out, const void *const *in, const double *parameters);

// The kernels' numbers, as fastnn_find_kernel finds them.
enum {
#define ACTIVATION(name, ...) KERNEL_##name, KERNEL_##name##_backward,
#define KERNEL(name, ...) KERNEL_##name,
#include "activation/activations.def"
#undef ACTIVATION
#undef KERNEL
    KERNEL_COUNT
};

// The activations' numbers: indices of fastnn_activations.
enum {
#define ACTIVATION(name, ...) ACTIVATION_##name,
#define KERNEL(name, ...)
#include "activation/activations.def"
#undef ACTIVATION
#undef KERNEL
    ACTIVATION_COUNT
};

// The elementwise table: kernels and small helpers of one dtype, `real`, in which all x, dx, dy and winners are.
typedef struct {
    fastnn_kernel *kernels[KERNEL_COUNT];
    void (*stream_copy)(size_t n, void *to, const void *from);  // `to` aligned to 64 bytes; past the caches
    double (*get)(const void *x, size_t i);                     // x[i]
    double (*sum)(size_t n, const void *x);                     // pairwise, in double
    void (*add_to)(size_t n, double *sums, const void *x);      // sums[i] += x[i]
    // Maxout's winners are whole numbers, stored bit by bit. x < 2 weight: take_bit stores whether x >= weight and
    // subtracts weight from those x; add_bit adds weight where the bit is set.
    void (*take_bit)(size_t n, void *x, int weight, uint8_t *bits);
    void (*add_bit)(size_t n, void *x, int weight, const uint8_t *bits);
    // dx[i k + j] = dy[i] where j is winners[i], else 0
    void (*spread_to_winners)(size_t n, size_t k, void *dx, const void *dy, const void *winners);
    // Only in the tables of float32, in which the half types are computed: conversions from and to them
    void (*from_half[2])(size_t n, float *to, const uint16_t *from);  // float16, bfloat16
    void (*to_half[2])(size_t n, uint16_t *to, const float *from);
} fastnn_table;

// All tables of one instruction set and dtype.
typedef struct {
    const fastnn_table *elementwise;
    const struct fastnn_random_table *random;
    const struct fastnn_row_table *row;
    const struct fastnn_softmax_table *softmax;
    const struct fastnn_channel_table *channel;
    const struct fastnn_per_channel_table *per_channel;
    const struct fastnn_gemm_table *gemm;
    const struct fastnn_window_table *window;
    const struct fastnn_optimizer_table *optimizer;
    const struct fastnn_standardize_table *standardize;
} fastnn_tables;
// Those of the selected instruction set (dispatch.c).
const fastnn_tables *fastnn_current(bool float64);
static inline const fastnn_table *fastnn_current_table(bool float64) { return fastnn_current(float64)->elementwise; }

// The name under which a *_kernels.c exports its table: FASTNN_TABLE(row) is fastnn_row_avx512_32, for example.
#define FASTNN_TABLE(area) FASTNN_TABLE_(area, FASTNN_SUFFIX)
#define FASTNN_TABLE_(area, suffix) FASTNN_TABLE__(area, suffix)
#define FASTNN_TABLE__(area, suffix) fastnn_##area##_##suffix

// What there is to know of each kernel beside its code.
typedef struct {
    const char *name;
    int outputs, inputs;
    fastnn_cost cost;
} fastnn_kernel_shape;
extern const fastnn_kernel_shape fastnn_kernel_shapes[KERNEL_COUNT];

#endif
