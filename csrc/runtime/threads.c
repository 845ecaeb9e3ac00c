// The thread pool: started at first use, spinning a little before it sleeps. A private pool and no OpenMP, since two
// OpenMP runtimes in one process deadlock or fall back to one thread, and libgomp hangs in a forked child.
//
// One job runs at a time. Each thread has a share of its pieces, the same in every call of the same size, so that the
// parts of an array that are in a core's cache are worked on by that core again. A thread that has finished its share
// takes pieces of the others' shares, so that a thread that the system has descheduled delays the call by one piece and
// not by its whole share. A caller that finds the pool busy, with another thread's job or with the job that the caller
// itself is a piece of, does all the work alone.
#include <stdatomic.h>

#include "fastnn.h"
#include "runtime/sizes.h"
#include "runtime/system.h"
#include "runtime/workspace.h"

enum {
    MAX_THREADS = 1024,
    STACK_BYTES = 1 << 20,  // of a worker: much more than the 32 KB that pieces need; unused pages cost nothing
    CLOSED = 1 << 30,       // a bit of job.gate
};
#define INTERRUPT_CHECK_SECONDS 0.05
// A thread that waits spins for SPIN_SECONDS and then yields its core, again and again, to any other thread, which may
// be another library's. A worker without a job sleeps after AWAKE_SECONDS: many times the 25 to 100 us that waking it
// up costs the next call, on a core that was idle meanwhile.
#define SPIN_SECONDS 10e-6
#define AWAKE_SECONDS 1e-3

// What is left of each thread's share, pieces next ... end - 1. The caller has share 0, worker n has share n + 1.
static struct {
    _Alignas(LINE) atomic_size_t next;
    size_t end;
} shares[MAX_THREADS];

// The gate has a cache line of its own: workers that wait for a job read the other line, and must not slow down those
// that enter or leave.
static struct {
    // The gate counts the workers inside the job; while CLOSED is set none may enter. So the caller waits only for
    // those that have entered, and never for one that is still waking up.
    _Alignas(LINE) atomic_int gate;
    _Alignas(LINE) atomic_uint generation;  // changes with every job; waiting workers watch it
    atomic_int invited;                     // workers 0 ... invited - 1 may take part
    // Written while the gate is closed, read inside it.
    fastnn_task task;
    const void *context;
    int shares;
} job = {.gate = CLOSED};

static struct {
    atomic_bool asleep;
    fastnn_semaphore wake;
} workers[MAX_THREADS];

static fastnn_lock owner = FASTNN_LOCK;  // held by the thread whose job it is
static _Thread_local bool is_owner;
static int started;  // how many workers there are; only the owner uses it
static atomic_int thread_count;
static int (*_Atomic interrupt_check)(void);

static void relax(void) {
#if defined(__x86_64__)
    __builtin_ia32_pause();
#else
    __asm__ volatile("yield");
#endif
}

// Lets a moment pass in a wait that began at `start`; returns the seconds since then.
static double wait_a_moment(double start) {
    const double waited = fastnn_seconds() - start;
    if (waited < SPIN_SECONDS)
        relax();
    else
        fastnn_yield();
    return waited;
}

// Whether the user wants to stop. The calling thread asks after each piece; the interrupt check itself, which is slow,
// is called once in INTERRUPT_CHECK_SECONDS. NULL: the work must not be interrupted.
static bool is_interrupted(double *next_check) {
    int (*check)(void) = interrupt_check;
    if (next_check == NULL || check == NULL || fastnn_coarse_seconds() < *next_check) return false;
    const bool stop = check() != 0;
    *next_check = fastnn_coarse_seconds() + INTERRUPT_CHECK_SECONDS;
    return stop;
}

// Runs the pieces of share `own`, then what is left of the other shares. False if interrupted, which takes all pieces
// that have not begun away from everyone.
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

