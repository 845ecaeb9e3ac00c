// Kernels of arrays with channels: see channel_kernels.h. Compiled once for each instruction set and dtype, as
// elementwise_kernels.c.
#include "chain/channel_kernels.h"

#include "activation/activations.h"
#include "math/moments.h"
#include "runtime/tiles.h"

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

// With the channels last, a vector has a sum for each of its columns. Memory is read in its own order, a few rows at a
// time, and the sums stay in L1.
//
// Rows of 4 KB have their lines in one set of L1, with room for eight. These must stay there until all their vectors
// are read: of vectors narrower than a line fewer rows are taken together the more arrays there are.
enum {
    ROWS = 4,  // taken together, channels last, of one array to another: they share a load of the per-channel numbers
    ROWS_OF_THREE = sizeof(V) < 64 ? 2 : 4,  // the same of two arrays to a third,
    MOMENT_ROWS = 8,                         // for moments,
    GRADIENT_ROWS = sizeof(V) / 8,           // and for the sums of gradients
    NARROW_BYTES = 512,                      // of a row: where many are taken together, processors foresee too little
    FIRST_ROWS = 32,                         // whose mean is the first number near the mean
    ROW_BLOCK = 256,                         // rows in a sum of `real`
    COLUMN_BLOCK = 4096 / sizeof(real),
};

// Of the rows of a block: the sums of the differences from `near`, and of their squares.
typedef struct {
    _Alignas(64) real near[COLUMN_BLOCK], sum[COLUMN_BLOCK], square[COLUMN_BLOCK];
} column_sums;

FORCE_INLINE void add_rows(size_t i, size_t part, size_t rows, size_t stride, const real *x, column_sums *sums) {
    const V near = vload_some(sums->near + i, part);
    V sum = vzero(), square = vzero();
    for (size_t r = 0; r < rows; r++) {
        const V d = vload_some(x + r * stride + i, part) - near;
        sum += d;
        square = vmadd(d, d, square);
    }
    vstore_some(sums->sum + i, part, vload_some(sums->sum + i, part) + sum);
    vstore_some(sums->square + i, part, vload_some(sums->square + i, part) + square);
}
static void sum_block(size_t rows, size_t stride, size_t n, const real *x, column_sums *sums) {
    size_t r = 0;
    for (size_t i = 0; i < n; i++) sums->sum[i] = sums->square[i] = 0;
    for (; r + MOMENT_ROWS <= rows; r += MOMENT_ROWS) {
        const real *row = x + r * stride;
        if (n * sizeof(real) <= NARROW_BYTES)
            fastnn_prefetch(row + MOMENT_ROWS * stride, MOMENT_ROWS * n * sizeof(real));
        FOR_VECTORS(n, add_rows, MOMENT_ROWS, stride, row, sums);
    }
    for (; r < rows; r++) FOR_VECTORS(n, add_rows, 1, stride, x + r * stride, sums);
}

// Whether `near` is so far from the mean of any column that the difference of two sums, which m2 is, loses digits.
static bool is_far(double count, size_t n, const column_sums *sums) {
    int64_t far = 0;
    for (size_t i = 0; i < n; i++) {
        const double sum = (double)sums->sum[i];
        far |= 2 * sum * sum > (double)sums->square[i] * count;
    }
    return far != 0;
}

// Takes a block into the moments of its columns, which have `before` rows so far. Its means are near those of the next.
static void merge_block(double before, double *const *moments, double count, size_t n, column_sums *sums) {
    double *mean = moments[0], *mean_low = moments[1], *m2 = moments[2];
    for (size_t i = 0; i < n; i++) {
        const fastnn_moments block =
            moments_of(count, (double)sums->near[i], (double)sums->sum[i], (double)sums->square[i]);
        const fastnn_moments all = merge_moments((fastnn_moments){before, mean[i], mean_low[i], m2[i]}, block);
        sums->near[i] = (real)block.mean;
        mean[i] = all.mean, mean_low[i] = all.mean_low, m2[i] = all.m2;
    }
}

static void block_column_moments(size_t rows, size_t stride, size_t n, const real *x, double *const *moments) {
    column_sums sums;
    const size_t first = rows < FIRST_ROWS ? rows : FIRST_ROWS;
    for (size_t i = 0; i < n; i++) sums.near[i] = 0;
    sum_block(first, stride, n, x, &sums);
    for (size_t i = 0; i < n; i++) sums.near[i] = sums.sum[i] / (real)first;
    for (size_t r = 0, some; r < rows; r += some) {
        some = rows - r < ROW_BLOCK ? rows - r : ROW_BLOCK;
        sum_block(some, stride, n, x + r * stride, &sums);
        if (is_far((double)some, n, &sums)) {
            for (size_t i = 0; i < n; i++) sums.near[i] += sums.sum[i] / (real)some;
            sum_block(some, stride, n, x + r * stride, &sums);
        }
        merge_block((double)r, moments, (double)some, n, &sums);
    }
}

static void column_moments(size_t rows, size_t stride, size_t n, const void *x, double *const *moments) {
    for (size_t i = 0; i < n; i += COLUMN_BLOCK)
        block_column_moments(rows, stride, n - i < COLUMN_BLOCK ? n - i : COLUMN_BLOCK, (const real *)x + i,
                             (double *[]){moments[0] + i, moments[1] + i, moments[2] + i});
}

