"""Some steps of training on a copy, by the loop that trains the user's model."""

from __future__ import annotations

import math

from fastnn import optim, train
from fastnn._check.subject import Copies
from fastnn.train.batches import steps_per_epoch
from fastnn.train.nested import Nested, length


class _After(train.Callback):
    """Stops after some steps."""

    def __init__(self, steps: int) -> None:
        self._steps = steps

    def on_step(self, trainer: train.Trainer) -> None:
        """Stop at the last one."""
        if trainer.step >= self._steps:
            trainer.stop("all steps are done")


def train_some(
    copies: Copies,
    data: tuple[Nested, Nested],
    steps: int,
    batch_size: int,
    callback: train.Callback,
    optimizer: optim.Optimizer | None = None,
) -> bool:
    """Make so many steps, or until the callback stops; return whether the loss stayed finite.

    optimizer: another one than the copy of the user's, for the copy's parameters.
    """
    size = min(batch_size, length(data))
    try:
        train.fit(
            copies.model,
            data,
            loss=copies.loss,
            metrics=(),
            optimizer=copies.optimizer if optimizer is None else optimizer,
            epochs=-(-steps // steps_per_epoch(length(data), size)),
            batch_size=size,
            callbacks=[callback, _After(steps)],
            divergence=math.inf,
        )
    except train.Diverged:
        return False
    return True
