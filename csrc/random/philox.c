// Philox for callers outside the kernels: single blocks, runs of blocks, and uniform numbers as a map's input.
#include <string.h>

#include "random/random_kernels.h"

void fastnn_draw_blocks(uint64_t seed, uint64_t offset, uint64_t first, size_t blocks, uint16_t *draws) {
    enum { TOGETHER = 128 };
    uint16_t made[8 * TOGETHER + DRAWS_BEYOND];
    for (size_t done = 0, part; done < blocks; done += part) {
        part = blocks - done < TOGETHER ? blocks - done : TOGETHER;
        fastnn_current(false)->random->draw_blocks(seed, offset, first + done, part, made);
        memcpy(draws + 8 * done, made, 16 * part);
    }
}

void fastnn_philox4x32(const uint32_t counter[4], const uint32_t key[2], uint32_t out[4]) {
    const uint64_t block = (uint64_t)counter[1] << 32 | counter[0], offset = (uint64_t)counter[3] << 32 | counter[2];
    uint16_t draws[8];
    fastnn_draw_blocks((uint64_t)key[1] << 32 | key[0], offset, block, 1, draws);
    memcpy(out, draws, sizeof draws);
}

void fastnn_generate_uniform(const fastnn_operand *self, size_t first, size_t count, void *to) {
    const fastnn_uniform_state *state = self->state;
    fastnn_current(self->dtype == FASTNN_FLOAT64)->random->uniform(state, state->first + first, count, to);
}
