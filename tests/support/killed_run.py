"""A small training run that the tests interrupt. As a program, `killed_run.py FOLDER MOMENT` trains until its
fourth checkpoint, stops in the middle of writing it, says so, and waits to be killed.
"""

from __future__ import annotations

import os
import signal
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

import fastnn
from fastnn import nn, optim, train

SAMPLES, STEPS_PER_EPOCH, EPOCHS, EVERY_STEPS = 103, 7, 4, 3


def data() -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Return samples that 8 features and a straight line tell apart, mostly."""
    rng = np.random.default_rng(5)
    x = rng.standard_normal((SAMPLES, 8), np.float32)
    return x, (x[:, 0] + x[:, 1] + 0.5 * rng.standard_normal(SAMPLES) > 0).astype(np.int64)


def model() -> nn.Sequential:
    """Return layers with all that a checkpoint has to keep: buffers, masks, a generator of their own."""
    own = fastnn.Generator(seed=11)
    return nn.Sequential(
        nn.Linear(8, 24),
        nn.BatchNorm1d(24),
        nn.ReLU(),
        nn.Dropout(0.3),
        nn.Linear(24, 16),
        nn.RReLU(),
        nn.Dropout(0.2, generator=own),
        nn.Linear(16, 2),
    )


def trainer() -> train.Trainer:
    """Return a run like that of `run` before its first step."""
    made: list[train.Trainer] = []

    class Take(train.Callback):
        def on_train_start(self, trainer: train.Trainer) -> None:
            made.append(trainer)
            trainer.stop("before the first step")

    with tempfile.TemporaryDirectory() as folder:
        run(Path(folder), callbacks=[Take()])
    return made[0]


def run(folder: Path, resume: bool = False, seed: int = 3, callbacks: Sequence[train.Callback] = ()) -> None:
    """Train with checkpoints every three steps and after every epoch."""
    fastnn.manual_seed(seed)
    network = model()
    optimizer = optim.Adam(network.parameters(), lr=0.02)
    train.fit(
        network,
        data(),
        validation=data(),
        optimizer=optimizer,
        scheduler=optim.lr_scheduler.StepLR(optimizer, 5, gamma=0.8),
        schedule_per="step",
        epochs=EPOCHS,
        batch_size=8,
        accumulate=2,
        callbacks=[
            train.EarlyStopping(patience=3),
            train.JsonLog(folder / "log.jsonl", steps=True),
            *callbacks,
        ],
        checkpoints=train.Checkpoints(folder, every_steps=EVERY_STEPS),
        resume=resume,
    )


def _hang() -> None:
    print("now", flush=True)
    signal.pause()


def _in_the_arrays() -> None:
    write = Path.write_bytes

    def half(path: Path, content: bytes) -> int:
        if path.name.startswith(FOURTH):
            write(path, content[: len(content) // 2])
            _hang()
        return write(path, content)

    Path.write_bytes = half  # type: ignore[assignment, method-assign]


def _before_the_json() -> None:
    replace = os.replace

    def late(source: Path, target: Path) -> None:
        if target.name == f"{FOURTH}.json":
            _hang()
        replace(source, target)

    os.replace = late  # type: ignore[assignment]


def _between_removals() -> None:
    unlink = Path.unlink

    def only_one(path: Path) -> None:
        unlink(path)
        _hang()

    Path.unlink = only_one  # type: ignore[assignment, method-assign]


FOURTH = "step-00000009"  # after steps 3, 6 and 7
MOMENTS: dict[str, Callable[[], None]] = {
    "in the arrays": _in_the_arrays,
    "before the json": _before_the_json,
    "between removals": _between_removals,
}

if __name__ == "__main__":
    MOMENTS[sys.argv[2]]()
    run(Path(sys.argv[1]))
