// The thread pool: started at first use, spinning a little before it sleeps. A private pool and no OpenMP, since two
// OpenMP runtimes in one process deadlock or fall back to one thread, and libgomp hangs in a forked child.
//
// One job runs at a time. Each thread has a share of its pieces, the same in every call of a size, so that arrays which
// stay in cache stay in the cache of one core; who is through takes pieces of the others' shares, so that a thread that
// the system has descheduled costs one piece and not the whole call. A caller that finds the pool taken, by another
// thread or by the job that it is itself a piece of, works alone.
#include <pthread.h>
#include <sched.h>
#include <semaphore.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "fastnn.h"
#include "runtime/cgroup.h"
#include "runtime/sizes.h"

enum {
    MAX_THREADS = 1024,
    // How long a worker stays awake for the next call: about 50 us spinning, then some 10 ms in which it lets any other
    // thread have its core. A core that has gone to sleep takes long to be itself again.
    SPINS = 4000,
    YIELDS = 30000,
    STACK_BYTES = 1 << 20,  // a chain's tiles are there
    CLOSED = 1 << 30,
};
#define INTERRUPT_CHECK_SECONDS 0.05

// The pieces that are left of each thread's share; the caller's is number 0, worker n's n + 1.
static struct {
    _Alignas(LINE) atomic_size_t next;
    size_t end;
} shares[MAX_THREADS];

// On lines of their own, so that those who look for a job or read it do not slow down those who enter and leave.
static struct {
    // The gate counts the workers inside the job; while CLOSED is set none may enter. So the caller waits for those
    // that came in, and never for one that is still waking up.
    _Alignas(LINE) atomic_int gate;
    _Alignas(LINE) atomic_uint generation;  // changes with every job: what waiting workers look at
    atomic_int invited;                     // workers numbered below may take part
    // Written while the gate is closed, read inside it.
    fastnn_task task;
    const void *context;
    int shares;
} job = {.gate = CLOSED};

static struct {
    atomic_bool asleep;
    sem_t wake;
} workers[MAX_THREADS];

static pthread_mutex_t owner = PTHREAD_MUTEX_INITIALIZER;  // held by the thread whose job it is
static int started;                                        // workers; by the owner only
static atomic_int thread_count;
static int (*_Atomic interrupt_check)(void);

static void relax(void) {
#if defined(__x86_64__)
    __builtin_ia32_pause();
#else
    __asm__ volatile("yield");
#endif
}

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC_COARSE, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

// Whether the user wants to stop: asked by the calling thread after each piece, looked up now and then.
static bool is_interrupted(double *next_check) {
    int (*check)(void) = interrupt_check;
    if (next_check == NULL || check == NULL || now() < *next_check) return false;
    const bool stop = check() != 0;
    *next_check = now() + INTERRUPT_CHECK_SECONDS;
    return stop;
}

// The pieces of share `own`, then what is left of the others. `next_check`: NULL where nobody asks. False if
// interrupted.
static bool run_pieces(int own, double *next_check) {
    for (int k = 0; k < job.shares; k++) {
        const int share = (own + k) % job.shares;
        size_t piece;
        while ((piece = atomic_fetch_add_explicit(&shares[share].next, 1, memory_order_relaxed)) < shares[share].end) {
            job.task(job.context, piece);
            if (!is_interrupted(next_check)) continue;
            for (int i = 0; i < job.shares; i++) atomic_store(&shares[i].next, shares[i].end);
            return false;
        }
    }
    return true;
}

static bool run_alone(size_t pieces, fastnn_task task, const void *context, double *next_check) {
    for (size_t piece = 0; piece < pieces; piece++) {
        task(context, piece);
        if (is_interrupted(next_check)) return false;
    }
    return true;
}

// A worker that the last job did not invite sleeps at once: it would spin at the cost of those that work.
static void wait_for_job(int number, unsigned seen) {
    for (int i = 0; i < SPINS + YIELDS && number < atomic_load_explicit(&job.invited, memory_order_relaxed); i++) {
        if (atomic_load_explicit(&job.generation, memory_order_acquire) != seen) return;
        if (i < SPINS)
            relax();
        else
            sched_yield();
    }
    // Either open_job sees the sleeper or the sleeper sees the new generation, so no wake-up is missed. One that was
    // meant for an earlier job may come in between.
    for (;;) {
        atomic_store(&workers[number].asleep, true);
        if (atomic_load(&job.generation) != seen) break;
        sem_wait(&workers[number].wake);
    }
    atomic_store(&workers[number].asleep, false);
}

