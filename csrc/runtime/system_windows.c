// See system.h. Windows 10 and later.
#define WIN32_LEAN_AND_MEAN
#define NOMINMAX
#include <malloc.h>
#include <process.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <windows.h>

#include "fastnn.h"
#include "runtime/sizes.h"
#include "runtime/system.h"

static SRWLOCK *as_srw(fastnn_lock *lock) { return (SRWLOCK *)&lock->word; }
void fastnn_take_lock(fastnn_lock *lock) { AcquireSRWLockExclusive(as_srw(lock)); }
bool fastnn_try_lock(fastnn_lock *lock) { return TryAcquireSRWLockExclusive(as_srw(lock)) != 0; }
void fastnn_give_lock(fastnn_lock *lock) { ReleaseSRWLockExclusive(as_srw(lock)); }
void fastnn_reset_lock(fastnn_lock *lock) { InitializeSRWLock(as_srw(lock)); }

void fastnn_open_semaphore(fastnn_semaphore *semaphore) {
    if (*semaphore == NULL) *semaphore = CreateSemaphoreW(NULL, 0, LONG_MAX, NULL);
}
void fastnn_wait_semaphore(fastnn_semaphore *semaphore) { WaitForSingleObject(*semaphore, INFINITE); }
void fastnn_post_semaphore(fastnn_semaphore *semaphore) { ReleaseSemaphore(*semaphore, 1, NULL); }

typedef struct {
    void (*run)(void *);
    void *argument;
} thread_start;

static unsigned __stdcall run_thread(void *memory) {
    const thread_start start = *(thread_start *)memory;
    free(memory);
    start.run(start.argument);
    return 0;
}

// A machine of more than 64 processors has them in groups, and before Windows 11 a thread without an own affinity stays
// in the group of its process: the threads are shared out. Place 0 is the thread's that calls.
static void spread_over_groups(HANDLE thread) {
    static atomic_uint started;
    DWORD place = (atomic_fetch_add(&started, 1) + 1) % GetActiveProcessorCount(ALL_PROCESSOR_GROUPS), cpus;
    WORD group = 0;
    while (place >= (cpus = GetActiveProcessorCount(group))) place -= cpus, group++;
    SetThreadGroupAffinity(thread, &(GROUP_AFFINITY){.Mask = ~(KAFFINITY)0 >> (64 - cpus), .Group = group}, NULL);
}

bool fastnn_start_thread(void (*run)(void *), void *argument, size_t stack_bytes) {
    thread_start *start = malloc(sizeof *start);
    if (start == NULL) return false;
    *start = (thread_start){run, argument};
    const uintptr_t thread =
        _beginthreadex(NULL, (unsigned)stack_bytes, run_thread, start, STACK_SIZE_PARAM_IS_A_RESERVATION, NULL);
    if (thread == 0) {
        free(start);
        return false;
    }
    if (GetActiveProcessorGroupCount() > 1) spread_over_groups((HANDLE)thread);
    CloseHandle((HANDLE)thread);
    return true;
}

static DWORD memory_of_thread = FLS_OUT_OF_INDEXES;
static void WINAPI free_memory(void *memory) { fastnn_free_lines(memory); }
__attribute__((constructor)) static void make_key(void) { memory_of_thread = FlsAlloc(free_memory); }
bool fastnn_free_at_thread_end(void *memory) { return FlsSetValue(memory_of_thread, memory) != 0; }

void fastnn_yield(void) { SwitchToThread(); }
double fastnn_seconds(void) {
    LARGE_INTEGER count, per_second;
    QueryPerformanceCounter(&count);
    QueryPerformanceFrequency(&per_second);
    return (double)count.QuadPart / (double)per_second.QuadPart;
}
double fastnn_coarse_seconds(void) { return 1e-3 * (double)GetTickCount64(); }

void fastnn_at_fork(void (*before)(void), void (*in_parent)(void), void (*in_child)(void)) {
    (void)before, (void)in_parent, (void)in_child;  // Windows has no fork
}

// With one group of processors the process' affinity counts. With several, threads run on all of them.
int fastnn_usable_cpus(void) {
    DWORD_PTR own, all;
    const bool one_group = GetActiveProcessorGroupCount() == 1;
    const int cpus = one_group && GetProcessAffinityMask(GetCurrentProcess(), &own, &all)
                         ? __builtin_popcountll(own)
                         : (int)GetActiveProcessorCount(ALL_PROCESSOR_GROUPS);
    return cpus > 0 ? cpus : 1;
}
size_t fastnn_usable_memory(void) {
    MEMORYSTATUSEX status = {.dwLength = sizeof status};
    return GlobalMemoryStatusEx(&status) ? (size_t)status.ullTotalPhys : SIZE_MAX;
}

void *fastnn_allocate_lines(size_t bytes) { return _aligned_malloc(bytes, LINE); }
void fastnn_free_lines(void *memory) { _aligned_free(memory); }

// Huge pages need a privilege that users do not have.
void *fastnn_map_pages(size_t bytes) { return VirtualAlloc(NULL, bytes, MEM_RESERVE | MEM_COMMIT, PAGE_READWRITE); }
void fastnn_unmap_pages(void *memory, size_t bytes) { (void)bytes, VirtualFree(memory, 0, MEM_RELEASE); }
