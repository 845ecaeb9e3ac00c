// Batch norm: moments, scale and shift, and gradients of channels. Compiled once for each instruction set and dtype, as
// kernels.c.
#include "channel_kernels.h"

const fastnn_channel_table FASTNN_TABLE(channel) = {0};
