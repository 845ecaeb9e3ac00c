// Norms over contiguous rows: how rows are cut into pieces for the threads and into chunks for the caches. The rows of
// a chunk are read from memory once, for their statistics or sums, and then from the cache for the results, which
// depend on these.
#include <math.h>
#include <string.h>

#include "norm/channels_last.h"
#include "norm/row_kernels.h"
#include "runtime/sizes.h"
#include "runtime/streaming.h"
#include "runtime/workspace.h"

enum {
    CHUNK_ELEMENTS = 4096,  // stays in L1
    CHUNK_ROWS = 64,
    TOGETHER_ELEMENTS = 65536,  // stays in L2: up to here a chunk has four rows, which backward takes together
    PIECES = 32,
    SUMMED_ROWS = 32,  // backward: the least elements of a piece for each weight, since its sums cost time too
    SUMS = 4,          // backward: the sums of a piece for each weight (fastnn_norm_sums)
};

typedef struct {
    const fastnn_norm *norm;
    const fastnn_row_table *table;
    const fastnn_table *elementwise;
    size_t size;                // bytes of an element
    size_t row;                 // elements of a row
    size_t tile, chunk, piece;  // rows that are streamed together, kept in the cache together, done by one thread
    size_t pieces;
    bool stream;
    char *out;
    double *sums;  // backward: SUMS of each piece
} row_job;

static row_job make_job(const fastnn_norm *norm, void *out, size_t operands, size_t least_rows) {
    row_job job = {
        .norm = norm,
        .table = fastnn_current(norm->float64)->row,
        .elementwise = fastnn_current(norm->float64)->elementwise,
        .size = norm->float64 ? 8 : 4,
        .row = norm->channels * norm->inner,
        .piece = norm->rows,
        .pieces = 1,
        .out = out,
    };
    const size_t count = norm->rows * job.row, fitting = larger(CHUNK_ELEMENTS / job.row, 1);
    const bool together = norm->inner == 1 && job.row <= TOGETHER_ELEMENTS / 4;
    job.chunk = smaller(together ? larger(fitting, 4) : fitting, CHUNK_ROWS);
    job.tile = smaller(fitting, job.chunk);
    if (count >= PARALLEL_ELEMENTS) {
        job.piece = rounded_up(larger(divided_up(norm->rows, PIECES), least_rows), job.chunk);
        job.pieces = divided_up(norm->rows, job.piece);
    }
    // Tiles that begin in the middle of a line are not streamed.
    job.stream =
        (uintptr_t)out % LINE == 0 && job.tile * job.row * job.size % LINE == 0 &&
        fastnn_should_stream(count * job.size * operands, out, job.size, (const void *[]){norm->x, norm->dy}, 2);
    return job;
}

// Writes elements first ... first + count - 1 of some rows of the result: of y, or with `gradients` of dx.
static void apply(const row_job *job, const fastnn_row_gradient *gradients, size_t row, size_t rows, size_t first,
                  size_t count, void *to) {
    if (gradients == NULL)
        job->table->apply(job->norm, row, rows, first, count, to);
    else
        job->table->apply_backward(job->norm, gradients, row, rows, first, count, to);
}

// Writes the results of a chunk. Those that are streamed are computed in L1 first, whole rows or a part of one row at a
// time.
static void write_chunk(const row_job *job, const fastnn_row_gradient *gradients, size_t row, size_t rows) {
    char *to = job->out + row * job->row * job->size;
    if (!job->stream) {
        apply(job, gradients, row, rows, 0, job->row, to);
        return;
    }
    char *tile = fastnn_borrow(CHUNK_ELEMENTS * job->size);
    for (size_t r = 0, some; r < rows; r += some) {
        some = smaller(job->tile, rows - r);
        for (size_t first = 0, count; first < job->row; first += count) {
            count = smaller(CHUNK_ELEMENTS, job->row - first);
            apply(job, gradients == NULL ? NULL : gradients + r, row + r, some, first, count, tile);
            fastnn_stream_tile(job->elementwise, job->size, some * count, to, tile);
            to += some * count * job->size;
        }
    }
    fastnn_give_back(tile);
}

// ---- forward -------------------------------------------------------------------------------------------------------

static void run_piece(const void *context, size_t index) {
    const row_job *job = context;
    const size_t end = smaller((index + 1) * job->piece, job->norm->rows);
    for (size_t row = index * job->piece, rows; row < end; row += rows) {
        rows = smaller(job->chunk, end - row);
        if (!job->norm->given) job->table->statistics(job->norm, row, rows);
        write_chunk(job, NULL, row, rows);
    }
    if (job->stream) fastnn_finish_streaming();
}

