// The caching allocator: blocks do not overlap, are reused and given back, from many threads and after a fork.
#include <pthread.h>
#include <string.h>

#include "check.h"
#include "fastnn.h"
#ifdef CAN_FORK
#include <sys/wait.h>
#endif

static const size_t MANY = (size_t)3 << 20;  // just below what is mapped for itself

static void fill(unsigned char *memory, size_t bytes, unsigned char value) {
    memory[0] = memory[bytes / 2] = memory[bytes - 1] = value;
}
static void check_filled(const unsigned char *memory, size_t bytes, unsigned char value) {
    CHECK(memory[0] == value && memory[bytes / 2] == value && memory[bytes - 1] == value, "%zu bytes at %p", bytes,
          (const void *)memory);
}

// Every size class and its neighbours, all written to the last byte.
static void test_sizes(void) {
    for (size_t power = 0; power < 26; power++) {
        for (size_t step = 0; step < 8; step++) {
            const size_t middle = ((size_t)1 << power) + (((size_t)1 << power) * step) / 8;
            for (size_t bytes = middle - 1; bytes <= middle + 1; bytes++) {
                unsigned char *memory = fastnn_allocate(bytes);
                CHECK(memory != NULL && (uintptr_t)memory % 64 == 0, "%zu bytes: %p", bytes, (void *)memory);
                if (bytes > 0) fill(memory, bytes, 1);
                fastnn_release(memory);
            }
        }
    }
    fastnn_release(NULL);
    fastnn_empty_cache();
    CHECK(fastnn_cached_bytes() == 0, "%zu", fastnn_cached_bytes());
}

static void test_reuse(void) {
    void *first = fastnn_allocate(MANY), *second = fastnn_allocate(MANY);
    CHECK(first != second, "one block twice");
    fastnn_release(first);
    CHECK(fastnn_cached_bytes() >= MANY, "%zu", fastnn_cached_bytes());
    CHECK(fastnn_allocate(MANY) == first, "not reused");
    CHECK(fastnn_cached_bytes() == 0, "%zu", fastnn_cached_bytes());
    fastnn_release(first);
    fastnn_release(second);
    fastnn_empty_cache();
}

static void test_resize(void) {
    unsigned char *memory = fastnn_resize(NULL, 1000);
    for (size_t i = 0; i < 1000; i++) memory[i] = (unsigned char)i;
    for (size_t bytes = 500; bytes < ((size_t)9 << 20); bytes *= 3) {
        memory = fastnn_resize(memory, bytes);
        for (size_t i = 0; i < 500; i++) CHECK(memory[i] == (unsigned char)i, "byte %zu of %zu", i, bytes);
        if (bytes > 500) fill(memory + 500, bytes - 500, 0);
    }
    fastnn_release(memory);
    fastnn_empty_cache();
}

static void test_too_much(void) {
    static const size_t sizes[] = {SIZE_MAX,     SIZE_MAX - 64, SIZE_MAX / 2 + 1,
                                   SIZE_MAX / 2, SIZE_MAX / 4,  (size_t)1 << 56};
    unsigned char *kept = fastnn_allocate(MANY);
    fill(kept, MANY, 7);
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        CHECK(fastnn_allocate(sizes[i]) == NULL, "%zu bytes", sizes[i]);
        CHECK(fastnn_resize(kept, sizes[i]) == NULL, "%zu bytes", sizes[i]);
    }
    check_filled(kept, MANY, 7);
    fastnn_release(kept);
    fastnn_empty_cache();
}

static void *allocate_and_free(void *number) {
    enum { HELD = 8, ROUNDS = 400 };
    unsigned char *held[HELD] = {0};
    size_t sizes[HELD] = {0};
    unsigned random = 12345u + (unsigned)(uintptr_t)number;
    for (int round = 0; round < ROUNDS; round++) {
        random = random * 1664525u + 1013904223u;
        const unsigned slot = random >> 29;
        const unsigned char value = (unsigned char)(16 * (uintptr_t)number + slot);
        if (held[slot] != NULL) check_filled(held[slot], sizes[slot], value);
        fastnn_release(held[slot]);
        sizes[slot] = 1000u + (random >> 8) % 20 * 7000u + (round % 100 == 0 ? (size_t)5 << 20 : 0);
        held[slot] = fastnn_allocate(sizes[slot]);
        fill(held[slot], sizes[slot], value);
        if (round % 97 == 0) fastnn_empty_cache();
    }
    for (int i = 0; i < HELD; i++) fastnn_release(held[i]);
    return NULL;
}

enum { THREADS = 18 };  // more than the cache has parts
static void start(pthread_t *threads) {
    for (uintptr_t i = 0; i < THREADS; i++) pthread_create(&threads[i], NULL, allocate_and_free, (void *)i);
}
static void join(const pthread_t *threads) {
    for (int i = 0; i < THREADS; i++) pthread_join(threads[i], NULL);
}

static void test_threads(void) {
    pthread_t threads[THREADS];
    start(threads);
    join(threads);
    fastnn_empty_cache();
    CHECK(fastnn_cached_bytes() == 0, "%zu", fastnn_cached_bytes());
}

#ifdef CAN_FORK
static void test_fork_while_busy(void) {
    pthread_t threads[THREADS];
    start(threads);
    for (int i = 0; i < 50; i++) {
        const pid_t child = fork();
        if (child == 0) {
            limit_seconds(600);
            for (size_t bytes = 1; bytes < MANY; bytes *= 2) fastnn_release(fastnn_allocate(bytes));
            fastnn_empty_cache();
            _exit(fastnn_cached_bytes() != 0);
        }
        int status;
        CHECK(waitpid(child, &status, 0) == child && status == 0, "child's status %x", (unsigned)status);
    }
    join(threads);
    fastnn_empty_cache();
}
#endif

int main(void) {
    limit_seconds(1800);
    test_sizes();
    test_reuse();
    test_resize();
    test_too_much();
    test_threads();
#ifdef CAN_FORK
    test_fork_while_busy();
#endif
}
