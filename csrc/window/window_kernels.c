// The table of the kernels of convolution and pooling, which are in the headers included here. Compiled once for each
// instruction set and dtype.
#include "window/window_kernels.h"

#include "window/window_convolve.h"
#include "window/window_pairs.h"
#include "window/window_planes.h"
#include "window/window_pool.h"
#include "window/window_regions.h"

const fastnn_window_table FASTNN_TABLE(window) = {
    .bytes = sizeof(real),
    .lanes = LANES,
    .panel = PANEL,
    .prepare = prepare,
    .restore = restore,
    .pack = pack,
    .convolve = convolve,
    .deliver = deliver,
    .gradient = gradient,
    .round_sums = round_sums,
    .find_numbers = find_numbers,
    .pool = pool,
    .unpool = unpool,
    .max_of_pairs = max_of_pairs,
    .pairs_of_max = pairs_of_max,
    .pool_regions = pool_regions,
    .unpool_regions = unpool_regions,
};
