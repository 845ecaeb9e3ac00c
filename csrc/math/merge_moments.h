// The moments of a set of numbers, and those of the union of two sets: plain C, for drivers and kernels alike.
// moments.h finds the moments of an array.
#ifndef FASTNN_MERGE_MOMENTS_H
#define FASTNN_MERGE_MOMENTS_H

// The mean of `count` numbers, in two parts, and the sum of their squared deviations from it. mean + mean_low is the
// mean: rounded to one float64, a large mean would be off by what matters beside a small variance.
typedef struct {
    double count, mean, mean_low, m2;  // of no numbers: all 0
} fastnn_moments;

// mean += part. What rounding that sum loses is added to mean_low (Knuth's exact sum).
static inline void add_to_mean(double *mean, double *mean_low, double part) {
    const double sum = *mean + part, taken = sum - *mean;
    *mean_low += (*mean - (sum - taken)) + (part - taken);
    *mean = sum;
}

// Chan, Golub, LeVeque, "Updating formulae and a pairwise algorithm for computing sample variances", 1979.
static inline fastnn_moments merge_moments(fastnn_moments a, fastnn_moments b) {
    if (a.count == 0) return b;
    const double count = a.count + b.count, delta = (b.mean - a.mean) + (b.mean_low - a.mean_low);
    const double part = delta * (b.count / count);
    fastnn_moments all = {count, a.mean, a.mean_low, a.m2 + b.m2 + delta * part * a.count};
    add_to_mean(&all.mean, &all.mean_low, part);
    return all;
}

#endif
