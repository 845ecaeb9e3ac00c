// Scratch memory for the pieces of a parallel call: as many slots as threads can work at the same time. A piece takes a
// free slot and gives it back, so all memory of a call is allocated before the work begins, and its size does not
// depend on how the pieces meet.
#ifndef FASTNN_SCRATCH_H
#define FASTNN_SCRATCH_H

#include "fastnn.h"

typedef struct {
    char *shared;          // read and written by all pieces
    unsigned char *taken;  // one flag for each slot
    char *slots;
    size_t count, slot_bytes;
} fastnn_scratch;

// Slots of `slot_bytes` for a call of so many pieces, and `shared_bytes` beside them, all aligned to cache lines.
// False: out of memory.
bool fastnn_open_scratch(fastnn_scratch *scratch, size_t pieces, size_t slot_bytes, size_t shared_bytes);
void fastnn_close_scratch(fastnn_scratch *scratch);
// A free slot; the piece that takes it must give it back.
char *fastnn_take_scratch(const fastnn_scratch *scratch);
void fastnn_give_scratch(const fastnn_scratch *scratch, const char *slot);

#endif
