// The caching allocator: fresh memory costs a page fault for every page, often more than the arithmetic, so freed
// blocks are kept for the next request of their size class. Thread-safe, and usable in a forked child.
#include <stdatomic.h>
#include <string.h>

#include "fastnn.h"
#include "runtime/sizes.h"
#include "runtime/system.h"

// In a build with AddressSanitizer, all memory of a block that its user did not ask for is out of bounds, as is all of
// a block that is kept for the next request: else the rounding of sizes and the cache would hide overruns.
#ifdef __SANITIZE_ADDRESS__
#include <sanitizer/asan_interface.h>
#else
#define ASAN_POISON_MEMORY_REGION(start, bytes) ((void)(start))
#define ASAN_UNPOISON_MEMORY_REGION(start, bytes) ((void)(start))
#endif

// The header in front of a block's data: 64 bytes, which keeps the data aligned to cache lines, as vectors and
// streaming stores want them.
typedef struct block {
    size_t class_index;
    size_t bytes;  // of the whole block, header included
    struct block *next;
    char padding[40];
} block;
_Static_assert(sizeof(block) == 64, "the header keeps the data aligned");

enum {
    STEPS = 8,  // size classes to a power of two: at most an eighth is wasted
    CLASSES = 64 * STEPS,
};
// Blocks of at least so many bytes are mapped one by one, on huge pages where the system gives them.
static const size_t MAPPED_BYTES = 4 << 20;

static fastnn_lock lock = FASTNN_LOCK;
static block *free_blocks[CLASSES];
static size_t cached_bytes;

static void lock_cache(void) { fastnn_take_lock(&lock); }
static void unlock_cache(void) { fastnn_give_lock(&lock); }
__attribute__((constructor)) static void protect_over_fork(void) {
    fastnn_at_fork(lock_cache, unlock_cache, unlock_cache);
}

// At most so many bytes are kept.
static size_t cache_limit(void) {
    static atomic_size_t limit;
    if (limit == 0) limit = fastnn_usable_memory() / 4;
    return limit;
}

// The number of the size class that `bytes` belong to, and its size: a multiple of an eighth of a power of two.
static size_t size_class(size_t bytes, size_t *rounded) {
    int power = 63 - __builtin_clzll(bytes | 1024);
    const size_t step = ((size_t)1 << power) / STEPS;
    const size_t steps = divided_up(bytes, step);
    *rounded = steps * step;
    return (size_t)power * STEPS + steps - STEPS;
}

static block *map_block(size_t bytes) {
    return bytes < MAPPED_BYTES ? fastnn_allocate_lines(bytes) : fastnn_map_pages(bytes);
}

static void unmap_block(block *b) {
    ASAN_UNPOISON_MEMORY_REGION(b + 1, b->bytes - sizeof(block));
    if (b->bytes < MAPPED_BYTES)
        fastnn_free_lines(b);
    else
        fastnn_unmap_pages(b, b->bytes);
}

static void unmap_list(block *b) {
    while (b != NULL) {
        block *next = b->next;
        unmap_block(b);
        b = next;
    }
}

void fastnn_empty_cache(void) {
    block *taken[CLASSES];
    lock_cache();
    memcpy(taken, free_blocks, sizeof taken);
    memset(free_blocks, 0, sizeof free_blocks);
    cached_bytes = 0;
    unlock_cache();
    for (size_t i = 0; i < CLASSES; i++) unmap_list(taken[i]);
}

size_t fastnn_cached_bytes(void) {
    lock_cache();
    const size_t bytes = cached_bytes;
    unlock_cache();
    return bytes;
}

static block *take_cached(size_t class_index) {
    lock_cache();
    block *b = free_blocks[class_index];
    if (b != NULL) {
        free_blocks[class_index] = b->next;
        cached_bytes -= b->bytes;
    }
    unlock_cache();
    return b;
}

void *fastnn_allocate(size_t bytes) {
    if (bytes > SIZE_MAX / 2) return NULL;
    size_t rounded;
    const size_t class_index = size_class(bytes + sizeof(block), &rounded);
    if (rounded >= MAPPED_BYTES) rounded = rounded_up(rounded, HUGE_PAGE);
    block *b = take_cached(class_index);
    if (b == NULL) b = map_block(rounded);
    if (b == NULL) {
        fastnn_empty_cache();
        b = map_block(rounded);
    }
    if (b == NULL) return NULL;
    *b = (block){.class_index = class_index, .bytes = rounded};
    ASAN_POISON_MEMORY_REGION(b + 1, rounded - sizeof(block));
    ASAN_UNPOISON_MEMORY_REGION(b + 1, bytes);
    return b + 1;
}

void fastnn_release(void *memory) {
    if (memory == NULL) return;
    block *b = (block *)memory - 1;
    if (b->bytes > cache_limit()) {
        unmap_block(b);
        return;
    }
    lock_cache();
    while (cached_bytes + b->bytes > cache_limit()) {
        unlock_cache();
        fastnn_empty_cache();
        lock_cache();
    }
    ASAN_POISON_MEMORY_REGION(b + 1, b->bytes - sizeof(block));
    b->next = free_blocks[b->class_index];
    free_blocks[b->class_index] = b;
    cached_bytes += b->bytes;
    unlock_cache();
}

void *fastnn_resize(void *memory, size_t bytes) {
    void *grown = fastnn_allocate(bytes);
    if (grown == NULL || memory == NULL) return grown;
    const size_t held = ((block *)memory - 1)->bytes - sizeof(block);
    ASAN_UNPOISON_MEMORY_REGION(memory, held);
    memcpy(grown, memory, held < bytes ? held : bytes);
    fastnn_release(memory);
    return grown;
}
