// Forward activations against their definitions in long double (113 bits on AArch64, 64 on x86): at most 2 units in the
// last place in float32 and float64, over a grid that has the tails and the subnormals. For machines where the campaign
// of docs/accuracy.md does not run.
#include <float.h>
#include <math.h>
#include <string.h>

#include "check.h"
#include "runtime/tables.h"

typedef long double wide;

static wide sigmoid_ref(wide x) { return x < 0 ? expl(x) / (1 + expl(x)) : 1 / (1 + expl(-x)); }
static wide silu_ref(wide x) { return x * sigmoid_ref(x); }
static wide softplus_ref(wide x) { return x > 20 ? x : log1pl(expl(x)); }
static wide logsigmoid_ref(wide x) { return fminl(x, 0) - log1pl(expl(-fabsl(x))); }
static wide mish_ref(wide x) { return x > 100 ? x : x * tanhl(log1pl(expl(x))); }
static wide gelu_ref(wide x) { return x * erfcl(-x * sqrtl(0.5L)) / 2; }
static wide gelu_tanh_ref(wide x) { return x * sigmoid_ref(2 * sqrtl(2 / acosl(-1)) * (x + 0.044715L * x * x * x)); }
static wide elu_ref(wide x) { return x > 0 ? x : expm1l(x); }
static wide selu_ref(wide x) {
    return 1.0507009873554804934193349852946L * (x > 0 ? x : 1.6732632423543772848170429916717L * expm1l(x));
}
static wide softsign_ref(wide x) { return x / (1 + fabsl(x)); }
static wide squareplus_ref(wide x) {
    const wide root = sqrtl(x * x + 4);
    return x < 0 ? 2 / (root - x) : (x + root) / 2;
}
static wide tanhshrink_ref(wide x) {
    if (fabsl(x) > 1) return x - tanhl(x);
    wide fraction = 35;  // tanh x = x / (1 + z / (3 + z / (5 + ...))), so that nothing cancels
    for (int n = 33; n > 1; n -= 2) fraction = n + x * x / fraction;
    return x * x * x / (fraction + x * x);
}
static wide hardsigmoid_ref(wide x) { return fminl(fmaxl(x + 3, 0), 6) / 6; }
static wide hardswish_ref(wide x) { return x * hardsigmoid_ref(x); }

static const struct {
    const char *name;
    wide (*definition)(wide);
    double at_minus_infinity, at_infinity;
} functions[] = {
    {"exp", expl, 0, (double)INFINITY},
    {"tanh", tanhl, -1, 1},
    {"sigmoid", sigmoid_ref, 0, 1},
    {"silu", silu_ref, 0, (double)INFINITY},
    {"softplus", softplus_ref, 0, (double)INFINITY},
    {"logsigmoid", logsigmoid_ref, -(double)INFINITY, 0},
    {"mish", mish_ref, 0, (double)INFINITY},
    {"gelu", gelu_ref, 0, (double)INFINITY},
    {"gelu_tanh", gelu_tanh_ref, 0, (double)INFINITY},
    {"elu", elu_ref, -1, (double)INFINITY},
    {"celu", elu_ref, -1, (double)INFINITY},
    {"selu", selu_ref, -1.7580993408473768599402175208123, (double)INFINITY},
    {"softsign", softsign_ref, -1, 1},
    {"squareplus", squareplus_ref, 0, (double)INFINITY},
    {"tanhshrink", tanhshrink_ref, -(double)INFINITY, (double)INFINITY},
    {"hardsigmoid", hardsigmoid_ref, 0, 1},
    {"hardswish", hardswish_ref, 0, (double)INFINITY},
};

// ---- the grid ------------------------------------------------------------------------------------------------------

enum { MOST_POINTS = 8192 };
static double grid[MOST_POINTS];

