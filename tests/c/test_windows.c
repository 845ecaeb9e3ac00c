// Convolution and pooling on every instruction set of this machine, against loops that follow the definitions, on
// exactly sized buffers: under AddressSanitizer, which sees an access beyond them.
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "fastnn.h"

// samples, groups, channels and outputs of a group; rows and columns: size, taps, stride, padding, dilation.
typedef struct {
    size_t samples, groups, channels, outputs, axis[2][5];
} shape;

static const shape shapes[] = {
    {2, 1, 3, 9, {{16, 3, 1, 1, 1}, {32, 3, 1, 1, 1}}}, {3, 1, 4, 5, {{7, 3, 1, 1, 1}, {7, 3, 1, 1, 1}}},
    {2, 6, 1, 1, {{9, 3, 2, 1, 1}, {35, 3, 2, 1, 1}}},  {2, 2, 3, 2, {{6, 1, 2, 0, 1}, {5, 1, 3, 0, 1}}},
    {1, 1, 2, 3, {{11, 3, 2, 2, 2}, {19, 4, 3, 3, 2}}}, {2, 1, 5, 4, {{4, 1, 1, 0, 1}, {5, 1, 1, 0, 1}}},
    {1, 1, 33, 66, {{5, 3, 1, 1, 1}, {6, 3, 1, 1, 1}}}, {1, 1, 3, 7, {{6, 2, 2, 0, 1}, {16, 2, 2, 0, 1}}},
    {2, 1, 2, 2, {{7, 2, 2, 0, 1}, {41, 2, 2, 0, 1}}},
};

static double number(size_t i) { return (double)((i * 2654435761u >> 7) % 2001) / 1000 - 1; }

static double get(const void *array, bool float64, size_t i) {
    return float64 ? ((const double *)array)[i] : (double)((const float *)array)[i];
}

static void *numbers(bool float64, size_t count, size_t seed) {
    void *array = malloc(count * (float64 ? 8 : 4));
    for (size_t i = 0; i < count; i++) {
        if (float64)
            ((double *)array)[i] = number(i + seed);
        else
            ((float *)array)[i] = (float)number(i + seed);
    }
    return array;
}

static void check_near(const void *array, const double *expected, bool float64, size_t count) {
    for (size_t i = 0; i < count; i++)
        CHECK(fabs(get(array, float64, i) - expected[i]) <= (float64 ? 1e-12 : 1e-4) * (1 + fabs(expected[i])),
              "element %zu is %g, not %g", i, get(array, float64, i), expected[i]);
}

static fastnn_axis axis_of(const size_t numbers[5]) {
    const size_t size = numbers[0], taps = numbers[1], stride = numbers[2], padding = numbers[3], step = numbers[4];
    return (fastnn_axis){
        size,           (size + 2 * padding - step * (taps - 1) - 1) / stride + 1, taps, stride, -(ptrdiff_t)padding,
        (ptrdiff_t)step};
}

// The index of a tap in the image, or -1.
static ptrdiff_t index_of(const fastnn_axis *axis, size_t place, size_t tap) {
    const ptrdiff_t i = axis->start + (ptrdiff_t)(place * axis->stride) + (ptrdiff_t)tap * axis->step;
    return i >= 0 && i < (ptrdiff_t)axis->size ? i : -1;
}

// Calls `work` for every product of the definition: numbers of elements of y, x and weight.
typedef struct {
    const void *x, *weight, *dy;
    double *y, *dx, *dweight;
    bool float64;
} sums;

static void add_product(const sums *s, size_t y, size_t x, size_t w) {
    s->y[y] += get(s->weight, s->float64, w) * get(s->x, s->float64, x);
    s->dx[x] += get(s->weight, s->float64, w) * get(s->dy, s->float64, y);
    s->dweight[w] += get(s->x, s->float64, x) * get(s->dy, s->float64, y);
}

static void each_tap(const fastnn_convolution *c, const sums *s, size_t y, size_t image, size_t weight, size_t row,
                     size_t column) {
    for (size_t i = 0; i < c->axis[0].taps; i++)
        for (size_t j = 0; j < c->axis[1].taps; j++) {
            const ptrdiff_t p = index_of(&c->axis[0], row, i), q = index_of(&c->axis[1], column, j);
            if (p < 0 || q < 0) continue;
            const size_t x = (image * c->axis[0].size + (size_t)p) * c->axis[1].size + (size_t)q;
            add_product(s, y, x, (weight * c->axis[0].taps + i) * c->axis[1].taps + j);
        }
}

