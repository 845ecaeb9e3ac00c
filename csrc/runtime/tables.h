// What one instruction set exports for one dtype: a table for each file that is compiled per instruction set
// (elementwise_kernels.c and all *_kernels.c), which the drivers call.
#ifndef FASTNN_TABLES_H
#define FASTNN_TABLES_H

#include "fastnn.h"

// One of activations.def on n contiguous elements. An output may be one of the inputs.
typedef void fastnn_kernel(size_t n, void *const *out, const void *const *in, const double *parameters);

enum {
#define ACTIVATION(name, ...) KERNEL_##name, KERNEL_##name##_backward_of_activation,
#define KERNEL(name, ...) KERNEL_##name,
#include "activation/activations.def"
#undef ACTIVATION
#undef KERNEL
    KERNEL_COUNT
};

enum {
#define ACTIVATION(name, ...) ACTIVATION_##name,
#define KERNEL(name, ...)
#include "activation/activations.def"
#undef ACTIVATION
#undef KERNEL
    ACTIVATION_COUNT
};

typedef struct {
    fastnn_kernel *kernels[KERNEL_COUNT];
    void (*stream_copy)(size_t n, void *to, const void *from);  // `to` aligned to 64 bytes; past the caches
    double (*sum)(size_t n, const void *x);                     // pairwise, in double
    // Whole numbers x < 2 weight to bits and back: the bit of x's weight is stored and taken away, or read and added.
    void (*take_bit)(size_t n, void *x, int weight, uint8_t *bits);
    void (*add_bit)(size_t n, void *x, int weight, const uint8_t *bits);
    // float32 tables only: half types, computed in float32
    void (*from_half[2])(size_t n, float *to, const uint16_t *from);  // float16, bfloat16
    void (*to_half[2])(size_t n, uint16_t *to, const float *from);
} fastnn_table;

// The tables of the selected instruction set (dispatch.c).
typedef struct {
    const fastnn_table *elementwise;
    const struct fastnn_random_table *random;
    const struct fastnn_row_table *row;
    const struct fastnn_softmax_table *softmax;
    const struct fastnn_channel_table *channel;
    const struct fastnn_gemm_table *gemm;
    const struct fastnn_window_table *window;
    const struct fastnn_optimizer_table *optimizer;
} fastnn_tables;
const fastnn_tables *fastnn_current(bool float64);
static inline const fastnn_table *fastnn_current_table(bool float64) { return fastnn_current(float64)->elementwise; }

// The name of a file's table: fastnn_row_avx512_32.
#define FASTNN_TABLE(area) FASTNN_TABLE_(area, FASTNN_SUFFIX)
#define FASTNN_TABLE_(area, suffix) FASTNN_TABLE__(area, suffix)
#define FASTNN_TABLE__(area, suffix) fastnn_##area##_##suffix

typedef struct {
    const char *name;
    int outputs, inputs;
    fastnn_cost cost;
} fastnn_kernel_shape;
extern const fastnn_kernel_shape fastnn_kernel_shapes[KERNEL_COUNT];

#endif
