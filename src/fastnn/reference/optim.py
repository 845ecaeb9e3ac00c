"""The update rules of optimizers in plain NumPy, from papers and torch's documentation: the tests' oracle.

A rule is a function (p, g, state, t, options) -> the new p. `state` is a dict that the rule fills at its
first step, t counts the steps from 1, and `options` has every option of a group. `step` does what all rules
share.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from fastnn._core.typing import Array

State = dict[str, Any]


def average(state: State, name: str, value: Array, beta: float) -> Array:
    """state[name] <- beta state[name] + (1 - beta) value, from 0."""
    state[name] = beta * state.get(name, 0.0) + (1 - beta) * value
    return np.asarray(state[name])


def norm(x: Array) -> float:
    """Return the square root of the sum of squares."""
    return float(np.sqrt(np.sum(np.abs(x) ** 2)))


def sgd(p: Array, g: Array, state: State, t: int, o: State) -> Array:
    """torch.optim.SGD's algorithm."""
    if not o["momentum"]:
        return np.asarray(p - o["lr"] * g)
    if "b" not in state:
        state["b"] = g
    else:
        state["b"] = o["momentum"] * state["b"] + (1 - o["dampening"]) * g
    direction = g + o["momentum"] * state["b"] if o["nesterov"] else state["b"]
    return np.asarray(p - o["lr"] * direction)


def adagrad(p: Array, g: Array, state: State, t: int, o: State) -> Array:
    """torch.optim.Adagrad's algorithm."""
    state["sum"] = state.get("sum", o["initial_accumulator_value"]) + g**2
    lr = o["lr"] / (1 + (t - 1) * o["lr_decay"])
    return np.asarray(p - lr * g / (np.sqrt(state["sum"]) + o["eps"]))


def rmsprop(p: Array, g: Array, state: State, t: int, o: State) -> Array:
    """torch.optim.RMSprop's algorithm."""
    v = average(state, "v", g**2, o["alpha"])
    if o["centered"]:
        v = np.maximum(v - average(state, "a", g, o["alpha"]) ** 2, 0)
    direction = g / (np.sqrt(v) + o["eps"])
    if o["momentum"]:
        direction = state["b"] = o["momentum"] * state.get("b", 0.0) + direction
    return np.asarray(p - o["lr"] * direction)


def adadelta(p: Array, g: Array, state: State, t: int, o: State) -> Array:
    """Zeiler, "ADADELTA", 2012, algorithm 1, with a learning rate."""
    v = average(state, "v", g**2, o["rho"])
    step = np.sqrt(state.get("u", 0.0) + o["eps"]) / np.sqrt(v + o["eps"]) * g
    average(state, "u", step**2, o["rho"])
    return np.asarray(p - o["lr"] * step)


def _moments(g: Array, state: State, t: int, o: State) -> tuple[Array, Array, float, float]:
    """m and v, and what they are divided by."""
    beta1, beta2 = o["betas"]
    m, v = average(state, "m", g, beta1), average(state, "v", g**2, beta2)
    return m, v, 1 - beta1**t, 1 - beta2**t


def adam(p: Array, g: Array, state: State, t: int, o: State) -> Array:
    """Kingma and Ba, "Adam", 2015, algorithm 1; Reddi et al., 2018, in torch's order."""
    m, v, first, second = _moments(g, state, t, o)
    if o.get("amsgrad"):
        v = state["largest"] = np.maximum(state.get("largest", 0.0), v)
    return np.asarray(p - o["lr"] * (m / first) / (np.sqrt(v / second) + o["eps"]))


def adamax(p: Array, g: Array, state: State, t: int, o: State) -> Array:
    """Kingma and Ba, "Adam", 2015, algorithm 2, with torch's eps."""
    beta1, beta2 = o["betas"]
    m = average(state, "m", g, beta1)
    state["u"] = np.maximum(beta2 * state.get("u", 0.0), np.abs(g) + o["eps"])
    return np.asarray(p - o["lr"] / (1 - beta1**t) * m / state["u"])


def nadam(p: Array, g: Array, state: State, t: int, o: State) -> Array:
    """Dozat, "Incorporating Nesterov momentum into Adam", 2016, with torch's schedule of momentum."""
    m, v, _, second = _moments(g, state, t, o)
    mu = [o["betas"][0] * (1 - 0.5 * 0.96 ** (k * o["momentum_decay"])) for k in range(1, t + 2)]
    m_hat = mu[t] * m / (1 - np.prod(mu)) + (1 - mu[t - 1]) * g / (1 - np.prod(mu[:t]))
    return np.asarray(p - o["lr"] * m_hat / (np.sqrt(v / second) + o["eps"]))


