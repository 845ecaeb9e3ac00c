// Every elementwise kernel of every instruction set of this machine, random numbers, softmax, preprocessing, and the
// drivers that call them. Buffers have exactly the size that is needed, so that AddressSanitizer sees an access beyond
// them. And an element's result does not depend on its place in the array.
#include <math.h>
#include <string.h>

#include "check.h"
#include "random/random_kernels.h"
#include "runtime/streaming.h"
#include "runtime/system.h"

enum { LONGEST = 2 * 16 + 1 };  // two of the longest vectors and one element

static size_t size_of(bool float64) { return float64 ? 8 : 4; }

static void set(void *array, bool float64, size_t i, double value) {
    if (float64)
        ((double *)array)[i] = value;
    else
        ((float *)array)[i] = (float)value;
}

// Ordinary and special numbers in turn.
static double value_at(size_t i) {
    static const double special[] = {0.0, -0.0, 1e-310, -1e-40, 1e30, -1e30, 100, -100, 745, -746, 0.5, -3, 6};
    switch (i % 17) {
    case 13: return (double)INFINITY;
    case 14: return -(double)INFINITY;
    case 15: return (double)NAN;
    case 16: return 1 + 0.01 * (double)i;
    default: return special[i % 17];
    }
}

// Bitwise equal, or both NaN.
static bool same(const void *a, const void *b, bool float64, size_t count) {
    const size_t size = size_of(float64);
    for (size_t i = 0; i < count; i++) {
        const char *p = (const char *)a + i * size, *q = (const char *)b + i * size;
        const bool nan = float64 ? isnan(*(const double *)p) && isnan(*(const double *)q)
                                 : isnan(*(const float *)p) && isnan(*(const float *)q);
        if (!nan && memcmp(p, q, size) != 0) return false;
    }
    return true;
}

// A copy of `bytes` bytes in a buffer that ends where they end.
static void *copy(const void *from, size_t bytes) {
    void *to = malloc(bytes > 0 ? bytes : 1);
    memcpy(to, from, bytes);
    return to;
}

// Runs a kernel on elements first ... first + count - 1 of `in`, and checks the result against `expected`'s.
static void check_part(int kernel, bool float64, const char *const *in, const char *const *expected, size_t first,
                       size_t count) {
    const fastnn_kernel_shape *shape = &fastnn_kernel_shapes[kernel];
    const size_t size = size_of(float64);
    void *out[FASTNN_MAX_OUTPUTS];
    const void *from[FASTNN_MAX_INPUTS];
    for (int k = 0; k < shape->inputs; k++) from[k] = copy(in[k] + first * size, count * size);
    for (int k = 0; k < shape->outputs; k++) out[k] = malloc(count * size + (count == 0));
    fastnn_current_table(float64)->kernels[kernel](count, out, from, (double[]){0.25, 0.75});
    for (int k = 0; k < shape->outputs; k++) {
        CHECK(same(out[k], expected[k] + first * size, float64, count), "%s %s: elements %zu + %zu", fastnn_isa(),
              shape->name, first, count);
        free(out[k]);
    }
    for (int k = 0; k < shape->inputs; k++) free((void *)from[k]);
}

static void check_kernel(int kernel, bool float64) {
    char in[FASTNN_MAX_INPUTS][LONGEST * 8], out[FASTNN_MAX_OUTPUTS][LONGEST * 8];
    const char *inputs[FASTNN_MAX_INPUTS] = {in[0], in[1], in[2]};
    const char *expected[FASTNN_MAX_OUTPUTS] = {out[0], out[1]};
    for (size_t k = 0; k < FASTNN_MAX_INPUTS; k++)
        for (size_t i = 0; i < LONGEST; i++) set(in[k], float64, i, value_at(i * (k + 1) + k));
    fastnn_current_table(float64)->kernels[kernel](LONGEST, (void *[]){out[0], out[1]},
                                                   (const void *[]){in[0], in[1], in[2]}, (double[]){0.25, 0.75});
    for (size_t count = 0; count <= LONGEST; count++) check_part(kernel, float64, inputs, expected, 0, count);
    for (size_t first = 1; first < LONGEST; first++)
        check_part(kernel, float64, inputs, expected, first, LONGEST - first);
}

