// See workspace.h.
#include "runtime/workspace.h"

#include "runtime/sizes.h"
#include "runtime/system.h"

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

bool fastnn_open_workspace(void) {
    if (top != NULL) return true;
    char *memory = fastnn_allocate_lines(WORKSPACE_BYTES);
    if (memory == NULL || !fastnn_free_at_thread_end(memory)) {
        fastnn_free_lines(memory);
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