static bool is_empty(const fastnn_norm *norm) { return norm->rows * norm->channels * norm->inner == 0; }

// Rows without elements have no statistics: NaN, as 0 / 0 is.
static fastnn_outcome finish_empty_rows(const fastnn_norm *norm) {
    double *const statistics[] = {norm->mean, norm->rstd, norm->variance};
    for (int k = 0; k < 3 && !norm->given; k++)
        for (size_t row = 0; row < norm->rows && statistics[k] != NULL; row++) statistics[k][row] = NAN;
    return FASTNN_DONE;
}

fastnn_outcome fastnn_run_norm(const fastnn_norm *norm) {
    if (is_empty(norm)) return finish_empty_rows(norm);
    if (norm->channels_last) return fastnn_run_columns(norm);
    const row_job job = make_job(norm, norm->y, 2, 1);
    return fastnn_parallel(job.pieces, run_piece, &job);
}

// ---- backward ------------------------------------------------------------------------------------------------------

static size_t weights(const fastnn_norm *norm) { return norm->groups * norm->channels; }

// Where the sums of a piece are, which are its parts of dweight and dbias.
static fastnn_norm_sums sums_of_piece(const row_job *job, size_t index) {
    const size_t count = weights(job->norm);
    double *sums = job->sums + index * SUMS * count;
    return (fastnn_norm_sums){
        .dweight = job->norm->dweight == NULL ? NULL : sums,
        .dbias = job->norm->dbias == NULL ? NULL : sums + count,
        .recent_dweight = sums + 2 * count,
        .recent_dbias = sums + 3 * count,
    };
}

static void flush(const row_job *job, const fastnn_norm_sums *sums) {
    if (sums->dweight != NULL) job->table->flush(weights(job->norm), sums->recent_dweight, sums->dweight);
    if (sums->dbias != NULL) job->table->flush(weights(job->norm), sums->recent_dbias, sums->dbias);
}

static void run_backward_piece(const void *context, size_t index) {
    const row_job *job = context;
    const fastnn_norm_sums sums = sums_of_piece(job, index);
    memset(job->sums + index * SUMS * weights(job->norm), 0, SUMS * weights(job->norm) * sizeof(double));
    fastnn_row_gradient gradients[CHUNK_ROWS];
    const size_t end = smaller((index + 1) * job->piece, job->norm->rows);
    size_t recent = 0;
    for (size_t row = index * job->piece, rows; row < end; row += rows) {
        rows = smaller(job->chunk, end - row);
        job->table->sums(job->norm, row, rows, gradients, &sums);
        write_chunk(job, gradients, row, rows);
        recent += rows;
        if (job->norm->inner == 1 && (recent + job->chunk > RECENT_ROWS || row + rows == end)) {
            flush(job, &sums);
            recent = 0;
        }
    }
    if (job->stream) fastnn_finish_streaming();
}

// Adds up the sums of all pieces, in order, and rounds them to the dtype. `sums` are those of the first piece.
static void combine(const row_job *job, double *sums, void *to) {
    const size_t count = weights(job->norm);
    for (size_t piece = 1; piece < job->pieces; piece++)
        for (size_t i = 0; i < count; i++) sums[i] += sums[piece * SUMS * count + i];
    job->table->round(count, sums, to);
}

static fastnn_outcome clear_gradients(const fastnn_norm *norm) {
    const size_t bytes = weights(norm) * (norm->float64 ? 8 : 4);
    if (norm->dweight != NULL) memset(norm->dweight, 0, bytes);
    if (norm->dbias != NULL) memset(norm->dbias, 0, bytes);
    return FASTNN_DONE;
}

fastnn_outcome fastnn_run_norm_backward(const fastnn_norm *norm) {
    if (is_empty(norm)) return clear_gradients(norm);
    if (norm->channels_last) return fastnn_run_columns_backward(norm);
    row_job job = make_job(norm, norm->dx, 3, divided_up(SUMMED_ROWS * norm->groups, norm->inner));
    job.sums = fastnn_allocate(job.pieces * SUMS * weights(norm) * sizeof *job.sums);
    if (job.sums == NULL) return FASTNN_NO_MEMORY;
    const fastnn_outcome outcome = fastnn_parallel(job.pieces, run_backward_piece, &job);
    if (outcome == FASTNN_DONE) {
        const fastnn_norm_sums sums = sums_of_piece(&job, 0);
        if (norm->dweight != NULL) combine(&job, sums.dweight, norm->dweight);
        if (norm->dbias != NULL) combine(&job, sums.dbias, norm->dbias);
    }
    fastnn_release(job.sums);
    return outcome;
}
