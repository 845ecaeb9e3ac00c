"""Where a run went wrong: the first layer whose numbers are not finite, or else the largest ones.

Knows nothing of the loop; it is called when training has failed, so it takes its time.
"""

from __future__ import annotations

from contextlib import ExitStack
from typing import NamedTuple

import numpy as np

from fastnn._core.devices import on_host
from fastnn._core.ranks import Ranks
from fastnn._core.typing import Array
from fastnn.nn import Module
from fastnn.train.measures import EVALUATION_BATCH
from fastnn.train.nested import Nested, call, leaves
from fastnn.train.sources import Batch, Rows, Source


class Diverged(FloatingPointError):  # noqa: N818
    """The loss is not finite, or far above its first value. The message says where that began, and why.

    Attributes: epoch, step (optimizer steps before the failing one, plus 1), layer (its name in the model, ""
    for the model itself or its input) and lr.
    """

    def __init__(self, loss: str, epoch: int, step: int, finding: Finding, lr: float) -> None:
        advice = "" if finding.in_data else f"; learning rate {lr:g}: try a lower one"
        super().__init__(f"{loss} in epoch {epoch}, step {step}: {finding.text}{advice}")
        self.epoch, self.step, self.layer, self.lr = epoch, step, finding.layer, lr


class Finding(NamedTuple):
    """The layer that is to blame, and a sentence about it."""

    layer: str
    text: str
    in_data: bool = False  # then no learning rate helps


def diagnose(model: Module, batch: Batch, name: str, data: Source, ranks: Ranks) -> Finding:
    """Return where the first non-finite value appeared when the model was trained and then given a batch.

    The batch itself comes first; then the order is that in which it can happen: the gradients that the last
    backward pass left, the parameters after that step, a layer's output, which is computed again, layer by
    layer. If all is finite, the layer with the largest output. name, data: the data set that the batch is of,
    and what messages call it. Of what the ranks find in their rows, it is the first rank's with a value that
    is not finite.
    """
    found = _first(ranks, _samples(batch, name, data)) or _gradients(model) or _parameters(model)
    if found is not None:
        return found
    output, largest = _outputs(model, batch[0])
    return _first(ranks, output) or max(ranks.gather(largest))[1]


def _first(ranks: Ranks, finding: Finding | None) -> Finding | None:
    return next((found for found in ranks.gather(finding) if found is not None), None)


def _samples(batch: Batch, name: str, data: Source) -> Finding | None:
    """What is wrong in the data set, whose rows the user knows; the batch's are shuffled."""
    for index, part in enumerate("xy"):
        for place, rows in enumerate(leaves(batch[index])):
            if not _finite(rows):
                array = f"{part}[{place}]" if isinstance(batch[index], tuple) else part
                if not isinstance(data, Rows):
                    text = f"{name}: {array} must be finite, got {_count(rows)} in a batch"
                elif where := _rows(data, index, place):
                    text = f"{name}: {array} must be finite, got NaN or infinities in {where.format(array)}"
                else:
                    text = f"transform must return finite numbers, got {_count(rows)} in {array}"
                return Finding("", text, in_data=True)
    return None


def _rows(data: Rows, index: int, place: int) -> str:
    """How many rows of an array of the data set are wrong, and the place of the first number; else ""."""
    wrong, first = 0, ""
    for number, batch in enumerate(data.in_order(EVALUATION_BATCH)):
        finite = np.isfinite([*leaves(batch[index])][place])
        wrong += int(np.count_nonzero(~finite.reshape(len(finite), -1).all(axis=1)))
        if wrong and not first:
            row, *rest = np.argwhere(~finite)[0]
            first = ", ".join(map(str, (row + number * EVALUATION_BATCH, *rest)))
    return f"{wrong} of {len(data)} rows, the first at {{}}[{first}]" if wrong else ""


def _gradients(model: Module) -> Finding | None:
    """The last parameter's: backward goes from the last layer to the first."""
    bad = [
        (name, p.grad) for name, p in model.named_parameters() if p.grad is not None and not _finite(p.grad)
    ]
    if not bad:
        return None
    name, gradient = bad[-1]
    layer, _, parameter = name.rpartition(".")
    where = (
        f"the first value that is not finite was in the gradient of {parameter} of {_called(model, layer)}"
    )
    return Finding(layer, f"{where}, in the backward pass before ({_count(gradient)})")


def _parameters(model: Module) -> Finding | None:
    for name, parameter in model.named_parameters():
        if not _finite(parameter.data):
            layer, _, own = name.rpartition(".")
            where = f"the first value that is not finite is in {own} of {_called(model, layer)}"
            return Finding(layer, f"{where}, since the step before ({_count(parameter.data)})")
    return None


def _outputs(model: Module, x: Nested) -> tuple[Finding | None, tuple[float, Finding]]:
    """The first output that is not finite; and the largest number in one, and where that is."""
    names = {id(module): name for name, module in model.named_modules()}
    first: list[tuple[str, Array]] = []
    largest: dict[str, float] = {}  # a layer comes before what it is in

    def look(module: Module, *passed: Nested) -> None:
        name = names[id(module)]
        for y in leaves(passed[-1]):
            if not _finite(y):
                first.append((name, y))
            largest[name] = max(largest.get(name, 0.0), float(np.abs(on_host(y)).max(initial=0.0)))

    with ExitStack() as undo:
        for module in model.modules():  # one that is looked at is not fused with its neighbours
            undo.callback(module.register_forward_hook(look).remove)
        call(model, x)
    wrong = None
    if first:
        name, y = first[0]
        where = f"the first value that is not finite is in the output of {_called(model, name)}"
        wrong = Finding(name, f"{where} ({_count(y)})")
    name = max(largest, key=lambda name: largest[name])
    where = f"that of {_called(model, name)}"
    text = f"all outputs are finite, the largest, {largest[name]:.3g}, is {where}"
    return wrong, (largest[name], Finding(name, text))


def _finite(array: Array) -> bool:
    return bool(np.isfinite(on_host(array)).all())


def _count(array: Array) -> str:
    array = on_host(array)
    nan, infinite = int(np.isnan(array).sum()), int(np.isinf(array).sum())
    return f"{nan} NaN and {infinite} infinite of {array.size}"


def _called(model: Module, layer: str) -> str:
    module = dict(model.named_modules()).get(layer)
    kind = type(module).__name__
    return f"layer {layer!r} ({kind})" if layer else f"the model ({kind})"
