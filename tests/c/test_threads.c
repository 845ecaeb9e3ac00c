// The thread pool: every piece runs once, whoever calls, however many threads there are, after interrupts and forks.
#include <limits.h>
#include <pthread.h>
#include <stdatomic.h>
#include <time.h>

#include "check.h"
#include "fastnn.h"
#ifdef CAN_FORK
#include <sys/resource.h>
#include <sys/wait.h>

#include "runtime/workspace.h"
#endif
#ifdef __linux__
#include "runtime/cgroup.h"
#endif

enum { MOST_PIECES = 200 };

// Plain memory, so that ThreadSanitizer sees a piece that runs twice or a result that is read too early.
typedef struct {
    int runs[MOST_PIECES];
    atomic_int total;
} counters;

static void count_run(const void *context, size_t piece) { ((counters *)context)->runs[piece]++; }

static void check_job(size_t pieces) {
    counters c = {0};
    CHECK(fastnn_parallel(pieces, count_run, &c) == FASTNN_DONE, "%zu pieces", pieces);
    for (size_t i = 0; i < MOST_PIECES; i++)
        CHECK(c.runs[i] == (i < pieces), "piece %zu of %zu: %d", i, pieces, c.runs[i]);
}

static void pause_for(long nanoseconds) { nanosleep(&(struct timespec){.tv_nsec = nanoseconds}, NULL); }

// Jobs of all sizes, right after each other or after a pause.
static void test_sizes(void) {
    for (int threads = 1; threads <= 8; threads++) {
        fastnn_set_num_threads(threads);
        for (size_t pieces = 0; pieces <= MOST_PIECES; pieces += 1 + pieces / 4) {
            check_job(pieces);
            if (pieces % 3 == 0) pause_for(300000);
        }
    }
}

// How many pieces ran at once; each waits for `expected` of them, for at most a minute.
typedef struct {
    int expected;
    atomic_int running, most;
} meeting;

static void meet(const void *context, size_t piece) {
    meeting *m = (meeting *)context;
    const int running = atomic_fetch_add(&m->running, 1) + 1;
    for (int most = m->most; most < running && !atomic_compare_exchange_weak(&m->most, &most, running);) continue;
    for (int i = 0; m->most < m->expected && i < 60000; i++) pause_for(1000000);
    pause_for((long)(piece % 3) * 10000);
    atomic_fetch_sub(&m->running, 1);
}

// All the threads that are asked for take part, even if they have to wake up, and no more than those.
static void test_thread_counts(void) {
    static const int counts[] = {2, 8, 3, 5, 2, 1, 4};
    for (size_t i = 0; i < sizeof counts / sizeof *counts; i++) {
        fastnn_set_num_threads(counts[i]);
        // The workers are at any point of their wait for a job, or after a long pause asleep.
        for (size_t pieces = 0; pieces < 40; pieces++) check_job(pieces);
        if (i % 2 == 0) pause_for(5000000);
        meeting m = {.expected = counts[i]};
        CHECK(fastnn_parallel(30, meet, &m) == FASTNN_DONE && m.most == counts[i], "%d of %d threads", m.most,
              counts[i]);
    }
}

static atomic_bool stop;

static void *call_until_stopped(void *unused) {
    for (size_t i = 0; !stop; i++) check_job(1 + i % 40);
    return unused;
}
static void *change_threads(void *unused) {
    for (int i = 0; !stop; i++) {
        fastnn_set_num_threads(1 + i % 5);
        CHECK(fastnn_get_num_threads() >= 1, "%d", i);
        pause_for(50000);
    }
    return unused;
}

static void test_many_callers(void) {
    enum { CALLERS = 4 };
    pthread_t threads[CALLERS + 1];
    stop = false;
    for (int i = 0; i < CALLERS; i++) pthread_create(&threads[i], NULL, call_until_stopped, NULL);
    pthread_create(&threads[CALLERS], NULL, change_threads, NULL);
    pause_for(500000000);
    stop = true;
    for (int i = 0; i <= CALLERS; i++) pthread_join(threads[i], NULL);
}

static void run_inner_job(const void *context, size_t piece) {
    counters inner = {0};
    CHECK(fastnn_parallel(10, count_run, &inner) == FASTNN_DONE, "piece %zu", piece);
    for (int i = 0; i < 10; i++) atomic_fetch_add(&((counters *)context)->total, inner.runs[i]);
}

