// Kernels of arrays with channels: see channel_kernels.h. Compiled once for each instruction set and dtype, as
// elementwise_kernels.c.
#include "chain/channel_kernels.h"

#include "activation/activations.h"
#include "math/moments.h"

// Loops over n elements, a vector at a time. The step is inlined twice: with the constant LANES, and for the elements
// after the last whole vector.
#define FOR_VECTORS(n, step, ...)                                            \
    do {                                                                     \
        size_t i_ = 0;                                                       \
        for (; i_ + LANES <= (n); i_ += LANES) step(i_, LANES, __VA_ARGS__); \
        if (i_ < (n)) step(i_, (n) - i_, __VA_ARGS__);                       \
    } while (0)

// ---- moments -------------------------------------------------------------------------------------------------------

static void channel_moments(size_t rows, size_t stride, size_t n, const void *x, fastnn_moments *moments) {
    const size_t together = n < MOMENT_ELEMENTS ? MOMENT_ELEMENTS / n : 1;
    for (size_t r = 0; r < rows; r += together) {
        const real *row = (const real *)x + r * stride;
        const size_t some = rows - r < together ? rows - r : together;
        const real *next = rows - r < 2 * together ? row : row + together * stride;
        *moments = merge_moments(*moments,
                                 n > MOMENT_ELEMENTS ? run_moments(n, row) : block_moments(some, stride, n, row, next));
    }
}

static fastnn_statistics careful(size_t rows, size_t stride, size_t n, const void *x) {
    return careful_statistics(rows, stride, n, x, true);
}

enum {
    ROWS = 4,  // taken together, channels last: they share one load of the per-channel numbers
    COLUMN_BLOCK = 2048 / sizeof(real),
    ROW_BLOCK = 256,
    SUMMED_COLUMNS = 512,
};

FORCE_INLINE void add_rows(size_t i, size_t part, size_t rows, size_t stride, const real *x, real *sum) {
    V total = vzero();
    for (size_t r = 0; r < rows; r++) total += vload_some(x + r * stride + i, part);
    vstore_some(sum + i, part, vload_some(sum + i, part) + total);
}
FORCE_INLINE void add_squares(size_t i, size_t part, size_t rows, size_t stride, const real *x, const real *near,
                              real *sum, real *square) {
    const V center = vload_some(near + i, part);
    V total = vload_some(sum + i, part), squares = vload_some(square + i, part);
    for (size_t r = 0; r < rows; r++) {
        const V d = vload_some(x + r * stride + i, part) - center;
        total += d;
        squares = vmadd(d, d, squares);
    }
    vstore_some(sum + i, part, total);
    vstore_some(square + i, part, squares);
}

static void merge_columns(size_t n, double count_a, double *const *a, double count_b, double *const *b) {
    if (count_a == 0) {
        for (int k = 0; k < 3; k++) memcpy(a[k], b[k], n * sizeof(double));
        return;
    }
    double *mean = a[0], *mean_low = a[1], *m2 = a[2];
    const double *mean_b = b[0], *mean_low_b = b[1], *m2_b = b[2];
    const double share = count_b / (count_a + count_b), weight = count_a * share;
    for (size_t i = 0; i < n; i++) {
        const double delta = (mean_b[i] - mean[i]) + (mean_low_b[i] - mean_low[i]);
        add_exactly(&mean[i], &mean_low[i], delta * share);
        m2[i] += m2_b[i] + delta * delta * weight;
    }
}

// Some rows of some columns, by the two passes of block_moments. A vector has a sum for each of its columns. Memory is
// read in its own order, ROWS rows at a time, and the sums stay in L1.
static void column_block(size_t rows, size_t stride, size_t n, const real *x, double before, double *const *moments) {
    _Alignas(64) real near[COLUMN_BLOCK], sum[COLUMN_BLOCK], square[COLUMN_BLOCK];
    for (size_t i = 0; i < n; i++) near[i] = sum[i] = square[i] = 0;
    size_t r = 0;
    for (; r + ROWS <= rows; r += ROWS) FOR_VECTORS(n, add_rows, ROWS, stride, x + r * stride, near);
    for (; r < rows; r++) FOR_VECTORS(n, add_rows, 1, stride, x + r * stride, near);
    for (size_t i = 0; i < n; i++) near[i] /= (real)rows;
    for (r = 0; r + ROWS <= rows; r += ROWS)
        FOR_VECTORS(n, add_squares, ROWS, stride, x + r * stride, near, sum, square);
    for (; r < rows; r++) FOR_VECTORS(n, add_squares, 1, stride, x + r * stride, near, sum, square);

    double mean[COLUMN_BLOCK], mean_low[COLUMN_BLOCK], m2[COLUMN_BLOCK];
    for (size_t i = 0; i < n; i++) {
        const fastnn_moments some = moments_of((double)rows, (double)near[i], (double)sum[i], (double)square[i]);
        mean[i] = some.mean, mean_low[i] = some.mean_low, m2[i] = some.m2;
    }
    merge_columns(n, before, moments, (double)rows, (double *[]){mean, mean_low, m2});
}

