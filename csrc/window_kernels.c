// Windows that slide over images: what convolution and pooling read and write. Compiled once for each instruction set
// and dtype.
#include "window_kernels.h"

const fastnn_window_table FASTNN_TABLE(window) = {0};
