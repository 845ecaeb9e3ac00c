// See scratch.h.
#include "runtime/scratch.h"

#include <string.h>

#include "runtime/sizes.h"
#include "runtime/system.h"

bool fastnn_open_scratch(fastnn_scratch *scratch, size_t pieces, size_t slot_bytes, size_t shared_bytes) {
    const size_t threads = (size_t)fastnn_get_num_threads();
    const size_t shared = in_lines(shared_bytes);
    scratch->count = smaller(threads, pieces);
    scratch->slot_bytes = in_lines(slot_bytes);
    const size_t flags = in_lines(scratch->count);
    scratch->shared = fastnn_allocate(shared + flags + scratch->count * scratch->slot_bytes);
    if (scratch->shared == NULL) return false;
    scratch->taken = (unsigned char *)scratch->shared + shared;
    scratch->slots = (char *)scratch->taken + flags;
    memset(scratch->taken, 0, scratch->count);
    return true;
}

void fastnn_close_scratch(fastnn_scratch *scratch) { fastnn_release(scratch->shared); }

// A piece finds no free slot only if the number of threads was raised during the call; then it waits for one.
char *fastnn_take_scratch(const fastnn_scratch *scratch) {
    for (;; fastnn_yield())
        for (size_t i = 0; i < scratch->count; i++)
            if (!__atomic_test_and_set(&scratch->taken[i], __ATOMIC_ACQUIRE))
                return scratch->slots + i * scratch->slot_bytes;
}

void fastnn_give_scratch(const fastnn_scratch *scratch, const char *slot) {
    __atomic_clear(&scratch->taken[(size_t)(slot - scratch->slots) / scratch->slot_bytes], __ATOMIC_RELEASE);
}
