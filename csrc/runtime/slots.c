// Scratch memory for the pieces of a parallel call.
#include "runtime/slots.h"

#include <sched.h>
#include <string.h>

#include "runtime/sizes.h"

bool fastnn_open_slots(fastnn_slots *slots, size_t pieces, size_t bytes, size_t shared) {
    const size_t threads = (size_t)fastnn_get_num_threads();
    slots->count = smaller(threads, pieces);
    slots->bytes = in_lines(bytes);
    slots->shared = fastnn_allocate(in_lines(shared) + in_lines(slots->count) + slots->count * slots->bytes);
    if (slots->shared == NULL) return false;
    slots->taken = (unsigned char *)slots->shared + in_lines(shared);
    slots->memory = (char *)slots->taken + in_lines(slots->count);
    memset(slots->taken, 0, slots->count);
    return true;
}

void fastnn_close_slots(fastnn_slots *slots) { fastnn_release(slots->shared); }

// Whoever finds none, since threads were added during the call, waits for one.
char *fastnn_take_slot(const fastnn_slots *slots) {
    for (;; sched_yield())
        for (size_t i = 0; i < slots->count; i++)
            if (!__atomic_test_and_set(&slots->taken[i], __ATOMIC_ACQUIRE)) return slots->memory + i * slots->bytes;
}

void fastnn_give_slot(const fastnn_slots *slots, const char *slot) {
    __atomic_clear(&slots->taken[(size_t)(slot - slots->memory) / slots->bytes], __ATOMIC_RELEASE);
}
