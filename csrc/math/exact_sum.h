// Sums and constants in two parts: the rounded value, and what rounding lost. Plain C, without a type that is wider on
// some systems than on others, as long double is.
#ifndef FASTNN_EXACT_SUM_H
#define FASTNN_EXACT_SUM_H

// total += part. What rounding that sum loses is added to total_low (Knuth's exact sum).
static inline void add_exactly(double *total, double *total_low, double part) {
    const double sum = *total + part, taken = sum - *total;
    *total_low += (*total - (sum - taken)) + (part - taken);
    *total = sum;
}

// For `real`: what (real)number leaves of number + number_low.
#define REST_OF(number, number_low) ((real)((number) - (real)(number) + (number_low)))

#endif
