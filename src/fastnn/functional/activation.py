"""Elementwise activations and their gradients: names, arguments and defaults of torch.nn.functional.

This file holds what users read and the checks of parameters; the formulas are in
csrc/activation/activations.h and, as definitions to read beside a lecture, in fastnn.reference.

x is the input, y the output, dy the gradient with respect to y, dx with respect to x. Where backward takes
`output`, that is nearly as exact as the input, which need not be kept, and may have been overwritten. Where x
is NaN dx is NaN, whatever dy; only identity's does not depend on x.
"""

from __future__ import annotations

from collections.abc import Callable
from types import FunctionType
from typing import TypeVar, cast

from numpy.typing import ArrayLike

from fastnn import _kernels
from fastnn._core import arrays
from fastnn._core.arrays import real_number
from fastnn._core.dispatch import general_way
from fastnn._core.typing import Array
from fastnn._kernels import backward, forward

__all__ = [
    "celu",
    "celu_backward",
    "elu",
    "elu_backward",
    "exp",
    "exp_backward",
    "gelu",
    "gelu_backward",
    "hardshrink",
    "hardshrink_backward",
    "hardsigmoid",
    "hardsigmoid_backward",
    "hardswish",
    "hardswish_backward",
    "hardtanh",
    "hardtanh_backward",
    "identity",
    "identity_backward",
    "leaky_relu",
    "leaky_relu_backward",
    "logsigmoid",
    "logsigmoid_backward",
    "mish",
    "mish_backward",
    "relu",
    "relu6",
    "relu6_backward",
    "relu_backward",
    "selu",
    "selu_backward",
    "sigmoid",
    "sigmoid_backward",
    "silu",
    "silu_backward",
    "softplus",
    "softplus_backward",
    "softshrink",
    "softshrink_backward",
    "softsign",
    "softsign_backward",
    "square",
    "square_backward",
    "squareplus",
    "squareplus_backward",
    "swish",
    "swish_backward",
    "tanh",
    "tanh_backward",
    "tanhshrink",
    "tanhshrink_backward",
    "threshold",
    "threshold_backward",
]

F = TypeVar("F", bound=Callable[..., Array])

_FORWARD = """

    input: array of any shape and layout; float32 and float64 as they are, float16 and bfloat16 computed in
    float32, integers and booleans promoted as by np.tanh. out: an array of the result's shape and dtype to
    write to, `input` itself included. Returns out, or a new array. Raises TypeError for other dtypes,
    ValueError for an out that does not fit; nothing is written then.{inplace}
    """

_INPLACE = """
    inplace: True is out=input. Where backward takes the input, keep a copy of it."""

_BACKWARD = """

    dy, {saved}: arrays of one shape, of the dtypes that forward takes. out: an array of that shape and of
    their common dtype to write to, one of the two included. Returns out, or a new array. Raises TypeError for
    other dtypes, ValueError for shapes that differ or an out that does not fit; nothing is written then.
    """


def _forward_doc(function: F) -> F:
    """Appends what all forward functions share to the docstring."""
    inplace = _INPLACE if "inplace" in cast(FunctionType, function).__code__.co_varnames else ""
    function.__doc__ = (function.__doc__ or "").rstrip() + _FORWARD.format(inplace=inplace)
    return function


def _backward_doc(function: F) -> F:
    """Appends what all backward functions share to the docstring."""
    saved = cast(FunctionType, function).__code__.co_varnames[1]
    function.__doc__ = (function.__doc__ or "").rstrip() + _BACKWARD.format(saved=saved)
    return function


def _positive(name: str, value: float) -> None:
    if not real_number(name, value) > 0:
        raise ValueError(f"{name} must be > 0, got {value}")


def _not_negative(name: str, value: float) -> None:
    if not real_number(name, value) >= 0:
        raise ValueError(f"{name} must be >= 0, got {value}")


