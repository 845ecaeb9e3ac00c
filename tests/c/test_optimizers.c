// Every rule of every instruction set of this machine on lists of tensors in exactly sized buffers: under
// AddressSanitizer, which sees an access beyond them. An element's result does not depend on where it stands, and some
// rules are what their formulas say: the only test of them on instruction sets that have no Python here.
#include <math.h>
#include <string.h>

#include "check.h"
#include "optim/optimizer_kernels.h"

enum { TENSORS = 4, LONGEST = 70000 };
static const size_t counts[TENSORS] = {37, 0, LONGEST, 1};  // the third one is shared by threads

static const struct {
    const char *name;
    int operands;
} rules[] = {
#define RULE(name, operands, ...) {#name, operands},
#include "optim/optimizers.def"
#undef RULE
};

static double value_at(size_t i, int operand) {
    const double x = sin(1.0 + 0.7 * (double)i + operand);
    return operand >= 2 ? x * x : i % 11 == 5 ? 0 : x;
}
static void set(void *array, bool float64, size_t i, double value) {
    if (float64)
        ((double *)array)[i] = value;
    else
        ((float *)array)[i] = (float)value;
}
static double get(const void *array, bool float64, size_t i) {
    return float64 ? ((const double *)array)[i] : (double)((const float *)array)[i];
}
static void *operand_of(bool float64, size_t first, size_t count, int operand) {
    void *made = malloc(count * (float64 ? 8 : 4) + (count == 0));
    for (size_t i = 0; i < count; i++) set(made, float64, i, value_at(first + i, operand));
    return made;
}

static fastnn_step step_of(int rule, bool float64, fastnn_tensor *tensors, size_t count) {
    return (fastnn_step){
        .rule = rule,
        .float64 = float64,
        .tensors = count,
        .tensor = tensors,
        .penalties = {.negate = true, .decay = 0.1, .l1 = 0.05, .shrink = 0.01},
        .numbers = {0.1, 0.2, 0.9, 0.3, 1.5, 0.01, 0.7, 0.4},
    };
}

// What the rule makes of element i alone equals what it makes of it among others, bit for bit.
static void check_element(int rule, bool float64, const fastnn_tensor *tensor, size_t i) {
    fastnn_tensor alone = {.count = 1, .factor = tensor->factor};
    for (int k = 0; k < rules[rule].operands; k++) alone.operands[k] = operand_of(float64, i, 1, k);
    const fastnn_step step = step_of(rule, float64, &alone, 1);
    fastnn_run_step(&step);
    const size_t size = float64 ? 8 : 4;
    for (int k = 0; k < rules[rule].operands; k++) {
        CHECK(memcmp(alone.operands[k], (char *)tensor->operands[k] + i * size, size) == 0,
              "%s, operand %d of element %zu on %s", rules[rule].name, k, i, fastnn_isa());
        free(alone.operands[k]);
    }
}

static void check_rule(int rule, bool float64) {
    fastnn_tensor tensors[TENSORS];
    for (int t = 0; t < TENSORS; t++) {
        tensors[t] = (fastnn_tensor){.count = counts[t], .factor = 1 + t};
        for (int k = 0; k < rules[rule].operands; k++) tensors[t].operands[k] = operand_of(float64, 0, counts[t], k);
    }
    const fastnn_step step = step_of(rule, float64, tensors, TENSORS);
    fastnn_run_step(&step);
    for (int t = 0; t < TENSORS; t++)
        for (size_t i = 0; i < counts[t]; i += i < 40 ? 1 : 997) check_element(rule, float64, &tensors[t], i);
    for (int t = 0; t < TENSORS; t++)
        for (int k = 0; k < rules[rule].operands; k++) free(tensors[t].operands[k]);
}

