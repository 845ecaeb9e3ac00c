// A call of a chain, and its visits of tiles: what is done to a tile in a pass over the arrays, and how the threads
// share a pass. Which passes a call makes is the matter of chain.c.
#ifndef FASTNN_CHAIN_VISITS_H
#define FASTNN_CHAIN_VISITS_H

#include "chain/cut.h"

// One call, forward or backward.
typedef struct {
    fastnn_run run;
    fastnn_chain_cut cut;
    size_t size, count;  // bytes of an element; elements of an array
    const char *x, *dy;  // dy: NULL forward
    char *out;           // y, or dx
    size_t head;         // where tiles may begin (fastnn_head)
    bool prefetch;       // whether a tile is loaded while the one before it is computed
    bool stream;         // whether the result is written past the caches (runtime/streaming.h)
    bool recompute;      // backward in training: the second pass computes g again, the first does not leave it in dx
    fastnn_gradient_line line;
    double *const *sums;  // backward: dbias and dweight, or NULL
    // Moments or sums of the pieces of a pass: up to four numbers for each piece and each of its columns (channels
    // last), or for each piece of a channel that is cut (channels first).
    double *partial;
} fastnn_chain_job;

// A visit of one tile. `sums`: where the sums of g and g xhat of the tile's first channel are (of the type that the
// kernel says, channel_kernels.h), or NULL if they are not wanted; only backward's first visit takes them.
typedef void fastnn_visit(const fastnn_chain_job *job, const fastnn_tile *tile, void *const *sums);
// Forward: y.
fastnn_visit fastnn_visit_forward;
// Backward: g, the gradient with respect to the first stage's input, and its sums. Outside training it writes dx.
fastnn_visit fastnn_visit_backward;
// Backward in training, after all sums are known: dx = a g + b xhat + c.
fastnn_visit fastnn_visit_gradient;

// Visits the tiles of a range, on the calling thread. `sums`: those of the range's first channel, or NULL.
void fastnn_visit_range(const fastnn_chain_job *job, fastnn_tile_range range, fastnn_visit *visit, void *const *sums);
// Visits all elements on all threads, in an order that no sum may depend on.
fastnn_outcome fastnn_visit_all(const fastnn_chain_job *job, fastnn_visit *visit);

// Runs a task on all threads if the arrays are large enough for that to pay.
fastnn_outcome fastnn_run_chain_task(const fastnn_chain_job *job, size_t pieces, fastnn_task task, const void *context);

#endif