def _ordered(low_name: str, low: float, high_name: str, high: float) -> None:
    if not real_number(low_name, low) <= real_number(high_name, high):
        raise ValueError(f"{low_name} must be <= {high_name}, got {low} and {high}")


#: What backward takes of each activation, by its row in the table of kernels: its input or its output.
_SAVED = [saved for saved, _ in _kernels.activations().values()]


def _kernels_of(name: str) -> tuple[int, int]:
    """The numbers of an activation's two kernels."""
    return _kernels.find_kernel(name), _kernels.find_kernel(f"{name}_backward")


@general_way("forward", like="input")
def _forward(kernel: int, input: ArrayLike, out: Array | None, p0: float, p1: float) -> Array:
    inputs, target = arrays.prepare((("input", input),), out)
    _kernels.map_arrays(kernel, (target,), inputs, p0, p1)
    return arrays.deliver(target, out)


@general_way("backward", like="dy", names=lambda kernel, *_: ("kernel", "dy", _SAVED[kernel // 2], "out"))
def _backward(kernel: int, dy: ArrayLike, saved: ArrayLike, out: Array | None, p0: float, p1: float) -> Array:
    inputs, target = arrays.prepare((("dy", dy), (_SAVED[kernel // 2], saved)), out)
    _kernels.map_arrays(kernel, (target,), inputs, p0, p1)
    return arrays.deliver(target, out)


_IDENTITY, _IDENTITY_BACKWARD = _kernels_of("identity")
_RELU, _RELU_BACKWARD = _kernels_of("relu")
_LEAKY_RELU, _LEAKY_RELU_BACKWARD = _kernels_of("leaky_relu")
_ELU, _ELU_BACKWARD = _kernels_of("elu")
_SELU, _SELU_BACKWARD = _kernels_of("selu")
_CELU, _CELU_BACKWARD = _kernels_of("celu")
_SIGMOID, _SIGMOID_BACKWARD = _kernels_of("sigmoid")
_TANH, _TANH_BACKWARD = _kernels_of("tanh")
_SILU, _SILU_BACKWARD = _kernels_of("silu")
_MISH, _MISH_BACKWARD = _kernels_of("mish")
_SOFTPLUS, _SOFTPLUS_BACKWARD = _kernels_of("softplus")
_SOFTSIGN, _SOFTSIGN_BACKWARD = _kernels_of("softsign")
_LOGSIGMOID, _LOGSIGMOID_BACKWARD = _kernels_of("logsigmoid")
_HARDSIGMOID, _HARDSIGMOID_BACKWARD = _kernels_of("hardsigmoid")
_HARDSWISH, _HARDSWISH_BACKWARD = _kernels_of("hardswish")
_HARDTANH, _HARDTANH_BACKWARD = _kernels_of("hardtanh")
_RELU6, _RELU6_BACKWARD = _kernels_of("relu6")
_THRESHOLD, _THRESHOLD_BACKWARD = _kernels_of("threshold")
_HARDSHRINK, _HARDSHRINK_BACKWARD = _kernels_of("hardshrink")
_SOFTSHRINK, _SOFTSHRINK_BACKWARD = _kernels_of("softshrink")
_TANHSHRINK, _TANHSHRINK_BACKWARD = _kernels_of("tanhshrink")
_SQUAREPLUS, _SQUAREPLUS_BACKWARD = _kernels_of("squareplus")
_SQUARE, _SQUARE_BACKWARD = _kernels_of("square")
_EXP, _EXP_BACKWARD = _kernels_of("exp")


@_forward_doc
def identity(input: ArrayLike, *, out: Array | None = None) -> Array:
    """y = x."""
    return forward(_IDENTITY, input, out)


@_backward_doc
def identity_backward(dy: ArrayLike, input: ArrayLike, *, out: Array | None = None) -> Array:
    """dx = dy."""
    return backward(_IDENTITY_BACKWARD, dy, input, out)


@_forward_doc
def relu(input: ArrayLike, inplace: bool = False, *, out: Array | None = None) -> Array:
    """y = max(x, 0).

    Nair and Hinton, 2010.
    """
    return forward(_RELU, input, arrays.in_place(input, out) if inplace else out)


@_backward_doc
def relu_backward(dy: ArrayLike, output: ArrayLike, *, out: Array | None = None) -> Array:
    """dx = dy where y > 0, else 0."""
    return backward(_RELU_BACKWARD, dy, output, out)


@_forward_doc
def leaky_relu(
    input: ArrayLike, negative_slope: float = 0.01, inplace: bool = False, *, out: Array | None = None
) -> Array:
    """y = x where x > 0, else negative_slope x.

    Maas, Hannun and Ng, 2013.
    """
    return forward(_LEAKY_RELU, input, arrays.in_place(input, out) if inplace else out, negative_slope)


@_backward_doc
def leaky_relu_backward(
    dy: ArrayLike, input: ArrayLike, negative_slope: float = 0.01, *, out: Array | None = None
) -> Array:
    """dx = dy where x > 0, else negative_slope dy."""
    return backward(_LEAKY_RELU_BACKWARD, dy, input, out, negative_slope)


@_forward_doc
def elu(input: ArrayLike, alpha: float = 1.0, inplace: bool = False, *, out: Array | None = None) -> Array:
    """y = x where x >= 0, else alpha (exp(x) - 1).

    Clevert, Unterthiner and Hochreiter, 2015.
    """
    return forward(_ELU, input, arrays.in_place(input, out) if inplace else out, alpha)


@_backward_doc
def elu_backward(dy: ArrayLike, input: ArrayLike, alpha: float = 1.0, *, out: Array | None = None) -> Array:
    """dx = dy where x > 0, else dy alpha exp(x)."""
    return backward(_ELU_BACKWARD, dy, input, out, alpha)


@_forward_doc
def selu(input: ArrayLike, inplace: bool = False, *, out: Array | None = None) -> Array:
    """y = scale x where x >= 0, else scale alpha (exp(x) - 1); scale = 1.0507..., alpha = 1.6732....

    Klambauer, Unterthiner, Mayr and Hochreiter, 2017.
    """
    return forward(_SELU, input, arrays.in_place(input, out) if inplace else out)


@_backward_doc
def selu_backward(dy: ArrayLike, input: ArrayLike, *, out: Array | None = None) -> Array:
    """dx = scale dy where x > 0, else dy scale alpha exp(x)."""
    return backward(_SELU_BACKWARD, dy, input, out)


@_forward_doc
def celu(input: ArrayLike, alpha: float = 1.0, inplace: bool = False, *, out: Array | None = None) -> Array:
    """y = x where x >= 0, else alpha (exp(x / alpha) - 1).

    Barron, 2017. Raises ValueError unless alpha > 0.
    """
    _positive("alpha", alpha)
    return forward(_CELU, input, arrays.in_place(input, out) if inplace else out, alpha)


@_backward_doc
def celu_backward(dy: ArrayLike, input: ArrayLike, alpha: float = 1.0, *, out: Array | None = None) -> Array:
    """dx = dy where x > 0, else dy exp(x / alpha).

    Raises ValueError unless alpha > 0.
    """
    _positive("alpha", alpha)
    return backward(_CELU_BACKWARD, dy, input, out, alpha)


_GELU = {"none": _kernels_of("gelu"), "tanh": _kernels_of("gelu_tanh")}


def _gelu_choice(approximate: str) -> tuple[int, int]:
    try:
        return _GELU[approximate]
    except (KeyError, TypeError):
        raise ValueError(f"approximate must be 'none' or 'tanh', got {approximate!r}") from None


@_forward_doc
def gelu(input: ArrayLike, approximate: str = "none", *, out: Array | None = None) -> Array:
    """y = x Phi(x), Phi the normal distribution; or x (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3))) / 2.

    approximate: "none" for the first, "tanh" for the second. Hendrycks and Gimpel, 2016. Raises ValueError
    for another.
    """
    return forward(_gelu_choice(approximate)[0], input, out)


@_backward_doc
def gelu_backward(
    dy: ArrayLike, input: ArrayLike, approximate: str = "none", *, out: Array | None = None
) -> Array:
    """dx = dy (Phi(x) + x phi(x)), phi the normal density; or the gradient of the form by tanh.

    approximate: "none" for the first, "tanh" for the second. Raises ValueError for another.
    """
    return backward(_gelu_choice(approximate)[1], dy, input, out)


@_forward_doc
def sigmoid(input: ArrayLike, *, out: Array | None = None) -> Array:
    """y = 1 / (1 + exp(-x))."""
    return forward(_SIGMOID, input, out)


@_backward_doc
def sigmoid_backward(dy: ArrayLike, input: ArrayLike, *, out: Array | None = None) -> Array:
    """dx = dy sigmoid(x) (1 - sigmoid(x)), all its digits also where sigmoid(x) rounds to 1."""
    return backward(_SIGMOID_BACKWARD, dy, input, out)


@_forward_doc
def tanh(input: ArrayLike, *, out: Array | None = None) -> Array:
    """y = tanh(x).

    LeCun, Bottou, Orr and Mueller, 1998.
    """
    return forward(_TANH, input, out)


@_backward_doc
def tanh_backward(dy: ArrayLike, input: ArrayLike, *, out: Array | None = None) -> Array:
    """dx = dy (1 - tanh(x)^2), all its digits also where tanh(x) rounds to 1 or -1."""
    return backward(_TANH_BACKWARD, dy, input, out)


@_forward_doc
def silu(input: ArrayLike, inplace: bool = False, *, out: Array | None = None) -> Array:
    """y = x sigmoid(x).

    Hendrycks and Gimpel, 2016; Ramachandran, Zoph and Le, 2017 (Swish).
    """
    return forward(_SILU, input, arrays.in_place(input, out) if inplace else out)


@_backward_doc
def silu_backward(dy: ArrayLike, input: ArrayLike, *, out: Array | None = None) -> Array:
    """dx = dy s (1 + x (1 - s)), s = sigmoid(x)."""
    return backward(_SILU_BACKWARD, dy, input, out)


@_forward_doc
def mish(input: ArrayLike, inplace: bool = False, *, out: Array | None = None) -> Array:
    """y = x tanh(log(1 + exp(x))).

    Misra, 2019.
    """
    return forward(_MISH, input, arrays.in_place(input, out) if inplace else out)


@_backward_doc
def mish_backward(dy: ArrayLike, input: ArrayLike, *, out: Array | None = None) -> Array:
    """dx = dy (t + x (1 - t^2) sigmoid(x)), t = tanh(log(1 + exp(x)))."""
    return backward(_MISH_BACKWARD, dy, input, out)


@_forward_doc
def softplus(
    input: ArrayLike, beta: float = 1.0, threshold: float = 20.0, *, out: Array | None = None
) -> Array:
    """y = log(1 + exp(beta x)) / beta, and x where beta x > threshold.

    Dugas et al., 2000. Raises ValueError unless beta > 0.
    """
    _positive("beta", beta)
    return forward(_SOFTPLUS, input, out, beta, threshold)


@_backward_doc
def softplus_backward(
    dy: ArrayLike, input: ArrayLike, beta: float = 1.0, threshold: float = 20.0, *, out: Array | None = None
) -> Array:
    """dx = dy sigmoid(beta x), and dy where beta x > threshold.

    Raises ValueError unless beta > 0.
    """
    _positive("beta", beta)
    return backward(_SOFTPLUS_BACKWARD, dy, input, out, beta, threshold)


@_forward_doc
def softsign(input: ArrayLike, *, out: Array | None = None) -> Array:
    """y = x / (1 + |x|).

    Bergstra et al., 2009.
    """
    return forward(_SOFTSIGN, input, out)


@_backward_doc
def softsign_backward(dy: ArrayLike, input: ArrayLike, *, out: Array | None = None) -> Array:
    """dx = dy / (1 + |x|)^2."""
    return backward(_SOFTSIGN_BACKWARD, dy, input, out)


@_forward_doc
def logsigmoid(input: ArrayLike, *, out: Array | None = None) -> Array:
    """y = log(sigmoid(x)) = -log(1 + exp(-x))."""
    return forward(_LOGSIGMOID, input, out)


@_backward_doc
def logsigmoid_backward(dy: ArrayLike, output: ArrayLike, *, out: Array | None = None) -> Array:
    """dx = dy (1 - exp(y))."""
    return backward(_LOGSIGMOID_BACKWARD, dy, output, out)


@_forward_doc
def hardsigmoid(input: ArrayLike, inplace: bool = False, *, out: Array | None = None) -> Array:
    """y = min(max(x + 3, 0), 6) / 6.

    Howard et al., 2019 (MobileNetV3).
    """
    return forward(_HARDSIGMOID, input, arrays.in_place(input, out) if inplace else out)


@_backward_doc
def hardsigmoid_backward(dy: ArrayLike, input: ArrayLike, *, out: Array | None = None) -> Array:
    """dx = dy / 6 where -3 < x < 3, else 0."""
    return backward(_HARDSIGMOID_BACKWARD, dy, input, out)


@_forward_doc
def hardswish(input: ArrayLike, inplace: bool = False, *, out: Array | None = None) -> Array:
    """y = x min(max(x + 3, 0), 6) / 6.

    Howard et al., 2019 (MobileNetV3).
    """
    return forward(_HARDSWISH, input, arrays.in_place(input, out) if inplace else out)


@_backward_doc
def hardswish_backward(dy: ArrayLike, input: ArrayLike, *, out: Array | None = None) -> Array:
    """dx = 0 where x <= -3, dy where x >= 3, else dy (x / 3 + 1/2)."""
    return backward(_HARDSWISH_BACKWARD, dy, input, out)


@_forward_doc
def hardtanh(
    input: ArrayLike,
    min_val: float = -1.0,
    max_val: float = 1.0,
    inplace: bool = False,
    *,
    out: Array | None = None,
) -> Array:
    """y = min(max(x, min_val), max_val).

    Collobert, 2004. Raises ValueError unless min_val <= max_val.
    """
    _ordered("min_val", min_val, "max_val", max_val)
    return forward(_HARDTANH, input, arrays.in_place(input, out) if inplace else out, min_val, max_val)


@_backward_doc
def hardtanh_backward(
    dy: ArrayLike, input: ArrayLike, min_val: float = -1.0, max_val: float = 1.0, *, out: Array | None = None
) -> Array:
    """dx = dy where min_val < x < max_val, else 0.

    Raises ValueError unless min_val <= max_val.
    """
    _ordered("min_val", min_val, "max_val", max_val)
    return backward(_HARDTANH_BACKWARD, dy, input, out, min_val, max_val)


@_forward_doc
def relu6(input: ArrayLike, inplace: bool = False, *, out: Array | None = None) -> Array:
    """y = min(max(x, 0), 6).

    Krizhevsky, 2010.
    """
    return forward(_RELU6, input, arrays.in_place(input, out) if inplace else out)


@_backward_doc
def relu6_backward(dy: ArrayLike, output: ArrayLike, *, out: Array | None = None) -> Array:
    """dx = dy where 0 < y < 6, else 0."""
    return backward(_RELU6_BACKWARD, dy, output, out)


@_forward_doc
def threshold(
    input: ArrayLike, threshold: float, value: float, inplace: bool = False, *, out: Array | None = None
) -> Array:
    """y = x where x > threshold, else value."""
    return forward(_THRESHOLD, input, arrays.in_place(input, out) if inplace else out, threshold, value)


@_backward_doc
def threshold_backward(
    dy: ArrayLike, input: ArrayLike, threshold: float, value: float, *, out: Array | None = None
) -> Array:
    """dx = dy where x > threshold, else 0, whatever the value."""
    return backward(_THRESHOLD_BACKWARD, dy, input, out, threshold, value)


@_forward_doc
def hardshrink(input: ArrayLike, lambd: float = 0.5, *, out: Array | None = None) -> Array:
    """y = x where |x| > lambd, else 0; so y = x where lambd < 0.

    Donoho and Johnstone, 1994.
    """
    return forward(_HARDSHRINK, input, out, lambd)


@_backward_doc
def hardshrink_backward(
    dy: ArrayLike, input: ArrayLike, lambd: float = 0.5, *, out: Array | None = None
) -> Array:
    """dx = dy where |x| > lambd, else 0."""
    return backward(_HARDSHRINK_BACKWARD, dy, input, out, lambd)


@_forward_doc
def softshrink(input: ArrayLike, lambd: float = 0.5, *, out: Array | None = None) -> Array:
    """y = x - sign(x) lambd where |x| > lambd, else 0.

    Donoho and Johnstone, 1994. Raises ValueError unless lambd >= 0.
    """
    _not_negative("lambd", lambd)
    return forward(_SOFTSHRINK, input, out, lambd)


@_backward_doc
def softshrink_backward(
    dy: ArrayLike, input: ArrayLike, lambd: float = 0.5, *, out: Array | None = None
) -> Array:
    """dx = dy where |x| > lambd, else 0.

    Raises ValueError unless lambd >= 0.
    """
    _not_negative("lambd", lambd)
    return backward(_SOFTSHRINK_BACKWARD, dy, input, out, lambd)


@_forward_doc
def tanhshrink(input: ArrayLike, *, out: Array | None = None) -> Array:
    """y = x - tanh(x)."""
    return forward(_TANHSHRINK, input, out)


@_backward_doc
def tanhshrink_backward(dy: ArrayLike, input: ArrayLike, *, out: Array | None = None) -> Array:
    """dx = dy tanh(x)^2."""
    return backward(_TANHSHRINK_BACKWARD, dy, input, out)


@_forward_doc
def squareplus(input: ArrayLike, b: float = 4.0, *, out: Array | None = None) -> Array:
    """y = (x + sqrt(x^2 + b)) / 2.

    Barron, 2021. Raises ValueError unless b >= 0.
    """
    _not_negative("b", b)
    return forward(_SQUAREPLUS, input, out, b)


@_backward_doc
def squareplus_backward(
    dy: ArrayLike, input: ArrayLike, b: float = 4.0, *, out: Array | None = None
) -> Array:
    """dx = dy (1 + x / sqrt(x^2 + b)) / 2.

    Raises ValueError unless b >= 0.
    """
    _not_negative("b", b)
    return backward(_SQUAREPLUS_BACKWARD, dy, input, out, b)


@_forward_doc
def square(input: ArrayLike, *, out: Array | None = None) -> Array:
    """y = x^2."""
    return forward(_SQUARE, input, out)


@_backward_doc
def square_backward(dy: ArrayLike, input: ArrayLike, *, out: Array | None = None) -> Array:
    """dx = 2 x dy."""
    return backward(_SQUARE_BACKWARD, dy, input, out)


@_forward_doc
def exp(input: ArrayLike, *, out: Array | None = None) -> Array:
    """y = exp(x)."""
    return forward(_EXP, input, out)


@_backward_doc
def exp_backward(dy: ArrayLike, output: ArrayLike, *, out: Array | None = None) -> Array:
    """dx = dy y."""
    return backward(_EXP_BACKWARD, dy, output, out)


swish = silu
swish_backward = silu_backward
