/* A CUDA driver that does nothing and says that all went well, to time what happens before it is called. One GPU of
 * compute capability 9.0; memory and kernels are numbers. See launch_cost.py. */
#include <stdint.h>
#include <string.h>

typedef int (*function)(void);

static int succeed(void) { return 0; }

static int version(int *value) {
    *value = 13000;
    return 0;
}

static int one(int *value) {
    *value = 1;
    return 0;
}

static int first(int *value) {
    *value = 0;
    return 0;
}

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
    {"cuDeviceGetCount", (function)one},
    {"cuDeviceGet", (function)first},
    {"cuCtxGetDevice", (function)first},
    {"cuDeviceGetAttribute", (function)attribute},
    {"cuDeviceGetName", (function)name},
    {"cuCtxGetCurrent", (function)handle},
    {"cuDevicePrimaryCtxRetain", (function)handle},
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
