// Visits of tiles: see visits.h.
#include "chain/visits.h"

#include <string.h>

#include "runtime/sizes.h"
#include "runtime/streaming.h"
#include "runtime/tiles.h"
#include "runtime/workspace.h"

enum { SERIAL_ELEMENTS = 32768 };  // up to here the calling thread works alone

// ---- one tile ------------------------------------------------------------------------------------------------------

// Where a tile of the result is computed: in its place, or in `scratch` if it will be streamed from there.
static void *target(const fastnn_chain_job *job, const fastnn_tile *tile, void *scratch) {
    return job->stream ? scratch : job->out + tile->offset * job->size;
}

// Brings a tile of the result to its place, unless it was computed there. A gradient that nothing changes is in dy.
static void deliver(const fastnn_chain_job *job, const fastnn_tile *tile, const void *from) {
    const size_t count = tile->rows * tile->n;
    char *to = job->out + tile->offset * job->size;
    if (job->stream)
        fastnn_stream_tile(job->run.tables->elementwise, job->size, count, to, from);
    else if (from != to)
        memcpy(to, from, count * job->size);
}

void fastnn_visit_forward(const fastnn_chain_job *job, const fastnn_tile *tile, void *const *sums) {
    void *scratch = fastnn_borrow(CHAIN_TILE_BYTES);
    void *y = target(job, tile, scratch);
    (void)sums;
    fastnn_tile_forward(&job->run, tile, job->x, y);
    deliver(job, tile, y);
    fastnn_give_back(scratch);
}

void fastnn_visit_backward(const fastnn_chain_job *job, const fastnn_tile *tile, void *const *sums) {
    void *scratch = fastnn_borrow(CHAIN_TILE_BYTES);
    const fastnn_chain *chain = job->run.chain;
    const fastnn_channel_table *table = job->run.tables->channel;
    const fastnn_scaling *scaling = &job->run.scaling;
    const size_t at = tile->channel * job->size;
    void *to = target(job, tile, scratch);
    const void *g = fastnn_tile_backward(&job->run, tile, job->dy, job->x, to);
    if (sums != NULL)
        table->sums[chain->channels_last](tile->rows, tile->n, g, job->x + tile->offset * job->size,
                                          scaling->center + at, scaling->rstd + at, sums);
    if (!chain->training) {
        if (chain->scaled && (chain->rstd != NULL || chain->weight != NULL)) {
            const char *zeros = job->line.c + at;
            table->scale[chain->channels_last](tile->rows, tile->n, to, g, zeros, scaling->scale + at, zeros);
            g = to;
        }
        deliver(job, tile, g);
    }
    fastnn_give_back(scratch);
}

void fastnn_visit_gradient(const fastnn_chain_job *job, const fastnn_tile *tile, void *const *sums) {
    void *scratch = fastnn_borrow(CHAIN_TILE_BYTES);
    const fastnn_scaling *scaling = &job->run.scaling;
    const fastnn_gradient_line *line = &job->line;
    const size_t at = tile->channel * job->size, start = tile->offset * job->size;
    void *to = target(job, tile, scratch);
    const void *g = job->recompute ? fastnn_tile_backward(&job->run, tile, job->dy, job->x, to) : job->out + start;
    (void)sums;
    job->run.tables->channel->gradient[job->run.chain->channels_last](tile->rows, tile->n, to, g, job->x + start,
                                                                      scaling->center + at, scaling->rstd + at,
                                                                      line->a + at, line->b + at, line->c + at);
    deliver(job, tile, to);
    fastnn_give_back(scratch);
}

// ---- passes over tiles ---------------------------------------------------------------------------------------------

// Begins to load a tile of the arrays that a pass reads.
static void prefetch(const fastnn_chain_job *job, const fastnn_tile *tile) {
    const size_t start = tile->offset * job->size, bytes = tile->rows * tile->n * job->size;
    fastnn_prefetch(job->x + start, bytes);
    if (job->dy != NULL) fastnn_prefetch(job->dy + start, bytes);
}

void fastnn_visit_range(const fastnn_chain_job *job, fastnn_tile_range range, fastnn_visit *visit, void *const *sums) {
    const size_t unit = job->run.chain->channels_last ? job->size : sizeof(double);  // of a sum
    fastnn_tile next = fastnn_tile_at(&job->cut, &range, 0);
    for (size_t i = 0, count = range.to - range.from; i < count; i++) {
        const fastnn_tile tile = next;
        if (i + 1 < count) {
            next = fastnn_tile_at(&job->cut, &range, i + 1);
            if (job->prefetch) prefetch(job, &next);
        }
        const size_t at = (tile.channel - range.first) * unit;
        visit(job, &tile, sums ? (void *[]){(char *)sums[0] + at, (char *)sums[1] + at} : NULL);
    }
    if (job->stream) fastnn_finish_streaming();
}

fastnn_outcome fastnn_run_chain_task(const fastnn_chain_job *job, size_t pieces, fastnn_task task,
                                     const void *context) {
    if (job->count > SERIAL_ELEMENTS) return fastnn_parallel(pieces, task, context);
    if (!fastnn_open_workspace()) return FASTNN_NO_MEMORY;
    for (size_t piece = 0; piece < pieces; piece++) task(context, piece);
    return FASTNN_DONE;
}

typedef struct {
    const fastnn_chain_job *job;
    fastnn_visit *visit;
} tile_pass;

static void visit_piece(const void *context, size_t piece) {
    const tile_pass *pass = context;
    const fastnn_chain_job *job = pass->job;
    fastnn_tile_range range = fastnn_tiles_of_piece(&job->cut, piece);
    range.head = job->head;
    fastnn_visit_range(job, range, pass->visit, NULL);
    if (piece > 0 || job->head == 0) return;
    fastnn_tile ends[2];
    fastnn_tiles_of_ends(&job->cut, job->head, ends);
    for (int k = 0; k < 2; k++) pass->visit(job, &ends[k], NULL);
    if (job->stream) fastnn_finish_streaming();
}

fastnn_outcome fastnn_visit_all(const fastnn_chain_job *job, fastnn_visit *visit) {
    return fastnn_run_chain_task(job, job->cut.pieces, visit_piece, &(tile_pass){job, visit});
}