static void check_halves(int type) {
    const fastnn_table *table = fastnn_current_table(false);
    for (size_t count = 0; count <= LONGEST; count++) {
        uint16_t *half = malloc(count * 2 + 1), *back = malloc(count * 2 + 1);
        float *wide = malloc(count * 4 + 1);
        for (size_t i = 0; i < count; i++) half[i] = (uint16_t)(i * 1999);
        table->from_half[type](count, wide, half);
        table->to_half[type](count, back, wide);
        for (size_t i = 0; i < count; i++)
            CHECK(back[i] == half[i] || wide[i] != wide[i], "%s: %x becomes %x", fastnn_isa(), half[i], back[i]);
        free(half), free(back), free(wide);
    }
}

static void check_copies_and_sums(bool float64) {
    const fastnn_table *table = fastnn_current_table(float64);
    const size_t size = size_of(float64);
    for (size_t count = 0; count < 300; count = count < 40 ? count + 1 : count * 2) {
        void *to = fastnn_allocate_lines(count * size + 1);
        char *from = malloc(count * size + 1);
        for (size_t i = 0; i < count; i++) set(from, float64, i, (double)i);
        table->stream_copy(count, to, from);
        CHECK(memcmp(to, from, count * size) == 0, "%zu elements", count);
        CHECK(table->sum(count, from) == (double)(count * (count - 1) / 2), "%zu elements", count);
        double *sums = malloc(count * sizeof *sums + 1);
        for (size_t i = 0; i < count; i++) sums[i] = 0.5;
        table->add_to(count, sums, from);
        for (size_t i = 0; i < count; i++)
            CHECK(sums[i] == (double)i + 0.5 && table->get(from, i) == (double)i, "element %zu of %zu", i, count);
        fastnn_free_lines(to), free(from), free(sums);
    }
}

// ---- drivers -------------------------------------------------------------------------------------------------------

static void check_contiguous(bool float64, size_t count) {
    const size_t size = size_of(float64);
    char *x = malloc(count * size), *y = malloc(count * size), *again = malloc(count * size);
    for (size_t i = 0; i < count; i++) set(x, float64, i, value_at(i));
    const int kernel = fastnn_find_kernel("silu");
    const double none[FASTNN_MAX_PARAMETERS] = {0};
    for (int threads = 1; threads <= 3; threads++) {
        fastnn_set_num_threads(threads);
        CHECK(
            fastnn_run_contiguous(kernel, float64, count, (void *[]){threads == 1 ? y : again, x}, none) == FASTNN_DONE,
            "interrupted");
        if (threads > 1) CHECK(same(y, again, float64, count), "%d threads, %zu elements", threads, count);
    }
    free(x), free(y), free(again);
}

// identity of a (rows, columns) array that is walked backwards and transposed, from one dtype to another.
static void check_strided(size_t rows, size_t columns, fastnn_dtype from, fastnn_dtype to) {
    static const ptrdiff_t sizes[] = {4, 8, 2, 2};
    const ptrdiff_t in = sizes[from], out = sizes[to];
    const size_t count = rows * columns;
    char *x = calloc(count, (size_t)in), *y = malloc(count * (size_t)out);
    memset(y, 0xff, count * (size_t)out);
    const size_t shape[] = {rows, columns};
    const ptrdiff_t in_strides[] = {-in * (ptrdiff_t)columns, -in}, out_strides[] = {out, out * (ptrdiff_t)rows};
    fastnn_map map = {
        .kernel = fastnn_find_kernel("identity"),
        .float64 = from == FASTNN_FLOAT64 || to == FASTNN_FLOAT64,
        .dims = 2,
        .shape = shape,
        .outputs = 1,
        .inputs = 1,
        .operands = {{.data = y, .strides = out_strides, .dtype = to},
                     {.data = x + (ptrdiff_t)(count - 1) * in, .strides = in_strides, .dtype = from}},
    };
    CHECK(fastnn_run_map(&map) == FASTNN_DONE, "interrupted");
    for (size_t i = 0; i < count * (size_t)out; i++) CHECK(y[i] == 0, "byte %zu was not written", i);
    free(x), free(y);
}

static double get(const void *array, bool float64, size_t i) {
    return float64 ? ((const double *)array)[i] : (double)((const float *)array)[i];
}

