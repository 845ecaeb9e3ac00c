"""Initial values for weights, with torch.nn.init's names, arguments and formulas.

Each function writes into the array or nn.Parameter that it is given, and returns it. Random numbers come from
fastnn's default generator, so that fastnn.manual_seed makes them repeatable, or from `generator`: a
fastnn.Generator or a numpy.random.Generator. For whole models there are `zero_last_`, `fixup_` and `lsuv_`.
It must not load the layers.
"""

from fastnn.init.constants import constant_, dirac_, eye_, ones_, zeros_
from fastnn.init.draws import normal_, orthogonal_, sparse_, trunc_normal_, uniform_
from fastnn.init.lsuv import lsuv_
from fastnn.init.residual import fixup_, zero_last_
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

__all__ = [
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
