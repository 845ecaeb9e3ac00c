"""fastnn itself, called as a user would: parameters by position, result in `out`."""

from __future__ import annotations

from contextlib import AbstractContextManager
from functools import partial
from typing import Any

import fastnn
import fastnn.functional as F
from fastnn._core.typing import Array
from fastnn.bench.data import Data
from fastnn.bench.layers import Layer
from fastnn.bench.peers import Call, fastnn_training, threads_restored
from fastnn.bench.peers.arguments import bind


class Peer:
    """The compiled kernels."""

    name = "fastnn"
    note = ""
    serial = False

    def session(self) -> AbstractContextManager[None]:
        """Restore the number of threads at the end."""
        return threads_restored(fastnn.get_num_threads, fastnn.set_num_threads)

    def prepare(self, data: Data, *, out: bool) -> Call | None:
        """Bind `fastnn.functional`'s function, or a fused chain, to the arrays."""
        if data.case.group == "training":
            return fastnn_training.training(data)
        if isinstance(data.case, Layer) and data.case.row.then:
            return block(data, data.case, out=out)
        positional, keywords = bind(data, F)
        if out:
            keywords["out"] = data.out
        return partial(getattr(F, data.case.callee), *positional, **keywords)

    def set_threads(self, threads: int) -> bool:
        """Set the size of the pool."""
        fastnn.set_num_threads(threads)
        return True


def block(data: Data, case: Layer, *, out: bool) -> Call:
    """Return the call of a chain that begins with batch_norm; both passes return the gradients alone."""
    stages: list[Any] = [fastnn.stages.BatchNorm(training=True)]
    for name in case.row.then:
        dropout = name == "dropout"
        stages.append(fastnn.stages.Dropout(data.values["p"]) if dropout else fastnn.stages.Activation(name))
    chain = fastnn.fuse(*stages)
    values = {name: data.values[name] for name in (*case.row.arrays, "key") if name in data.values}
    x, dy = data.values["input"], data.values["dy"]
    if case.direction == "forward":
        return partial(chain.forward, x, **values, out=data.out if out else None)
    y, dx = (data.values["output"], data.out) if out else (None, None)

    def passes() -> tuple[Array | None, ...]:
        _, saved = chain.forward(x, **values, out=y)
        gradients = chain.backward(dy, saved, out=dx)
        return gradients.input, gradients.weight, gradients.bias

    return passes
