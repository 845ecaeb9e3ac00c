// Streaming stores, which write results to memory past the caches: memory is spared the read that a plain store to a
// line outside the caches begins with. For drivers, which compute a tile into scratch that stays in L1 and stream it
// from there, so no kernel needs a second version.
#ifndef FASTNN_STREAMING_H
#define FASTNN_STREAMING_H

#include <string.h>

#include "runtime/sizes.h"
#include "runtime/tables.h"

// From how many bytes of arrays on outputs are streamed: three times a large last-level cache.
enum { FASTNN_STREAM_BYTES = 96 << 20 };

// Whether a call that reads and writes `bytes` of contiguous arrays streams its output `out`, of elements of `size`
// bytes. An output that is also an input has its lines in the cache already. An input may be NULL: there is none.
static inline bool fastnn_should_stream(size_t bytes, const void *out, size_t size, const void *const *inputs,
                                        int count) {
    if (bytes < FASTNN_STREAM_BYTES || (uintptr_t)out % size != 0) return false;
    for (int k = 0; k < count; k++)
        if (out == inputs[k]) return false;
    return true;
}

// Streams a tile to `to`. Streaming stores write whole cache lines: the elements before the first of them are stored
// plainly, and by stream_copy those after the last.
static inline void fastnn_stream_tile(const fastnn_table *table, size_t size, size_t count, void *to,
                                      const void *tile) {
    const size_t to_line = (size_t)(-(uintptr_t)to) % LINE / size, head = smaller(to_line, count);
    memcpy(to, tile, head * size);
    table->stream_copy(count - head, (char *)to + head * size, (const char *)tile + head * size);
}

// How many elements of contiguous memory the tile at `to` should have, of at most `most`, which are whole lines: the
// first tile ends with a line, so that those after it begin with one and have nothing to store plainly.
static inline size_t fastnn_streamed_elements(const void *to, size_t size, size_t most) {
    return most - (uintptr_t)to % LINE / size;
}

// Streaming stores are not ordered by themselves: a piece ends with this, so that whoever sees the piece done sees its
// results.
static inline void fastnn_finish_streaming(void) { __atomic_thread_fence(__ATOMIC_SEQ_CST); }

#endif