static void test_nested(void) {
    fastnn_set_num_threads(3);
    counters c = {0};
    fastnn_parallel(20, run_inner_job, &c);
    CHECK(c.total == 200, "%d", c.total);
}

static int say_stop(void) { return 1; }
static void run_slowly(const void *context, size_t piece) {
    count_run(context, piece);
    pause_for(20000000);
}

static void test_interrupt(void) {
    for (int threads = 1; threads <= 3; threads++) {
        fastnn_set_num_threads(threads);
        fastnn_set_interrupt_check(say_stop);
        counters c = {0};
        CHECK(fastnn_parallel(MOST_PIECES, run_slowly, &c) == FASTNN_INTERRUPTED, "not interrupted");
        int runs = 0;
        for (int i = 0; i < MOST_PIECES; i++) runs += c.runs[i];
        CHECK(0 < runs && runs < MOST_PIECES, "%d pieces ran", runs);
        fastnn_set_interrupt_check(NULL);
        check_job(50);
    }
}

#ifdef CAN_FORK
static void expect_success(pid_t child) {
    int status;
    CHECK(waitpid(child, &status, 0) == child && status == 0, "child's status %x", (unsigned)status);
}

static void take_all_memory(void) {
    const struct rlimit none = {0, 0};  // beside what it has
    setrlimit(RLIMIT_AS, &none);
}

// The first job of a process that has no memory for a workspace: no piece runs.
static void test_no_memory(void) {
    const pid_t child = fork();
    if (child == 0) {
        take_all_memory();
        counters c = {0};
        CHECK(fastnn_parallel(9, count_run, &c) == FASTNN_NO_MEMORY && c.runs[0] == 0, "%d", c.runs[0]);
        _exit(0);
    }
    expect_success(child);
}

// The first job of a process in which no thread can start.
static void test_no_threads(void) {
    const pid_t child = fork();
    if (child == 0) {
        CHECK(fastnn_open_workspace(), "no memory");
        take_all_memory();
        fastnn_set_num_threads(8);
        for (size_t i = 0; i < 20; i++) check_job(i);
        _exit(0);
    }
    expect_success(child);
}

static void test_fork(bool busy) {
    fastnn_set_num_threads(3);
    pthread_t threads[3];
    stop = false;
    if (busy) {
        for (int i = 0; i < 2; i++) pthread_create(&threads[i], NULL, call_until_stopped, NULL);
        pthread_create(&threads[2], NULL, change_threads, NULL);
    } else {
        check_job(50);
    }
    for (int i = 0; i < 100; i++) {
        const pid_t child = fork();
        if (child == 0) {
            limit_seconds(600);
            fastnn_set_num_threads(3);
            for (size_t pieces = 0; pieces < 30; pieces++) check_job(pieces);
            if (i % 30 == 0) test_thread_counts();
            _exit(0);
        }
        expect_success(child);
    }
    stop = true;
    for (int i = 0; busy && i < 3; i++) pthread_join(threads[i], NULL);
}

#endif

#ifdef __linux__
static void test_cpu_max(void) {
    static const struct {
        const char *line;
        int cpus;
    } cases[] = {
        {"max 100000\n", 0},
        {"100000 100000\n", 1},
        {"150000 100000\n", 2},
        {"1 100000", 1},
        {"200000 100000", 2},
        {"", 0},
        {"max", 0},
        {"100000", 0},
        {"-1 100000", 0},
        {"0 100000", 0},
        {"100000 0", 0},
        {"100000 -5", 0},
        {"twelve 100000", 0},
        {"100000 many", 0},
        {"9223372036854775807 1", INT_MAX},
        {"99999999999999999999999 100000", INT_MAX},
        {"9223372036854775807 9223372036854775807", 1},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        CHECK(fastnn_parse_cpu_max(cases[i].line) == cases[i].cpus, "%s", cases[i].line);
}
#endif

int main(void) {
    limit_seconds(1800);
#ifdef __linux__
    test_cpu_max();
#endif
#ifdef CAN_FORK
    test_no_memory();
    test_no_threads();
#endif
    test_sizes();
    for (int i = 0; i < 20; i++) test_thread_counts();
    test_nested();
    test_interrupt();
    test_many_callers();
#ifdef CAN_FORK
    test_fork(false);
    test_fork(true);
#endif
}
