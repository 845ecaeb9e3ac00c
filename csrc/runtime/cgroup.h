// What a container may use, as Linux' control groups (version 2) tell it.
#ifndef FASTNN_CGROUP_H
#define FASTNN_CGROUP_H

#include <stddef.h>

// The least that `parse` finds in the first line of `file` (such as "cpu.max") in this process' group and in those
// above it, where 0 stands for no limit.
size_t fastnn_cgroup_limit(const char *file, size_t (*parse)(const char *line));

#endif
