// Scratch memory for the pieces of a parallel call: as many slots as threads may work at once. A piece takes a free one
// and gives it back, so the memory of a call is known before it begins, and does not depend on how pieces meet.
#ifndef FASTNN_SLOTS_H
#define FASTNN_SLOTS_H

#include "fastnn.h"

typedef struct {
    char *memory;  // aligned to 64
    size_t count, bytes;
    unsigned char *taken;
    char *shared;
} fastnn_slots;

// Slots of `bytes` for `pieces`, and `shared` bytes beside them. False: out of memory.
bool fastnn_open_slots(fastnn_slots *slots, size_t pieces, size_t bytes, size_t shared);
void fastnn_close_slots(fastnn_slots *slots);
char *fastnn_take_slot(const fastnn_slots *slots);
void fastnn_give_slot(const fastnn_slots *slots, const char *slot);

#endif
