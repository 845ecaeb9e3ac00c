// See system.h. Linux and macOS.
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "fastnn.h"
#include "runtime/sizes.h"
#include "runtime/system.h"

#ifdef __linux__
#include "runtime/cgroup.h"
#endif
#ifdef __APPLE__
#include <sys/sysctl.h>
#endif

void fastnn_take_lock(fastnn_lock *lock) { pthread_mutex_lock(lock); }
bool fastnn_try_lock(fastnn_lock *lock) { return pthread_mutex_trylock(lock) == 0; }
void fastnn_give_lock(fastnn_lock *lock) { pthread_mutex_unlock(lock); }
void fastnn_reset_lock(fastnn_lock *lock) { pthread_mutex_init(lock, NULL); }

#ifdef __APPLE__
void fastnn_open_semaphore(fastnn_semaphore *semaphore) { *semaphore = dispatch_semaphore_create(0); }
void fastnn_wait_semaphore(fastnn_semaphore *semaphore) { dispatch_semaphore_wait(*semaphore, DISPATCH_TIME_FOREVER); }
void fastnn_post_semaphore(fastnn_semaphore *semaphore) { dispatch_semaphore_signal(*semaphore); }
#else
void fastnn_open_semaphore(fastnn_semaphore *semaphore) { sem_init(semaphore, 0, 0); }
void fastnn_wait_semaphore(fastnn_semaphore *semaphore) { sem_wait(semaphore); }
void fastnn_post_semaphore(fastnn_semaphore *semaphore) { sem_post(semaphore); }
#endif

typedef struct {
    void (*run)(void *);
    void *argument;
} thread_start;

static void *run_thread(void *memory) {
    const thread_start start = *(thread_start *)memory;
    free(memory);
    start.run(start.argument);
    return NULL;
}

bool fastnn_start_thread(void (*run)(void *), void *argument, size_t stack_bytes) {
    thread_start *start = malloc(sizeof *start);
    if (start == NULL) return false;
    *start = (thread_start){run, argument};
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    pthread_attr_t attributes;
    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, stack_bytes);
    pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
    pthread_t thread;
    const bool started = pthread_create(&thread, &attributes, run_thread, start) == 0;
    pthread_attr_destroy(&attributes);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (!started) free(start);
    return started;
}

static pthread_key_t memory_of_thread;
__attribute__((constructor)) static void make_key(void) { pthread_key_create(&memory_of_thread, fastnn_free_lines); }
bool fastnn_free_at_thread_end(void *memory) { return pthread_setspecific(memory_of_thread, memory) == 0; }

void fastnn_yield(void) { sched_yield(); }

static double seconds_of(clockid_t clock) {
    struct timespec t;
    clock_gettime(clock, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}
double fastnn_seconds(void) { return seconds_of(CLOCK_MONOTONIC); }
double fastnn_coarse_seconds(void) {
#if defined(CLOCK_MONOTONIC_COARSE)
    return seconds_of(CLOCK_MONOTONIC_COARSE);
#elif defined(CLOCK_MONOTONIC_RAW_APPROX)
    return seconds_of(CLOCK_MONOTONIC_RAW_APPROX);
#else
    return fastnn_seconds();
#endif
}

void fastnn_at_fork(void (*before)(void), void (*in_parent)(void), void (*in_child)(void)) {
    pthread_atfork(before, in_parent, in_child);
}

#ifdef __APPLE__
int fastnn_usable_cpus(void) {
    int cpus = 0;
    size_t size = sizeof cpus;
    if (sysctlbyname("hw.perflevel0.logicalcpu", &cpus, &size, NULL, 0) != 0 || cpus < 1)
        cpus = (int)sysconf(_SC_NPROCESSORS_ONLN);
    return (int)larger((size_t)cpus, 1);
}
#else
int fastnn_usable_cpus(void) {
    cpu_set_t set;
    int cpus = sched_getaffinity(0, sizeof set, &set) == 0 ? CPU_COUNT(&set) : (int)sysconf(_SC_NPROCESSORS_ONLN);
    const int most = fastnn_cgroup_cpus();
    if (most > 0 && most < cpus) cpus = most;
    return cpus > 0 ? cpus : 1;
}
#endif

size_t fastnn_usable_memory(void) {
    const size_t machine = (size_t)sysconf(_SC_PHYS_PAGES) * (size_t)sysconf(_SC_PAGESIZE);
#ifdef __linux__
    const size_t group = fastnn_cgroup_memory();
    if (group > 0 && group < machine) return group;
#endif
    return machine;
}

void *fastnn_allocate_lines(size_t bytes) {
    void *memory;
    return posix_memalign(&memory, LINE, bytes) == 0 ? memory : NULL;
}
void fastnn_free_lines(void *memory) { free(memory); }

// A mapping that is one huge page longer than needed contains an aligned part; the rest is unmapped.
void *fastnn_map_pages(size_t bytes) {
    char *start = mmap(NULL, bytes + HUGE_PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (start == MAP_FAILED) return NULL;
    const size_t before = (size_t)(-(uintptr_t)start) % HUGE_PAGE;
    if (before > 0) munmap(start, before);
    munmap(start + before + bytes, HUGE_PAGE - before);
#ifdef MADV_HUGEPAGE
    madvise(start + before, bytes, MADV_HUGEPAGE);
#endif
    return start + before;
}
void fastnn_unmap_pages(void *memory, size_t bytes) { munmap(memory, bytes); }