static void column_moments(size_t rows, size_t stride, size_t n, const void *memory, double count,
                           double *const *moments) {
    for (size_t r = 0; r < rows; r += ROW_BLOCK) {
        const size_t some = rows - r < ROW_BLOCK ? rows - r : ROW_BLOCK;
        for (size_t i = 0; i < n; i += COLUMN_BLOCK) {
            const real *x = (const real *)memory + r * stride + i;
            double *const here[] = {moments[0] + i, moments[1] + i, moments[2] + i};
            column_block(some, stride, n - i < COLUMN_BLOCK ? n - i : COLUMN_BLOCK, x, count + (double)r, here);
        }
    }
}

// ---- scale and shift -----------------------------------------------------------------------------------------------

FORCE_INLINE void scale_step(size_t i, size_t part, real *y, const real *x, V center, V scale, V shift) {
    vstore_some(y + i, part, vmadd(vload_some(x + i, part) - center, scale, shift));
}
static void scale_channels_first(size_t rows, size_t n, void *y, const void *x, const void *center, const void *scale,
                                 const void *shift) {
    for (size_t r = 0; r < rows; r++)
        FOR_VECTORS(n, scale_step, (real *)y + r * n, (const real *)x + r * n, vset(((const real *)center)[r]),
                    vset(((const real *)scale)[r]), vset(((const real *)shift)[r]));
}
FORCE_INLINE void scale_rows_step(size_t i, size_t part, size_t rows, size_t n, real *y, const real *x,
                                  const real *center, const real *scale, const real *shift) {
    const V middle = vload_some(center + i, part), factor = vload_some(scale + i, part),
            start = vload_some(shift + i, part);
    for (size_t r = 0; r < rows; r++) scale_step(i, part, y + r * n, x + r * n, middle, factor, start);
}
static void scale_channels_last(size_t rows, size_t n, void *y, const void *x, const void *center, const void *scale,
                                const void *shift) {
    real *to = y;
    const real *from = x;
    size_t r = 0;
    for (; r + ROWS <= rows; r += ROWS)
        FOR_VECTORS(n, scale_rows_step, ROWS, n, to + r * n, from + r * n, center, scale, shift);
    for (; r < rows; r++) FOR_VECTORS(n, scale_rows_step, 1, n, to + r * n, from + r * n, center, scale, shift);
}

// ---- scale, shift and activation -----------------------------------------------------------------------------------

typedef V Scaled(V z, V dy, const V *p);
typedef struct {
    V center, scale, shift, p[FASTNN_MAX_PARAMETERS];
} scaled_numbers;

FORCE_INLINE void scaled_step(size_t i, size_t part, real *out, const real *dy, const real *x, const scaled_numbers *k,
                              bool backward, Scaled *formula) {
    const V z = vmadd(vload_some(x + i, part) - k->center, k->scale, k->shift);
    vstore_some(out + i, part, formula(z, backward ? vload_some(dy + i, part) : vzero(), k->p));
}
FORCE_INLINE void scaled_channels_first(size_t rows, size_t n, real *out, const real *dy, const real *x,
                                        const real *center, const real *scale, const real *shift,
                                        const double *parameters, bool backward, Scaled *formula) {
    scaled_numbers k = {.p = {vset((real)parameters[0]), vset((real)parameters[1])}};
    for (size_t r = 0; r < rows; r++) {
        k.center = vset(center[r]), k.scale = vset(scale[r]), k.shift = vset(shift[r]);
        FOR_VECTORS(n, scaled_step, out + r * n, dy + r * n, x + r * n, &k, backward, formula);
    }
}
FORCE_INLINE void scaled_rows_step(size_t i, size_t part, size_t rows, size_t n, real *out, const real *dy,
                                   const real *x, const real *center, const real *scale, const real *shift,
                                   scaled_numbers k, bool backward, Scaled *formula) {
    k.center = vload_some(center + i, part), k.scale = vload_some(scale + i, part),
    k.shift = vload_some(shift + i, part);
    for (size_t r = 0; r < rows; r++) scaled_step(i, part, out + r * n, dy + r * n, x + r * n, &k, backward, formula);
}
FORCE_INLINE void scaled_channels_last(size_t rows, size_t n, real *out, const real *dy, const real *x,
                                       const real *center, const real *scale, const real *shift,
                                       const double *parameters, bool backward, Scaled *formula) {
    const scaled_numbers k = {.p = {vset((real)parameters[0]), vset((real)parameters[1])}};
    size_t r = 0;
    for (; r + ROWS <= rows; r += ROWS)
        FOR_VECTORS(n, scaled_rows_step, ROWS, n, out + r * n, dy + r * n, x + r * n, center, scale, shift, k, backward,
                    formula);
    for (; r < rows; r++)
        FOR_VECTORS(n, scaled_rows_step, 1, n, out + r * n, dy + r * n, x + r * n, center, scale, shift, k, backward,
                    formula);
}

