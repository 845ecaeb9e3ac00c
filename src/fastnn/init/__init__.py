"""Initial values for weights, with torch.nn.init's names, arguments and formulas.

Each function writes into the array or nn.Parameter that it is given, and returns it. Random numbers come from
fastnn's default generator, so that fastnn.manual_seed makes them repeatable, or from `generator`: a
fastnn.Generator or a numpy.random.Generator.

For whole models there are `apply`, `zero_last_`, `fixup_` and `lsuv_`. They know layers and so live in
fastnn.nn. They are loaded when they are first used, because `import fastnn` loads this package and must not
load the layers.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fastnn.init.constants import constant_, dirac_, eye_, ones_, zeros_
from fastnn.init.draws import normal_, orthogonal_, sparse_, trunc_normal_, uniform_
from fastnn.init.scaling import (
    calculate_gain,
    fans,
    kaiming_normal_,
    kaiming_uniform_,
    lecun_normal_,
    lecun_uniform_,
    variance_scaling_,
    xavier_normal_,
    xavier_uniform_,
)

if TYPE_CHECKING:
    from fastnn.nn._initialize import apply, fixup_, lsuv_, zero_last_

__all__ = [
    "apply",
    "calculate_gain",
    "constant_",
    "dirac_",
    "eye_",
    "fans",
    "fixup_",
    "kaiming_normal_",
    "kaiming_uniform_",
    "lecun_normal_",
    "lecun_uniform_",
    "lsuv_",
    "normal_",
    "ones_",
    "orthogonal_",
    "sparse_",
    "trunc_normal_",
    "uniform_",
    "variance_scaling_",
    "xavier_normal_",
    "xavier_uniform_",
    "zero_last_",
    "zeros_",
]


def __getattr__(name: str) -> Any:
    if name in ("apply", "fixup_", "lsuv_", "zero_last_"):
        from fastnn.nn import _initialize

        return getattr(_initialize, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
