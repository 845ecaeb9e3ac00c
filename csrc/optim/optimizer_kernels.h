// The steps of the optimisers: one pass over a parameter, its gradient and the rule's states.
#ifndef FASTNN_OPTIMIZER_KERNELS_H
#define FASTNN_OPTIMIZER_KERNELS_H

#include "runtime/tables.h"

enum {
#define RULE(name, ...) RULE_##name,
#include "optim/optimizers.def"
#undef RULE
    RULE_COUNT
};

typedef struct {
    const fastnn_penalties *penalties;
    double numbers[FASTNN_RULE_NUMBERS];
} fastnn_rule_settings;

// Reads the operands from `sources`, which may be the operands themselves, and writes those that the rule changes.
typedef void fastnn_rule(size_t n, void *const *operands, const void *const *sources,
                         const fastnn_rule_settings *settings);

typedef struct fastnn_optimizer_table {
    size_t bytes;  // of an element
    fastnn_rule *rules[RULE_COUNT];
    double (*reductions[FASTNN_REDUCTIONS])(size_t n, const void *x);
} fastnn_optimizer_table;

#endif
