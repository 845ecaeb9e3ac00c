// PReLU: forward, and backward with the sum over each channel that is dweight, in one pass over memory.
#include <string.h>

#include "runtime/sizes.h"
#include "runtime/tiles.h"

// The arrays are walked by rows that have one weight each or, where a row is one element of every channel, all of them.
typedef struct {
    const fastnn_table *table;
    int kernel;           // of y or dx
    int gradient_kernel;  // backward only
    size_t size;          // of an element
    bool float64, row_has_all_channels;
    size_t count, channels, row, rows, piece_rows;
    const char *dy, *x, *weight;  // dy: NULL in forward
    char *out;                    // y or dx
    double *partial;              // dweight's sums, `channels` of them for each piece
} prelu_job;

enum { SHARED_ROW = 16384 };

static size_t row_length(size_t outer, size_t channels, size_t inner) {
    if (channels > 1) return inner == 1 ? channels : inner;
    return outer * inner < SHARED_ROW ? outer * inner : SHARED_ROW;
}
static size_t rows_in_piece(size_t row) { return row >= SHARED_ROW ? 1 : divided_up(SHARED_ROW, row); }

size_t fastnn_prelu_pieces(size_t outer, size_t channels, size_t inner) {
    const size_t row = row_length(outer, channels, inner), rows = divided_up(outer * channels * inner, row);
    return divided_up(rows, rows_in_piece(row));
}

static double weight_of(const prelu_job *job, size_t channel) {
    return job->float64 ? ((const double *)job->weight)[channel] : (double)((const float *)job->weight)[channel];
}

#define ADD_COLUMNS(T) \
    for (size_t i = 0; i < count; i++) sums[i] += ((const T *)gradient)[i];

// Elements first ... first + count - 1, all of the row's channel, or of channels from `channel` on.
static void run_tile(const prelu_job *job, size_t first, size_t count, size_t channel, double *sums) {
    void *out = job->out + first * job->size;
    const void *x = job->x + first * job->size, *weights = job->weight + channel * job->size;
    const double parameters[FASTNN_MAX_PARAMETERS] = {job->row_has_all_channels ? 0 : weight_of(job, channel)};
    if (job->dy == NULL) {
        job->table->kernels[job->kernel](count, &out, (const void *[]){x, weights}, parameters);
        return;
    }
    _Alignas(64) char scratch[TILE_BYTES];
    void *gradient = scratch;
    const void *in[] = {job->dy + first * job->size, x, weights};
    // The gradient first: dx may be one of the inputs.
    job->table->kernels[job->gradient_kernel](count, &gradient, in, parameters);
    job->table->kernels[job->kernel](count, &out, in, parameters);
    if (!job->row_has_all_channels)
        sums[channel] += job->table->sum(count, gradient);
    else if (job->float64) {
        sums += channel;
        ADD_COLUMNS(double)
    } else {
        sums += channel;
        ADD_COLUMNS(float)
    }
}

static void run_piece(const void *context, size_t index) {
    const prelu_job *job = context;
    double *sums = NULL;
    if (job->partial != NULL) {
        sums = job->partial + index * job->channels;
        memset(sums, 0, job->channels * sizeof *sums);
    }
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

static prelu_job make_job(bool float64, size_t outer, size_t channels, size_t inner, const void *x, const void *weight,
                          void *out) {
    const size_t row = row_length(outer, channels, inner), count = outer * channels * inner;
    return (prelu_job){
        .table = fastnn_current_table(float64),
        .row_has_all_channels = channels > 1 && inner == 1,
        .size = float64 ? 8 : 4,
        .float64 = float64,
        .count = count,
        .channels = channels,
        .row = row,
        .rows = divided_up(count, row),
        .piece_rows = rows_in_piece(row),
        .x = x,
        .weight = weight,
        .out = out,
    };
}

bool fastnn_prelu(bool float64, size_t outer, size_t channels, size_t inner, const void *x, const void *weight,
                  void *y) {
    if (outer * channels * inner == 0) return true;
    prelu_job job = make_job(float64, outer, channels, inner, x, weight, y);
    job.kernel = fastnn_find_kernel(job.row_has_all_channels ? "slope" : "leaky_relu");
    return fastnn_parallel(fastnn_prelu_pieces(outer, channels, inner), run_piece, &job);
}

bool fastnn_prelu_backward(bool float64, size_t outer, size_t channels, size_t inner, const void *dy, const void *x,
                           const void *weight, void *dx, double *dweight, double *partial) {
    memset(dweight, 0, channels * sizeof *dweight);
    if (outer * channels * inner == 0) return true;
    prelu_job job = make_job(float64, outer, channels, inner, x, weight, dx);
    job.kernel = fastnn_find_kernel(job.row_has_all_channels ? "slope_backward" : "leaky_relu_backward");
    job.gradient_kernel = fastnn_find_kernel("slope_gradient");
    job.dy = dy;
    job.partial = partial;
    const size_t pieces = fastnn_prelu_pieces(outer, channels, inner);
    if (!fastnn_parallel(pieces, run_piece, &job)) return false;
    for (size_t piece = 0; piece < pieces; piece++)
        for (size_t c = 0; c < channels; c++) dweight[c] += partial[piece * channels + c];
    return true;
}
