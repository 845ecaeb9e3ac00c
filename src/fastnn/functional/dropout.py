"""Dropout of elements, channels, samples or weights: a key gives the draws, and backward draws them again.

No mask is stored. Element i (C order) is kept where its 16-bit draw is below round((1 - p) 2^16), so the
probability to be kept is that, divided by 2^16; docs/random.md says how the draws are made. What is kept is
multiplied by 1 / (1 - p) of p itself, in float64 and then rounded to the dtype.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Sequence
from inspect import signature
from typing import Any, NamedTuple, SupportsIndex, TypeVar

import numpy as np
from numpy.typing import ArrayLike

from fastnn import _kernels
from fastnn._core import arrays
from fastnn._core.arrays import probability
from fastnn._core.dispatch import general_way, takes_tensors
from fastnn._core.typing import Array
from fastnn.random import Key, as_key, given_or_next, keep_scale, keep_threshold, row_in_stream

__all__ = [
    "alpha_dropout",
    "alpha_dropout_backward",
    "drop_connect",
    "drop_connect_backward",
    "drop_path",
    "drop_path_backward",
    "dropout",
    "dropout1d",
    "dropout1d_backward",
    "dropout2d",
    "dropout2d_backward",
    "dropout3d",
    "dropout3d_backward",
    "dropout_backward",
    "dropout_mask",
]

F = TypeVar("F", bound=Callable[..., Array])

_SHARED = """

    {name}: an array of any memory layout; float32 and float64 as they are, float16 and bfloat16 computed in
    float32, integers and booleans promoted as by np.tanh. A dropped NaN or infinity gives {dropped}.
    p: the probability of being dropped, in [0, 1]; what is kept is kept with probability
    round((1 - p) 2^16) / 2^16. p = 0 keeps all and p = 1 nothing, exactly.
    training: False drops nothing. key: what the draws are made of, from fastnn.Generator.key().
    {key} {row}
    out: an array of the result's shape and dtype to write to, `{name}` included. Returns out, or a new
    array.{inplace}
    Raises ValueError for a p outside [0, 1]{errors} or an out that does not fit, TypeError for a p that is
    no real number and for other dtypes; nothing is written then.
    """
_FORWARD_KEY = "None: the default generator's next. Give backward the same."
_ROW = "Its row is the place of {name}'s first sample in a larger batch."
_NO_ROW = "Its row is not used, as weights are no samples."
_BACKWARD_KEY = "In training it must be given: the forward call's."

_SELU_LIMIT = -1.7580993408473768  # selu's value at -infinity, -1.0507... * 1.6732...


def _documented(name: str, dropped: str = "0") -> Callable[[F], F]:
    """Appends what the functions share to the docstring; `name` is what the array is called."""
    backward = name == "dy"

    def document(function: F) -> F:
        shared = _SHARED.format(
            name=name,
            key=_BACKWARD_KEY if backward else _FORWARD_KEY,
            row=_NO_ROW if "connect" in function.__name__ else _ROW.format(name=name),
            dropped=dropped,
            inplace=" inplace: True is out=input." * ("inplace" in signature(function).parameters),
            errors=", no key in training" if backward else "",
        )
        function.__doc__ = (function.__doc__ or "").rstrip() + shared
        return function

    return document


class _Rule(NamedTuple):
    """y = scale x + shift where the draw is below threshold, else dropped."""

    threshold: int
    scale: float
    shift: float = 0.0
    dropped: float = 0.0


_KEEP_ALL = _Rule(65536, 1.0)
_NO_KEY = Key(0, 0)  # for rules that draw nothing


def _rule(p: object, training: bool, scale: str = "train") -> _Rule:
    drop = probability("p", p)
    if not (isinstance(scale, str) and scale in ("train", "test")):
        raise ValueError(f"scale must be 'train' or 'test', got {scale!r}")
    if scale == "test":
        return _Rule(keep_threshold(drop), 1.0) if training else _Rule(65536 if drop < 1 else 0, 1 - drop)
    if not training:
        return _KEEP_ALL
    return _Rule(keep_threshold(drop), keep_scale(drop))


def _forward_key(key: Key | None, training: bool) -> Key:
    if not training:
        return _NO_KEY
    return given_or_next(key)


def _backward_key(key: Key | None, training: bool) -> Key:
    if not training:
        return _NO_KEY
    if key is None:
        raise ValueError("key must be the key that the forward call drew its mask from, got None")
    return as_key(key)


@general_way("dropout", like="input", names=lambda name, *_: ("name", name, "out"))
def _dropout(
    name: str,
    input: ArrayLike,
    out: Array | None,
    key: Key,
    threshold: int,
    scale: float,
    shift: float,
    dropped: float,
    axes: int,
) -> Array:
    (x,), target = arrays.prepare(((name, input),), out)
    _kernels.dropout_arrays(target, x, key, threshold, scale, shift, dropped, axes)
    return arrays.deliver(target, out)


@_documented("input")
def dropout(
    input: ArrayLike,
    p: float = 0.5,
    training: bool = True,
    inplace: bool = False,
    *,
    key: Key | None = None,
    scale: str = "train",
    out: Array | None = None,
) -> Array:
    """y = x / (1 - p) where the element is kept, else 0.

    scale: "train" for that; "test" leaves what is kept as it is, and multiplies by 1 - p where training is
    False. Srivastava, Hinton, Krizhevsky, Sutskever and Salakhutdinov, 2014.
    """
    rule = _rule(p, training, scale)
    place = arrays.in_place(input, out) if inplace else out
    return _kernels.dropout("input", input, place, _forward_key(key, training), *rule)


@_documented("dy")
def dropout_backward(
    dy: ArrayLike,
    p: float = 0.5,
    training: bool = True,
    *,
    key: Key | None = None,
    scale: str = "train",
    out: Array | None = None,
) -> Array:
    """dx = dy / (1 - p) where the element was kept, else 0.

    scale as in forward: with "test", dx = dy where the element was kept, and (1 - p) dy where training is
    False. Srivastava, Hinton, Krizhevsky, Sutskever and Salakhutdinov, 2014.
    """
    rule = _rule(p, training, scale)
    return _kernels.dropout("dy", dy, out, _backward_key(key, training), *rule)


@takes_tensors(like="like")
def dropout_mask(
    shape: SupportsIndex | Sequence[SupportsIndex],
    p: float = 0.5,
    *,
    key: Key | None = None,
    packed: bool = False,
    like: Any = None,
) -> Array:
    """mask = True where dropout with this p and key keeps the element, for an input of this shape.

    packed: the mask's bits instead, bit i % 8 of byte i // 8 for element i (C order), in a uint8 array of
    ceil(size / 8) elements. key: None for the default generator's next. like: an array or tensor in whose
    library and, on a GPU, in whose device's memory the mask is made; None: a NumPy array. Raises ValueError
    for a p outside [0, 1] and a negative or too large shape, TypeError for what is no number or no shape.
    """
    drop = probability("p", p)
    sizes = _shape(shape)
    count = math.prod(sizes)
    drawn_with = _forward_key(key, True)
    first = first_of_mask(drawn_with, sizes)
    mask = _kernels.empty(((count + 7) // 8,) if packed else sizes, np.uint8 if packed else np.bool_)
    _kernels.dropout_mask(mask, count, drawn_with, keep_threshold(drop), first)
    return mask


def first_of_mask(key: Key, shape: tuple[int, ...]) -> int:
    """The number of the first draw for an input of this shape."""
    return row_in_stream(key, shape[0] if shape else 1, math.prod(shape[1:]))


def _shape(shape: SupportsIndex | Sequence[SupportsIndex]) -> tuple[int, ...]:
    try:
        sizes = tuple(map(operator.index, shape if isinstance(shape, Sequence) else (shape,)))
    except TypeError:
        raise TypeError(f"shape must be an integer or a sequence of integers, got {shape!r}") from None
    if any(size < 0 for size in sizes):
        raise ValueError(f"shape must not be negative, got {sizes}")
    if max(sizes, default=0) >= 2**63 or math.prod(sizes) >= 2**63:
        raise ValueError(f"shape must be of fewer than 2**63 elements, got {sizes}")
    return sizes


# ---- whole channels ----------------------------------------------------------------------------------------


def _channel_axes(name: str, array: ArrayLike, spatial: str, unbatched: bool) -> int:
    """How many axes come before a channel's elements; `spatial` names those after."""
    dims = array.ndim if isinstance(array, np.ndarray) else len(arrays.shape_of(name, array))
    after = len(spatial.split(", "))
    if dims == after + 2 or (unbatched and dims == after + 1):
        return dims - after
    takes = f"(N, C, {spatial})" + f" or (C, {spatial})" * unbatched
    raise ValueError(f"{name} must have shape {takes}, got {arrays.shape_of(name, array)}")


