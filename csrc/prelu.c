// PReLU backward: dx, and the sum over each channel that is dweight, in one pass over memory.
#include <string.h>

#include "tiles.h"

// The arrays are walked by rows that have one weight each or, where a row is one element of every channel, all of them.
typedef struct {
    const fastnn_table *table;
    int dx_kernel, gradient_kernel;
    size_t size;  // of an element
    bool float64, row_has_all_channels;
    size_t count, channels, row, rows, piece_rows;
    const char *dy, *x, *weight;
    char *dx;
    double *partial;  // a piece has `channels` of them
} prelu_job;

enum { SHARED_ROW = 16384 };

static size_t row_length(size_t outer, size_t channels, size_t inner) {
    if (channels > 1) return inner == 1 ? channels : inner;
    return outer * inner < SHARED_ROW ? outer * inner : SHARED_ROW;
}
static size_t rows_in_piece(size_t row) { return row >= SHARED_ROW ? 1 : (SHARED_ROW + row - 1) / row; }

size_t fastnn_prelu_pieces(size_t outer, size_t channels, size_t inner) {
    const size_t row = row_length(outer, channels, inner), rows = (outer * channels * inner + row - 1) / row;
    return (rows + rows_in_piece(row) - 1) / rows_in_piece(row);
}

static double weight_of(const prelu_job *job, size_t channel) {
    return job->float64 ? ((const double *)job->weight)[channel] : (double)((const float *)job->weight)[channel];
}

#define ADD_COLUMNS(T) \
    for (size_t i = 0; i < count; i++) sums[i] += ((const T *)gradient)[i];

// Elements first ... first + count - 1, all of the row's channel, or of channels from `channel` on.
static void run_tile(const prelu_job *job, size_t first, size_t count, size_t channel, double *sums) {
    _Alignas(64) char scratch[TILE_BYTES];
    void *dx = job->dx + first * job->size, *gradient = scratch;
    const void *in[] = {job->dy + first * job->size, job->x + first * job->size, job->weight + channel * job->size};
    const double parameters[FASTNN_MAX_PARAMETERS] = {job->row_has_all_channels ? 0 : weight_of(job, channel)};
    // The gradient first: dx may be one of the inputs.
    job->table->kernels[job->gradient_kernel](count, &gradient, in, parameters);
    job->table->kernels[job->dx_kernel](count, &dx, in, parameters);
    sums += channel;
    if (!job->row_has_all_channels)
        *sums += job->table->sum(count, gradient);
    else if (job->float64)
        ADD_COLUMNS(double)
    else
        ADD_COLUMNS(float)
}

static void run_piece(const void *context, size_t index) {
    const prelu_job *job = context;
    double *sums = job->partial + index * job->channels;
    memset(sums, 0, job->channels * sizeof *sums);
    const size_t first_row = index * job->piece_rows;
    for (size_t row = first_row; row < first_row + job->piece_rows && row < job->rows; row++) {
        const size_t start = row * job->row;
        const size_t end = start + job->row < job->count ? start + job->row : job->count;
        for (size_t i = start; i < end; i += TILE_ELEMENTS) {
            const size_t channel = job->row_has_all_channels ? i - start : row % job->channels;
            run_tile(job, i, end - i < TILE_ELEMENTS ? end - i : TILE_ELEMENTS, channel, sums);
        }
    }
}

bool fastnn_prelu_backward(bool float64, size_t outer, size_t channels, size_t inner, const void *dy, const void *x,
                           const void *weight, void *dx, double *dweight, double *partial) {
    memset(dweight, 0, channels * sizeof *dweight);
    if (outer * channels * inner == 0) return true;
    prelu_job job = {
        .table = fastnn_current_table(float64),
        .row_has_all_channels = channels > 1 && inner == 1,
        .gradient_kernel = fastnn_find_kernel("slope_gradient"),
        .size = float64 ? 8 : 4,
        .float64 = float64,
        .count = outer * channels * inner,
        .channels = channels,
        .row = row_length(outer, channels, inner),
        .dy = dy,
        .x = x,
        .weight = weight,
        .dx = dx,
        .partial = partial,
    };
    job.dx_kernel = fastnn_find_kernel(job.row_has_all_channels ? "slope_backward" : "leaky_relu_backward");
    job.rows = (job.count + job.row - 1) / job.row;
    job.piece_rows = rows_in_piece(job.row);
    const size_t pieces = fastnn_prelu_pieces(outer, channels, inner);
    if (!fastnn_parallel(pieces, run_piece, &job)) return false;
    for (size_t piece = 0; piece < pieces; piece++)
        for (size_t c = 0; c < channels; c++) dweight[c] += partial[piece * channels + c];
    return true;
}