// Softmax against the definition, and cross-entropy, whose gradient is (softmax - one hot) and whose losses are the
// logarithms.
static void check_samples(bool float64, size_t outer, size_t classes, size_t inner) {
    const size_t size = size_of(float64), samples = outer * inner, count = samples * classes;
    char *x = malloc(count * size), *y = malloc(count * size), *dx = malloc(count * size);
    int64_t *labels = malloc(samples * sizeof *labels);
    double loss, expected = 0;
    for (size_t i = 0; i < count; i++) set(x, float64, i, (double)(i * 7919 % 1009) / 50);
    for (size_t i = 0; i < samples; i++) labels[i] = (int64_t)(i % classes);
    fastnn_samples call = {.outer = outer, .classes = classes, .inner = inner, .x = x, .out = y};
    CHECK(fastnn_run_samples(FASTNN_SOFTMAX, float64, &call, &loss) == FASTNN_DONE, "interrupted");
    call.out = dx, call.labels = labels, call.ignored = -1, call.keep = 1, call.scale = 1;
    CHECK(fastnn_run_samples(FASTNN_CROSS_ENTROPY, float64, &call, &loss) == FASTNN_DONE, "interrupted");
    for (size_t i = 0; i < samples; i++) {
        const size_t first = i / inner * inner * classes + i % inner;
        double sum = 0;
        for (size_t c = 0; c < classes; c++) sum += exp(get(x, float64, first + c * inner));
        for (size_t c = 0; c < classes; c++) {
            const size_t at = first + c * inner, label = (size_t)labels[i];
            const double p = exp(get(x, float64, at)) / sum, near = float64 ? 1e-14 : 1e-6;
            CHECK(fabs(get(y, float64, at) - p) <= near * p, "%s: %zu x %zu x %zu, class %zu of %zu: %g is not %g",
                  fastnn_isa(), outer, classes, inner, c, i, get(y, float64, at), p);
            CHECK(fabs(get(dx, float64, at) - (p - (c == label))) <= near, "%s: gradient", fastnn_isa());
            if (c == label) expected -= log(p);
        }
    }
    CHECK(fabs(loss - expected) <= 1e-6 * expected + 1e-6, "%s: the loss is %g, not %g", fastnn_isa(), loss, expected);

    // Labels that another thread has changed since they were checked: the results mean nothing, but nothing outside the
    // arrays is read or written, which sanitizers see.
    for (size_t i = 0; i < samples; i++) labels[i] = i % 2 ? (int64_t)1 << 40 : -2;
    call.weight = x;
    CHECK(fastnn_run_samples(FASTNN_CROSS_ENTROPY, float64, &call, &loss) == FASTNN_DONE, "interrupted");
    CHECK(fastnn_run_samples(FASTNN_HINGE, float64, &call, &loss) == FASTNN_DONE, "interrupted");
    CHECK(fastnn_run_samples(FASTNN_NLL, float64, &call, &loss) == FASTNN_DONE, "interrupted");
    if (inner == 1) {  // a table of `samples` rows
        CHECK(fastnn_take_rows(samples, classes * size, x, samples, labels, y) == FASTNN_DONE, "interrupted");
        CHECK(fastnn_add_rows(float64, samples, classes, x, samples, labels, -1, dx) == FASTNN_DONE, "interrupted");
    }
    free(x), free(y), free(dx), free(labels);
}

