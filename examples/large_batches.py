"""The same accuracy at batch 32 and 1024: the learning rate is scaled with the batch, with a warm-up.

Handwritten digits, each moved by up to one pixel in nine ways: 12,933 training samples, 405 steps of 32 in an
epoch or 13 of 1024; the held-out digits are as they are. `large_batches.py 5` gives the table of
docs/large-batches.md, with five seeds for each row, in two minutes.
"""

from __future__ import annotations

import sys
from typing import Any

import numpy as np

import fastnn
from fastnn import datasets, nn, optim, train
from fastnn.optim import lr_scheduler

EPOCHS, WARM_EPOCHS = 30, 5
BASE_BATCH, BASE_LR = 32, 0.05


def data() -> tuple[Any, Any]:
    """Return (x, y) to train on and (x, y) held out: pixels between 0 and 1, labels."""
    pixels, y = datasets.digits()
    x = (pixels / 16).astype(np.float32)
    held_out = np.arange(len(x)) % 5 == 0
    images = np.pad(x[~held_out].reshape(-1, 8, 8), ((0, 0), (1, 1), (1, 1)))
    moved = [images[:, i : i + 8, j : j + 8].reshape(-1, 64) for i in range(3) for j in range(3)]
    return (np.concatenate(moved), np.tile(y[~held_out], 9)), (x[held_out], y[held_out])


def accuracy(training: Any, held_out: Any, batch: int, scaled_for: int, warm_epochs: int, seed: int) -> float:
    """Train a network at this batch, with the rate for `scaled_for` samples; return its accuracy."""
    fastnn.manual_seed(seed)
    model = nn.Sequential(nn.Linear(64, 128), nn.BatchNorm1d(128), nn.ReLU(), nn.Linear(128, 10))
    optimizer = optim.SGD(model.parameters(), lr=BASE_LR, momentum=0.9)
    steps = train.steps_per_epoch(len(training[0]), batch)
    scaled = lr_scheduler.scaled_for_batch(optimizer, scaled_for, BASE_BATCH, warm_epochs * steps)
    decay = lr_scheduler.CosineAnnealingLR(optimizer, EPOCHS * steps)
    train.fit(
        model,
        training,
        optimizer=optimizer,
        scheduler=lr_scheduler.ChainedScheduler([scaled, decay]),
        schedule_per="step",
        epochs=EPOCHS,
        batch_size=batch,
        divergence=float("inf"),  # without a warm-up the loss rises at first
    )
    return train.evaluate(model, held_out)["accuracy"]


if __name__ == "__main__":
    seeds = int(sys.argv[1]) if len(sys.argv) > 1 else 1
    training, held_out = data()
    for name, batch, scaled_for, warm_epochs in (
        ("batch 32", 32, 32, 0),
        ("batch 1024, the rate of 32", 1024, 32, 0),
        ("batch 1024, scaled", 1024, 1024, 0),
        ("batch 1024, scaled, warm-up", 1024, 1024, WARM_EPOCHS),
    ):
        runs = [accuracy(training, held_out, batch, scaled_for, warm_epochs, seed) for seed in range(seeds)]
        print(f"{name:28} {np.mean(runs):.2%} +- {np.std(runs):.2%}", flush=True)
