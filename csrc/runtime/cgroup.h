// The limits of a container, as Linux' control groups (version 2) give them.
#ifndef FASTNN_CGROUP_H
#define FASTNN_CGROUP_H

#include <stddef.h>

// The smallest limit that holds for this process' group and each group above it; 0: no limit.
int fastnn_cgroup_cpus(void);       // the quota, rounded up
size_t fastnn_cgroup_memory(void);  // bytes

// CPUs in a line of a cpu.max file ("max 100000", "150000 100000"), rounded up; 0: no limit.
int fastnn_parse_cpu_max(const char *line);

#endif
