// Random numbers outside the kernels: one block of Philox, and the generated input of a map.
#include "philox.h"

#include <string.h>

#include "tiles.h"

void fastnn_philox4x32(const uint32_t counter[4], const uint32_t key[2], uint32_t out[4]) {
    uint32_t words[4][PHILOX_BLOCKS] = {{0}};
    for (int w = 0; w < 4; w++) words[w][0] = counter[w];
    philox_blocks(words, key[0], key[1]);
    for (int w = 0; w < 4; w++) out[w] = words[w][0];
}

// Tiles begin anywhere, blocks at every eighth element: one block more than a tile covers what it needs.
void fastnn_generate_uniform(const fastnn_operand *self, size_t first, size_t count, void *to) {
    _Alignas(64) char scratch[TILE_BYTES + 2 * 8 * 8];
    const bool float64 = self->dtype == FASTNN_FLOAT64;
    const size_t size = float64 ? 8 : 4, skip = first % 8, blocks = (skip + count + 7) / 8;
    fastnn_current_table(float64)->uniform(self->state, first / 8, blocks, scratch);
    memcpy(to, scratch + skip * size, count * size);
}
