// A chain of stages, run on one tile while it is in L1. Backward computes again what the stages saw, so that forward
// need not keep anything.
#include "chain.h"

#include <string.h>

#include "random_kernels.h"

static size_t element_size(const fastnn_run *run) { return run->chain->float64 ? 8 : 4; }

static void scale_tile(const fastnn_run *run, const fastnn_tile *tile, const char *x, void *to) {
    const size_t size = element_size(run), at = tile->channel * size;
    const fastnn_scaling *s = &run->scaling;
    run->tables->channel->scale[run->chain->columns](tile->rows, tile->n, to, x + tile->offset * size, s->center + at,
                                                     s->scale + at, s->shift + at);
}

// Draws are numbered in the order (outer, channels, inner); memory is in the order (outer, inner, channels).
static void keep_transposed(const fastnn_run *run, const fastnn_stage *stage, const fastnn_tile *tile, uint8_t *bits) {
    const size_t channels = run->chain->channels, inner = run->chain->inner, count = tile->rows * tile->n;
    memset(bits, 0, (count + 7) / 8);
    for (size_t i = 0; i < count; i++) {
        const size_t at = tile->offset + i, position = at / channels;
        const size_t index = (position / inner * channels + at % channels) * inner + position % inner;
        uint8_t bit[65];
        run->tables->random->keep_bits(&stage->dropout, index, 1, bit);
        bits[i / 8] |= (uint8_t)((bit[0] & 1) << i % 8);
    }
}

static void drop(const fastnn_run *run, const fastnn_stage *stage, const fastnn_tile *tile, void *to,
                 const void *from) {
    uint8_t bits[TILE_BYTES / 4 / 8 + 64];
    const size_t count = tile->rows * tile->n;
    if (run->chain->columns && run->chain->inner > 1)
        keep_transposed(run, stage, tile, bits);
    else
        run->tables->random->keep_bits(&stage->dropout, tile->offset, count, bits);
    run->tables->random->mask(count, to, from, bits, stage->dropout.scale);
}

static void stage_forward(const fastnn_run *run, const fastnn_stage *stage, const fastnn_tile *tile, void *to,
                          const void *from) {
    const size_t count = tile->rows * tile->n;
    switch (stage->kind) {
    case FASTNN_ACTIVATE:
        run->tables->elementwise->kernels[2 * stage->activation](count, &to, &from, stage->parameters);
        break;
    case FASTNN_DROP: drop(run, stage, tile, to, from); break;
    case FASTNN_ADD:
        run->tables->channel->add(count, to, from, (const char *)stage->addend + tile->offset * element_size(run));
    }
}

void fastnn_tile_forward(const fastnn_run *run, const fastnn_tile *tile, const char *x, void *to) {
    const void *from = x + tile->offset * element_size(run);
    if (run->chain->scaled) {
        scale_tile(run, tile, x, to);
        from = to;
    }
    for (int k = 0; k < run->chain->stages; k++, from = to) stage_forward(run, &run->chain->stage[k], tile, to, from);
}

static bool saves_output(const fastnn_stage *stage) { return fastnn_activations[stage->activation].saves_output; }

const void *fastnn_tile_backward(const fastnn_run *run, const fastnn_tile *tile, const char *dy, const char *x,
                                 void *to) {
    const fastnn_chain *chain = run->chain;
    const size_t size = element_size(run), start = tile->offset * size, count = tile->rows * tile->n;
    _Alignas(64) char scratch[FASTNN_MAX_STAGES + 1][TILE_BYTES];
    const void *before[FASTNN_MAX_STAGES + 1] = {x + start};  // each stage
    int needed = chain->stages;                               // stages whose output an activation's gradient needs
    while (needed > 0 && chain->stage[needed - 1].kind != FASTNN_ACTIVATE) needed--;
    const bool any = needed > 0;
    if (any && !saves_output(&chain->stage[needed - 1])) needed--;
    if (any && chain->scaled) {
        scale_tile(run, tile, x, scratch[0]);
        before[0] = scratch[0];
    }
    for (int k = 0; k < needed; k++) {
        stage_forward(run, &chain->stage[k], tile, scratch[k + 1], before[k]);
        before[k + 1] = scratch[k + 1];
    }

    const void *g = dy + start;
    for (int k = chain->stages - 1; k >= 0; k--) {
        const fastnn_stage *stage = &chain->stage[k];
        if (stage->kind == FASTNN_ADD) {
            if (stage->daddend != NULL) memcpy((char *)stage->daddend + start, g, count * size);
            continue;
        }
        if (stage->kind == FASTNN_DROP) {
            drop(run, stage, tile, to, g);
        } else {
            const void *in[] = {g, before[k + saves_output(stage)]};
            run->tables->elementwise->kernels[2 * stage->activation + 1](count, &to, in, stage->parameters);
        }
        g = to;
    }
    return g;
}
