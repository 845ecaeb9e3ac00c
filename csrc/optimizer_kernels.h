// The steps of the optimisers: one pass over a parameter, its gradient and what the rule remembers of earlier steps.
#ifndef FASTNN_OPTIMIZER_KERNELS_H
#define FASTNN_OPTIMIZER_KERNELS_H

#include "kernels.h"

// name, operands, and as bits which of them are read and which are written. Operand 0 is the parameter, 1 its gradient;
// then come the rule's states, in the order in which the Python class of the rule names them.
#define FASTNN_UPDATE(RULE, name, operands) RULE(name, operands, (1u << operands) - 1, (1u << operands) - 1 - 2)
#define FASTNN_RULES(RULE)                                                                                         \
    FASTNN_UPDATE(RULE, sgd, 2)                                                                                    \
    FASTNN_UPDATE(RULE, sgd_momentum, 3)                                                                           \
    FASTNN_UPDATE(RULE, sgd_nesterov, 3)                                                                           \
    FASTNN_UPDATE(RULE, adagrad, 3)                                                                                \
    FASTNN_UPDATE(RULE, rmsprop, 3)                                                                                \
    FASTNN_UPDATE(RULE, rmsprop_momentum, 4)                                                                       \
    FASTNN_UPDATE(RULE, rmsprop_centered, 4)                                                                       \
    FASTNN_UPDATE(RULE, rmsprop_centered_momentum, 5)                                                              \
    FASTNN_UPDATE(RULE, adadelta, 4)                                                                               \
    FASTNN_UPDATE(RULE, adam, 4)                                                                                   \
    FASTNN_UPDATE(RULE, adam_amsgrad, 5)                                                                           \
    FASTNN_UPDATE(RULE, adamax, 4)                                                                                 \
    FASTNN_UPDATE(RULE, nadam, 4)                                                                                  \
    FASTNN_UPDATE(RULE, radam, 4)                                                                                  \
    FASTNN_UPDATE(RULE, radam_start, 4)                                                                            \
    FASTNN_UPDATE(RULE, lion, 3)                                                                                   \
    FASTNN_UPDATE(RULE, lars, 3)                                                                                   \
    FASTNN_UPDATE(RULE, average, 2)                                                                                \
    RULE(lamb, 4, 13, 1)                                                                                           \
    RULE(scale, 1, 1, 1)                                                                                           \
    RULE(clamp, 1, 1, 1)                                                                                           \
    /* What lars and lamb must know of a whole tensor beforehand: the last operand is scratch, and receives the */ \
    /* direction whose norm is wanted. */                                                                          \
    RULE(lars_direction, 3, 3, 4)                                                                                  \
    RULE(lamb_direction, 5, 15, 28)

enum {
#define RULE(name, ...) RULE_##name,
    FASTNN_RULES(RULE)
#undef RULE
        RULE_COUNT
};

typedef void fastnn_rule(size_t n, void *const *operands, const fastnn_penalties *penalties, const double *numbers);

typedef struct fastnn_optimizer_table {
    fastnn_rule *rules[RULE_COUNT];
    double (*reductions[FASTNN_REDUCTIONS])(size_t n, const void *x);
} fastnn_optimizer_table;

#endif
