// What the thread pool and the allocator ask of the operating system. Nothing else in csrc knows which one it is:
// system_posix.c (Linux, macOS) and system_windows.c answer, and have fastnn_usable_cpus and fastnn_usable_memory.
#ifndef FASTNN_SYSTEM_H
#define FASTNN_SYSTEM_H

#include <stdbool.h>
#include <stddef.h>

#ifdef _WIN32
typedef struct {
    void *word;  // an SRWLOCK
} fastnn_lock;
#define FASTNN_LOCK {NULL}
typedef void *fastnn_semaphore;
#else
#include <pthread.h>
typedef pthread_mutex_t fastnn_lock;
#define FASTNN_LOCK PTHREAD_MUTEX_INITIALIZER
#ifdef __APPLE__  // which has no unnamed semaphores of POSIX
#include <dispatch/dispatch.h>
typedef dispatch_semaphore_t fastnn_semaphore;
#else
#include <semaphore.h>
typedef sem_t fastnn_semaphore;
#endif
#endif

// ---- threads -------------------------------------------------------------------------------------------------------

void fastnn_take_lock(fastnn_lock *lock);
bool fastnn_try_lock(fastnn_lock *lock);
void fastnn_give_lock(fastnn_lock *lock);
void fastnn_reset_lock(fastnn_lock *lock);  // free again, whoever held it: for a forked child

void fastnn_open_semaphore(fastnn_semaphore *semaphore);  // at 0
void fastnn_wait_semaphore(fastnn_semaphore *semaphore);
void fastnn_post_semaphore(fastnn_semaphore *semaphore);

// Starts a thread that nobody waits for. It blocks all signals: handling those is left to the program's own threads.
bool fastnn_start_thread(void (*run)(void *), void *argument, size_t stack_bytes);
// Memory of fastnn_allocate_lines that is freed when the calling thread ends; one block for each thread.
bool fastnn_free_at_thread_end(void *memory);
void fastnn_yield(void);             // the calling thread's core to another thread, if one wants it
double fastnn_seconds(void);         // since some moment, exact to less than a microsecond
double fastnn_coarse_seconds(void);  // the same, quicker, and exact to some milliseconds

// The functions run around each fork of the process: before it, and after it in the parent and in the child.
void fastnn_at_fork(void (*before)(void), void (*in_parent)(void), void (*in_child)(void));

// ---- memory --------------------------------------------------------------------------------------------------------

// Memory that begins with a cache line; NULL if there is none.
void *fastnn_allocate_lines(size_t bytes);
void fastnn_free_lines(void *memory);

// Whole pages, on huge pages where the system gives them; NULL if there is no memory.
enum { HUGE_PAGE = 2 << 20 };
void *fastnn_map_pages(size_t bytes);
void fastnn_unmap_pages(void *memory, size_t bytes);

#endif
