// A call of a chain on whole arrays: its scratch memory, and the passes that it makes.
//
// Batch norm in training takes each channel twice: forward for its moments and then for the tiles of y, backward for
// two sums and then for the tiles of dx. With channels first, a group of whole channels goes through both passes on one
// thread, so that the second pass finds them in the cache and memory is read once. Where channels are cut, and with
// channels last, all pieces of the first pass come before those of the second.
#include <math.h>
#include <string.h>

#include "chain/statistics.h"
#include "runtime/sizes.h"
#include "runtime/streaming.h"

enum {
    PREFETCH_BYTES = 4 << 20,  // of an array: from here on it pays to begin loading the next tile
    CHANNEL_ARRAYS = 7,        // per-channel arrays of fastnn_scaling and fastnn_gradient_line
};

static bool is_empty(const fastnn_chain *chain) { return chain->outer * chain->channels * chain->inner == 0; }

static bool changes_gradient(const fastnn_chain *chain) {
    for (int k = 0; k < chain->stages; k++)
        if (chain->stage[k].action != FASTNN_ADD) return true;
    return false;
}

static fastnn_chain_job make_job(const fastnn_chain *chain, const void *x, const void *dy, void *out) {
    fastnn_chain_job job = {
        .run = {.chain = chain, .tables = fastnn_current(chain->float64)},
        .size = chain->float64 ? 8 : 4,
        .count = chain->outer * chain->channels * chain->inner,
        .x = x,
        .dy = dy,
        .out = out,
    };
    const size_t bytes = job.count * job.size, arrays = dy == NULL ? 2 : 3;
    job.cut = fastnn_cut_chain(chain, job.size);
    job.head = fastnn_head(&job.cut, out, job.size);
    job.prefetch = bytes >= PREFETCH_BYTES;
    job.stream = fastnn_should_stream(arrays * bytes, out, job.size, (const void *[]){x, dy}, 2);
    job.recompute = job.stream || !changes_gradient(chain);
    return job;
}

// ---- scratch memory ------------------------------------------------------------------------------------------------

static size_t partial_bytes(const fastnn_chain_job *job) {
    const fastnn_chain_cut *cut = &job->cut;
    const size_t numbers = job->run.chain->channels_last ? 4 * cut->width * cut->pieces
                                                         : 4 * job->run.chain->channels * cut->channel_pieces;
    return numbers * sizeof(double);
}

// Allocates `partial` and behind it the per-channel arrays, which have room for a line more (fastnn_head); false: out
// of memory. The arrays are read together, so they begin at different offsets from a page: a load waits for an earlier
// store to an address with the same last 12 bits.
static bool open_scratch(fastnn_chain_job *job) {
    fastnn_scaling *scaling = &job->run.scaling;
    fastnn_gradient_line *line = &job->line;
    char **const arrays[CHANNEL_ARRAYS] = {&scaling->center, &scaling->scale, &scaling->shift, &scaling->rstd,
                                           &line->a,         &line->b,        &line->c};
    const size_t partial = partial_bytes(job), array = job->cut.width * job->size + 4 * LINE;
    char *scratch = fastnn_allocate(partial + CHANNEL_ARRAYS * array);
    if (scratch == NULL) return false;
    job->partial = (double *)scratch;
    for (size_t i = 0; i < CHANNEL_ARRAYS; i++) *arrays[i] = scratch + partial + i * array;
    return true;
}

// Ends a call that ended so.
static fastnn_outcome close_scratch(const fastnn_chain_job *job, fastnn_outcome outcome) {
    fastnn_release(job->partial);
    return outcome;
}

// ---- passes --------------------------------------------------------------------------------------------------------

// Both passes over a group of channels.
static void forward_group(const void *context, size_t piece) {
    const fastnn_chain_job *job = context;
    const size_t first = piece * job->cut.group, end = smaller(first + job->cut.group, job->run.chain->channels);
    fastnn_find_group_moments(job, first, end);
    fastnn_set_statistics(job, first, end);
    fastnn_set_scaling(job, first, end);
    fastnn_visit_range(job, fastnn_tiles_of_channels(&job->cut, first, end), fastnn_visit_forward, NULL);
}

static void backward_group(const void *context, size_t piece) {
    const fastnn_chain_job *job = context;
    const size_t first = piece * job->cut.group, end = smaller(first + job->cut.group, job->run.chain->channels);
    fastnn_find_group_sums(job, first, end);
    fastnn_set_dweight(job, first, end);
    if (!job->run.chain->training) return;
    fastnn_set_line(job, first, end);
    fastnn_visit_range(job, fastnn_tiles_of_channels(&job->cut, first, end), fastnn_visit_gradient, NULL);
}

// Forward's and backward's first pass alone, over a group of channels.
static void moments_of_group(const void *context, size_t piece) {
    const fastnn_chain_job *job = context;
    const size_t first = piece * job->cut.group;
    fastnn_find_group_moments(job, first, smaller(first + job->cut.group, job->run.chain->channels));
}

static void sums_of_group(const void *context, size_t piece) {
    const fastnn_chain_job *job = context;
    const size_t first = piece * job->cut.group;
    fastnn_find_group_sums(job, first, smaller(first + job->cut.group, job->run.chain->channels));
}

static fastnn_outcome run_groups(const fastnn_chain_job *job, fastnn_task task) {
    return fastnn_run_chain_task(job, divided_up(job->run.chain->channels, job->cut.group), task, job);
}

