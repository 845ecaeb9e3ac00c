// Prints what arithmetic the machine does: the clock in GHz, by additions that wait for each other, a cycle each; and
// the fused products of float vectors a nanosecond, twice their lanes in operations. machine.py compiles and runs it.
#include <stdio.h>
#include <time.h>

typedef float Vector __attribute__((vector_size(WIDTH)));
enum { CHAINS = 12, STEPS = 20000000 };  // two products a cycle that each last five need ten at a time

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

static double additions(void) {
    const double start = now();
    unsigned long x = 0;
    for (int i = 0; i < STEPS; i++) __asm__ volatile("add $1, %0\nadd $1, %0\nadd $1, %0\nadd $1, %0" : "+r"(x));
    return 4.0 * STEPS / (now() - start);
}

static double products(void) {
    const Vector a = (Vector){0} + 0.5f;
    Vector x[CHAINS];
#pragma GCC unroll 12
    for (int k = 0; k < CHAINS; k++) x[k] = a + (float)k;
    const double start = now();
    for (int i = 0; i < STEPS / 8; i++) {
#pragma GCC unroll 12
        for (int k = 0; k < CHAINS; k++) x[k] = x[k] * a + a;
    }
    const double time = now() - start;
#pragma GCC unroll 12
    for (int k = 0; k < CHAINS; k++) __asm__ volatile("" ::"x"(x[k]));  // so that none is left out
    return 2.0 * WIDTH / sizeof(float) * CHAINS * (STEPS / 8) / time;
}

int main(void) {
    double clock = 0, peak = 0;
    for (int i = 0; i < 8; i++) {
        const double c = additions(), p = products();
        clock = c > clock ? c : clock;
        peak = p > peak ? p : peak;
    }
    printf("%.3f %.1f\n", clock, peak);
}
