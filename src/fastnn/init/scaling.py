"""Initialisers whose variance depends on the tensor's shape: all are cases of one, `variance_scaling_`."""

from __future__ import annotations

import math
from collections.abc import Callable

from fastnn.init.draws import normal_, trunc_normal_, uniform_
from fastnn.init.target import Draws, T, array_of, at_least_zero, finite

# The standard deviation of a standard normal distribution that is truncated to [-2, 2].
TRUNCATED_STD = 0.8796256610342398

GAINS: dict[str, Callable[[float], float]] = {
    **dict.fromkeys(
        ["linear", "conv1d", "conv2d", "conv3d", "conv_transpose1d", "conv_transpose2d", "conv_transpose3d"],
        lambda _: 1.0,
    ),
    "sigmoid": lambda _: 1.0,
    "tanh": lambda _: 5 / 3,
    "relu": lambda _: math.sqrt(2),
    "leaky_relu": lambda slope: math.sqrt(2 / (1 + slope * slope)),
    "selu": lambda _: 3 / 4,
}


def calculate_gain(nonlinearity: str, param: float | None = None) -> float:
    """The factor on the standard deviation that makes up for a nonlinearity, from PyTorch's table.

    1 for "linear", "conv1d", "conv2d", "conv3d" (and "conv_transpose..."), and "sigmoid"; 5/3 for "tanh";
    sqrt(2) for "relu"; sqrt(2 / (1 + param^2)) for "leaky_relu", whose slope param is 0.01 if None; 3/4 for
    "selu". Raises ValueError for another name, and unless param and its square are finite.
    """
    if not (isinstance(nonlinearity, str) and nonlinearity in GAINS):
        raise ValueError(f"nonlinearity must be one of {', '.join(map(repr, GAINS))}, got {nonlinearity!r}")
    slope = 0.01 if param is None else finite("param", param)
    _square("param", slope)
    return GAINS[nonlinearity](slope)


def fans(tensor: object) -> tuple[int, int]:
    """(fan_in, fan_out) of a weight (out, in, kernel...): channels times the size of the kernel.

    Raises ValueError for fewer than 2 dimensions.
    """
    shape = array_of(tensor).shape
    if len(shape) < 2:
        raise ValueError(f"tensor must have at least 2 dimensions, (out, in, kernel...), got shape {shape}")
    kernel = math.prod(shape[2:])
    return shape[1] * kernel, shape[0] * kernel


def variance_scaling_(
    tensor: T,
    scale: float = 1.0,
    mode: str = "fan_in",
    distribution: str = "normal",
    generator: Draws = None,
) -> T:
    """Draw from a distribution of mean 0 and variance scale / fan; the others in this family are cases of it.

    mode: "fan_in", "fan_out" or "fan_avg", their mean. distribution: "normal"; "uniform", on [-sqrt(3
    variance), sqrt(3 variance)]; or "truncated_normal", a normal distribution cut at twice its standard
    deviation, with this variance after it. Raises ValueError for other names, for scale below 0 or not
    finite, and for a tensor of fewer than 2 dimensions.
    """
    fan_in, fan_out = fans(tensor)
    modes = {"fan_in": fan_in, "fan_out": fan_out, "fan_avg": (fan_in + fan_out) / 2}
    if not (isinstance(mode, str) and mode in modes):
        raise ValueError(f"mode must be one of {', '.join(map(repr, modes))}, got {mode!r}")
    if not (isinstance(distribution, str) and distribution in ("normal", "uniform", "truncated_normal")):
        raise ValueError(
            f"distribution must be 'normal', 'uniform' or 'truncated_normal', got {distribution!r}"
        )
    # A fan of 0 is that of a weight without elements.
    std = math.sqrt(at_least_zero("scale", scale) / (modes[mode] or 1))
    if distribution == "normal":
        return normal_(tensor, 0.0, std, generator)
    if distribution == "uniform":
        return uniform_(tensor, -math.sqrt(3) * std, math.sqrt(3) * std, generator)
    std /= TRUNCATED_STD
    return trunc_normal_(tensor, 0.0, std, -2 * std, 2 * std, generator)


def _square(name: str, value: object) -> float:
    """The square of a number; ValueError unless it is finite."""
    number = finite(name, value)
    finite(f"the square of {name}", number * number)
    return number * number


def _squared_gain(nonlinearity: str, a: object) -> float:
    """The square of a nonlinearity's gain for kaiming's `a`, by which messages call it."""
    _square("a", a)
    return calculate_gain(nonlinearity, finite("a", a)) ** 2


def xavier_uniform_(tensor: T, gain: float = 1.0, generator: Draws = None) -> T:
    """Uniform on [-a, a], a = gain sqrt(6 / (fan_in + fan_out)). Glorot and Bengio, 2010."""
    return variance_scaling_(tensor, _square("gain", gain), "fan_avg", "uniform", generator)


def xavier_normal_(tensor: T, gain: float = 1.0, generator: Draws = None) -> T:
    """Normal, std = gain sqrt(2 / (fan_in + fan_out)). Glorot and Bengio, 2010."""
    return variance_scaling_(tensor, _square("gain", gain), "fan_avg", "normal", generator)


def kaiming_uniform_(
    tensor: T,
    a: float = 0.0,
    mode: str = "fan_in",
    nonlinearity: str = "leaky_relu",
    generator: Draws = None,
) -> T:
    """Uniform on [-b, b], b = gain sqrt(3 / fan), with the gain of the nonlinearity; a: leaky_relu's slope.

    He, Zhang, Ren and Sun, "Delving deep into rectifiers", 2015.
    """
    return variance_scaling_(tensor, _squared_gain(nonlinearity, a), mode, "uniform", generator)


def kaiming_normal_(
    tensor: T,
    a: float = 0.0,
    mode: str = "fan_in",
    nonlinearity: str = "leaky_relu",
    generator: Draws = None,
) -> T:
    """Normal, std = gain / sqrt(fan); arguments and source as kaiming_uniform_'s."""
    return variance_scaling_(tensor, _squared_gain(nonlinearity, a), mode, "normal", generator)


def lecun_uniform_(tensor: T, generator: Draws = None) -> T:
    """Uniform on [-a, a], a = sqrt(3 / fan_in). LeCun, Bottou, Orr and Müller, "Efficient BackProp", 1998."""
    return variance_scaling_(tensor, 1.0, "fan_in", "uniform", generator)


def lecun_normal_(tensor: T, generator: Draws = None) -> T:
    """Normal, std = sqrt(1 / fan_in): what SELU takes. LeCun et al., 1998; Klambauer et al., 2017."""
    return variance_scaling_(tensor, 1.0, "fan_in", "normal", generator)
