// A thread's own scratch memory, for the tiles that its pieces compute in. The stack is no place for them: a program
// may give its threads as little as 64 KB of it (Python's threading.stack_size, musl's default of 128 KB).
#ifndef FASTNN_WORKSPACE_H
#define FASTNN_WORKSPACE_H

#include <stdbool.h>
#include <stddef.h>

// Makes sure that the calling thread has its workspace, which it keeps until it ends. fastnn_parallel calls it, so that
// all pieces may borrow. False: out of memory.
bool fastnn_open_workspace(void);

// The next free part of the workspace, aligned to cache lines. Parts are given back in reverse order, before the piece
// ends. All that a thread borrows at one time must fit into WORKSPACE_BYTES (workspace.c).
void *fastnn_borrow(size_t bytes);
void fastnn_give_back(void *memory);

#endif