def _channel_key(key: Key, array: ArrayLike, axes: int) -> Key:
    """The key of a call that counts channels: without an axis of samples, all channels are of one sample."""
    if key.row and axes == 1:
        return key._replace(row=key.row * arrays.shape_of("input", array)[0])
    return key


@_documented("input")
def dropout1d(
    input: ArrayLike,
    p: float = 0.5,
    training: bool = True,
    inplace: bool = False,
    *,
    key: Key | None = None,
    out: Array | None = None,
) -> Array:
    """y = x / (1 - p) in the channels that are kept, else 0.

    input: (N, C, L) or (C, L). Channels are counted in the order of (N, C);
    channel i takes draw i. Tompson, Goroshin, Jain, LeCun and Bregler, 2015.
    """
    axes = _channel_axes("input", input, "L", unbatched=True)
    rule = _rule(p, training)
    place = arrays.in_place(input, out) if inplace else out
    drawn_with = _channel_key(_forward_key(key, training), input, axes)
    return _kernels.dropout("input", input, place, drawn_with, *rule, axes)


@_documented("dy")
def dropout1d_backward(
    dy: ArrayLike, p: float = 0.5, training: bool = True, *, key: Key | None = None, out: Array | None = None
) -> Array:
    """dx = dy / (1 - p) in the channels that were kept, else 0.

    dy: (N, C, L) or (C, L). Tompson, Goroshin, Jain, LeCun and Bregler, 2015.
    """
    axes = _channel_axes("dy", dy, "L", unbatched=True)
    rule = _rule(p, training)
    drawn_with = _channel_key(_backward_key(key, training), dy, axes)
    return _kernels.dropout("dy", dy, out, drawn_with, *rule, axes)


