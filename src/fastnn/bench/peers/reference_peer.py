"""The pure-NumPy reference: the baseline that a user without fastnn would write."""

from __future__ import annotations

import inspect
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from typing import Any

from fastnn import reference
from fastnn._core.typing import Array
from fastnn.bench.data import Data
from fastnn.bench.layers import Layer
from fastnn.bench.peers import Call
from fastnn.bench.peers.arguments import bind, place


class Peer:
    """NumPy, whole arrays at a time."""

    name = "reference"
    note = "the reference is NumPy: one thread in every row, and no out="
    serial = True

    def session(self) -> AbstractContextManager[None]:
        """NumPy has no global state to change."""
        return nullcontext()

    def prepare(self, data: Data, *, out: bool) -> Call | None:
        """Bind the reference's function, or one after the other, to the arrays."""
        if isinstance(data.case, Layer) and data.case.row.then:
            return block(data, data.case)
        positional, keywords = bind(data, reference)
        return partial(getattr(reference, data.case.callee), *positional, **keywords)

    def set_threads(self, threads: int) -> bool:
        """NumPy's element-wise loops have one thread whatever is asked."""
        return True


def block(data: Data, case: Layer) -> Call:
    """Return the call of a block, function by function, each pass over whole arrays."""
    values, steps = data.values, case.row.then
    positional, keywords = place(values, inspect.signature(getattr(reference, case.function)))
    draw = {"p": values.get("p"), "key": values.get("key")}

    def forward() -> tuple[Array, Any, list[Array]]:
        y, saved = getattr(reference, case.function)(*positional, **keywords)
        outputs = []
        for name in steps:
            y = getattr(reference, name)(y, **(draw if name == "dropout" else {}))
            outputs.append(y)
        return y, saved, outputs

    def passes() -> Any:
        _, saved, outputs = forward()
        dy = values["dy"]
        for name, output in zip(reversed(steps), reversed(outputs), strict=True):
            backward = getattr(reference, f"{name}_backward")
            dy = backward(dy, **draw) if name == "dropout" else backward(dy, output)
        return getattr(reference, f"{case.function}_backward")(dy, saved)

    return passes if case.direction == "forward+backward" else lambda: forward()[0]
