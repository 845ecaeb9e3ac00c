"""The assignments' optim.py: rule(w, dw, config) -> (next_w, config).

config holds the rule's numbers and what it remembers; what is missing takes its default, in config itself,
and None is a new one. sgd changes w in place, as the assignments' does; the others return a new array.
"""

from __future__ import annotations

import numpy as np

from fastnn._core.typing import Array
from fastnn.cs231n._floats import Param

__all__ = ["adam", "rmsprop", "sgd", "sgd_momentum"]

Step = tuple[Array, Param]


def _with_defaults(config: Param | None, **defaults: object) -> Param:
    """config with the defaults where it has no value, or a new one; changed in place, as all rules do."""
    config = {} if config is None else config
    for name, value in defaults.items():
        config.setdefault(name, value)
    return config


def sgd(w: Array, dw: Array, config: Param | None = None) -> Step:
    """w -= learning_rate dw, in place. config: "learning_rate" (1e-2)."""
    config = _with_defaults(config, learning_rate=1e-2)
    w -= config["learning_rate"] * dw
    return w, config


def sgd_momentum(w: Array, dw: Array, config: Param | None = None) -> Step:
    """velocity = momentum velocity - learning_rate dw; next_w = w + velocity.

    config: "learning_rate" (1e-2), "momentum" (0.9), "velocity" (zeros). Polyak, 1964.
    """
    config = _with_defaults(config, learning_rate=1e-2, momentum=0.9)
    velocity = config["momentum"] * config.get("velocity", np.zeros_like(w)) - config["learning_rate"] * dw
    config["velocity"] = velocity
    return w + velocity, config


def rmsprop(w: Array, dw: Array, config: Param | None = None) -> Step:
    """next_w = w - learning_rate dw / (sqrt(cache) + epsilon), cache being a running mean of dw^2.

    cache = decay_rate cache + (1 - decay_rate) dw^2 comes first. config: "learning_rate" (1e-2),
    "decay_rate" (0.99), "epsilon" (1e-8), "cache" (zeros). Tieleman and Hinton, 2012.
    """
    config = _with_defaults(config, learning_rate=1e-2, decay_rate=0.99, epsilon=1e-8, cache=np.zeros_like(w))
    decay = config["decay_rate"]
    cache = config["cache"] = decay * config["cache"] + (1 - decay) * dw**2
    return w - config["learning_rate"] * dw / (np.sqrt(cache) + config["epsilon"]), config


def adam(w: Array, dw: Array, config: Param | None = None) -> Step:
    """next_w = w - learning_rate m' / (sqrt(v') + epsilon), m' and v' without the bias of their start at 0.

    t += 1 first; m = beta1 m + (1 - beta1) dw, v = beta2 v + (1 - beta2) dw^2; m' = m / (1 - beta1^t),
    v' = v / (1 - beta2^t). config: "learning_rate" (1e-3), "beta1" (0.9), "beta2" (0.999), "epsilon" (1e-8),
    "m", "v" (zeros), "t" (0). Kingma and Ba, 2015.
    """
    config = _with_defaults(config, learning_rate=1e-3, beta1=0.9, beta2=0.999, epsilon=1e-8)
    config = _with_defaults(config, m=np.zeros_like(w), v=np.zeros_like(w), t=0)
    beta1, beta2 = config["beta1"], config["beta2"]
    t = config["t"] = config["t"] + 1
    m = config["m"] = beta1 * config["m"] + (1 - beta1) * dw
    v = config["v"] = beta2 * config["v"] + (1 - beta2) * dw**2
    unbiased = m / (1 - beta1**t)
    return w - config["learning_rate"] * unbiased / (np.sqrt(v / (1 - beta2**t)) + config["epsilon"]), config
