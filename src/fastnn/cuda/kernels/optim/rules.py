"""The rules of the optimisers on one element, as in csrc/optim/optimizer_kernels.c and rounded as there.

A rule is a device function (x, k, c): x[j, k] is element k of operand j, which are the parameter p, its
gradient g and the rule's states in the order in which fastnn.optim names them; c[0] ... c[7] are the rule's
numbers, the first one the size of the step. It must not know memory.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

from fastnn import _kernels
from fastnn.cuda._runtime.ptx.arithmetic import fma, like, product
from fastnn.cuda._runtime.ptx.functions import device
from fastnn.cuda.kernels.common.tables import Table

#: What c has behind the rule's own numbers: whether the gradient is negated, what is added to it, and what
#: the parameter is multiplied by; and of a trust ratio the coefficient and the decay.
OWN_NUMBERS = 8
NEGATE, DECAY, L1, KEEP, COEFFICIENT, TRUST_DECAY = range(OWN_NUMBERS, OWN_NUMBERS + 6)
NUMBERS = OWN_NUMBERS + 6


class Rule(NamedTuple):
    """A rule, the number of its arrays, and which of them it reads and writes: array j is bit j."""

    function: Any
    operands: int
    reads: int
    writes: int


@device
def lerp(start: float, end: float, weight: float) -> Any:
    """One form of a moving average. The two differ in what an infinity leaves behind."""
    return fma(weight, end - start, start)


@device
def decayed(keep: float, old: float, weight: float, new: float) -> Any:
    """The other form."""
    return fma(keep, old, product(weight, new))


@device
def with_sign_of(x: float, size: float) -> float:
    """size sign(x); 0 and NaN remain themselves."""
    if x > 0:
        return size
    return -size if x < 0 else x


@device
def larger(a: float, b: float) -> float:
    """The larger one; b if one of them is NaN."""
    return a if a > b else b


@device
def go(x: Any, k: int, size: float, direction: float) -> None:
    """A step of the parameter."""
    x[0, k] = x[0, k] - product(size, direction)


@device
def penalise(x: Any, k: int, c: Any) -> None:
    """Add the gradients of the penalties to that of the loss.

    What is not asked for is left out, for it might make a NaN of an infinity.
    """
    if c[NEGATE] != 0:
        x[1, k] = -x[1, k]
    if c[DECAY] != 0:
        x[1, k] = fma(c[DECAY], x[0, k], x[1, k])
    if c[L1] != 0:
        x[1, k] = x[1, k] + with_sign_of(x[0, k], c[L1])


@device
def sgd(x: Any, k: int, c: Any) -> None:
    """p <- p - c0 g."""
    go(x, k, c[0], x[1, k])


@device
def sgd_momentum(x: Any, k: int, c: Any) -> None:
    """v <- c1 v + c2 g; p <- p - c0 v."""
    x[2, k] = decayed(c[1], x[2, k], c[2], x[1, k])
    go(x, k, c[0], x[2, k])


@device
def sgd_nesterov(x: Any, k: int, c: Any) -> None:
    """As sgd_momentum, with the step g + c1 v."""
    x[2, k] = decayed(c[1], x[2, k], c[2], x[1, k])
    go(x, k, c[0], fma(c[1], x[2, k], x[1, k]))


@device
def adagrad(x: Any, k: int, c: Any) -> None:
    """s <- s + g^2; p <- p - c0 g / (sqrt(s) + c1)."""
    x[2, k] = fma(x[1, k], x[1, k], x[2, k])
    go(x, k, c[0], x[1, k] / (math.sqrt(x[2, k]) + c[1]))


@device
def rmsprop_direction(x: Any, k: int, c: Any) -> Any:
    """g / (sqrt(s) + c3), with s <- c1 s + c2 g^2."""
    x[2, k] = decayed(c[1], x[2, k], c[2], product(x[1, k], x[1, k]))
    return x[1, k] / (math.sqrt(x[2, k]) + c[3])


@device
def rmsprop_centered_direction(x: Any, k: int, c: Any) -> Any:
    """Rounding may leave a variance below 0; a NaN stays one."""
    x[2, k] = decayed(c[1], x[2, k], c[2], product(x[1, k], x[1, k]))
    x[3, k] = lerp(x[3, k], x[1, k], c[2])
    variance = larger(like(c[0], 0), x[2, k] - product(x[3, k], x[3, k]))
    return x[1, k] / (math.sqrt(variance) + c[3])


@device
def rmsprop(x: Any, k: int, c: Any) -> None:
    """p <- p - c0 d."""
    go(x, k, c[0], rmsprop_direction(x, k, c))


@device
def rmsprop_centered(x: Any, k: int, c: Any) -> None:
    """p <- p - c0 d, with s less the mean's square."""
    go(x, k, c[0], rmsprop_centered_direction(x, k, c))


@device
def rmsprop_momentum(x: Any, k: int, c: Any) -> None:
    """v <- c4 v + d; p <- p - c0 v."""
    x[3, k] = fma(c[4], x[3, k], rmsprop_direction(x, k, c))
    go(x, k, c[0], x[3, k])


@device
def rmsprop_centered_momentum(x: Any, k: int, c: Any) -> None:
    """v <- c4 v + d; p <- p - c0 v, with s less the mean's square."""
    x[4, k] = fma(c[4], x[4, k], rmsprop_centered_direction(x, k, c))
    go(x, k, c[0], x[4, k])