static void *work(void *argument) {
    const int number = (int)(intptr_t)argument;
    for (unsigned seen = 0;;) {
        wait_for_job(number, seen);
        seen = atomic_load(&job.generation);
        if (!(atomic_fetch_add(&job.gate, 1) & CLOSED) && number < atomic_load(&job.invited))
            run_pieces(number + 1, NULL);
        atomic_fetch_sub(&job.gate, 1);
    }
    return NULL;
}

// After fork the child has none of the workers, and a job that was under way is not its own.
static void reset_in_child(void) {
    pthread_mutex_init(&owner, NULL);
    job.gate = CLOSED;
    started = 0;
}
__attribute__((constructor)) static void register_fork_handler(void) { pthread_atfork(NULL, NULL, reset_in_child); }

// Starts workers until there are `count`, and returns how many of those there are. Signals are for the program's own
// threads.
static int start_workers(int count) {
    if (started >= count) return count;
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    pthread_attr_t attributes;
    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, STACK_BYTES);
    pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
    for (; started < count; started++) {
        pthread_t thread;
        workers[started].asleep = false;
        sem_init(&workers[started].wake, 0, 0);
        if (pthread_create(&thread, &attributes, work, (void *)(intptr_t)started) != 0) break;
    }
    pthread_attr_destroy(&attributes);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return started;
}

static void open_job(fastnn_task task, const void *context, size_t pieces, int invited) {
    job.task = task;
    job.context = context;
    job.shares = invited + 1;
    for (int i = 0; i < job.shares; i++) {
        const size_t even = pieces / (size_t)job.shares, rest = pieces % (size_t)job.shares, n = (size_t)i;
        atomic_store_explicit(&shares[i].next, n * even + (n < rest ? n : rest), memory_order_relaxed);
        shares[i].end = (n + 1) * even + (n + 1 < rest ? n + 1 : rest);
    }
    atomic_store(&job.invited, invited);
    atomic_fetch_and(&job.gate, ~CLOSED);
    atomic_fetch_add(&job.generation, 1);
    for (int i = 0; i < invited; i++)
        if (atomic_load(&workers[i].asleep) && atomic_exchange(&workers[i].asleep, false)) sem_post(&workers[i].wake);
}

static void close_job(void) {
    atomic_fetch_or(&job.gate, CLOSED);
    for (unsigned i = 1; atomic_load_explicit(&job.gate, memory_order_acquire) != CLOSED; i++) {
        relax();
        if (i % SPINS == 0) sched_yield();
    }
}

// `next_check`: NULL for work that must not be interrupted.
static bool run_job(size_t pieces, fastnn_task task, const void *context, double *next_check) {
    const int threads = fastnn_get_num_threads();
    const int helpers = (size_t)threads < pieces ? threads - 1 : (int)pieces - 1;
    if (helpers < 1 || pthread_mutex_trylock(&owner) != 0) return run_alone(pieces, task, context, next_check);
    open_job(task, context, pieces, start_workers(helpers));
    const bool done = run_pieces(0, next_check);
    close_job();
    pthread_mutex_unlock(&owner);
    return done;
}

bool fastnn_parallel(size_t pieces, fastnn_task task, const void *context) {
    double next_check = now() + INTERRUPT_CHECK_SECONDS;
    return run_job(pieces, task, context, &next_check);
}

void fastnn_parallel_to_end(size_t pieces, fastnn_task task, const void *context) {
    run_job(pieces, task, context, NULL);
}

void fastnn_set_interrupt_check(int (*check)(void)) { interrupt_check = check; }

// ---- how many ------------------------------------------------------------------------------------------------------

int fastnn_parse_cpu_max(const char *line) {
    char *end;
    const long long quota = strtoll(line, &end, 10), period = strtoll(end, NULL, 10);
    if (quota <= 0 || period <= 0) return 0;
    const long long cpus = (quota - 1) / period + 1;
    return cpus < MAX_THREADS ? (int)cpus : MAX_THREADS;
}
static size_t quota(const char *line) { return (size_t)fastnn_parse_cpu_max(line); }

int fastnn_usable_cpus(void) {
    cpu_set_t set;
    int cpus = sched_getaffinity(0, sizeof set, &set) == 0 ? CPU_COUNT(&set) : (int)sysconf(_SC_NPROCESSORS_ONLN);
    const int most = (int)fastnn_cgroup_limit("cpu.max", quota);
    if (most > 0 && most < cpus) cpus = most;
    return cpus > 0 ? cpus : 1;
}

int fastnn_get_num_threads(void) {
    int count = atomic_load_explicit(&thread_count, memory_order_relaxed);
    if (count > 0) return count;
    const int cpus = fastnn_usable_cpus();
    return atomic_compare_exchange_strong(&thread_count, &count, cpus) ? cpus : count;
}

void fastnn_set_num_threads(int count) { thread_count = count < 1 ? 1 : count > MAX_THREADS ? MAX_THREADS : count; }