#define INPUT false
#define OUTPUT true
#define SCALED_LOOP(name, layout, backward)                                                                          \
    static void name##_scaled_##layout##_##backward(size_t rows, size_t n, void *out, const void *dy, const void *x, \
                                                    const void *center, const void *scale, const void *shift,        \
                                                    const double *parameters) {                                      \
        scaled_##layout(rows, n, out, dy ? dy : x, x, center, scale, shift, parameters, backward,                    \
                        name##_of_scaled_##backward);                                                                \
    }
#define SCALED_CHEAP(name, saved)                                                             \
    FORCE_INLINE V name##_of_scaled_0(V z, V dy, const V *p) { return (void)dy, name(z, p); } \
    FORCE_INLINE V name##_of_scaled_1(V z, V dy, const V *p) {                                \
        return name##_backward(dy, saved ? name(z, p) : z, p);                                \
    }                                                                                         \
    SCALED_LOOP(name, channels_first, 0)                                                      \
    SCALED_LOOP(name, channels_first, 1)                                                      \
    SCALED_LOOP(name, channels_last, 0)                                                       \
    SCALED_LOOP(name, channels_last, 1)
#define SCALED_MEDIUM(name, saved)
#define SCALED_COSTLY(name, saved)
#define ACTIVATION(name, saved, cost, ...) SCALED_##cost(name, saved)
#define KERNEL(name, ...)
#include "activation/activations.def"
#undef ACTIVATION

// ---- gradients -----------------------------------------------------------------------------------------------------

// The sums within a tile are of `real`, over at most a few thousand elements; those of several tiles are of double. In
// the unused lanes of a partial vector g is 0 and the deviation is made 0.
static void sum_channels_first(size_t rows, size_t n, const void *g_memory, const void *x_memory, const void *center,
                               const void *rstd, double *const *sums) {
    enum { SUMS = 2 };
    for (size_t r = 0; r < rows; r++) {
        const real *g = (const real *)g_memory + r * n, *x = (const real *)x_memory + r * n;
        const V middle = vset(((const real *)center)[r]), scale = vset(((const real *)rstd)[r]);
        V sum[SUMS] = {vzero(), vzero()}, product[SUMS] = {vzero(), vzero()};
        size_t i = 0;
        for (; i + SUMS * LANES <= n; i += SUMS * LANES) {
            for (int u = 0; u < SUMS; u++) {
                const V v = vload(g + i + u * LANES);
                sum[u] += v;
                product[u] = vmadd(v, (vload(x + i + u * LANES) - middle) * scale, product[u]);
            }
        }
        for (size_t part; i < n; i += part) {
            part = n - i < LANES ? n - i : LANES;
            const V v = vload_some(g + i, part), inside = vload_some(ones, part);
            sum[0] += v;
            product[0] = vmadd(v, (vload_some(x + i, part) - middle * inside) * scale, product[0]);
        }
        sums[0][r] += (double)vsum(sum[0] + sum[1]);
        sums[1][r] += (double)vsum(product[0] + product[1]);
    }
}