// Centring and scaling against the formula, of every layout and dtype of x.
static void check_standardize(bool float64, bool bytes, bool channels_last, bool each, size_t samples, size_t channels,
                              size_t inner) {
    const size_t size = size_of(float64), sample = channels * inner, count = samples * sample;
    const size_t statistics = each ? sample : channels;
    char *x = malloc(count * (bytes ? 1 : size)), *y = malloc(count * size), *of = malloc(3 * statistics * size);
    for (size_t i = 0; i < count; i++)
        if (bytes)
            ((uint8_t *)x)[i] = (uint8_t)(i * 7919 % 256);
        else
            set(x, float64, i, (double)(i * 7919 % 256));
    for (size_t i = 0; i < 3 * statistics; i++) set(of, float64, i, (double)(i * 31 % 64) / 8);
    const fastnn_standardization call = {float64,
                                         bytes,
                                         channels_last,
                                         each,
                                         samples,
                                         channels,
                                         inner,
                                         of,
                                         of + statistics * size,
                                         of + 2 * statistics * size};
    CHECK(fastnn_standardize(&call, x, y) == FASTNN_DONE, "interrupted");
    for (size_t i = 0; i < count; i++) {  // all is exact
        const size_t n = i / sample, c = i / inner % channels, k = i % inner, s = each ? i % sample : c;
        const size_t at = channels_last ? (n * inner + k) * channels + c : i;
        const double from = bytes ? ((uint8_t *)x)[at] : get(x, float64, at);
        const double expected =
            (from - get(of, float64, s) - get(of, float64, statistics + s)) * get(of, float64, 2 * statistics + s);
        CHECK(get(y, float64, i) == expected, "%s: float64 %d, bytes %d, last %d, each %d, (%zu, %zu, %zu): %zu",
              fastnn_isa(), float64, bytes, channels_last, each, samples, channels, inner, i);
    }
    if (!bytes && !channels_last) {  // in place
        CHECK(fastnn_standardize(&call, x, x) == FASTNN_DONE, "interrupted");
        CHECK(memcmp(x, y, count * size) == 0, "%s: in place", fastnn_isa());
    }
    free(x), free(y), free(of);
}

static void check_standardizations(bool float64) {
    for (int kind = 0; kind < 8; kind++) {
        const bool bytes = kind & 1, last = kind & 2, each = kind & 4;
        for (size_t channels = 1; channels < 7; channels++)
            for (size_t inner = 1; inner < 40; inner += 3)
                check_standardize(float64, bytes, last, each, 2, channels, inner);
        check_standardize(float64, bytes, last, each, 3, 3, 5001);
        check_standardize(float64, bytes, last, each, 40, 3, 1024);
        check_standardize(float64, bytes, last, each, 2, 300, 67);
    }
}

static void check_prelu_and_maxout(bool float64, size_t outer, size_t channels, size_t inner) {
    const size_t size = size_of(float64), count = outer * channels * inner;
    char *x = malloc(count * size), *weight = malloc(channels * size), *dx = malloc(count * size);
    double *dweight = malloc(channels * sizeof(double));
    for (size_t i = 0; i < count; i++) set(x, float64, i, i % 2 ? 1 : -1);
    for (size_t c = 0; c < channels; c++) set(weight, float64, c, 0.5);
    CHECK(fastnn_prelu_backward(float64, outer, channels, inner, x, x, weight, dx, dweight) == FASTNN_DONE,
          "interrupted");
    double sum = 0;
    for (size_t c = 0; c < channels; c++) sum += dweight[c];
    CHECK(sum == (double)((count + 1) / 2), "the sum of dweight is %g of %zu", sum, count);
    free(weight), free(dweight);

    // The channels are the k candidates of y's one group.
    const size_t results = outer * inner;
    int bits = 0;
    while ((size_t)1 << bits < channels) bits++;
    char *y = malloc(results * size);
    uint8_t *planes = malloc((size_t)bits * ((results + 7) / 8) + 1);
    CHECK(fastnn_maxout(float64, outer, 1, channels, inner, x, y, bits, planes) == FASTNN_DONE, "interrupted");
    for (int changed = 0; changed < 2; changed++) {  // numbers of winners that do not exist must do no harm
        CHECK(fastnn_maxout_backward(float64, outer, 1, channels, inner, y, bits, planes, dx) == FASTNN_DONE,
              "interrupted");
        memset(planes, 0xff, (size_t)bits * ((results + 7) / 8));
    }
    free(x), free(dx), free(y), free(planes);
}

// philox4x32-10 in Random123's kat_vectors: counter, key, result.
static void check_philox(void) {
    static const uint32_t vectors[][10] = {
        {0, 0, 0, 0, 0, 0, 0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8},
        {~0u, ~0u, ~0u, ~0u, ~0u, ~0u, 0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd},
        {0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344, 0xa4093822, 0x299f31d0, 0xd16cfe09, 0x94fdcceb, 0x5001e420,
         0x24126ea1},
    };
    for (size_t i = 0; i < sizeof vectors / sizeof *vectors; i++) {
        uint32_t words[4];
        fastnn_philox4x32(vectors[i], vectors[i] + 4, words);
        CHECK(memcmp(words, vectors[i] + 6, sizeof words) == 0, "%s: vector %zu", fastnn_isa(), i);
    }
    // Many blocks at once are the blocks one by one.
    uint16_t many[8 * 300], one[8];
    fastnn_draw_blocks(5, 6, ((uint64_t)1 << 32) - 100, 300, many);
    for (size_t i = 0; i < 300; i++) {
        fastnn_draw_blocks(5, 6, ((uint64_t)1 << 32) - 100 + i, 1, one);
        CHECK(memcmp(one, many + 8 * i, sizeof one) == 0, "%s: block %zu", fastnn_isa(), i);
    }
}