@_documented("input")
def dropout2d(
    input: ArrayLike,
    p: float = 0.5,
    training: bool = True,
    inplace: bool = False,
    *,
    key: Key | None = None,
    out: Array | None = None,
) -> Array:
    """y = x / (1 - p) in the channels that are kept, else 0.

    input: (N, C, H, W). Channels are counted in the order of (N, C);
    channel i takes draw i. Tompson, Goroshin, Jain, LeCun and Bregler, 2015.
    """
    axes = _channel_axes("input", input, "H, W", unbatched=False)
    rule = _rule(p, training)
    place = arrays.in_place(input, out) if inplace else out
    return _kernels.dropout("input", input, place, _forward_key(key, training), *rule, axes)


@_documented("dy")
def dropout2d_backward(
    dy: ArrayLike, p: float = 0.5, training: bool = True, *, key: Key | None = None, out: Array | None = None
) -> Array:
    """dx = dy / (1 - p) in the channels that were kept, else 0.

    dy: (N, C, H, W). Tompson, Goroshin, Jain, LeCun and Bregler, 2015.
    """
    axes = _channel_axes("dy", dy, "H, W", unbatched=False)
    rule = _rule(p, training)
    return _kernels.dropout("dy", dy, out, _backward_key(key, training), *rule, axes)


@_documented("input")
def dropout3d(
    input: ArrayLike,
    p: float = 0.5,
    training: bool = True,
    inplace: bool = False,
    *,
    key: Key | None = None,
    out: Array | None = None,
) -> Array:
    """y = x / (1 - p) in the channels that are kept, else 0.

    input: (N, C, D, H, W) or (C, D, H, W). Channels are counted in the order of (N, C);
    channel i takes draw i. Tompson, Goroshin, Jain, LeCun and Bregler, 2015.
    """
    axes = _channel_axes("input", input, "D, H, W", unbatched=True)
    rule = _rule(p, training)
    place = arrays.in_place(input, out) if inplace else out
    drawn_with = _channel_key(_forward_key(key, training), input, axes)
    return _kernels.dropout("input", input, place, drawn_with, *rule, axes)


@_documented("dy")
def dropout3d_backward(
    dy: ArrayLike, p: float = 0.5, training: bool = True, *, key: Key | None = None, out: Array | None = None
) -> Array:
    """dx = dy / (1 - p) in the channels that were kept, else 0.

    dy: (N, C, D, H, W) or (C, D, H, W). Tompson, Goroshin, Jain, LeCun and Bregler, 2015.
    """
    axes = _channel_axes("dy", dy, "D, H, W", unbatched=True)
    rule = _rule(p, training)
    drawn_with = _channel_key(_backward_key(key, training), dy, axes)
    return _kernels.dropout("dy", dy, out, drawn_with, *rule, axes)