// `restrict`: without it a compiler leaves the loop as it is, since it would have to compare too many addresses.
static void merge_all(size_t n, double count_a, double *restrict mean, double *restrict mean_low, double *restrict m2,
                      double count_b, const double *mean_b, const double *mean_low_b, const double *m2_b) {
    for (size_t i = 0; i < n; i++) {
        const fastnn_moments all = merge_moments((fastnn_moments){count_a, mean[i], mean_low[i], m2[i]},
                                                 (fastnn_moments){count_b, mean_b[i], mean_low_b[i], m2_b[i]});
        mean[i] = all.mean, mean_low[i] = all.mean_low, m2[i] = all.m2;
    }
}
static void merge_columns(size_t n, double count_a, double *const *a, double count_b, double *const *b) {
    merge_all(n, count_a, a[0], a[1], a[2], count_b, b[0], b[1], b[2]);
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
    const size_t together = backward ? ROWS_OF_THREE : ROWS;
    size_t r = 0;
    for (; r + together <= rows; r += together)
        FOR_VECTORS(n, scaled_rows_step, together, n, out + r * n, dy + r * n, x + r * n, center, scale, shift, k,
                    backward, formula);
    for (; r < rows; r++)
        FOR_VECTORS(n, scaled_rows_step, 1, n, out + r * n, dy + r * n, x + r * n, center, scale, shift, k, backward,
                    formula);
}

#define INPUT false
#define OUTPUT true
// The activations that networks have after batch norm. For any other the tile is scaled first, and then activated: as
// kernels of their own they would make the wheel larger by 5%.
#define EACH_SCALED(DO)   \
    DO(relu, OUTPUT)      \
    DO(leaky_relu, INPUT) \
    DO(relu6, OUTPUT)     \
    DO(hardswish, INPUT)
#define SCALED_LOOP(name, layout, backward)                                                                          \
    static void name##_scaled_##layout##_##backward(size_t rows, size_t n, void *out, const void *dy, const void *x, \
                                                    const void *center, const void *scale, const void *shift,        \
                                                    const double *parameters) {                                      \
        scaled_##layout(rows, n, out, dy ? dy : x, x, center, scale, shift, parameters, backward,                    \
                        name##_of_scaled_##backward);                                                                \
    }
#define SCALED(name, saved)                                                                   \
    FORCE_INLINE V name##_of_scaled_0(V z, V dy, const V *p) { return (void)dy, name(z, p); } \
    FORCE_INLINE V name##_of_scaled_1(V z, V dy, const V *p) {                                \
        return name##_backward(dy, saved ? name(z, p) : z, p);                                \
    }                                                                                         \
    SCALED_LOOP(name, channels_first, 0)                                                      \
    SCALED_LOOP(name, channels_first, 1)                                                      \
    SCALED_LOOP(name, channels_last, 0)                                                       \
    SCALED_LOOP(name, channels_last, 1)
EACH_SCALED(SCALED)

// ---- gradients -----------------------------------------------------------------------------------------------------

// The sums within a row are of `real`, over at most a few thousand elements; those of several rows are of double. In
// the unused lanes of a partial vector g is 0 and the deviation is made 0.
static void sum_channels_first(size_t rows, size_t n, const void *g_memory, const void *x_memory, const void *center,
                               const void *rstd, void *const *sums) {
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
        ((double *)sums[0])[r] += (double)vsum(sum[0] + sum[1]);
        ((double *)sums[1])[r] += (double)vsum(product[0] + product[1]);
    }
}

FORCE_INLINE void sum_columns_step(size_t i, size_t part, size_t rows, size_t n, const real *g, const real *x,
                                   const real *center, const real *rstd, real *sum, real *product) {
    const V middle = vload_some(center + i, part), scale = vload_some(rstd + i, part);
    V s = vzero(), p = vzero();
    for (size_t r = 0; r < rows; r++) {
        const V v = vload_some(g + r * n + i, part);
        s += v;
        p = vmadd(v, (vload_some(x + r * n + i, part) - middle) * scale, p);
    }
    vstore_some(sum + i, part, vload_some(sum + i, part) + s);
    vstore_some(product + i, part, vload_some(product + i, part) + p);
}
static void sum_channels_last(size_t rows, size_t n, const void *g_memory, const void *x_memory, const void *center,
                              const void *rstd, void *const *sums) {
    const real *g = g_memory, *x = x_memory;
    size_t r = 0;
    for (; r + GRADIENT_ROWS <= rows; r += GRADIENT_ROWS)
        FOR_VECTORS(n, sum_columns_step, GRADIENT_ROWS, n, g + r * n, x + r * n, center, rstd, sums[0], sums[1]);
    for (; r < rows; r++) FOR_VECTORS(n, sum_columns_step, 1, n, g + r * n, x + r * n, center, rstd, sums[0], sums[1]);
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
    for (; r + ROWS_OF_THREE <= rows; r += ROWS_OF_THREE)
        FOR_VECTORS(n, gradient_rows_step, ROWS_OF_THREE, n, to + r * n, g + r * n, x + r * n, center, rstd, a, b, c);
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
#define SCALED_ROW(name, saved)                                                             \
    [ACTIVATION_##name] = {{name##_scaled_channels_first_0, name##_scaled_channels_last_0}, \
                           {name##_scaled_channels_first_1, name##_scaled_channels_last_1}},
            EACH_SCALED(SCALED_ROW)},
};
