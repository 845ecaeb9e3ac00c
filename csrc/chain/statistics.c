// Batch norm's statistics: see statistics.h.
#include "chain/statistics.h"

#include <math.h>
#include <string.h>

#include "runtime/sizes.h"

// The statistics of a channel whose moments are not finite, from its elements.
static fastnn_statistics careful_statistics(const fastnn_chain_job *job, size_t channel) {
    const fastnn_chain *chain = job->run.chain;
    const size_t rows = chain->channels_last ? chain->outer * chain->inner : chain->outer;
    const size_t n = chain->channels_last ? 1 : chain->inner, stride = chain->channels * n;
    return job->run.tables->channel->careful_statistics(rows, stride, n, job->x + channel * n * job->size);
}

void fastnn_set_statistics(const fastnn_chain_job *job, size_t first, size_t end) {
    const fastnn_chain *chain = job->run.chain;
    const double count = (double)(chain->outer * chain->inner);
    if (job->run.tables->per_channel->statistics(end - first, count, chain->eps, chain->variance + first,
                                                 chain->rstd + first))
        return;
    for (size_t c = first; c < end; c++) {
        if (isfinite(chain->variance[c])) continue;
        const fastnn_statistics found = careful_statistics(job, c);
        chain->mean[c] = found.mean;
        chain->mean_low[c] = found.mean_low;
        chain->variance[c] = found.variance;
        chain->rstd[c] = rstd_of_statistics(found, chain->eps);
    }
}

void fastnn_mend_moments(const fastnn_chain_job *job) {
    const fastnn_chain *chain = job->run.chain;
    for (size_t c = 0; c < chain->channels; c++) {
        if (isfinite(chain->variance[c])) continue;
        const fastnn_statistics found = careful_statistics(job, c);
        chain->mean[c] = found.mean;
        chain->mean_low[c] = found.mean_low;
        chain->variance[c] = found.variance * (double)(chain->outer * chain->inner);
    }
}

// ---- channels first ------------------------------------------------------------------------------------------------

static void set_moments(const fastnn_chain *chain, size_t channel, fastnn_moments moments) {
    chain->mean[channel] = moments.mean;
    chain->mean_low[channel] = moments.mean_low;
    chain->variance[channel] = moments.m2;
}

void fastnn_find_group_moments(const fastnn_chain_job *job, size_t first, size_t end) {
    const fastnn_chain *chain = job->run.chain;
    for (size_t c = first; c < end; c++) {
        fastnn_moments moments = {0, 0, 0, 0};
        job->run.tables->channel->channel_moments(chain->outer, chain->channels * chain->inner, chain->inner,
                                                  job->x + c * chain->inner * job->size, &moments);
        set_moments(chain, c, moments);
    }
}

void fastnn_find_group_sums(const fastnn_chain_job *job, size_t first, size_t end) {
    fastnn_visit_range(job, fastnn_tiles_of_channels(&job->cut, first, end), fastnn_visit_backward,
                       (void *[]){job->sums[0] + first, job->sums[1] + first});
}

static void find_piece_moments(const void *context, size_t piece) {
    const fastnn_chain_job *job = context;
    const fastnn_tile_range range = fastnn_tiles_of_channel_piece(&job->cut, piece);
    fastnn_moments moments = {0, 0, 0, 0};
    for (size_t i = 0; i < range.to - range.from; i++) {
        const fastnn_tile tile = fastnn_tile_at(&job->cut, &range, i);
        job->run.tables->channel->channel_moments(1, 0, tile.n, job->x + tile.offset * job->size, &moments);
    }
    ((fastnn_moments *)job->partial)[piece] = moments;
}

static fastnn_outcome find_channels_first_moments(const fastnn_chain_job *job) {
    const size_t channels = job->run.chain->channels, pieces = job->cut.channel_pieces;
    const fastnn_moments *moments = (const fastnn_moments *)job->partial;
    const fastnn_outcome outcome = fastnn_run_chain_task(job, channels * pieces, find_piece_moments, job);
    if (outcome != FASTNN_DONE) return outcome;
    for (size_t c = 0; c < channels; c++) {
        fastnn_moments channel = {0, 0, 0, 0};
        for (size_t i = 0; i < pieces; i++) channel = merge_moments(channel, moments[c * pieces + i]);
        set_moments(job->run.chain, c, channel);
    }
    return FASTNN_DONE;
}

static void find_piece_sums(const void *context, size_t piece) {
    const fastnn_chain_job *job = context;
    double *const sums = job->partial + 2 * piece;
    sums[0] = sums[1] = 0;
    fastnn_visit_range(job, fastnn_tiles_of_channel_piece(&job->cut, piece), fastnn_visit_backward,
                       (void *[]){&sums[0], &sums[1]});
}

static fastnn_outcome find_channels_first_sums(const fastnn_chain_job *job) {
    const size_t channels = job->run.chain->channels, pieces = job->cut.channel_pieces;
    const fastnn_outcome outcome = fastnn_run_chain_task(job, channels * pieces, find_piece_sums, job);
    if (outcome != FASTNN_DONE) return outcome;
    for (size_t c = 0; c < channels; c++) {
        double sum = 0, product = 0;
        for (size_t i = c * pieces; i < (c + 1) * pieces; i++) {
            sum += job->partial[2 * i];
            product += job->partial[2 * i + 1];
        }
        job->sums[0][c] = sum;
        job->sums[1][c] = product;
    }
    return FASTNN_DONE;
}

