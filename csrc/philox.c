// Random numbers outside the kernels: one block of Philox, and the generated input of a map.
#include <string.h>

#include "random_kernels.h"

void fastnn_philox4x32(const uint32_t counter[4], const uint32_t key[2], uint32_t out[4]) {
    uint16_t draws[8 + DRAWS_BEYOND];
    const uint64_t block = (uint64_t)counter[1] << 32 | counter[0], offset = (uint64_t)counter[3] << 32 | counter[2];
    fastnn_current(false)->random->draw_blocks((uint64_t)key[1] << 32 | key[0], offset, block, 1, draws);
    memcpy(out, draws, 16);
}

void fastnn_generate_uniform(const fastnn_operand *self, size_t first, size_t count, void *to) {
    fastnn_current(self->dtype == FASTNN_FLOAT64)->random->uniform(self->state, first, count, to);
}
