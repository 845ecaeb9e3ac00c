"""JAX on the CPU: `jax.jit` of the function of the same name, and of its vector-Jacobian product.

JAX takes no out=, so every call allocates; its thread pool has the size of the machine, so it has a number
only in rows on all threads. Its backward starts from the input, as that is what `jax.vjp` differentiates.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import numpy as np

from fastnn import _kernels
from fastnn.bench.data import Data
from fastnn.bench.layers import Layer
from fastnn.bench.peers import Call, jax_layers

jax: Any = importlib.import_module("jax")
jnp: Any = importlib.import_module("jax.numpy")
jax.config.update("jax_platforms", "cpu")
jax.config.update("jax_enable_x64", True)

RENAMED = {
    "softsign": "soft_sign",
    "logsigmoid": "log_sigmoid",
    "hardsigmoid": "hard_sigmoid",
    "hardswish": "hard_swish",
    "hardtanh": "hard_tanh",
}


def _swiglu(x: Any) -> Any:
    a, b = jnp.split(x, 2, axis=-1)
    return jax.nn.silu(a) * b


ROWS: dict[str, Callable[..., Any]] = {
    "gelu": lambda x: jax.nn.gelu(x, approximate=False),
    "gelu_tanh": lambda x: jax.nn.gelu(x, approximate=True),
    "prelu": lambda x, weight: jnp.where(x > 0, x, weight * x),
    "prelu_channels": lambda x, weight: jnp.where(x > 0, x, weight[:, None] * x),
    "rrelu": lambda x: jax.nn.leaky_relu(x, (1 / 8 + 1 / 3) / 2),
    "threshold": lambda x: jnp.where(x > 0.1, x, 20.0),
    "hardshrink": lambda x: jnp.where(jnp.abs(x) > 0.5, x, 0.0),
    "softshrink": lambda x: jnp.where(jnp.abs(x) > 0.5, x - 0.5 * jnp.sign(x), 0.0),
    "tanhshrink": lambda x: x - jnp.tanh(x),
    "swiglu": _swiglu,
}


class Peer:
    """jax.jit on the CPU."""

    name = "jax"
    note = "jax has no out= and no control of its threads: it allocates, and has rows on all threads only"
    serial = False

    def __init__(self) -> None:
        self._all_threads = True

    def session(self) -> AbstractContextManager[None]:
        """Nothing to switch: jax is set up when it is imported."""
        return nullcontext()

    def prepare(self, data: Data, *, out: bool) -> Call | None:
        """Compile the function for these shapes; None where jax lacks it, and in rows on fewer threads."""
        if not self._all_threads:
            return None
        if isinstance(data.case, Layer):
            return jax_layers.prepare(data)
        forward = function(data.case.label)
        if forward is None:
            return None
        primals = [jnp.asarray(data.values[name]) for name in ("input", "weight") if name in data.values]
        if data.case.direction == "forward":
            return jax_layers.compiled(forward, *primals)
        return jax_layers.compiled(backward(forward), jnp.asarray(data.values["dy"]), *primals)

    def set_threads(self, threads: int) -> bool:
        """JAX uses every core that the process may run on, and has no switch for it."""
        self._all_threads = threads == _kernels.usable_cpus()
        return self._all_threads


def function(label: str) -> Callable[..., Any] | None:
    """Return jax's function for this label: a row above, or the one of that name in jax.nn or jax.numpy."""
    name = RENAMED.get(label, label)
    found: Callable[..., Any] | None = (
        ROWS.get(label)
        or getattr(jax.nn, name, None)
        or (getattr(jnp, name, None) if hasattr(np, name) else None)
    )
    return found


def backward(forward: Callable[..., Any]) -> Callable[..., Any]:
    """Gradient of a function: (dy, *primals) -> dx, or a tuple of gradients where it takes a weight too."""

    def gradient(dy: Any, *primals: Any) -> Any:
        gradients = jax.vjp(forward, *primals)[1](dy)
        return gradients[0] if len(gradients) == 1 else gradients

    return gradient
