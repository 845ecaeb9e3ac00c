// See workspace.h.
#include "runtime/workspace.h"

#include <pthread.h>
#include <stdlib.h>

#include "runtime/sizes.h"

// Tests with the address sanitizer see an access outside of the parts that are borrowed.
#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
enum { GAP = LINE };  // between two parts
#else
#define ASAN_POISON_MEMORY_REGION(memory, bytes) (void)0
#define ASAN_UNPOISON_MEMORY_REGION(memory, bytes) (void)0
enum { GAP = 0 };
#endif

// The most that is borrowed at one time is backward of a chain: the tile of the result, the inputs of all stages, and
// the draws of one dropout, 468 KB in all. Pages that are never written cost nothing.
enum { WORKSPACE_BYTES = 512 << 10 };

static _Thread_local char *top;  // where the free part begins; NULL: there is no workspace yet
static pthread_key_t key;        // its value is the workspace, which is freed when the thread ends

__attribute__((constructor)) static void make_key(void) { pthread_key_create(&key, free); }

bool fastnn_open_workspace(void) {
    if (top != NULL) return true;
    char *memory = aligned_alloc(LINE, WORKSPACE_BYTES);
    if (memory == NULL || pthread_setspecific(key, memory) != 0) {
        free(memory);
        return false;
    }
    ASAN_POISON_MEMORY_REGION(memory, WORKSPACE_BYTES);
    top = memory;
    return true;
}

void *fastnn_borrow(size_t bytes) {
    char *memory = top + GAP;
    top = memory + in_lines(bytes);
    ASAN_UNPOISON_MEMORY_REGION(memory, bytes);
    return memory;
}

void fastnn_give_back(void *memory) {
    ASAN_POISON_MEMORY_REGION(memory, (size_t)(top - (char *)memory));
    top = (char *)memory - GAP;
}
