"""The optimisers and the options that tests compare with the reference."""

from __future__ import annotations

import itertools
from typing import Any

Options = dict[str, Any]


# Every option of every rule, beside the defaults.
VARIANTS: dict[str, list[Options]] = {
    "SGD": [
        {},
        {"momentum": 0.9},
        {"momentum": 0.9, "dampening": 0.3},
        {"momentum": 0.9, "nesterov": True},
    ],
    "Adagrad": [{}, {"lr_decay": 0.1}, {"initial_accumulator_value": 0.5, "eps": 1e-3}],
    "RMSprop": [
        {"alpha": 0.9, "centered": centered, "momentum": momentum}
        for centered, momentum in itertools.product((False, True), (0.0, 0.8))
    ],
    "Adadelta": [{}, {"rho": 0.8, "eps": 1e-3}],
    "Adam": [{}, {"amsgrad": True}, {"betas": (0.3, 0.6), "eps": 1e-3}, {"decoupled_weight_decay": True}],
    "AdamW": [{}, {"amsgrad": True}],
    "Adamax": [{}, {"betas": (0.5, 0.7), "eps": 1e-3}],
    "NAdam": [{}, {"momentum_decay": 0.1, "decoupled_weight_decay": True}],
    "RAdam": [{}, {"betas": (0.8, 0.9), "decoupled_weight_decay": True}],
    "Lion": [{}, {"betas": (0.5, 0.7)}],
    "LARS": [
        {"momentum": 0.0},
        {"trust_coefficient": 0.1, "adapt_vectors": True},
        {"trust_coefficient": 0.1},
    ],
    "LAMB": [{}, {"eps": 1e-3, "adapt_vectors": True}, {"betas": (0.5, 0.7), "eps": 1e-3}],
}


PENALTIES: list[Options] = [
    {},
    {"weight_decay": 0.1},
    {"l1": 0.05},
    {"l2": 0.2, "weight_decay": 0.1, "maximize": True},
    {"l1": 0.05, "l2": 0.1, "weight_decay": 0.1, "max_norm": 1.5},
]


CASES = [
    (name, {**variant, **penalty})
    for name, variants in VARIANTS.items()
    for i, variant in enumerate(variants)
    for penalty in (PENALTIES if variant is variants[-1] else [PENALTIES[i]])
]
