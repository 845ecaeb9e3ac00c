// PReLU: forward, and backward with the sums that are dweight, in one pass over memory.
#include <string.h>

#include "runtime/sizes.h"
#include "runtime/tiles.h"

// The arrays are walked by rows. A row lies in one channel and has one weight; or, where inner is 1, it has one element
// of every channel, each with a weight of its own.
typedef struct {
    const fastnn_table *table;
    fastnn_kernel *kernel;           // of y or dx
    fastnn_kernel *gradient_kernel;  // backward only: what each element adds to dweight
    size_t size;                     // of an element
    bool row_has_all_channels;
    size_t count, channels, row, rows, piece_rows, pieces;
    const char *dy, *x, *weight;  // dy: NULL in forward
    char *out;                    // y or dx
    double *partial;              // backward only: each piece's share of dweight, `channels` sums
} prelu_job;

enum { PIECE_ELEMENTS = 16384 };  // at least; and where all elements share one weight, those of a row

static size_t row_length(size_t outer, size_t channels, size_t inner) {
    if (channels > 1) return inner == 1 ? channels : inner;
    return smaller(outer * inner, PIECE_ELEMENTS);
}

static prelu_job make_job(bool float64, size_t outer, size_t channels, size_t inner, const void *x, const void *weight,
                          void *out) {
    prelu_job job = {
        .table = fastnn_current_table(float64),
        .size = float64 ? 8 : 4,
        .row_has_all_channels = channels > 1 && inner == 1,
        .count = outer * channels * inner,
        .channels = channels,
        .row = row_length(outer, channels, inner),
        .x = x,
        .weight = weight,
        .out = out,
    };
    job.rows = divided_up(job.count, job.row);
    job.piece_rows = divided_up(PIECE_ELEMENTS, job.row);
    job.pieces = divided_up(job.rows, job.piece_rows);
    return job;
}

// Elements first ... first + count - 1. `channel` is that of all of them, whose weight is in `parameters`, or in a row
// of all channels that of the first.
static void run_tile(const prelu_job *job, size_t first, size_t count, size_t channel, const double *parameters,
                     double *sums) {
    void *out = job->out + first * job->size;
    const void *x = job->x + first * job->size, *weights = job->weight + channel * job->size;
    if (job->dy == NULL) {
        job->kernel(count, &out, (const void *[]){x, weights}, parameters);
        return;
    }
    _Alignas(LINE) char scratch[TILE_BYTES];
    void *gradient = scratch;
    const void *in[] = {job->dy + first * job->size, x, weights};
    // The gradient first: dx may be one of the inputs.
    job->gradient_kernel(count, &gradient, in, parameters);
    job->kernel(count, &out, in, parameters);
    if (job->row_has_all_channels)
        job->table->add_to(count, sums + channel, gradient);
    else
        sums[channel] += job->table->sum(count, gradient);
}

static void run_row(const prelu_job *job, size_t row, double *sums) {
    const size_t start = row * job->row, end = smaller(start + job->row, job->count), channel = row % job->channels;
    const bool all = job->row_has_all_channels;
    const double parameters[FASTNN_MAX_PARAMETERS] = {all ? 0 : job->table->get(job->weight, channel)};
    for (size_t i = start; i < end; i += TILE_ELEMENTS)
        run_tile(job, i, smaller(TILE_ELEMENTS, end - i), all ? i - start : channel, parameters, sums);
}

static void run_piece(const void *context, size_t index) {
    const prelu_job *job = context;
    double *sums = NULL;
    if (job->partial != NULL) {
        sums = job->partial + index * job->channels;
        memset(sums, 0, job->channels * sizeof *sums);
    }
    const size_t first = index * job->piece_rows, end = smaller(first + job->piece_rows, job->rows);
    for (size_t row = first; row < end; row++) run_row(job, row, sums);
}

fastnn_outcome fastnn_prelu(bool float64, size_t outer, size_t channels, size_t inner, const void *x,
                            const void *weight, void *y) {
    if (outer * channels * inner == 0) return FASTNN_DONE;
    prelu_job job = make_job(float64, outer, channels, inner, x, weight, y);
    job.kernel = job.table->kernels[job.row_has_all_channels ? KERNEL_slope : KERNEL_leaky_relu];
    return fastnn_parallel(job.pieces, run_piece, &job);
}

// The pieces' sums are added in order, so dweight does not depend on the threads.
static fastnn_outcome sum_pieces(const prelu_job *job, double *dweight) {
    const fastnn_outcome outcome = fastnn_parallel(job->pieces, run_piece, job);
    if (outcome != FASTNN_DONE) return outcome;
    memset(dweight, 0, job->channels * sizeof *dweight);
    for (size_t piece = 0; piece < job->pieces; piece++)
        for (size_t c = 0; c < job->channels; c++) dweight[c] += job->partial[piece * job->channels + c];
    return FASTNN_DONE;
}

fastnn_outcome fastnn_prelu_backward(bool float64, size_t outer, size_t channels, size_t inner, const void *dy,
                                     const void *x, const void *weight, void *dx, double *dweight) {
    if (outer * channels * inner == 0) {
        memset(dweight, 0, channels * sizeof *dweight);
        return FASTNN_DONE;
    }
    prelu_job job = make_job(float64, outer, channels, inner, x, weight, dx);
    job.kernel = job.table->kernels[job.row_has_all_channels ? KERNEL_slope_backward : KERNEL_leaky_relu_backward];
    job.gradient_kernel = job.table->kernels[KERNEL_slope_gradient];
    job.dy = dy;
    job.partial = fastnn_allocate(job.pieces * channels * sizeof *job.partial);
    if (job.partial == NULL) return FASTNN_NO_MEMORY;
    const fastnn_outcome outcome = sum_pieces(&job, dweight);
    fastnn_release(job.partial);
    return outcome;
}
