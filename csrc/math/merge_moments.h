// The moments of a set of numbers, and those of the union of two sets: plain C, for drivers and kernels alike.
// moments.h finds the moments of an array.
#ifndef FASTNN_MERGE_MOMENTS_H
#define FASTNN_MERGE_MOMENTS_H

// Of `count` elements: their mean, which is mean + rest (of float64, one number would not have digits enough beside a
// small variance), and the sum of the squared deviations from it.
typedef struct {
    double count, mean, rest, m2;  // none: all 0
} fastnn_moments;

// mean += part, and rest has what that lost (Knuth's exact sum).
static inline void add_to_mean(double *mean, double *rest, double part) {
    const double sum = *mean + part, taken = sum - *mean;
    *rest += (*mean - (sum - taken)) + (part - taken);
    *mean = sum;
}

// Chan, Golub, LeVeque, "Updating formulae and a pairwise algorithm for computing sample variances", 1979.
static inline fastnn_moments merge_moments(fastnn_moments a, fastnn_moments b) {
    if (a.count == 0) return b;
    const double count = a.count + b.count, delta = (b.mean - a.mean) + (b.rest - a.rest);
    const double part = delta * (b.count / count);
    fastnn_moments all = {count, a.mean, a.rest, a.m2 + b.m2 + delta * part * a.count};
    add_to_mean(&all.mean, &all.rest, part);
    return all;
}

#endif
