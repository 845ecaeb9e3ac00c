// The caching allocator: fresh memory costs a page fault for every page, often more than the arithmetic, so freed
// blocks are kept for the next request of their size class. Thread-safe, and usable in a forked child.
//
// The cache has parts, and each thread has one of them to begin with, in turns. A part is busy while a thread is in it,
// and is passed over then, so threads that allocate at the same time do not wait for each other. A thread gets the
// blocks again that are in its own core's cache, and looks into the other parts if its own has none of the size.
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
    PARTS = 16,
};
// Blocks of at least so many bytes are mapped one by one, on huge pages where the system gives them.
static const size_t MAPPED_BYTES = 4 << 20;

typedef struct {
    _Alignas(LINE) atomic_bool busy;
    atomic_size_t bytes;  // of its blocks; written by the thread in it, read by all
    block *free_blocks[CLASSES];
} part;
static part parts[PARTS];

static bool try_enter(part *p) { return !atomic_exchange_explicit(&p->busy, true, memory_order_acquire); }
static void enter(part *p) {
    while (!try_enter(p)) fastnn_yield();
}
static void leave(part *p) { atomic_store_explicit(&p->busy, false, memory_order_release); }

static void enter_all(void) {
    for (int i = 0; i < PARTS; i++) enter(&parts[i]);
}
static void leave_all(void) {
    for (int i = 0; i < PARTS; i++) leave(&parts[i]);
}
__attribute__((constructor)) static void protect_over_fork(void) { fastnn_at_fork(enter_all, leave_all, leave_all); }

// The calling thread's part, and those after it.
static part *own_part(void) {
    static atomic_uint threads;
    static _Thread_local part *own;
    if (own == NULL) own = &parts[atomic_fetch_add(&threads, 1) % PARTS];
    return own;
}
static part *next_part(part *p) { return p + 1 == parts + PARTS ? parts : p + 1; }

static size_t bytes_of(part *p) { return atomic_load_explicit(&p->bytes, memory_order_relaxed); }
static void set_bytes(part *p, size_t bytes) { atomic_store_explicit(&p->bytes, bytes, memory_order_relaxed); }

// At most so many bytes are kept.
static size_t cache_limit(void) {
    static atomic_size_t limit;
    if (limit == 0) limit = fastnn_usable_memory() / 4;
    return limit;
}

// Whether a part that grows to `bytes` is too much. A small share of the limit is every part's own: so most calls need
// not look at the other parts, which their threads write to.
static bool is_too_much(const part *grown, size_t bytes) {
    const size_t limit = cache_limit(), share = limit / (16 * PARTS);
    if (bytes <= share) return false;
    for (part *p = parts; p < parts + PARTS; p++)
        if (p != grown) bytes += larger(bytes_of(p), share);
    return bytes > limit;
}

// The number of the size class that `bytes` belong to, and its size: a multiple of an eighth of a power of two.
static size_t size_class(size_t bytes, size_t *rounded) {
    int power = 63 - __builtin_clzll(bytes | 1024);
    const int step = power - 3;  // an eighth of that power of two, as a power of two
    const size_t steps = (bytes + ((size_t)1 << step) - 1) >> step;
    *rounded = steps << step;
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
    for (part *p = parts; p < parts + PARTS; p++) {
        if (bytes_of(p) == 0) continue;
        block *taken[CLASSES];
        enter(p);
        memcpy(taken, p->free_blocks, sizeof taken);
        memset(p->free_blocks, 0, sizeof p->free_blocks);
        set_bytes(p, 0);
        leave(p);
        for (size_t i = 0; i < CLASSES; i++) unmap_list(taken[i]);
    }
}

size_t fastnn_cached_bytes(void) {
    size_t bytes = 0;
    for (part *p = parts; p < parts + PARTS; p++) bytes += bytes_of(p);
    return bytes;
}

static block *take_cached(size_t class_index) {
    part *p = own_part();
    for (int i = 0; i < PARTS; i++, p = next_part(p)) {
        if (bytes_of(p) == 0 || !try_enter(p)) continue;
        block *b = p->free_blocks[class_index];
        if (b != NULL) {
            p->free_blocks[class_index] = b->next;
            set_bytes(p, bytes_of(p) - b->bytes);
        }
        leave(p);
        if (b != NULL) return b;
    }
    return NULL;
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
    part *p = own_part();
    while (!try_enter(p)) p = next_part(p);
    if (is_too_much(p, bytes_of(p) + b->bytes)) {
        leave(p);
        fastnn_empty_cache();
        enter(p);
    }
    ASAN_POISON_MEMORY_REGION(b + 1, b->bytes - sizeof(block));
    b->next = p->free_blocks[b->class_index];
    p->free_blocks[b->class_index] = b;
    set_bytes(p, bytes_of(p) + b->bytes);
    leave(p);
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
