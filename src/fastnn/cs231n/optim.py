"""The assignments' optim.py: rule(w, dw, config) -> (next_w, config).

config holds the rule's numbers and what it remembers; what is missing takes its default, in config itself,
and None is a new one. sgd changes w in place, as the assignments' does; the others return a new array, and
put new arrays into config.
"""

from __future__ import annotations

import math

import numpy as np

from fastnn import _kernels
from fastnn._core.typing import Array
from fastnn.cs231n._floats import Param, promoted

__all__ = ["adam", "rmsprop", "sgd", "sgd_momentum"]

Step = tuple[Array, Param]

_SGD, _MOMENTUM, _RMSPROP, _ADAM = map(_kernels.find_rule, ("sgd", "sgd_momentum", "rmsprop", "adam"))


def _with_defaults(config: Param | None, **defaults: object) -> Param:
    """config with the defaults where it has no value, or a new one; changed in place, as all rules do."""
    config = {} if config is None else config
    for name, value in defaults.items():
        config.setdefault(name, value)
    return config


def _next(rule: int, numbers: tuple[float, ...], w: Array, dw: Array, *states: Array) -> list[Array]:
    """New w, dw and new states, by a rule of optimizers.def."""
    arrays = (w, dw, *states)
    made = _kernels.step(rule, numbers, arrays, False)
    if made is None:
        names = ("w", "dw", *("a state",) * len(states))
        even = np.broadcast_arrays(*promoted(names, *arrays))
        plain = tuple(np.require(array, None, ["C", "A"]) for array in even)
        made = _kernels.step(rule, numbers, plain, False)
        assert made is not None
    return made


def _state(config: Param, name: str, w: Array) -> Array:
    """What the rule remembers, zeros at first."""
    state = config.get(name)
    return np.zeros_like(w) if state is None else state


def sgd(w: Array, dw: Array, config: Param | None = None) -> Step:
    """w -= learning_rate dw, in place. config: "learning_rate" (1e-2)."""
    config = _with_defaults(config, learning_rate=1e-2)
    rate = config["learning_rate"]
    if _kernels.step(_SGD, (rate,), (w, dw), True) is None:
        w -= rate * dw
    return w, config


def sgd_momentum(w: Array, dw: Array, config: Param | None = None) -> Step:
    """velocity = momentum velocity - learning_rate dw; next_w = w + velocity.

    config: "learning_rate" (1e-2), "momentum" (0.9), "velocity" (zeros). Polyak, 1964.
    """
    config = _with_defaults(config, learning_rate=1e-2, momentum=0.9)
    numbers = -1.0, config["momentum"], -config["learning_rate"]
    w, _, config["velocity"] = _next(_MOMENTUM, numbers, w, dw, _state(config, "velocity", w))
    return w, config


def rmsprop(w: Array, dw: Array, config: Param | None = None) -> Step:
    """next_w = w - learning_rate dw / (sqrt(cache) + epsilon), cache being a running mean of dw^2.

    cache = decay_rate cache + (1 - decay_rate) dw^2 comes first. config: "learning_rate" (1e-2),
    "decay_rate" (0.99), "epsilon" (1e-8), "cache" (zeros). Tieleman and Hinton, 2012.
    """
    config = _with_defaults(config, learning_rate=1e-2, decay_rate=0.99, epsilon=1e-8)
    decay = config["decay_rate"]
    numbers = config["learning_rate"], decay, 1 - decay, config["epsilon"]
    w, _, config["cache"] = _next(_RMSPROP, numbers, w, dw, _state(config, "cache", w))
    return w, config


def adam(w: Array, dw: Array, config: Param | None = None) -> Step:
    """next_w = w - learning_rate m' / (sqrt(v') + epsilon), m' and v' without the bias of their start at 0.

    t += 1 first; m = beta1 m + (1 - beta1) dw, v = beta2 v + (1 - beta2) dw^2; m' = m / (1 - beta1^t),
    v' = v / (1 - beta2^t). config: "learning_rate" (1e-3), "beta1" (0.9), "beta2" (0.999), "epsilon" (1e-8),
    "m", "v" (zeros), "t" (0). Kingma and Ba, 2015.
    """
    config = _with_defaults(config, learning_rate=1e-3, beta1=0.9, beta2=0.999, epsilon=1e-8, t=0)
    beta1, beta2, t = config["beta1"], config["beta2"], config["t"] + 1
    size, root = config["learning_rate"] / (1 - beta1**t), 1 / math.sqrt(1 - beta2**t)
    numbers = size, 1 - beta1, beta2, 1 - beta2, root, config["epsilon"]
    w, _, m, v = _next(_ADAM, numbers, w, dw, _state(config, "m", w), _state(config, "v", w))
    config.update(m=m, v=v, t=t)
    return w, config