// The step is made from sources, which stay as they are.
static void check_formula(const char *name, bool float64, double (*formula)(double p, double g, double a, double b)) {
    enum { COUNT = 21 };
    const int rule = fastnn_find_rule(name);
    fastnn_tensor tensor = {.count = COUNT, .factor = 2};
    for (int k = 0; k < rules[rule].operands; k++) {
        tensor.sources[k] = operand_of(float64, 0, COUNT, k);
        tensor.operands[k] = operand_of(float64, COUNT, COUNT, k);
    }
    const fastnn_step step = step_of(rule, float64, &tensor, 1);
    fastnn_run_step(&step);
    for (size_t i = 0; i < COUNT; i++) {
        const double p = value_at(i, 0), sign = (p > 0) - (p < 0), g = -value_at(i, 1) + 0.1 * p + 0.05 * sign;
        const double want = formula(0.99 * p, g, value_at(i, 2), value_at(i, 3)),
                     got = get(tensor.operands[0], float64, i);
        CHECK(fabs(got - want) < (float64 ? 1e-14 : 2e-6), "%s of element %zu on %s: %g, not %g", name, i, fastnn_isa(),
              got, want);
    }
    for (int k = 0; k < rules[rule].operands; k++) {
        void *before = operand_of(float64, 0, COUNT, k);
        CHECK(memcmp(before, tensor.sources[k], COUNT * (float64 ? 8 : 4)) == 0, "%s changed source %d", name, k);
        free(before), free((void *)tensor.sources[k]), free(tensor.operands[k]);
    }
}
static double adam(double p, double g, double m, double v) {
    return p - 0.2 * (m + 0.2 * (g - m)) / (sqrt(0.9 * v + 0.3 * g * g) * 1.5 + 0.01);
}
static double lion(double p, double g, double m, double unused) {
    const double c = m + 0.2 * (g - m);
    return (void)unused, p - 0.2 * ((c > 0) - (c < 0));
}

static void check_reductions(bool float64) {
    fastnn_tensor tensors[TENSORS];
    double expected[TENSORS][FASTNN_REDUCTIONS] = {{0}};
    for (int t = 0; t < TENSORS; t++) {
        tensors[t] =
            (fastnn_tensor){.count = counts[t], .factor = 1, .operands = {operand_of(float64, 0, counts[t], 0)}};
        for (size_t i = 0; i < counts[t]; i++) {
            const double x = fabs(get(tensors[t].operands[0], float64, i));
            expected[t][FASTNN_SQUARES] += x * x;
            expected[t][FASTNN_SIZES] += x;
            if (x > expected[t][FASTNN_LARGEST]) expected[t][FASTNN_LARGEST] = x;
        }
    }
    const fastnn_step step = step_of(-1, float64, tensors, TENSORS);
    double results[2 * TENSORS];
    for (int r = 0; r < FASTNN_REDUCTIONS; r++) {
        CHECK(fastnn_run_reduction(&step, (fastnn_reduction)r, results) == FASTNN_DONE, "not done");
        for (int t = 0; t < TENSORS; t++)
            CHECK(fabs(results[2 * t] - expected[t][r]) <= 1e-11 * expected[t][r], "reduction %d of tensor %d on %s", r,
                  t, fastnn_isa());
    }
    set(tensors[0].operands[0], float64, 3, (double)NAN);
    CHECK(fastnn_run_reduction(&step, FASTNN_LARGEST, results) == FASTNN_DONE, "not done");
    CHECK(isnan(results[0]) && !isnan(results[4]), "a NaN on %s", fastnn_isa());
    for (int t = 0; t < TENSORS; t++) free(tensors[t].operands[0]);
}

int main(void) {
    const char *isa;
    for (int i = 0; (isa = fastnn_available_isa(i)) != NULL; i++) {
        fastnn_select_isa(isa);
        for (int float64 = 0; float64 < 2; float64++) {
            for (int rule = 0; rule < RULE_COUNT; rule++) check_rule(rule, float64);
            check_formula("adam", float64, adam);
            check_formula("lion", float64, lion);
            check_reductions(float64);
        }
    }
    return 0;
}
