"""Peak memory of batch_norm + relu + dropout, forward plus backward, ours beside torch's.

python -m tools.peak_memory

Prints a table for docs/. Each measurement has a process of its own: input, gradient and parameters are there,
and a small call has loaded code and threads, before the peak of the resident memory is taken from.
`fastnn bench --training` has the peak of training steps.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from typing import Any

import numpy as np

from fastnn.bench.data import Size
from fastnn.bench.memory import forget_peak, peak_resident, resident

SIZES = ("64x64x32x32", "128x64x56x56")
SMALL = (2, 64, 4, 4)


def fastnn_block(x: Any, dy: Any) -> object:
    """Forward and backward by a fused chain; everything that a training loop would hold is returned."""
    import fastnn
    from fastnn import stages

    chain = fastnn.fuse(stages.BatchNorm(), stages.Activation("relu"), stages.Dropout(0.5))
    channels = [np.full(x.shape[1], value, np.float32) for value in (1, 0, 0, 1)]
    weight, bias, running_mean, running_var = channels
    running = {"running_mean": running_mean, "running_var": running_var}
    y, saved = chain.forward(x, weight=weight, bias=bias, **running, key=fastnn.Key(0, 0))
    return y, chain.backward(dy, saved)


def torch_block(x: Any, dy: Any) -> object:
    """Forward and backward by autograd."""
    import torch
    from torch.nn import functional

    channels = [torch.full((x.shape[1],), value, dtype=torch.float32) for value in (1, 0, 0, 1)]
    weight, bias, running_mean, running_var = channels
    learned = [t.requires_grad_() for t in (torch.from_numpy(x), weight, bias)]
    y = functional.batch_norm(learned[0], running_mean, running_var, learned[1], learned[2], training=True)
    y = functional.dropout(functional.relu(y), 0.5)
    return y, torch.autograd.grad(y, learned, torch.from_numpy(dy))


BLOCKS: dict[str, Callable[[Any, Any], object]] = {"fastnn": fastnn_block, "torch": torch_block}


def growth(contestant: str, size: Size) -> int:
    """Bytes by which the peak of the resident memory grows over what is resident before the block."""
    rng = np.random.default_rng(0)
    block = BLOCKS[contestant]
    block(rng.standard_normal(SMALL, np.float32), rng.standard_normal(SMALL, np.float32))
    x, dy = (rng.standard_normal(size.shape, np.float32) for _ in range(2))
    forget_peak()
    before = resident()
    held = block(x, dy)
    after = peak_resident()
    del held
    return after - before


def main() -> None:
    """Print the table, each cell by a process of its own."""
    print("| input | its size | fastnn | torch |\n|---|---:|---:|---:|")
    for text in SIZES:
        size = Size.parse(text)
        cells = [f"{4 * size.elements / 1e6:.0f} MB"]
        for contestant in BLOCKS:
            command = [sys.executable, "-m", "tools.peak_memory", contestant, text]
            grown = int(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
            cells.append(f"{grown / 1e6:.0f} MB ({grown / (4 * size.elements):.2f} x)")
        print(f"| {size.shape} | " + " | ".join(cells) + " |")


if __name__ == "__main__":
    if arguments := sys.argv[1:]:
        print(growth(arguments[0], Size.parse(arguments[1])))
    else:
        main()
