// See cgroup.h.
#include "runtime/cgroup.h"

#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { LONGEST = 4096 };
static const char ROOT[] = "/sys/fs/cgroup";

static bool read_line(const char *path, char line[LONGEST]) {
    FILE *file = fopen(path, "re");
    if (file == NULL) return false;
    const bool read = fgets(line, LONGEST, file) != NULL;
    fclose(file);
    return read;
}

// The folder of this process' group: ROOT and the path in the line "0::/path" of /proc/self/cgroup.
static void find_group(char path[LONGEST]) {
    char line[LONGEST];
    strcpy(path, ROOT);
    FILE *file = fopen("/proc/self/cgroup", "re");
    if (file == NULL) return;
    while (fgets(line, sizeof line, file) != NULL) {
        if (strncmp(line, "0::/", 4) != 0) continue;
        line[strcspn(line, "\n")] = '\0';
        snprintf(path, LONGEST, "%s%.4000s", ROOT, line + 3);
    }
    fclose(file);
}

// `parse` reads a limit from the first line of `file` in the process' group and in each group above it.
static size_t least_limit(const char *file, size_t (*parse)(const char *line)) {
    size_t least = 0;
    char path[LONGEST], name[LONGEST + 64], line[LONGEST];
    for (find_group(path); strlen(path) >= strlen(ROOT); *strrchr(path, '/') = '\0') {
        snprintf(name, sizeof name, "%s/%.60s", path, file);
        const size_t limit = read_line(name, line) ? parse(line) : 0;
        if (limit > 0 && (least == 0 || limit < least)) least = limit;
    }
    return least;
}

int fastnn_parse_cpu_max(const char *line) {
    char *end;
    const long long quota = strtoll(line, &end, 10), period = strtoll(end, NULL, 10);
    if (quota <= 0 || period <= 0) return 0;
    const long long cpus = (quota - 1) / period + 1;
    return cpus < INT_MAX ? (int)cpus : INT_MAX;
}
static size_t cpu_quota(const char *line) { return (size_t)fastnn_parse_cpu_max(line); }
int fastnn_cgroup_cpus(void) { return (int)least_limit("cpu.max", cpu_quota); }

static size_t memory_max(const char *line) { return strtoull(line, NULL, 10); }  // "max" is 0
size_t fastnn_cgroup_memory(void) { return least_limit("memory.max", memory_max); }
