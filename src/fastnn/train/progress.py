"""What a person sees of a run: a bar of steps, and a line for each epoch."""

from __future__ import annotations

from typing import Any

from fastnn._core.extras import require
from fastnn.train.curves import NOT_DRAWN
from fastnn.train.measures import Record
from fastnn.train.trainer import Callback, Trainer


class Progress(Callback):
    """Prints a line for each epoch, and on a terminal or in a notebook shows a bar of steps.

    The bar is on stderr; bar=False: lines alone. Needs tqdm, in the extra `demo`; else ImportError.
    """

    first_rank_only = True

    def __init__(self, *, bar: bool = True) -> None:
        self._tqdm = require("tqdm.auto", "demo").tqdm
        self._options = {"disable": None if bar else True}  # None: tqdm finds out whether there is a terminal
        self._bar: Any = None

    def on_train_start(self, trainer: Trainer) -> None:
        """Show the bar."""
        steps = trainer.steps_per_epoch
        total = None if steps is None else trainer.epochs * steps
        self._bar = self._tqdm(total=total, initial=trainer.step, unit="step", leave=False, **self._options)

    def on_step(self, trainer: Trainer) -> None:
        """Move it on."""
        self._bar.update()

    def on_epoch_end(self, trainer: Trainer) -> None:
        """Print the epoch's line."""
        self._bar.write(line(trainer.history[-1], trainer.epochs))

    def on_train_end(self, trainer: Trainer) -> None:
        """Take the bar away."""
        if self._bar is not None:
            self._bar.close()


def line(record: Record, epochs: int) -> str:
    """Return an epoch's record as a line of text."""
    training = [name for name in record if name not in NOT_DRAWN and not name.startswith("val_")]
    held_out = [name for name in record if name.startswith("val_")]
    text = f"epoch {record['epoch']:>{len(str(epochs))}}/{epochs}  {_numbers(record, training)}"
    return text + (f"  held out: {_numbers(record, held_out)}" if held_out else "")


def _numbers(record: Record, names: list[str]) -> str:
    return "  ".join(
        f"{name.removeprefix('val_')} "
        + (f"{record[name]:7.2%}" if name.endswith("accuracy") else f"{record[name]:.4f}")
        for name in names
    )