// Both signs of 2^k with steps between, over the whole exponent range, and evenly spaced points where functions bend.
static size_t fill_grid(bool float64) {
    const int least = float64 ? -1074 : -149, largest = float64 ? 1023 : 127;
    size_t count = 0;
    for (int k = least; k <= largest; k += k < -60 || k > 12 ? (float64 ? 40 : 6) : 1)
        for (int step = 0; step < (k < -60 || k > 12 ? 1 : 12); step++) {
            const double x = ldexp(1 + step / 12.0, k);
            grid[count++] = x;
            grid[count++] = -x;
        }
    for (int i = 0; i < 1500; i++) grid[count++] = -(float64 ? 760.0 : 110.0) * (i + 0.5) / 1500;
    for (int i = 0; i < 1500; i++) grid[count++] = 40 * ((i + 0.25) / 1500 - 0.5);
    CHECK(count <= MOST_POINTS, "%zu points", count);
    return count;
}

// ---- errors --------------------------------------------------------------------------------------------------------

// In units in the last place of the exact result.
static double error_in_ulp(double result, wide exact, bool float64) {
    const int digits = float64 ? DBL_MANT_DIG : FLT_MANT_DIG, least = float64 ? DBL_MIN_EXP : FLT_MIN_EXP;
    const wide largest = float64 ? (wide)DBL_MAX : (wide)FLT_MAX;
    int exponent;
    frexpl(exact, &exponent);
    if (exact == 0 || exponent < least) exponent = least;
    const wide ulp = ldexpl(1, exponent - digits);
    if (isinf(result)) return fabsl(exact) > largest - ulp ? 0 : (double)INFINITY;
    return (double)(fabsl((wide)result - exact) / ulp);
}

static void run(int kernel, bool float64, size_t count, const double *x, double *y) {
    double parameters[FASTNN_MAX_PARAMETERS];
    for (int i = 0; i < FASTNN_MAX_PARAMETERS; i++) parameters[i] = fastnn_activations[kernel / 2].parameters[i].value;
    static float narrow_x[MOST_POINTS], narrow_y[MOST_POINTS];
    for (size_t i = 0; i < count; i++) narrow_x[i] = (float)x[i];
    const void *in = float64 ? (const void *)x : narrow_x;
    void *out = float64 ? (void *)y : narrow_y;
    fastnn_current_table(float64)->kernels[kernel](count, &out, &in, parameters);
    for (size_t i = 0; i < count && !float64; i++) y[i] = (double)narrow_y[i];
}

static void check_limits(size_t f, int kernel, bool float64) {
    const double x[] = {-(double)INFINITY, (double)INFINITY, (double)NAN};
    double y[3];
    run(kernel, float64, 3, x, y);
    const double limits[] = {functions[f].at_minus_infinity, functions[f].at_infinity};
    for (int i = 0; i < 2; i++)
        CHECK(y[i] == limits[i] || error_in_ulp(y[i], limits[i], float64) <= 2, "%s(%g) = %g", functions[f].name, x[i],
              y[i]);
    CHECK(isnan(y[2]), "%s(NaN) = %g", functions[f].name, y[2]);
}

static void check_function(size_t f, bool float64) {
    static double result[MOST_POINTS];
    const int kernel = fastnn_find_kernel(functions[f].name);
    CHECK(kernel >= 0, "no kernel is called %s", functions[f].name);
    check_limits(f, kernel, float64);
    const size_t count = fill_grid(float64);
    run(kernel, float64, count, grid, result);
    double worst = 0, worst_x = 0;
    for (size_t i = 0; i < count; i++) {
        const double x = float64 ? grid[i] : (double)(float)grid[i];
        const double error = error_in_ulp(result[i], functions[f].definition(x), float64);
        if (!(error <= worst)) worst = error, worst_x = x;
    }
    printf("%-12s %s %6.3f ULP at %.17g\n", functions[f].name, float64 ? "float64" : "float32", worst, worst_x);
    CHECK(worst <= 2, "%s: %g ULP at %.17g", functions[f].name, worst, worst_x);
}

int main(void) {
    printf("%s\n", fastnn_isa());
    for (int float64 = 0; float64 < 2; float64++)
        for (size_t f = 0; f < sizeof functions / sizeof *functions; f++) check_function(f, float64);
}