static fastnn_outcome run_forward(const fastnn_chain_job *job) {
    const fastnn_chain *chain = job->run.chain;
    if (chain->training && job->cut.group > 0) return run_groups(job, forward_group);
    if (chain->training) {
        const fastnn_outcome outcome = fastnn_find_moments(job);
        if (outcome != FASTNN_DONE) return outcome;
        fastnn_set_statistics(job, 0, chain->channels);
    }
    fastnn_set_scaling(job, 0, chain->channels);
    return fastnn_visit_all(job, fastnn_visit_forward);
}

static fastnn_outcome run_backward(const fastnn_chain_job *job) {
    const fastnn_chain *chain = job->run.chain;
    fastnn_set_scaling(job, 0, chain->channels);
    if (!chain->training) memset(job->line.c, 0, job->cut.width * job->size + LINE);
    if (job->sums == NULL) return fastnn_visit_all(job, fastnn_visit_backward);
    if (job->cut.group > 0) return run_groups(job, backward_group);
    const fastnn_outcome outcome = fastnn_find_sums(job);
    if (outcome != FASTNN_DONE) return outcome;
    fastnn_set_dweight(job, 0, chain->channels);
    if (!chain->training) return FASTNN_DONE;
    fastnn_set_line(job, 0, chain->channels);
    return fastnn_visit_all(job, fastnn_visit_gradient);
}

// ---- calls ---------------------------------------------------------------------------------------------------------

// Channels without elements have no statistics: NaN, as 0 / 0 is.
static fastnn_outcome finish_empty_channels(const fastnn_chain *chain) {
    double *const statistics[] = {chain->mean, chain->mean_low, chain->rstd, chain->variance};
    for (int k = 0; k < 4 && chain->training; k++)
        for (size_t c = 0; c < chain->channels; c++) statistics[k][c] = NAN;
    return FASTNN_DONE;
}

fastnn_outcome fastnn_chain_forward(const fastnn_chain *chain, const void *x, void *y) {
    if (is_empty(chain)) return finish_empty_channels(chain);
    fastnn_chain_job job = make_job(chain, x, NULL, y);
    if (!open_scratch(&job)) return FASTNN_NO_MEMORY;
    return close_scratch(&job, run_forward(&job));
}

static void clear_sums(const fastnn_chain *chain, double *const *sums) {
    if (sums == NULL) return;
    for (int i = 0; i < 2; i++) memset(sums[i], 0, chain->channels * sizeof *sums[i]);
}

fastnn_outcome fastnn_chain_backward(const fastnn_chain *chain, const void *dy, const void *x, void *dx,
                                     double *const *sums) {
    if (is_empty(chain)) {
        clear_sums(chain, sums);
        return FASTNN_DONE;
    }
    fastnn_chain_job job = make_job(chain, x, dy, dx);
    if (!open_scratch(&job)) return FASTNN_NO_MEMORY;
    job.sums = sums;
    clear_sums(chain, sums);
    return close_scratch(&job, run_backward(&job));
}

// ---- calls for the batch of several processes ----------------------------------------------------------------------

fastnn_outcome fastnn_chain_moments(const fastnn_chain *chain, const void *x) {
    double *const moments[] = {chain->mean, chain->mean_low, chain->variance};
    for (int i = 0; i < 3; i++) memset(moments[i], 0, chain->channels * sizeof *moments[i]);
    if (is_empty(chain)) return FASTNN_DONE;
    fastnn_chain_job job = make_job(chain, x, NULL, NULL);
    if (!open_scratch(&job)) return FASTNN_NO_MEMORY;
    const fastnn_outcome outcome = job.cut.group > 0 ? run_groups(&job, moments_of_group) : fastnn_find_moments(&job);
    if (outcome == FASTNN_DONE) fastnn_mend_moments(&job);
    return close_scratch(&job, outcome);
}

void fastnn_moments_to_sums(const fastnn_chain *chain, const double *near, double *sums) {
    fastnn_current(chain->float64)->per_channel->moments_to_sums(chain, near, sums);
}

bool fastnn_sums_to_statistics(const fastnn_chain *chain, const double *sums, const double *near) {
    return fastnn_current(chain->float64)->per_channel->sums_to_statistics(chain, sums, near);
}

fastnn_outcome fastnn_chain_sums(const fastnn_chain *chain, const void *dy, const void *x, void *dx,
                                 double *const *sums) {
    clear_sums(chain, sums);
    if (is_empty(chain)) return FASTNN_DONE;
    fastnn_chain_job job = make_job(chain, x, dy, dx);
    if (!open_scratch(&job)) return FASTNN_NO_MEMORY;
    job.sums = sums;
    fastnn_set_scaling(&job, 0, chain->channels);
    const fastnn_outcome outcome = job.cut.group > 0 ? run_groups(&job, sums_of_group) : fastnn_find_sums(&job);
    if (outcome == FASTNN_DONE) fastnn_set_dweight(&job, 0, chain->channels);
    return close_scratch(&job, outcome);
}

fastnn_outcome fastnn_chain_gradient(const fastnn_chain *chain, const void *dy, const void *x, void *dx,
                                     double *const *sums) {
    if (is_empty(chain)) return FASTNN_DONE;
    fastnn_chain_job job = make_job(chain, x, dy, dx);
    if (!open_scratch(&job)) return FASTNN_NO_MEMORY;
    job.sums = sums;
    fastnn_set_scaling(&job, 0, chain->channels);
    fastnn_set_line(&job, 0, chain->channels);
    return close_scratch(&job, fastnn_visit_all(&job, fastnn_visit_gradient));
}
