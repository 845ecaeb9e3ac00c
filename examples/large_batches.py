"""The same accuracy with batches of 32 and 1024: the learning rate is scaled with the batch, with a warm-up.

Handwritten digits, each moved by up to one pixel in nine ways: 12,933 training samples, 405 steps of 32 in an
epoch or 7 of 2048; the held-out digits are as they are. `large_batches.py 5` gives the table of
docs/large-batches.md, with five seeds for each row, in about two minutes on one thread.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable
from typing import Any

import numpy as np

import fastnn
from fastnn import datasets, nn, optim, train
from fastnn.optim import lr_scheduler

EPOCHS, WARM_EPOCHS = 30, 5
BASE_BATCH = 32


def sgd(model: nn.Module, scale: float) -> optim.Optimizer:
    """SGD with the rate that suits batches of 32."""
    return optim.SGD(model.parameters(), lr=0.05, momentum=0.9)


def lars(model: nn.Module, scale: float) -> optim.Optimizer:
    """LARS with SGD's rate, which biases and norms have; the trust coefficient sets the rate of matrices."""
    return optim.LARS(model.parameters(), lr=0.05, momentum=0.9, trust_coefficient=0.02)


def lamb(model: nn.Module, scale: float) -> optim.Optimizer:
    """LAMB, whose rate is to grow with the root of `scale`; the schedule multiplies it by all of `scale`."""
    return optim.LAMB(model.parameters(), lr=0.004 / math.sqrt(scale))


def data() -> tuple[Any, Any]:
    """Return (x, y) to train on and (x, y) held out: pixels between 0 and 1, labels."""
    pixels, y = datasets.digits()
    x = (pixels / 16).astype(np.float32)
    held_out = np.arange(len(x)) % 5 == 0
    images = np.pad(x[~held_out].reshape(-1, 8, 8), ((0, 0), (1, 1), (1, 1)))
    moved = [images[:, i : i + 8, j : j + 8].reshape(-1, 64) for i in range(3) for j in range(3)]
    return (np.concatenate(moved), np.tile(y[~held_out], 9)), (x[held_out], y[held_out])


def run(
    training: Any,
    held_out: Any,
    make_optimizer: Callable[[nn.Module, float], optim.Optimizer],
    batch: int,
    scaled_for: int,
    warm_epochs: int,
    seed: int,
) -> tuple[float, float]:
    """Train a network at this batch, with the rate for `scaled_for` samples.

    Return its accuracy and the median of the epochs' seconds.
    """
    fastnn.manual_seed(seed)
    model = nn.Sequential(nn.Linear(64, 128), nn.BatchNorm1d(128), nn.ReLU(), nn.Linear(128, 10))
    optimizer = make_optimizer(model, scaled_for / BASE_BATCH)
    steps = train.steps_per_epoch(len(training[0]), batch)
    scaled = lr_scheduler.scaled_for_batch(optimizer, scaled_for, BASE_BATCH, warm_epochs * steps)
    decay = lr_scheduler.CosineAnnealingLR(optimizer, EPOCHS * steps)
    history = train.fit(
        model,
        training,
        optimizer=optimizer,
        scheduler=lr_scheduler.ChainedScheduler([scaled, decay]),
        schedule_per="step",
        epochs=EPOCHS,
        batch_size=batch,
        divergence=float("inf"),  # without a warm-up the loss rises at first
    )
    seconds = float(np.median([record["seconds"] for record in history]))
    return train.evaluate(model, held_out)["accuracy"], seconds


if __name__ == "__main__":
    seeds = int(sys.argv[1]) if len(sys.argv) > 1 else 1
    training, held_out = data()
    rows = [
        *((sgd, batch, batch, WARM_EPOCHS) for batch in (32, 64, 128, 256, 512, 1024, 2048)),
        (sgd, 1024, BASE_BATCH, 0),  # the rate of 32
        (sgd, 1024, 1024, 0),
        *((make, batch, batch, WARM_EPOCHS) for make in (lars, lamb) for batch in (512, 1024, 2048)),
    ]
    print("optimizer  batch  rate for  warm-up    accuracy  seconds per epoch")
    for make, batch, scaled_for, warm_epochs in rows:
        runs = [run(training, held_out, make, batch, scaled_for, warm_epochs, seed) for seed in range(seeds)]
        reached, seconds = np.transpose(runs)
        print(
            f"{make.__name__:9} {batch:6} {scaled_for:9} {warm_epochs:8}"
            f" {np.mean(reached):11.2%} +- {np.std(reached):.2%} {np.median(seconds):.3f}",
            flush=True,
        )