static void check_uniform(bool float64) {
    const size_t size = size_of(float64);
    char whole[600 * 8];
    fastnn_uniform_state state = {1, 2, 0, 0.0, 1.0};
    const fastnn_operand operand = {.dtype = float64 ? FASTNN_FLOAT64 : FASTNN_FLOAT32, .state = &state};
    fastnn_generate_uniform(&operand, 0, 600, whole);
    for (size_t count = 1; count < 520; count = count < 40 ? count + 1 : count + 53) {
        void *to = malloc(count * size);
        state.first = count % 3;
        const size_t first = state.first + count % 77;
        fastnn_generate_uniform(&operand, count % 77, count, to);
        CHECK(memcmp(to, whole + first * size, count * size) == 0, "%s: %zu + %zu", fastnn_isa(), first, count);
        free(to);
    }
}

// keep_bits has 64 bytes of room beyond its bits, the others not a byte.
static void check_masks(bool float64, size_t first, size_t count) {
    const fastnn_random_table *table = fastnn_current(float64)->random;
    const fastnn_dropout dropout = {.seed = 1, .offset = 2, .first = first, .threshold = 30000};
    const size_t size = size_of(float64), bytes = (count + 7) / 8;
    uint16_t *draws = malloc(((first + count) / 8 + 1) * 16);
    fastnn_draw_blocks(1, 2, 0, (first + count) / 8 + 1, draws);
    uint8_t *roomy = malloc(count / 8 + 64);
    table->keep_bits(&dropout, first, count, roomy);
    uint8_t *bits = copy(roomy, bytes), *packed = malloc(bytes + 1), *bools = malloc(count + 1);
    fastnn_run_dropout_mask(&dropout, count, true, packed);
    fastnn_run_dropout_mask(&dropout, count, false, bools);
    char *x = malloc(count * size + 1), *y = malloc(count * size + 1), *line = malloc(count * size + 1);
    for (size_t i = 0; i < count; i++) set(x, float64, i, i % 3 ? 0.5 * (double)i : (double)NAN);
    table->mask(count, y, x, bits, 2.0);
    table->mask_line(count, line, x, bits, 2.0, 0.5, -1.0);
    for (size_t i = 0; i < count; i++) {
        char expected[2][8];
        const bool kept = draws[first + i] < dropout.threshold;
        const double twice = i % 3 ? (double)i : (double)NAN;
        set(expected[0], float64, 0, kept ? twice : 0);
        set(expected[1], float64, 0, kept ? twice + 0.5 : -1);
        CHECK((bits[i / 8] >> i % 8 & 1) == kept && (packed[i / 8] >> i % 8 & 1) == kept && bools[i] == kept,
              "%s: element %zu of %zu + %zu", fastnn_isa(), i, first, count);
        CHECK(same(y + i * size, expected[0], float64, 1) && same(line + i * size, expected[1], float64, 1),
              "%s: element %zu of %zu + %zu", fastnn_isa(), i, first, count);
    }
    free(draws), free(roomy), free(bits), free(packed), free(bools), free(x), free(y), free(line);
}

