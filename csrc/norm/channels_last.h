// Group and instance norm with the channels last in memory, for rows.c.
#ifndef FASTNN_CHANNELS_LAST_H
#define FASTNN_CHANNELS_LAST_H

#include "fastnn.h"

fastnn_outcome fastnn_run_columns(const fastnn_norm *norm);
fastnn_outcome fastnn_run_columns_backward(const fastnn_norm *norm);

#endif
