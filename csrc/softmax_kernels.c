// Softmax and the losses. Compiled once for each instruction set and dtype, as kernels.c.
#include "softmax_kernels.h"

const fastnn_softmax_table FASTNN_TABLE(softmax) = {0};
