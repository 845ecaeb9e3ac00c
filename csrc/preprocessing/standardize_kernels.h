// The table of standardize_kernels.c: samples centred and scaled, and the channels of images taken apart.
#ifndef FASTNN_STANDARDIZE_KERNELS_H
#define FASTNN_STANDARDIZE_KERNELS_H

#include "runtime/tables.h"

// What y = ((x - mean) - mean_low) factor is computed with, of the dtype of y.
enum { MEAN, MEAN_LOW, FACTOR, STATISTICS };

// Where the elements of a channel are: values side by side, of the dtype of y or bytes; or bytes `channels` apart, of
// which there are at most MOST_CHANNELS.
typedef enum { REALS, BYTES, PIXELS, FORMS } fastnn_form;
enum { MOST_CHANNELS = 4 };

typedef struct fastnn_standardize_table {
    // n elements; [x's form][each element has its own statistics, else all the same]. y may be x. `readable` bytes of x
    // may be read, which matters for pixels alone.
    void (*standardize[FORMS][2])(size_t n, void *y, const void *x, size_t channels, size_t readable,
                                  const void *const statistics[STATISTICS]);
    // to[i] = from[i channels] for n pixels; [elements are bytes, else of the dtype of the table]
    void (*take_channel[2])(size_t n, size_t channels, void *to, const void *from);
} fastnn_standardize_table;

#endif