// Waits until there is another job than generation `seen`. A worker that the last job did not invite sleeps at once,
// since spinning it would take time from those that work.
static void wait_for_job(int number, unsigned seen) {
    const double start = fastnn_seconds();
    do {
        if (atomic_load_explicit(&job.generation, memory_order_acquire) != seen) return;
    } while (number < atomic_load_explicit(&job.invited, memory_order_relaxed) && wait_a_moment(start) < AWAKE_SECONDS);
    // Either open_job sees that the worker sleeps, or the worker sees the new generation, so no wake-up is missed. The
    // semaphore may still hold a wake-up of an earlier job, so the generation is checked again after each.
    for (;;) {
        atomic_store(&workers[number].asleep, true);
        if (atomic_load(&job.generation) != seen) break;
        fastnn_wait_semaphore(&workers[number].wake);
    }
    atomic_store(&workers[number].asleep, false);
}

static void work(void *argument) {
    const int number = (int)(intptr_t)argument;
    if (!fastnn_open_workspace()) return;  // then the others do its pieces
    for (unsigned seen = 0;;) {
        wait_for_job(number, seen);
        seen = atomic_load(&job.generation);
        if (!(atomic_fetch_add(&job.gate, 1) & CLOSED) && number < atomic_load(&job.invited))
            run_pieces(number + 1, NULL);
        atomic_fetch_sub(&job.gate, 1);
    }
}

// Starts workers until there are `count`; returns how many there are, fewer if the system refuses one, and at most
// `count`.
static int start_workers(int count) {
    if (started >= count) return count;
    for (; started < count; started++) {
        workers[started].asleep = false;
        fastnn_open_semaphore(&workers[started].wake);
        if (!fastnn_start_thread(work, (void *)(intptr_t)started, STACK_BYTES)) break;
    }
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
        if (atomic_load(&workers[i].asleep) && atomic_exchange(&workers[i].asleep, false))
            fastnn_post_semaphore(&workers[i].wake);
}

// Lets no more workers in, and waits for those that have entered.
static void close_job(void) {
    atomic_fetch_or(&job.gate, CLOSED);
    const double start = fastnn_seconds();
    while (atomic_load_explicit(&job.gate, memory_order_acquire) != CLOSED) wait_a_moment(start);
}

// A forked child has none of the workers. It goes on with a job only if the thread that forks is the job's owner, which
// forks in a signal handler that the interrupt check has called. Then the workers finish what they have begun before
// the fork, or those pieces would be missing in the child; the owner goes on alone, in parent and child.
static void prepare_fork(void) {
    if (is_owner) close_job();
}
static void reset_in_child(void) {
    if (!is_owner) fastnn_reset_lock(&owner);
    job.gate = CLOSED;
    started = 0;
}
__attribute__((constructor)) static void register_fork_handlers(void) {
    fastnn_at_fork(prepare_fork, NULL, reset_in_child);
}

static bool run_job(size_t pieces, fastnn_task task, const void *context, double *next_check) {
    const int threads = fastnn_get_num_threads();
    const int helpers = (size_t)threads < pieces ? threads - 1 : (int)pieces - 1;
    if (helpers < 1 || !fastnn_try_lock(&owner)) return run_alone(pieces, task, context, next_check);
    is_owner = true;
    open_job(task, context, pieces, start_workers(helpers));
    const bool done = run_pieces(0, next_check);
    close_job();
    is_owner = false;
    fastnn_give_lock(&owner);
    return done;
}

fastnn_outcome fastnn_parallel(size_t pieces, fastnn_task task, const void *context) {
    if (!fastnn_open_workspace()) return FASTNN_NO_MEMORY;
    double next_check = fastnn_coarse_seconds() + INTERRUPT_CHECK_SECONDS;
    return run_job(pieces, task, context, &next_check) ? FASTNN_DONE : FASTNN_INTERRUPTED;
}

void fastnn_parallel_to_end(size_t pieces, fastnn_task task, const void *context) {
    run_job(pieces, task, context, NULL);
}

void fastnn_set_interrupt_check(int (*check)(void)) { interrupt_check = check; }

// ---- how many ------------------------------------------------------------------------------------------------------

int fastnn_get_num_threads(void) {
    int count = atomic_load_explicit(&thread_count, memory_order_relaxed);
    if (count > 0) return count;
    const int usable = fastnn_usable_cpus(), cpus = usable < MAX_THREADS ? usable : MAX_THREADS;
    return atomic_compare_exchange_strong(&thread_count, &count, cpus) ? cpus : count;
}

void fastnn_set_num_threads(int count) { thread_count = count < 1 ? 1 : count > MAX_THREADS ? MAX_THREADS : count; }
