/* A CUDA driver that does nothing and says that all went well, to time what happens before it is called. FAKE_GPUS (1)
 * GPUs of compute capability 9.0; memory and kernels are numbers. Each thread has its own current context, at first
 * none, and without one a launch fails, as with a real driver. See launch_cost.py. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

enum { INVALID_CONTEXT = 201, FIRST_CONTEXT = 0x1000, MOST_GPUS = 16 };

/* The context of GPU number n is FIRST_CONTEXT + n. */
static _Thread_local uintptr_t current;
static int retained[MOST_GPUS], launched[MOST_GPUS];

typedef int (*function)(void);

static int succeed(void) { return 0; }

static int version(int *value) {
    *value = 13000;
    return 0;
}

static int count(int *value) {
    const char *wanted = getenv("FAKE_GPUS");
    *value = wanted ? atoi(wanted) : 1;
    return 0;
}

static int device(int *value, int number) {
    *value = number;
    return 0;
}

static int retain(uintptr_t *context, int number) {
    *context = FIRST_CONTEXT + (uintptr_t)number;
    retained[number]++;
    return 0;
}

static int get_current(uintptr_t *context) {
    *context = current;
    return 0;
}

static int set_current(uintptr_t context) {
    current = context;
    return 0;
}

static int current_device(int *value) {
    if (!current) return INVALID_CONTEXT;
    *value = (int)(current - FIRST_CONTEXT);
    return 0;
}

static int launch(void) {
    if (!current) return INVALID_CONTEXT;
    launched[current - FIRST_CONTEXT]++;
    return 0;
}

/* For tests: how often a GPU's context was asked for, and the kernels that were launched there. */
int fake_retained(int number) { return retained[number]; }
int fake_launched(int number) { return launched[number]; }

static int handle(void **value) {
    *value = (void *)0x1000;
    return 0;
}

static int name(char *text, int length) {
    strncpy(text, "no GPU", (size_t)length);
    return 0;
}

static int message(int error, const char **text) {
    (void)error;
    *text = "an error";
    return 0;
}

static int attribute(int *value, int which) {
    *value = which == 75 ? 9 : which == 76 ? 0 : 1024; /* the capability's major and minor number; others */
    return 0;
}

static const struct {
    const char *name;
    function call;
} known[] = {
    {"cuDriverGetVersion", (function)version},
    {"cuDeviceGetCount", (function)count},
    {"cuDeviceGet", (function)device},
    {"cuCtxGetDevice", (function)current_device},
    {"cuDeviceGetAttribute", (function)attribute},
    {"cuDeviceGetName", (function)name},
    {"cuCtxGetCurrent", (function)get_current},
    {"cuCtxSetCurrent", (function)set_current},
    {"cuDevicePrimaryCtxRetain", (function)retain},
    {"cuLaunchKernelEx", (function)launch},
    {"cuLibraryLoadData", (function)handle},
    {"cuLibraryGetKernel", (function)handle},
    {"cuGetErrorName", (function)message},
    {"cuGetErrorString", (function)message},
};

int cuGetProcAddress_v2(const char *wanted, void **found, int cuda_version, uint64_t flags, int *status) {
    function call = succeed;
    (void)cuda_version, (void)flags;
    if (strcmp(wanted, "cuGetProcAddress") == 0) call = (function)cuGetProcAddress_v2;
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (strcmp(known[i].name, wanted) == 0) call = known[i].call;
    memcpy(found, &call, sizeof call);
    if (status) *status = 0;
    return 0;
}

int cuInit(unsigned flags) {
    (void)flags;
    return 0;
}
