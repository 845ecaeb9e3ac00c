"""Cases of fastnn.optim: some steps of an optimiser over parameters and gradients in random memory."""

from __future__ import annotations

import inspect
from typing import Any

import numpy as np

from fastnn import optim

from .arrays import Draw
from .case import Case
from .parameters import value_of

# Fuzzed by the others, or by itself.
WITHOUT_CASES = {"Optimizer", "ExponentialMovingAverage", "StochasticWeightAverage"}


def names() -> list[str]:
    """All optimisers."""
    everything = {name: getattr(optim, name) for name in optim.__all__}
    return [n for n, v in everything.items() if isinstance(v, type) and n not in WITHOUT_CASES]


def case_of(d: Draw, name: str) -> Case:
    """One to three steps over one to three parameters."""
    parameters = dict(inspect.signature(getattr(optim, name)).parameters)
    arguments: dict[str, Any] = {}
    for key, parameter in parameters.items():
        if key in ("params", "options") or (parameter.default is not parameter.empty and d.chance(0.4)):
            continue
        arguments[key] = value_of(d, key, parameter)
    options = inspect.Parameter("l2", inspect.Parameter.KEYWORD_ONLY, annotation="float", default=0.0)
    arguments |= {
        key: value_of(d, key, options) for key in ("maximize", "l1", "l2", "max_norm") if d.chance(0.15)
    }
    made = ", ".join(f"{key}={key}" for key in arguments)
    case = Case(
        f"optim.{name}",
        "",
        arguments,
        {*parameters, "params", "grad", "data", "maximize", "l1", "l2", "max_norm", "param_groups"},
    )
    d.swaps = False  # an optimiser takes native arrays
    count, steps = 1 + d.below(3), 1 + d.below(3)
    for i in range(count):
        dtype = d.dtype if d.chance(0.9) else None
        p = d.array(d.shape(), dtype, writable=True)
        g = d.array(
            p.shape if d.chance(0.97) else d.shape(), p.dtype.newbyteorder("=") if d.chance(0.97) else None
        )
        if d.chance(0.1) and not g.dtype.hasobject:
            g, p2 = d.overlapping(g, p.shape, p.dtype)
            if d.chance(0.5) and g.shape == p.shape:
                g = p2 = p
            case.clash = True  # each step sees what the one before it wrote
            p = p2
        case.arguments |= {f"p{i}": p, f"g{i}": g}
    case.written = {f"p{i}" for i in range(count)}
    every = range(count)
    case.source = "\n".join(
        [
            f"params = [{', '.join(f'nn.Parameter(p{i})' for i in every)}]",
            f"optimizer = optim.{name}(params{', ' * bool(made)}{made})",
            f"for step in range({steps}):",
            *(f"    params[{i}].grad = g{i}" for i in every),
            "    optimizer.step()",
            "result = optimizer.state_dict()['state']",
        ]
    )
    return case


def average_case(d: Draw) -> Case:
    """An exponential moving average over parameters that change."""
    d.swaps = False
    p = d.array(d.shape(), writable=True)
    arguments: dict[str, Any] = {
        "p": p,
        "q": d.array(p.shape, p.dtype),
        "decay": d.pick((0.0, 0.5, 0.999, 1.0, -1.0, 2, None, np.nan)),
    }
    source = """params = [nn.Parameter(p)]
average = optim.ExponentialMovingAverage(params, decay)
p[...] = q
average.update()
result = average.state_dict()"""
    return Case(
        "optim.ExponentialMovingAverage",
        source,
        arguments,
        {"params", "decay", "data"},
        {"p"},
        {"p"},
        clash=True,
    )
