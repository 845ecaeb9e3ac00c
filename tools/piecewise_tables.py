"""Prints csrc/math/piecewise_tables.h: functions as polynomials in pieces, for csrc/math/piecewise.h.

Run in the repository's root (NumPy and mpmath are in the extra "test"); names of tables print these only:

    python -m tools.piecewise_tables > csrc/math/piecewise_tables.h

A piece has a centre, and its polynomial is in the distance from there. What an evaluation in float32
loses comes mostly from rounding the constant term and the last sum. So the centre is a float32 at which
the function is nearly a float32 too, and the other coefficients are rounded one after the other, the
rest being fitted again each time (after Gal and Bachelis, 1991).
"""

from __future__ import annotations

import sys
import textwrap
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from mpmath import mp, mpf
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Terms = Callable[[mpf], tuple[mpf, ...]]

ENTRIES = 32  # pieces of a table
POINTS = 48  # of a piece, in which the polynomial is fitted

HEAD = """// The tables of piecewise.h: functions as polynomials in pieces.
// Printed by tools/piecewise_tables.py, which says how they are made.
// clang-format off
#ifndef FASTNN_PIECEWISE_TABLES_H
#define FASTNN_PIECEWISE_TABLES_H"""


@dataclass(frozen=True)
class Table:
    """The sum of `terms` on [first, last]. x is in piece j where (square x + linear) x rounds to j."""

    name: str
    what: str
    terms: Terms
    first: float
    last: float
    linear: float = 0  # how dense the pieces are at 0; 0: all have one length
    at: float = 0.5  # which part of the piece lies before the centre
    degree: int = 5

    def value(self, x: float) -> mpf:
        """The function."""
        return mp.fsum(self.terms(mpf(x)))

    def size(self, x: float) -> mpf:
        """What errors are relative to: the function, but where terms cancel the largest of these."""
        largest, value = max(map(abs, self.terms(mpf(x)))), abs(self.value(x))
        return largest if value < largest / 2 else value


def _sigmoid(x: mpf) -> mpf:
    return 1 / (1 + mp.exp(-x))


def _gaussian_tail(a: mpf) -> mpf:
    return mp.erfc(a / mp.sqrt(2)) / 2


def _gelu_slope(a: mpf) -> tuple[mpf, ...]:
    return _gaussian_tail(a), -a * mp.npdf(a)


def _silu_slope(a: mpf) -> tuple[mpf, ...]:
    s = _sigmoid(-a)
    return s, -a * s * (1 - s)


def _gelu_tanh(a: mpf) -> mpf:
    return _sigmoid(-mp.sqrt(8 / mp.pi) * (a + mpf("0.044715") * a**3))


def _gelu_tanh_slope(a: mpf) -> tuple[mpf, ...]:
    s = _gelu_tanh(a)
    return s, -a * s * (1 - s) * mp.sqrt(8 / mp.pi) * (1 + 3 * mpf("0.044715") * a**2)


def _mish(x: mpf) -> mpf:
    return mp.tanh(mp.log1p(mp.exp(x)))


def _mish_slope(x: mpf) -> tuple[mpf, ...]:
    t = _mish(x)
    return t, x * _sigmoid(x) * (1 - t * t)


TABLES = [
    Table("tanh", "tanh(a)", lambda a: (mp.tanh(a),), 0, 9.0112, 6.8),
    Table("sigmoid", "1 / (1 + exp(a))", lambda a: (_sigmoid(-a),), 0, 17.4, at=0.75),
    Table("softplus", "log(1 + exp(-a))", lambda a: (mp.log1p(mp.exp(-a)),), 0, 17.4, at=0.75),
    Table("gelu", "Q(a) = (1 - erf(a / sqrt(2))) / 2", lambda a: (_gaussian_tail(a),), 0, 5.45, 2, at=0.75),
    Table("gelu_slope", "(a Q(a))'", _gelu_slope, 0, 5.93, 2.8),
    Table("silu_slope", "(a / (1 + exp(a)))'", _silu_slope, 0, 20.6, degree=6),
    Table(
        name="gelu_tanh",
        what="q(a) = 1 / (1 + exp(sqrt(8 / pi) (a + 0.044715 a^3)))",
        terms=lambda a: (_gelu_tanh(a),),
        first=0,
        last=5.1,
        linear=1.7,
        at=0.75,
    ),
    Table("gelu_tanh_slope", "(a q(a))'", _gelu_tanh_slope, 0, 5.6, 2.5),
    Table("mish", "t(x) = tanh(log(1 + exp(x)))", lambda x: (_mish(x),), -9, 9.2, at=0.3, degree=6),
    Table("mish_slope", "(x t(x))'", _mish_slope, -8.4, 10.8, degree=6),
]


