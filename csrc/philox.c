// Philox4x32-10: Salmon, Moraes, Dror, Shaw, "Parallel random numbers: as easy as 1, 2, 3", SC 2011.
#include "fastnn.h"

void fastnn_philox4x32(const uint32_t counter[4], const uint32_t key[2], uint32_t out[4]) {
    uint32_t c0 = counter[0], c1 = counter[1], c2 = counter[2], c3 = counter[3];
    uint32_t k0 = key[0], k1 = key[1];
    for (int round = 0; round < 10; round++) {
        const uint64_t a = (uint64_t)0xD2511F53u * c0, b = (uint64_t)0xCD9E8D57u * c2;
        c0 = (uint32_t)(b >> 32) ^ c1 ^ k0;
        c1 = (uint32_t)b;
        c2 = (uint32_t)(a >> 32) ^ c3 ^ k1;
        c3 = (uint32_t)a;
        k0 += 0x9E3779B9u;
        k1 += 0xBB67AE85u;
    }
    out[0] = c0, out[1] = c1, out[2] = c2, out[3] = c3;
}

static double uniform(const fastnn_uniform_state *s, uint32_t word) {
    return s->lower + (s->upper - s->lower) * (((double)word + 0.5) * 0x1p-32);
}

// One loop for both dtypes; T is the type of an element.
#define FILL(T)                                                                                         \
    for (size_t i = 0; i < count; i++) {                                                                \
        const uint64_t index = first + i, block = index / 4;                                            \
        if (i == 0 || index % 4 == 0) {                                                                 \
            const uint32_t counter[4] = {(uint32_t)block, (uint32_t)(block >> 32), (uint32_t)s->offset, \
                                         (uint32_t)(s->offset >> 32)};                                  \
            fastnn_philox4x32(counter, key, words);                                                     \
        }                                                                                               \
        ((T *)to)[i] = (T)uniform(s, words[index % 4]);                                                 \
    }

void fastnn_generate_uniform(const fastnn_operand *self, size_t first, size_t count, void *to) {
    const fastnn_uniform_state *s = self->state;
    const uint32_t key[2] = {(uint32_t)s->seed, (uint32_t)(s->seed >> 32)};
    uint32_t words[4];
    if (self->dtype == FASTNN_FLOAT64) {
        FILL(double)
    } else {
        FILL(float)
    }
}
