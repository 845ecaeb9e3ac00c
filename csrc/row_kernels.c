// Norms over contiguous rows: layer norm, RMS norm, group norm. Compiled once for each instruction set and dtype, as
// kernels.c.
#include "row_kernels.h"

const fastnn_row_table FASTNN_TABLE(row) = {0};
