// The steps of the optimisers. Compiled once for each instruction set and dtype.
#include "optimizer_kernels.h"

const fastnn_optimizer_table FASTNN_TABLE(optimizer) = {0};