static void define(const fastnn_convolution *c, const sums *s) {
    size_t y = 0;
    for (size_t n = 0; n < c->samples; n++)
        for (size_t o = 0; o < c->groups * c->outputs; o++)
            for (size_t row = 0; row < c->axis[0].places; row++)
                for (size_t column = 0; column < c->axis[1].places; column++, y++)
                    for (size_t channel = 0; channel < c->channels; channel++)
                        each_tap(c, s, y, (n * c->groups + o / c->outputs) * c->channels + channel,
                                 o * c->channels + channel, row, column);
}

static void check_convolution(const shape *s, bool float64) {
    fastnn_convolution c = {.float64 = float64,
                            .samples = s->samples,
                            .groups = s->groups,
                            .channels = s->channels,
                            .outputs = s->outputs,
                            .axis = {axis_of(s->axis[0]), axis_of(s->axis[1])}};
    const size_t outputs = c.groups * c.outputs, taps = c.axis[0].taps * c.axis[1].taps;
    const size_t x = c.samples * c.groups * c.channels * c.axis[0].size * c.axis[1].size;
    const size_t y = c.samples * outputs * c.axis[0].places * c.axis[1].places, w = outputs * c.channels * taps;
    void *in[] = {numbers(float64, x, 1), numbers(float64, w, 2), numbers(float64, y, 3)};
    void *out[] = {numbers(float64, y, 4), numbers(float64, x, 5), numbers(float64, w, 6),
                   numbers(float64, outputs, 7)};
    c.x = in[0], c.weight = in[1], c.dy = in[2];
    c.y = out[0], c.dx = out[1], c.dweight = out[2], c.dbias = out[3];
    double *exact[] = {calloc(y, sizeof(double)), calloc(x, sizeof(double)), calloc(w, sizeof(double))};
    define(&c, &(sums){in[0], in[1], in[2], exact[0], exact[1], exact[2], float64});
    CHECK(fastnn_convolve(&c) == FASTNN_DONE, "not done");
    CHECK(fastnn_convolve_backward_input(&c) == FASTNN_DONE, "not done");
    CHECK(fastnn_convolve_backward_weight(&c) == FASTNN_DONE, "not done");
    check_near(out[0], exact[0], float64, y);
    check_near(out[1], exact[1], float64, x);
    check_near(out[2], exact[2], float64, w);
    for (int i = 0; i < 3; i++) free(in[i]), free(exact[i]);
    for (int i = 0; i < 4; i++) free(out[i]);
}

// The maximum, and 1 for the gradient of every window: dx counts the windows whose largest element it is.
static void check_pool(const shape *s, bool float64) {
    fastnn_pool p = {.mode = FASTNN_MAX_POOL,
                     .float64 = float64,
                     .images = s->samples * s->channels,
                     .argmax_bytes = 1,
                     .axis = {axis_of(s->axis[0]), axis_of(s->axis[1])}};
    const size_t x = p.images * p.axis[0].size * p.axis[1].size, y = p.images * p.axis[0].places * p.axis[1].places;
    void *image = numbers(float64, x, 1), *result = numbers(float64, y, 2), *dx = numbers(float64, x, 3);
    p.argmax = malloc(y);
    p.x = image, p.y = result;
    CHECK(fastnn_run_pool(&p) == FASTNN_DONE, "not done");
    double total = 0, dtotal = 0, largest = -1;
    for (size_t i = 0; i < x; i++) largest = fmax(largest, get(image, float64, i));
    for (size_t i = 0; i < y; i++) {
        total += get(result, float64, i);
        CHECK(get(result, float64, i) <= largest, "beyond the largest");
    }
    p.dy = result, p.dx = dx;
    CHECK(fastnn_run_pool(&p) == FASTNN_DONE, "not done");
    for (size_t i = 0; i < x; i++) dtotal += get(dx, float64, i);
    CHECK(fabs(total - dtotal) <= 1e-4 * (double)y, "%g became %g", total, dtotal);
    free(image), free(result), free(dx), free(p.argmax);
}

int main(void) {
    for (int i = 0; fastnn_available_isa(i) != NULL; i++) {
        CHECK(fastnn_select_isa(fastnn_available_isa(i)), "%s", fastnn_available_isa(i));
        for (size_t k = 0; k < sizeof shapes / sizeof *shapes; k++)
            for (int float64 = 0; float64 < 2; float64++) {
                check_convolution(&shapes[k], float64);
                check_pool(&shapes[k], float64);
            }
    }
    return 0;
}
