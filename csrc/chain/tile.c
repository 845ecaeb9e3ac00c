// A chain of stages, run on one tile while it is in L1. Backward computes the stages' inputs again, so that forward
// need not store them.
#include "chain/tile.h"

#include <string.h>

#include "random/random_kernels.h"
#include "runtime/workspace.h"

static size_t element_size(const fastnn_run *run) { return run->chain->float64 ? 8 : 4; }

static void scale_tile(const fastnn_run *run, const fastnn_tile *tile, const char *x, void *to) {
    const size_t size = element_size(run), at = tile->channel * size;
    const fastnn_scaling *s = &run->scaling;
    run->tables->channel->scale[run->chain->channels_last](tile->rows, tile->n, to, x + tile->offset * size,
                                                           s->center + at, s->scale + at, s->shift + at);
}

static void drop(const fastnn_run *run, const fastnn_stage *stage, const fastnn_tile *tile, void *to,
                 const void *from) {
    uint8_t bits[CHAIN_TILE_BYTES / 4 / 8 + 64];
    const size_t count = tile->rows * tile->n;
    fastnn_keep_tile(run, &stage->dropout, tile, bits);
    run->tables->random->mask(count, to, from, bits, stage->dropout.scale);
}

static void stage_forward(const fastnn_run *run, const fastnn_stage *stage, const fastnn_tile *tile, void *to,
                          const void *from) {
    const size_t count = tile->rows * tile->n;
    switch (stage->action) {
    case FASTNN_ACTIVATE:
        run->tables->elementwise->kernels[2 * stage->activation](count, &to, &from, stage->parameters);
        break;
    case FASTNN_DROP: drop(run, stage, tile, to, from); break;
    case FASTNN_ADD:
        run->tables->channel->add(count, to, from, (const char *)stage->addend + tile->offset * element_size(run));
    }
}

// The kernel of the scaling and the first stage together, or NULL if there is none.
static fastnn_scaled_kernel *scaled_kernel(const fastnn_run *run, bool backward) {
    const fastnn_chain *chain = run->chain;
    if (!chain->scaled || chain->stages == 0 || chain->stage[0].action != FASTNN_ACTIVATE) return NULL;
    return run->tables->channel->scaled[chain->stage[0].activation][backward][chain->channels_last];
}
static void run_scaled(const fastnn_run *run, fastnn_scaled_kernel *kernel, const fastnn_tile *tile, void *to,
                       const void *dy, const char *x) {
    const size_t size = element_size(run), at = tile->channel * size;
    const fastnn_scaling *s = &run->scaling;
    kernel(tile->rows, tile->n, to, dy, x + tile->offset * size, s->center + at, s->scale + at, s->shift + at,
           run->chain->stage[0].parameters);
}

void fastnn_tile_forward(const fastnn_run *run, const fastnn_tile *tile, const char *x, void *to) {
    const void *from = x + tile->offset * element_size(run);
    fastnn_scaled_kernel *first = scaled_kernel(run, false);
    if (first != NULL) {
        run_scaled(run, first, tile, to, NULL, x);
        from = to;
    } else if (run->chain->scaled) {
        scale_tile(run, tile, x, to);
        from = to;
    }
    for (int k = first != NULL; k < run->chain->stages; k++, from = to)
        stage_forward(run, &run->chain->stage[k], tile, to, from);
    if (from != to) memcpy(to, from, tile->rows * tile->n * element_size(run));  // nothing to compute
}

static bool saves_output(const fastnn_stage *stage) { return fastnn_activations[stage->activation].saves_output; }

// The index of the last activation, or -1.
static int last_activation(const fastnn_chain *chain) {
    int k = chain->stages - 1;
    while (k >= 0 && chain->stage[k].action != FASTNN_ACTIVATE) k--;
    return k;
}

const void *fastnn_tile_backward(const fastnn_run *run, const fastnn_tile *tile, const char *dy, const char *x,
                                 void *to) {
    const fastnn_chain *chain = run->chain;
    const size_t size = element_size(run), start = tile->offset * size, count = tile->rows * tile->n;
    char (*const scratch)[CHAIN_TILE_BYTES] = fastnn_borrow((size_t)(chain->stages + 1) * CHAIN_TILE_BYTES);
    // The inputs of the stages. Where a fused kernel takes the scaling and stage 0, that of stage 0 is not used.
    const void *before[FASTNN_MAX_STAGES + 1] = {x + start};
    fastnn_scaled_kernel *fused = scaled_kernel(run, true);
    const int end = last_activation(chain);
    const int needed = end < 0 ? 0 : end + saves_output(&chain->stage[end]);  // how many stages are computed again
    if (fused != NULL) {
        if (end > 0) run_scaled(run, scaled_kernel(run, false), tile, scratch[1], NULL, x);
        before[1] = scratch[1];
    } else if (chain->scaled && chain->stages > 0) {
        scale_tile(run, tile, x, scratch[0]);
        before[0] = scratch[0];
    }
    for (int k = fused != NULL; k < needed; k++) {
        stage_forward(run, &chain->stage[k], tile, scratch[k + 1], before[k]);
        before[k + 1] = scratch[k + 1];
    }

    const void *g = dy + start;
    for (int k = chain->stages - 1; k >= 0; k--) {
        const fastnn_stage *stage = &chain->stage[k];
        if (stage->action == FASTNN_ADD) {
            if (stage->daddend != NULL) memcpy((char *)stage->daddend + start, g, count * size);
            continue;
        }
        if (stage->action == FASTNN_DROP) {
            drop(run, stage, tile, to, g);
        } else if (k == 0 && fused != NULL) {
            run_scaled(run, fused, tile, to, g, x);
        } else {
            const void *in[] = {g, before[k + saves_output(stage)]};
            run->tables->elementwise->kernels[2 * stage->activation + 1](count, &to, in, stage->parameters);
        }
        g = to;
    }
    fastnn_give_back(scratch);
    return g;
}