@device
def adadelta(x: Any, k: int, c: Any) -> None:
    """d = sqrt(u + c3) / sqrt(s + c3) g; p <- p - c0 d."""
    x[2, k] = decayed(c[1], x[2, k], c[2], product(x[1, k], x[1, k]))
    delta = product(math.sqrt(x[3, k] + c[3]) / math.sqrt(x[2, k] + c[3]), x[1, k])
    x[3, k] = decayed(c[1], x[3, k], c[2], product(delta, delta))
    go(x, k, c[0], delta)


@device
def moments(x: Any, k: int, c: Any) -> None:
    """c[1 ... 3] are 1 - beta1, beta2, 1 - beta2 for all the rules of Adam's family."""
    x[2, k] = lerp(x[2, k], x[1, k], c[1])
    x[3, k] = decayed(c[2], x[3, k], c[3], product(x[1, k], x[1, k]))


@device
def adam(x: Any, k: int, c: Any) -> None:
    """p <- p - c0 m / (sqrt(v) c4 + c5)."""
    moments(x, k, c)
    go(x, k, c[0], x[2, k] / fma(math.sqrt(x[3, k]), c[4], c[5]))


@device
def adam_amsgrad(x: Any, k: int, c: Any) -> None:
    """As adam, with the largest v so far."""
    moments(x, k, c)
    x[4, k] = larger(x[4, k], x[3, k])
    go(x, k, c[0], x[2, k] / fma(math.sqrt(x[4, k]), c[4], c[5]))


@device
def adamax(x: Any, k: int, c: Any) -> None:
    """u <- max(c2 u, |g| + c3); p <- p - c0 m / u."""
    x[2, k] = lerp(x[2, k], x[1, k], c[1])
    x[3, k] = larger(product(c[2], x[3, k]), abs(x[1, k]) + c[3])
    go(x, k, c[0], x[2, k] / x[3, k])


@device
def nadam(x: Any, k: int, c: Any) -> None:
    """p <- p - c0 (c6 m + g) / (sqrt(v) c4 + c5)."""
    moments(x, k, c)
    go(x, k, c[0], fma(c[6], x[2, k], x[1, k]) / fma(math.sqrt(x[3, k]), c[4], c[5]))


@device
def radam(x: Any, k: int, c: Any) -> None:
    """With c[5] = 1 the rule of the first steps: a captured graph has both."""
    moments(x, k, c)
    go(x, k, c[0], x[2, k] if c[5] == 1 else x[2, k] / (math.sqrt(x[3, k]) + c[4]))


@device
def lion(x: Any, k: int, c: Any) -> None:
    """p <- p - c0 sign(lerp(m, g, c1)); m <- lerp(m, g, c2)."""
    x[0, k] = x[0, k] - with_sign_of(lerp(x[2, k], x[1, k], c[1]), c[0])
    x[2, k] = lerp(x[2, k], x[1, k], c[2])


@device
def lars_direction(x: Any, k: int, c: Any) -> None:
    """g, whose norm is wanted."""
    x[2, k] = x[1, k]


@device
def lars(x: Any, k: int, c: Any) -> None:
    """v <- c1 v + c0 (c2 p + g); p <- p - v."""
    x[2, k] = fma(c[1], x[2, k], product(c[0], fma(c[2], x[0, k], x[1, k])))
    x[0, k] = x[0, k] - x[2, k]


@device
def lamb_ratio(x: Any, k: int, c: Any) -> Any:
    """c7 p + m c6 / (sqrt(v) c4 + c5)."""
    return fma(c[7], x[0, k], product(x[2, k], c[6]) / fma(math.sqrt(x[3, k]), c[4], c[5]))


@device
def lamb_direction(x: Any, k: int, c: Any) -> None:
    """The moments, and the direction whose norm is wanted."""
    moments(x, k, c)
    x[4, k] = lamb_ratio(x, k, c)


@device
def lamb(x: Any, k: int, c: Any) -> None:
    """p <- p - c0 d."""
    go(x, k, c[0], lamb_ratio(x, k, c))


@device
def average(x: Any, k: int, c: Any) -> None:
    """a <- lerp(a, p, c0)."""
    x[0, k] = lerp(x[0, k], x[1, k], c[0])


@device
def scale(x: Any, k: int, c: Any) -> None:
    """g <- c0 g."""
    x[0, k] = x[0, k] * c[0]


@device
def clamp(x: Any, k: int, c: Any) -> None:
    """g <- g, cut off at -c0 and c0; NaN stays NaN."""
    high = x[0, k] if not c[0] < x[0, k] else c[0]
    x[0, k] = larger(-c[0], high)


#: What a rule reads and writes, array j as bit j, where it is not all, and all but the gradient. Directions
#: stay in registers.
_READS_AND_WRITES = {
    "lamb": (0b1101, 0b0001),
    "lars_direction": (0b011, 0b000),
    "lamb_direction": (0b01111, 0b01100),
}


def _table() -> Table[Rule]:
    """The functions above, by the names of the CPU's table (csrc/optim/optimizers.def)."""
    rows = {}
    for name, count in _kernels.rules().items():
        if name in globals():
            everything = (1 << count) - 1
            reads, writes = _READS_AND_WRITES.get(name, (everything, everything & ~0b10))
            rows[name] = Rule(globals()[name], count, reads, writes)
    return Table(rows, "src/fastnn/cuda/kernels/optim/rules.py")


RULES = _table()
