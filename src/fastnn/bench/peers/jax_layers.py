"""JAX's layers, as one writes them in jax.numpy. Channels last is an order of the axes there."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

import numpy as np

from fastnn.bench.data import Data
from fastnn.bench.layers import GROUPS
from fastnn.bench.peers import Call

jax: Any = importlib.import_module("jax")
jnp: Any = importlib.import_module("jax.numpy")

Tensor = Any

EPS, MOMENTUM = 1e-5, 0.1
ORDER = ("input", "weight", "bias", "running_mean", "running_var", "target")
LEARNED = ORDER[:3]
LARGE = ("input", "dy")


def normalise(x: Tensor, axes: tuple[int, ...]) -> tuple[Tensor, Tensor, Tensor]:
    """Return x with mean 0 and variance 1 over these axes, and both before."""
    mean = x.mean(axes, keepdims=True)
    var = jnp.square(x - mean).mean(axes, keepdims=True)
    return (x - mean) * jax.lax.rsqrt(var + EPS), mean, var


def affine(x: Tensor, w: Tensor, b: Tensor, axis: int) -> Tensor:
    """Scale and shift along an axis."""
    others = [i for i in range(x.ndim) if i != axis % x.ndim]
    return x * jnp.expand_dims(w, others) + jnp.expand_dims(b, others)


def batch_norm(x: Tensor, w: Tensor, b: Tensor, mean: Tensor, var: Tensor, *, axis: int, **_: Any) -> Any:
    """Return the output, and the new running statistics."""
    y, batch_mean, batch_var = normalise(x, tuple(i for i in range(x.ndim) if i != axis % x.ndim))
    unbiased = batch_var * (x.size / (x.size - w.size))
    new_mean = (1 - MOMENTUM) * mean + MOMENTUM * batch_mean.ravel()
    new_var = (1 - MOMENTUM) * var + MOMENTUM * unbiased.ravel()
    return affine(y, w, b, axis), (new_mean, new_var)


def batch_norm_eval(
    x: Tensor, w: Tensor, b: Tensor, mean: Tensor, var: Tensor, *, axis: int, **_: Any
) -> Any:
    """Return the output by the running statistics."""
    scale = w * jax.lax.rsqrt(var + EPS)
    return affine(x, scale, b - mean * scale, axis), ()


def batch_norm_relu(*arrays: Tensor, **keywords: Any) -> Any:
    """Return the output, and the new running statistics."""
    y, statistics = batch_norm(*arrays, **keywords)
    return jax.nn.relu(y), statistics


def batch_norm_relu_dropout(*arrays: Tensor, **keywords: Any) -> Any:
    """Return the output, and the new running statistics."""
    y, statistics = batch_norm_relu(*arrays, **keywords)
    return dropout(y, **keywords)[0], statistics


def group_norm(x: Tensor, w: Tensor, b: Tensor, *, axis: int, **_: Any) -> Any:
    """Return the output; the groups get an axis of their own."""
    axis %= x.ndim
    shape = (*x.shape[:axis], GROUPS, x.shape[axis] // GROUPS, *x.shape[axis + 1 :])
    y = normalise(x.reshape(shape), tuple(i for i in range(1, len(shape)) if i != axis))[0]
    return affine(y.reshape(x.shape), w, b, axis), ()


def layer_norm(x: Tensor, w: Tensor, b: Tensor, **_: Any) -> Any:
    """Return the output."""
    return normalise(x, (-1,))[0] * w + b, ()


def rms_norm(x: Tensor, w: Tensor, **_: Any) -> Any:
    """Return the output."""
    mean_square = jnp.square(x).mean(-1, keepdims=True)
    return x * jax.lax.rsqrt(mean_square + jnp.finfo(x.dtype).eps) * w, ()


def cross_entropy(x: Tensor, target: Tensor, **_: Any) -> Any:
    """Return the mean loss."""
    return -jnp.take_along_axis(jax.nn.log_softmax(x), target[:, None], 1).mean(), ()


def dropout(x: Tensor, *, key: Tensor, **_: Any) -> Any:
    """Return half of the elements, doubled."""
    return jnp.where(jax.random.bernoulli(key, 0.5, x.shape), x * 2, 0), ()


# Each forward pass, of those of ORDER that the case has: the output, and what else it gives.
FUNCTIONS: dict[str, Callable[..., Any]] = {
    "batch_norm": batch_norm,
    "batch_norm_eval": batch_norm_eval,
    "batch_norm_relu": batch_norm_relu,
    "batch_norm_relu_dropout": batch_norm_relu_dropout,
    "layer_norm": layer_norm,
    "rms_norm": rms_norm,
    "group_norm": group_norm,
    "softmax": lambda x, **_: (jax.nn.softmax(x), ()),
    "log_softmax": lambda x, **_: (jax.nn.log_softmax(x), ()),
    "cross_entropy": cross_entropy,
    "dropout": dropout,
}


def prepare(data: Data) -> Call:
    """Return the call of a layer's case: forward, its vector-Jacobian product, or both."""
    last = data.size.channels_last
    arrays = {
        name: jnp.asarray(np.moveaxis(value, 1, -1) if last and name in LARGE else value)
        for name, value in data.values.items()
        if name in (*ORDER, "dy")
    }
    learned = [arrays.pop(name) for name in LEARNED if name in arrays]
    dy = arrays.pop("dy")
    rest = [arrays[name] for name in ORDER if name in arrays]
    forward = FUNCTIONS[data.case.label]
    axis = -1 if last else 1

    def run(key: Tensor, dy: Tensor, rest: list[Tensor], *learned: Tensor) -> Any:
        def layer(*learned: Tensor) -> Any:
            return forward(*learned, *rest, axis=axis, key=key)

        if data.case.direction == "forward":
            return layer(*learned)
        y, backward, more = jax.vjp(layer, *learned, has_aux=True)
        if data.case.function == "cross_entropy":
            return y, *backward(jnp.ones_like(y))
        if data.case.direction == "backward":
            return backward(dy)
        return *backward(dy), y, *more  # y too: the next layer wants it

    return compiled(run, jax.random.key(0), dy, rest, *learned)


def compiled(function: Callable[..., Any], *arguments: Any) -> Call:
    """Return a call of the compiled function; it is called once, so that nothing is left to compile."""
    jitted = jax.jit(function)

    def call() -> Any:
        return jax.block_until_ready(jitted(*arguments))

    call()
    return call
