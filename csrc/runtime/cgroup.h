// The limits of a container, as Linux' control groups (version 2) give them.
#ifndef FASTNN_CGROUP_H
#define FASTNN_CGROUP_H

#include <stddef.h>

// The smallest limit that holds for this process: `parse` reads it from the first line of `file` (such as "cpu.max") in
// the process' group and in each group above it. 0, from `parse` as well, means that there is no limit.
size_t fastnn_cgroup_limit(const char *file, size_t (*parse)(const char *line));

#endif