# ---- other rules -------------------------------------------------------------------------------------------


def _alpha_rule(p: object, training: bool) -> _Rule:
    drop = probability("p", p)
    if not training or drop == 0:
        return _KEEP_ALL
    if drop == 1:
        return _Rule(0, 0.0)
    a = ((1 - drop) * (1 + drop * _SELU_LIMIT**2)) ** -0.5
    b = -a * drop * _SELU_LIMIT
    return _Rule(keep_threshold(drop), a, b, a * _SELU_LIMIT + b)


@_documented("input", "a limit + b")
def alpha_dropout(
    input: ArrayLike,
    p: float = 0.5,
    training: bool = True,
    inplace: bool = False,
    *,
    key: Key | None = None,
    out: Array | None = None,
) -> Array:
    """y = a x + b where the element is kept, else a limit + b: SELU's mean 0 and variance 1 stay.

    limit = -1.7580993408473768 is SELU's at -infinity, a = ((1 - p) (1 + p limit^2))^(-1/2), b = -a p limit;
    y = 0 for p = 1. Klambauer, Unterthiner, Mayr and Hochreiter, 2017.
    """
    rule = _alpha_rule(p, training)
    place = arrays.in_place(input, out) if inplace else out
    return _kernels.dropout("input", input, place, _forward_key(key, training), *rule)


@_documented("dy")
def alpha_dropout_backward(
    dy: ArrayLike, p: float = 0.5, training: bool = True, *, key: Key | None = None, out: Array | None = None
) -> Array:
    """dx = a dy where the element was kept, else 0, with the a of forward.

    Klambauer, Unterthiner, Mayr and Hochreiter, 2017.
    """
    threshold, scale, _, _ = _alpha_rule(p, training)
    return _kernels.dropout("dy", dy, out, _backward_key(key, training), threshold, scale)


def _of_weights(key: Key) -> Key:
    """The key without its row: weights are the same for all samples."""
    return Key(key.seed, key.offset) if key.row else key


@_documented("weight")
def drop_connect(
    weight: ArrayLike,
    p: float = 0.5,
    training: bool = True,
    *,
    key: Key | None = None,
    out: Array | None = None,
) -> Array:
    """y = weight / (1 - p) where the weight is kept, else 0: a layer that uses y drops connections.

    Wan, Zeiler, Zhang, LeCun and Fergus, 2013.
    """
    rule = _rule(p, training)
    return _kernels.dropout("weight", weight, out, _of_weights(_forward_key(key, training)), *rule)


@_documented("dy")
def drop_connect_backward(
    dy: ArrayLike, p: float = 0.5, training: bool = True, *, key: Key | None = None, out: Array | None = None
) -> Array:
    """dx = dy / (1 - p) where the weight was kept, else 0: the gradient for the weight.

    Wan, Zeiler, Zhang, LeCun and Fergus, 2013.
    """
    rule = _rule(p, training)
    return _kernels.dropout("dy", dy, out, _of_weights(_backward_key(key, training)), *rule)


def _sample_axes(name: str, array: ArrayLike) -> int:
    if arrays.shape_of(name, array) == ():
        raise ValueError(f"{name} must have shape (N, ...), got ()")
    return 1


@_documented("input")
def drop_path(
    input: ArrayLike,
    p: float = 0.5,
    training: bool = True,
    *,
    key: Key | None = None,
    out: Array | None = None,
) -> Array:
    """y = x / (1 - p) in the samples that are kept, else 0: a residual block is skipped for some samples.

    input: (N, ...); sample i takes draw i. Stochastic depth: Huang, Sun, Liu, Sedra and Weinberger, 2016.
    """
    axes = _sample_axes("input", input)
    rule = _rule(p, training)
    return _kernels.dropout("input", input, out, _forward_key(key, training), *rule, axes)


@_documented("dy")
def drop_path_backward(
    dy: ArrayLike, p: float = 0.5, training: bool = True, *, key: Key | None = None, out: Array | None = None
) -> Array:
    """dx = dy / (1 - p) in the samples that were kept, else 0.

    dy: (N, ...). Huang, Sun, Liu, Sedra and Weinberger, 2016.
    """
    axes = _sample_axes("dy", dy)
    rule = _rule(p, training)
    return _kernels.dropout("dy", dy, out, _backward_key(key, training), *rule, axes)