// Every other column of a (rows, 2 columns) array to a contiguous one; units of one row.
static void check_dropout(bool float64, size_t rows, size_t columns) {
    const size_t count = rows * columns;
    const ptrdiff_t size = (ptrdiff_t)size_of(float64);
    char *x = malloc((2 * count - 1) * (size_t)size), *y = malloc(count * (size_t)size);
    uint8_t *kept = malloc(rows);
    for (size_t i = 0; i < 2 * count - 1; i++) set(x, float64, i, i % 2 ? (double)NAN : 3);
    const fastnn_dtype dtype = float64 ? FASTNN_FLOAT64 : FASTNN_FLOAT32;
    const size_t shape[] = {rows, columns};
    const ptrdiff_t from[] = {2 * size * (ptrdiff_t)columns, 2 * size}, to[] = {size * (ptrdiff_t)columns, size};
    const fastnn_map map = {
        .float64 = float64,
        .dims = 2,
        .shape = shape,
        .outputs = 1,
        .inputs = 1,
        .operands = {{.data = y, .strides = to, .dtype = dtype}, {.data = x, .strides = from, .dtype = dtype}},
    };
    const fastnn_dropout dropout = {.seed = 3, .first = 5, .threshold = 32768, .scale = 2};
    CHECK(fastnn_run_dropout(&map, &dropout, columns) == FASTNN_DONE, "interrupted");
    CHECK(fastnn_run_dropout_mask(&dropout, rows, false, kept) == FASTNN_DONE, "interrupted");
    for (size_t i = 0; i < count; i++) {
        char expected[8];
        set(expected, float64, 0, kept[i / columns] ? 6 : 0);
        CHECK(same(y + i * (size_t)size, expected, float64, 1), "element %zu of %zu rows", i, rows);
    }
    free(x), free(y), free(kept);
}

int main(void) {
    limit_seconds(1800);
    const char *isa;
    for (int i = 0; (isa = fastnn_available_isa(i)) != NULL; i++) {
        CHECK(fastnn_select_isa(isa), "%s", isa);
        for (int kernel = 0; kernel < KERNEL_COUNT; kernel++)
            for (int float64 = 0; float64 < 2; float64++) check_kernel(kernel, float64);
        for (int float64 = 0; float64 < 2; float64++) check_copies_and_sums(float64);
        for (int float64 = 0; float64 < 2; float64++) {
            for (size_t classes = 1; classes < 70; classes += classes < 40 ? 1 : 7)
                check_samples(float64, 19, classes, 1);
            for (size_t inner = 2; inner < 40; inner += 3) check_samples(float64, 2, 10, inner);
            check_samples(float64, 2, 70, 300);
            check_samples(float64, 3, 260, 21);
        }
        for (int float64 = 0; float64 < 2; float64++) check_standardizations(float64);
        for (int type = 0; type < 2; type++) check_halves(type);
        check_philox();
        for (int float64 = 0; float64 < 2; float64++) {
            check_uniform(float64);
            for (size_t count = 0; count < 300; count++) check_masks(float64, count % 11, count);
            check_masks(float64, 5, 5000);
        }
    }
    fastnn_select_isa(NULL);
    check_standardize(false, true, true, false, 3, 3, (FASTNN_STREAM_BYTES / 3 / 4 + 1000) / 9);  // streamed
    for (int float64 = 0; float64 < 2; float64++) {
        const size_t streamed = FASTNN_STREAM_BYTES / (2 * size_of(float64)) + 1000;  // elements of two arrays
        const size_t counts[] = {1, 1025, 30001, 70003, streamed};
        for (size_t i = 0; i < sizeof counts / sizeof *counts; i++) check_contiguous(float64, counts[i]);
        check_dropout(float64, 1, 1);
        check_dropout(float64, 300, 7);
        check_dropout(float64, 9, 5000);
        check_prelu_and_maxout(float64, 3, 5, 7);
        check_prelu_and_maxout(float64, 40, 9, 1);
        check_prelu_and_maxout(float64, 2, 3, 5000);
        check_prelu_and_maxout(float64, 1, 1, 30001);
    }
    static const fastnn_dtype pairs[][2] = {{FASTNN_FLOAT32, FASTNN_FLOAT32},  {FASTNN_FLOAT64, FASTNN_FLOAT64},
                                            {FASTNN_FLOAT16, FASTNN_FLOAT16},  {FASTNN_BFLOAT16, FASTNN_BFLOAT16},
                                            {FASTNN_BFLOAT16, FASTNN_FLOAT32}, {FASTNN_FLOAT32, FASTNN_FLOAT16}};
    for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++) {
        check_strided(1, 1, pairs[i][0], pairs[i][1]);
        check_strided(7, 13, pairs[i][0], pairs[i][1]);
        check_strided(1030, 3, pairs[i][0], pairs[i][1]);
        check_strided(150, 211, pairs[i][0], pairs[i][1]);
    }
}