FORCE_INLINE void sum_rows_step(size_t i, size_t part, size_t rows, size_t n, const real *g, const real *x,
                                const real *center, const real *rstd, real *sum, real *product) {
    const V middle = vload_some(center + i, part), scale = vload_some(rstd + i, part);
    V s = vzero(), p = vzero();
    for (size_t r = 0; r < rows; r++) {
        const V v = vload_some(g + r * n + i, part);
        s += v;
        p = vmadd(v, (vload_some(x + r * n + i, part) - middle) * scale, p);
    }
    vstore_some(sum + i, part, s);
    vstore_some(product + i, part, p);
}
static void sum_channels_last(size_t rows, size_t n, const void *g, const void *x, const void *center, const void *rstd,
                              double *const *sums) {
    real sum[SUMMED_COLUMNS], product[SUMMED_COLUMNS];
    for (size_t first = 0, count; first < n; first += count) {
        double *sum_to = sums[0] + first, *product_to = sums[1] + first;
        count = n - first < SUMMED_COLUMNS ? n - first : SUMMED_COLUMNS;
        FOR_VECTORS(count, sum_rows_step, rows, n, (const real *)g + first, (const real *)x + first,
                    (const real *)center + first, (const real *)rstd + first, sum, product);
        for (size_t i = 0; i < count; i++) sum_to[i] += (double)sum[i];
        for (size_t i = 0; i < count; i++) product_to[i] += (double)product[i];
    }
}

typedef struct {
    V center, rstd, a, b, c;
} gradient_numbers;
FORCE_INLINE void gradient_step(size_t i, size_t part, real *dx, const real *g, const real *x, gradient_numbers k) {
    const V xhat = (vload_some(x + i, part) - k.center) * k.rstd;
    vstore_some(dx + i, part, vmadd(k.a, vload_some(g + i, part), vmadd(k.b, xhat, k.c)));
}
static void gradient_channels_first(size_t rows, size_t n, void *dx, const void *g, const void *x, const void *center,
                                    const void *rstd, const void *a, const void *b, const void *c) {
    for (size_t r = 0; r < rows; r++) {
        const gradient_numbers k = {vset(((const real *)center)[r]), vset(((const real *)rstd)[r]),
                                    vset(((const real *)a)[r]), vset(((const real *)b)[r]), vset(((const real *)c)[r])};
        FOR_VECTORS(n, gradient_step, (real *)dx + r * n, (const real *)g + r * n, (const real *)x + r * n, k);
    }
}
FORCE_INLINE void gradient_rows_step(size_t i, size_t part, size_t rows, size_t n, real *dx, const real *g,
                                     const real *x, const real *center, const real *rstd, const real *a, const real *b,
                                     const real *c) {
    const gradient_numbers k = {vload_some(center + i, part), vload_some(rstd + i, part), vload_some(a + i, part),
                                vload_some(b + i, part), vload_some(c + i, part)};
    for (size_t r = 0; r < rows; r++) gradient_step(i, part, dx + r * n, g + r * n, x + r * n, k);
}
static void gradient_channels_last(size_t rows, size_t n, void *dx, const void *g_memory, const void *x_memory,
                                   const void *center, const void *rstd, const void *a, const void *b, const void *c) {
    real *to = dx;
    const real *g = g_memory, *x = x_memory;
    size_t r = 0;
    for (; r + ROWS <= rows; r += ROWS)
        FOR_VECTORS(n, gradient_rows_step, ROWS, n, to + r * n, g + r * n, x + r * n, center, rstd, a, b, c);
    for (; r < rows; r++)
        FOR_VECTORS(n, gradient_rows_step, 1, n, to + r * n, g + r * n, x + r * n, center, rstd, a, b, c);
}

FORCE_INLINE void addend_step(size_t i, size_t part, real *y, const real *x, const real *addend) {
    vstore_some(y + i, part, vload_some(x + i, part) + vload_some(addend + i, part));
}
static void add(size_t n, void *y, const void *x, const void *addend) { FOR_VECTORS(n, addend_step, y, x, addend); }

const fastnn_channel_table FASTNN_TABLE(channel) = {
    .channel_moments = channel_moments,
    .careful_statistics = careful,
    .column_moments = column_moments,
    .merge_columns = merge_columns,
    .scale = {scale_channels_first, scale_channels_last},
    .sums = {sum_channels_first, sum_channels_last},
    .gradient = {gradient_channels_first, gradient_channels_last},
    .add = add,
    .scaled =
        {
#define ROW_CHEAP(name)                                                                     \
    [ACTIVATION_##name] = {{name##_scaled_channels_first_0, name##_scaled_channels_last_0}, \
                           {name##_scaled_channels_first_1, name##_scaled_channels_last_1}},
#define ROW_MEDIUM(name)
#define ROW_COSTLY(name)
#define ACTIVATION(name, saved, cost, ...) ROW_##cost(name)
#include "activation/activations.def"
        },
};
