// The thread pool: started at first use, spinning a little before it sleeps. A private pool and no OpenMP, since two
// OpenMP runtimes in one process deadlock or fall back to one thread, and libgomp hangs in a forked child.
//
// One job runs at a time. Its pieces are handed out by a counter, so that a thread that the system has descheduled costs
// one piece and not the whole call. A caller that finds the pool taken, or is itself inside a piece, works alone.
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "fastnn.h"

enum {
    MAX_THREADS = 1024,
    SPINS = 4000,  // about 50 us; a loop of calls keeps the workers awake
    STACK_BYTES = 512 << 10,
    CLOSED = 1 << 30,
};
#define INTERRUPT_CHECK_SECONDS 0.05

// The gate counts the workers inside the job; while CLOSED is set none may enter. So the caller waits for those that
// came in, and never for one that is still waking up.
static atomic_int gate = CLOSED;
static atomic_uint generation;  // changes with every job: what waiting workers look at
static struct {
    fastnn_task task;
    const void *context;
    size_t pieces;
    int workers;  // those numbered below may take part
} job;
static atomic_size_t next_piece;

static pthread_mutex_t owner = PTHREAD_MUTEX_INITIALIZER;  // held by the thread whose job it is
static pthread_mutex_t sleep_lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t wake = PTHREAD_COND_INITIALIZER;
static atomic_int sleepers;
static int started;  // workers; by the owner only
static atomic_int thread_count;
static _Thread_local bool inside;
static int (*_Atomic interrupt_check)(void);

static void relax(void) {
#if defined(__x86_64__)
    __builtin_ia32_pause();
#else
    __asm__ volatile("yield");
#endif
}

static void run_pieces(void) {
    size_t piece;
    while ((piece = atomic_fetch_add_explicit(&next_piece, 1, memory_order_relaxed)) < job.pieces)
        job.task(job.context, piece);
}

static void wait_for_job(unsigned seen) {
    for (int i = 0; i < SPINS; i++) {
        if (atomic_load_explicit(&generation, memory_order_acquire) != seen) return;
        relax();
    }
    pthread_mutex_lock(&sleep_lock);
    atomic_fetch_add(&sleepers, 1);
    while (atomic_load(&generation) == seen) pthread_cond_wait(&wake, &sleep_lock);
    atomic_fetch_sub(&sleepers, 1);
    pthread_mutex_unlock(&sleep_lock);
}

static void *work(void *argument) {
    const int number = (int)(intptr_t)argument;
    inside = true;
    for (unsigned seen = 0;;) {
        wait_for_job(seen);
        seen = atomic_load(&generation);
        if (!(atomic_fetch_add(&gate, 1) & CLOSED) && number < job.workers) run_pieces();
        atomic_fetch_sub(&gate, 1);
    }
    return NULL;
}

// After fork the child has none of the workers; whatever state they and other threads left is put back.
static void reset_in_child(void) {
    pthread_mutex_init(&owner, NULL);
    pthread_mutex_init(&sleep_lock, NULL);
    pthread_cond_init(&wake, NULL);
    gate = CLOSED;
    generation = 0;
    sleepers = 0;
    started = 0;
    inside = false;
}
static void register_fork_handler(void) { pthread_atfork(NULL, NULL, reset_in_child); }

// Signals are for the program's own threads.
static void start_workers(int count) {
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, register_fork_handler);
    if (started >= count) return;
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    pthread_attr_t attributes;
    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, STACK_BYTES);
    pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
    pthread_t thread;
    while (started < count && pthread_create(&thread, &attributes, work, (void *)(intptr_t)started) == 0) started++;
    pthread_attr_destroy(&attributes);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
}

static void open_job(fastnn_task task, const void *context, size_t pieces, int workers) {
    job.task = task;
    job.context = context;
    job.pieces = pieces;
    job.workers = workers;
    atomic_store(&next_piece, 0);
    atomic_fetch_and(&gate, ~CLOSED);
    atomic_fetch_add(&generation, 1);
    if (atomic_load(&sleepers) > 0) {
        pthread_mutex_lock(&sleep_lock);
        pthread_cond_broadcast(&wake);
        pthread_mutex_unlock(&sleep_lock);
    }
}

