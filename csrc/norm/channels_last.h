// Group and instance norm with the channels last in memory, for rows.c.
#ifndef FASTNN_CHANNELS_LAST_H
#define FASTNN_CHANNELS_LAST_H

#include "fastnn.h"

enum { PARALLEL_ELEMENTS = 16384 };  // from here on threads pay, in rows.c too

fastnn_outcome fastnn_run_columns(const fastnn_norm *norm);
fastnn_outcome fastnn_run_columns_backward(const fastnn_norm *norm);

#endif
