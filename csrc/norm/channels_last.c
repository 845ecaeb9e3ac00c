// Group and instance norm with the channels last in memory: how the samples are cut into parts for the threads. A part
// is all or some groups of a sample; how many depends on the shape alone.
#include "norm/channels_last.h"

#include <string.h>

#include "norm/row_kernels.h"
#include "runtime/scratch.h"
#include "runtime/sizes.h"

enum {
    ENOUGH_PIECES = 8,   // with fewer samples these are cut
    LEAST_COLUMNS = 16,  // of a part: a line of the cache
    MOST_PIECES = 32,    // of samples
    FULL_WIDTH = 64,     // of a line of several positions, which is also whole vectors if that takes few
    MOST_WIDTH = 1024,
    SUMS = 2,  // backward: dweight and dbias
};

typedef struct {
    const fastnn_norm *norm;
    const fastnn_row_table *table;
    size_t samples, channels;  // of all
    size_t piece, pieces;      // samples of a piece, and pieces of samples
    size_t groups, parts;      // groups of a part, and parts of a sample
    size_t together;           // positions of a line
    double *sums;              // backward: SUMS of each piece of samples; forward: NULL
    fastnn_scratch scratch;
} column_job;

static size_t positions_together(const fastnn_norm *norm, size_t channels) {
    size_t together = divided_up(FULL_WIDTH, channels);
    while (together * channels % LEAST_COLUMNS != 0 && (together + 1) * channels <= MOST_WIDTH) together++;
    return smaller(together, norm->inner);
}

static column_job make_job(const fastnn_norm *norm) {
    column_job job = {
        .norm = norm,
        .table = fastnn_current(norm->float64)->row,
        .samples = norm->rows / norm->groups,
        .channels = norm->groups * norm->channels,
        .groups = norm->groups,
    };
    job.piece = job.samples;
    if (job.samples * job.channels * norm->inner >= PARALLEL_ELEMENTS) {
        const size_t parts = divided_up(ENOUGH_PIECES, job.samples);
        const size_t least = divided_up(LEAST_COLUMNS, norm->channels);
        job.groups = smaller(larger(divided_up(norm->groups, parts), least), norm->groups);
        job.piece = divided_up(job.samples, MOST_PIECES);
    }
    job.parts = divided_up(norm->groups, job.groups);
    job.pieces = divided_up(job.samples, job.piece);
    job.together = job.parts == 1 ? positions_together(norm, job.channels) : 1;
    return job;
}

static void run_piece(const void *context, size_t index) {
    const column_job *job = context;
    const fastnn_norm *norm = job->norm;
    const size_t piece = index / job->parts, group = index % job->parts * job->groups;
    const size_t first = piece * job->piece, end = smaller(first + job->piece, job->samples);
    double *sums = job->sums == NULL ? NULL : job->sums + piece * SUMS * job->channels;
    const fastnn_norm_sums of_piece = {.dweight = norm->dweight == NULL ? NULL : sums,
                                       .dbias = norm->dbias == NULL ? NULL : sums + job->channels};
    char *slot = fastnn_take_scratch(&job->scratch);
    for (size_t sample = first; sample < end; sample++) {
        const fastnn_columns part = {sample, group, smaller(job->groups, norm->groups - group), job->together};
        if (sums == NULL)
            job->table->columns(norm, &part, (double *)slot);
        else
            job->table->columns_backward(norm, &part, &of_piece, (double *)slot);
    }
    fastnn_give_scratch(&job->scratch, slot);
}

static fastnn_outcome run_job(column_job *job) {
    const size_t pieces = job->pieces * job->parts, columns = job->groups * job->norm->channels;
    const size_t bytes = fastnn_column_scratch(columns * job->together) * sizeof(double);
    if (!fastnn_open_scratch(&job->scratch, pieces, bytes, 0)) return FASTNN_NO_MEMORY;
    const fastnn_outcome outcome = fastnn_parallel(pieces, run_piece, job);
    fastnn_close_scratch(&job->scratch);
    return outcome;
}

fastnn_outcome fastnn_run_columns(const fastnn_norm *norm) {
    column_job job = make_job(norm);
    return run_job(&job);
}

fastnn_outcome fastnn_run_columns_backward(const fastnn_norm *norm) {
    column_job job = make_job(norm);
    const size_t count = SUMS * job.channels, bytes = job.pieces * count * sizeof *job.sums;
    job.sums = fastnn_allocate(bytes);
    if (job.sums == NULL) return FASTNN_NO_MEMORY;
    memset(job.sums, 0, bytes);
    const fastnn_outcome outcome = run_job(&job);
    if (outcome == FASTNN_DONE) {
        for (size_t piece = 1; piece < job.pieces; piece++)
            for (size_t i = 0; i < count; i++) job.sums[i] += job.sums[piece * count + i];
        if (norm->dweight != NULL) job.table->round(job.channels, job.sums, norm->dweight);
        if (norm->dbias != NULL) job.table->round(job.channels, job.sums + job.channels, norm->dbias);
    }
    fastnn_release(job.sums);
    return outcome;
}