def radam(p: Array, g: Array, state: State, t: int, o: State) -> Array:
    """Liu et al., "On the variance of the adaptive learning rate and beyond", 2020, algorithm 2."""
    m, v, first, second = _moments(g, state, t, o)
    beta2 = o["betas"][1]
    longest = 2 / (1 - beta2) - 1
    length = longest - 2 * t * beta2**t / (1 - beta2**t)
    if length <= 5:
        return np.asarray(p - o["lr"] * m / first)
    r = np.sqrt((length - 4) * (length - 2) * longest / ((longest - 4) * (longest - 2) * length))
    return np.asarray(p - o["lr"] * (m / first) * r * np.sqrt(second) / (np.sqrt(v) + o["eps"]))


def lion(p: Array, g: Array, state: State, t: int, o: State) -> Array:
    """Chen et al., "Symbolic discovery of optimization algorithms", 2023, program 1."""
    beta1, beta2 = o["betas"]
    direction = np.sign(beta1 * state.get("m", 0.0) + (1 - beta1) * g)
    average(state, "m", g, beta2)
    return np.asarray(p - o["lr"] * direction)


def is_adapted(p: Array, o: State) -> bool:
    """Return whether LARS and LAMB give p a trust ratio and weight decay: not to biases and norms."""
    return p.ndim > 1 or o["adapt_vectors"]


def lars(p: Array, g: Array, state: State, t: int, o: State) -> Array:
    """You, Gitman and Ginsburg, "Large batch training of convolutional networks", 2017, algorithm 1."""
    decay, ratio = o["weight_decay"] if is_adapted(p, o) else 0.0, 1.0
    if is_adapted(p, o) and norm(p) > 0 and norm(g) > 0:
        ratio = o["trust_coefficient"] * norm(p) / (norm(g) + decay * norm(p))
    state["b"] = o["momentum"] * state.get("b", 0.0) + o["lr"] * ratio * (g + decay * p)
    return np.asarray(p - state["b"])


def lamb(p: Array, g: Array, state: State, t: int, o: State) -> Array:
    """You et al., "Large batch optimization for deep learning", 2020, algorithm 2, phi(z) = z."""
    m, v, first, second = _moments(g, state, t, o)
    u = (m / first) / (np.sqrt(v / second) + o["eps"])
    if not is_adapted(p, o):
        return np.asarray(p - o["lr"] * u)
    u = u + o["weight_decay"] * p
    ratio = norm(p) / norm(u) if norm(p) > 0 and norm(u) > 0 else 1.0
    return np.asarray(p - o["lr"] * ratio * u)


RULES: dict[str, Callable[[Array, Array, State, int, State], Array]] = {
    "SGD": sgd,
    "Adagrad": adagrad,
    "RMSprop": rmsprop,
    "Adadelta": adadelta,
    "Adam": adam,
    "AdamW": adam,
    "Adamax": adamax,
    "NAdam": nadam,
    "RAdam": radam,
    "Lion": lion,
    "LARS": lars,
    "LAMB": lamb,
}


def step(name: str, p: Array, g: Array, state: State, t: int, options: State) -> Array:
    """Return the parameter after step t of an optimizer of `fastnn.optim`, with a group's options."""
    if options["maximize"]:
        g = -g
    g = g + options["l1"] * np.sign(p) + options["l2"] * p
    decay = options["weight_decay"]
    if name == "Lion" or options.get("decoupled_weight_decay"):
        p = p * (1 - options["lr"] * decay)
    elif name not in ("LARS", "LAMB"):
        g = g + decay * p
    return limit_rows(RULES[name](p, g, state, t, options), options["max_norm"])


def limit_rows(p: Array, limit: float | None) -> Array:
    """Return p with its rows along the first axis scaled down to a norm of at most `limit`."""
    if limit is None or p.ndim < 2:
        return p
    rows = p.reshape(len(p), -1)
    norms = np.sqrt(np.sum(rows**2, axis=1, keepdims=True))
    return np.where(norms > limit, rows * limit / np.where(norms > 0, norms, 1), rows).reshape(p.shape)
