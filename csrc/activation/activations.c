// activations.def as data: the names of activations and kernels, their parameters, costs and numbers of operands, which
// are the same for every instruction set and dtype.
#include <math.h>
#include <string.h>

#include "runtime/tables.h"

#define REQUIRED NAN
#define NONE {NULL, 0}
#define INPUT false
#define OUTPUT true
#define ACTIVATION(name, saved, cost, ...) {#name, saved, FASTNN_##cost, {__VA_ARGS__}},
#define KERNEL(name, ...)
const fastnn_activation fastnn_activations[] = {
#include "activation/activations.def"
};
#undef ACTIVATION
#undef KERNEL
const int fastnn_activation_count = sizeof fastnn_activations / sizeof *fastnn_activations;

// Backward counts as costly as forward.
#define ACTIVATION(name, saved, cost, ...) {#name, 1, 1, FASTNN_##cost}, {#name "_backward", 1, 2, FASTNN_##cost},
#define KERNEL(name, outputs, inputs, cost) {#name, outputs, inputs, FASTNN_##cost},
const fastnn_kernel_shape fastnn_kernel_shapes[KERNEL_COUNT] = {
#include "activation/activations.def"
};
#undef ACTIVATION
#undef KERNEL

int fastnn_find_kernel(const char *name) {
    for (int i = 0; i < KERNEL_COUNT; i++)
        if (strcmp(fastnn_kernel_shapes[i].name, name) == 0) return i;
    return -1;
}