def print_table(table: Table) -> None:
    """The table as a constant in C."""
    square, linear, lower_end = _partition(table)
    start = round(linear * table.first)
    rows, largest = np.zeros((table.degree + 2, ENTRIES), np.float32), 0.0
    for j in range(start, start + ENTRIES):
        low, high = max(table.first, lower_end(j)), min(table.last, lower_end(j + 1))
        if low < high:
            rows[:, j % ENTRIES], error = _fit(table, low, high)
            largest = max(largest, error)
    print(
        f"\n// {table.what}: off by {largest:.2f} 2^-24 at most\nstatic const Pieces {table.name}_pieces = {{"
    )
    for name, value in [("square", square), ("linear", linear), ("first", table.first), ("last", table.last)]:
        print(f"    .{name} = {_c(value)},")
    print(f"    .degree = {table.degree},\n    .rows = {{")
    for row in rows:
        print("        {", *textwrap.wrap(", ".join(map(_c, row)), 100), sep="\n         ")
        print("        },")
    print("    }};")


def _partition(table: Table) -> tuple[float, float, Callable[[int], float]]:
    """square, linear, and a function that gives the lower end of piece j."""
    if not table.linear:
        spare = 0.51 if table.first == 0 else 1.02
        step = _float32((ENTRIES - spare) / (table.last - table.first))
        return 0.0, step, lambda j: (j - 0.5) / step
    linear = _float32(table.linear)
    square = _float32((ENTRIES - 0.51 - linear * table.last) / table.last**2)

    def lower_end(j: int) -> float:
        return float((np.sqrt(linear**2 + 4 * square * (j - 0.5)) - linear) / (2 * square)) if j else 0.0

    return square, linear, lower_end


def _fit(table: Table, low: float, high: float) -> tuple[list[float], float]:
    """Centre and coefficients, and the largest relative error in units of 2^-24."""
    centre = _centre(table, low, high)
    x = (low + high) / 2 + (high - low) / 2 * np.cos(np.pi * (np.arange(POINTS) + 0.5) / POINTS)
    t, length = x - centre, high - low
    exact, size = _floats(table.value, x), _floats(table.size, x)
    coefficients = [_float32(table.value(centre))]
    if coefficients[0] == 0:
        coefficients.append(1.0)  # tanh of a tiny a is a
    rest = exact - sum(value * t**power for power, value in enumerate(coefficients))
    for power in range(len(coefficients), table.degree + 1):
        powers = np.stack([(t / length) ** k for k in range(power, table.degree + 1)], 1)
        solution = np.linalg.lstsq(powers / size[:, None], rest / size, rcond=None)[0]
        coefficients.append(_float32(solution[0] / length**power))
        rest -= coefficients[-1] * t**power
    return [centre, *coefficients], float(np.max(np.abs(rest / size))) * 2**24


def _centre(table: Table, low: float, high: float) -> float:
    """The float32 near the wanted centre whose function is nearest to a float32; 0 for a piece from 0 on."""
    if low == table.first == 0:
        return 0.0
    wanted = np.float32(low + (high - low) * table.at)
    near = (wanted + np.spacing(wanted) * np.arange(-100, 101, dtype=np.float32)).astype(np.float64)
    values = _floats(table.value, near)
    return float(near[np.argmin(np.abs(values.astype(np.float32) / values - 1))])


def _floats(function: Callable[[float], mpf], x: Floats) -> Floats:
    return np.array([float(function(float(v))) for v in x])


def _float32(value: float | mpf) -> float:
    return float(np.float32(float(value)))


def _c(value: float) -> str:
    """A float32 as C writes it."""
    return f"{np.float32(value)}f"


if __name__ == "__main__":
    mp.prec = 80
    print(HEAD)
    for each in TABLES:
        if not sys.argv[1:] or each.name in sys.argv[1:]:
            print_table(each)
    print("\n#endif")