static void close_job(void) {
    atomic_fetch_or(&gate, CLOSED);
    for (int i = 0; atomic_load_explicit(&gate, memory_order_acquire) != CLOSED; i++) {
        relax();
        if (i % SPINS == SPINS - 1) sched_yield();
    }
}

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC_COARSE, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

// The calling thread's share: pieces from the counter, and now and then a look whether the user wants to stop.
static bool run_and_watch(atomic_size_t *counter, size_t pieces, fastnn_task task, const void *context) {
    int (*check)(void) = interrupt_check;
    double next_check = now() + INTERRUPT_CHECK_SECONDS;
    size_t piece;
    while ((piece = atomic_fetch_add_explicit(counter, 1, memory_order_relaxed)) < pieces) {
        task(context, piece);
        if (check == NULL || now() < next_check) continue;
        if (check() != 0) {
            atomic_store(counter, pieces);
            return false;
        }
        next_check = now() + INTERRUPT_CHECK_SECONDS;
    }
    return true;
}

bool fastnn_parallel(size_t pieces, fastnn_task task, const void *context) {
    const int threads = fastnn_get_num_threads();
    const int workers = (size_t)threads < pieces ? threads - 1 : (int)pieces - 1;
    if (workers < 1 || inside || pthread_mutex_trylock(&owner) != 0) {
        atomic_size_t counter = 0;
        return run_and_watch(&counter, pieces, task, context);
    }
    start_workers(workers);
    inside = true;
    open_job(task, context, pieces, workers);
    const bool done = run_and_watch(&next_piece, pieces, task, context);
    close_job();
    inside = false;
    pthread_mutex_unlock(&owner);
    return done;
}

void fastnn_set_interrupt_check(int (*check)(void)) { interrupt_check = check; }

// ---- how many ---------------------------------------------------------------------------------------------------------

int fastnn_parse_cpu_max(const char *line) {
    long quota, period;
    if (sscanf(line, "%ld %ld", &quota, &period) != 2 || quota <= 0 || period <= 0) return 0;
    return (int)((quota + period - 1) / period);
}

// The tightest quota on the way from this process' cgroup to the root.
static int cgroup_cpus(void) {
    char path[4096] = "/sys/fs/cgroup", line[4096];
    FILE *file = fopen("/proc/self/cgroup", "r");
    if (file == NULL) return 0;
    while (fgets(line, sizeof line, file) != NULL) {
        if (strncmp(line, "0::", 3) != 0) continue;
        line[strcspn(line, "\n")] = '\0';
        snprintf(path, sizeof path, "/sys/fs/cgroup%.4000s", line + 3);
    }
    fclose(file);
    int tightest = 0;
    while (strlen(path) >= strlen("/sys/fs/cgroup")) {
        char name[4200];
        snprintf(name, sizeof name, "%s/cpu.max", path);
        if ((file = fopen(name, "r")) != NULL) {
            const int cpus = fgets(line, sizeof line, file) != NULL ? fastnn_parse_cpu_max(line) : 0;
            if (cpus > 0 && (tightest == 0 || cpus < tightest)) tightest = cpus;
            fclose(file);
        }
        *strrchr(path, '/') = '\0';
    }
    return tightest;
}

int fastnn_usable_cpus(void) {
    cpu_set_t set;
    int cpus = sched_getaffinity(0, sizeof set, &set) == 0 ? CPU_COUNT(&set) : (int)sysconf(_SC_NPROCESSORS_ONLN);
    const int quota = cgroup_cpus();
    if (quota > 0 && quota < cpus) cpus = quota;
    return cpus > 0 ? cpus : 1;
}

int fastnn_get_num_threads(void) {
    int count = atomic_load_explicit(&thread_count, memory_order_relaxed);
    if (count == 0) {
        count = fastnn_usable_cpus();
        thread_count = count;
    }
    return count;
}

void fastnn_set_num_threads(int count) {
    thread_count = count < 1 ? 1 : count > MAX_THREADS ? MAX_THREADS : count;
}
