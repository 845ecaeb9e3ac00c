// The moments of a set of numbers, and those of the union of two sets: plain C, for drivers and kernels alike.
// moments.h finds the moments of an array.
#ifndef FASTNN_MERGE_MOMENTS_H
#define FASTNN_MERGE_MOMENTS_H

#include <float.h>

#include "math/exact_sum.h"

// The mean of `count` numbers, in two parts, and the sum of their squared deviations from it. mean + mean_low is the
// mean: rounded to one float64, a large mean would be off by what matters beside a small variance.
typedef struct {
    double count, mean, mean_low, m2;  // of no numbers: all 0
} fastnn_moments;

// What a norm makes of them. The variance may be infinite where the deviation, its root, is not.
typedef struct {
    double mean, mean_low, variance, deviation;
} fastnn_statistics;

static inline double rstd_of_statistics(fastnn_statistics s, double eps) {
    return s.variance <= DBL_MAX ? 1 / __builtin_sqrt(s.variance + eps) : 1 / s.deviation;
}

// Chan, Golub, LeVeque, "Updating formulae and a pairwise algorithm for computing sample variances", 1979.
static inline fastnn_moments merge_moments(fastnn_moments a, fastnn_moments b) {
    if (a.count == 0) return b;
    const double count = a.count + b.count, delta = (b.mean - a.mean) + (b.mean_low - a.mean_low);
    const double part = delta * (b.count / count);
    fastnn_moments all = {count, a.mean, a.mean_low, a.m2 + b.m2 + delta * part * a.count};
    add_exactly(&all.mean, &all.mean_low, part);
    return all;
}

#endif