// ---- channels last -------------------------------------------------------------------------------------------------

// The mean, mean_low and m2 of a piece's columns.
static void column_moments(const fastnn_chain_job *job, size_t piece, double *moments[3]) {
    for (size_t i = 0; i < 3; i++) moments[i] = job->partial + (3 * piece + i) * job->cut.width;
}

static void find_column_moments(const void *context, size_t piece) {
    const fastnn_chain_job *job = context;
    const size_t width = job->cut.width, first = piece * job->cut.piece_rows;
    double *moments[3];
    column_moments(job, piece, moments);
    job->run.tables->channel->column_moments(smaller(job->cut.piece_rows, job->cut.rows - first), width, width,
                                             job->x + first * width * job->size, moments);
}

static fastnn_outcome find_channels_last_moments(const fastnn_chain_job *job) {
    const fastnn_chain_cut *cut = &job->cut;
    const fastnn_outcome outcome = fastnn_run_chain_task(job, cut->pieces, find_column_moments, job);
    if (outcome != FASTNN_DONE) return outcome;
    const fastnn_chain *chain = job->run.chain;
    double *const all[3] = {chain->mean, chain->mean_low, chain->variance}, *some[3];
    double before = 0;
    for (size_t piece = 0; piece < cut->pieces; piece++) {
        const double rows = (double)smaller(cut->piece_rows, cut->rows - piece * cut->piece_rows);
        column_moments(job, piece, some);
        for (size_t i = 0; i < cut->width; i += chain->channels, before += rows)
            job->run.tables->channel->merge_columns(chain->channels, before, all, rows,
                                                    (double *[]){some[0] + i, some[1] + i, some[2] + i});
    }
    return FASTNN_DONE;
}

// The sums of piece i are at partial + 4 width i: `width` of g, and behind them `width` of g xhat. Behind these are
// those of the computing dtype, over a few tiles.
static void find_column_sums(const void *context, size_t piece) {
    const fastnn_chain_job *job = context;
    const fastnn_tile_range all = fastnn_tiles_of_piece(&job->cut, piece);
    const size_t width = job->cut.width, bytes = width * job->size;
    double *sums = job->partial + 4 * width * piece;
    char *some = (char *)(sums + 2 * width);
    memset(sums, 0, 2 * width * sizeof *sums);
    for (fastnn_tile_range range = all; range.from < all.to; range.from = range.to) {
        range.to = smaller(range.from + job->cut.sum_tiles, all.to);
        memset(some, 0, 2 * bytes);
        fastnn_visit_range(job, range, fastnn_visit_backward, (void *[]){some, some + bytes});
        job->run.tables->elementwise->add_to(2 * width, sums, some);
    }
}

static fastnn_outcome find_channels_last_sums(const fastnn_chain_job *job) {
    const fastnn_outcome outcome = fastnn_run_chain_task(job, job->cut.pieces, find_column_sums, job);
    if (outcome != FASTNN_DONE) return outcome;
    const size_t width = job->cut.width, channels = job->run.chain->channels;
    for (size_t piece = 1; piece < job->cut.pieces; piece++)
        for (size_t i = 0; i < 2 * width; i++) job->partial[i] += job->partial[4 * width * piece + i];
    for (size_t c = 0; c < channels; c++) {
        double sum = 0, product = 0;
        for (size_t i = c; i < width; i += channels) {
            sum += job->partial[i];
            product += job->partial[width + i];
        }
        job->sums[0][c] = sum;
        job->sums[1][c] = product;
    }
    return FASTNN_DONE;
}

// ---- both ----------------------------------------------------------------------------------------------------------

fastnn_outcome fastnn_find_moments(const fastnn_chain_job *job) {
    return (job->run.chain->channels_last ? find_channels_last_moments : find_channels_first_moments)(job);
}

fastnn_outcome fastnn_find_sums(const fastnn_chain_job *job) {
    return (job->run.chain->channels_last ? find_channels_last_sums : find_channels_first_sums)(job);
}

// Fills the rest of a per-channel array, which is longer than the channels where rows are taken together, and where
// they begin later.
static void repeat(const fastnn_chain_job *job, char *array) {
    const size_t row = job->run.chain->channels * job->size, end = job->cut.width * job->size;
    for (size_t at = row; at < end; at += row) memcpy(array + at, array, row);
    if (job->head > 0) memcpy(array + end, array, LINE);
}

void fastnn_set_scaling(const fastnn_chain_job *job, size_t first, size_t end) {
    const fastnn_scaling *scaling = &job->run.scaling;
    if (!job->run.chain->scaled) return;
    job->run.tables->per_channel->find_scaling(job->run.chain, first, end, scaling);
    repeat(job, scaling->center), repeat(job, scaling->scale), repeat(job, scaling->shift), repeat(job, scaling->rstd);
}

void fastnn_set_dweight(const fastnn_chain_job *job, size_t first, size_t end) {
    job->run.tables->per_channel->find_dweight(job->run.chain, first, end, job->sums);
}

void fastnn_set_line(const fastnn_chain_job *job, size_t first, size_t end) {
    job->run.tables->per_channel->find_line(job->run.chain, first, end, job->sums, &job->line);
    repeat(job, job->line.a), repeat(job, job->line.b), repeat(job, job->line.c);
}
