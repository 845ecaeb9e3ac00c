"""The numbers of a run as a file of lines, for programs to read while it goes on; and for TensorBoard."""

from __future__ import annotations

import importlib
import json
import math
from pathlib import Path
from typing import Any, TextIO

from fastnn._core.extras import way_to
from fastnn._core.files import replacing
from fastnn._core.os_errors import naming_file
from fastnn.train.trainer import Callback, Trainer


def _step_record(trainer: Trainer) -> dict[str, Any]:
    return {"epoch": trainer.epoch, "step": trainer.step, "loss": trainer.step_loss, "lr": trainer.lr}


class JsonLog(Callback):
    """Writes a line of JSON for each epoch, and with steps=True for each step, as soon as it is over.

    A line has "event", "epoch" or "step", and the record; a number that is not finite is null. A run that is
    resumed goes on in the same file, behind the lines up to its checkpoint; another run starts it anew.
    """

    first_rank_only = True

    def __init__(self, path: str | Path, steps: bool = False) -> None:
        self.path, self.steps = Path(path), steps
        self._file: TextIO | None = None

    def on_train_start(self, trainer: Trainer) -> None:
        """Open the file, without the lines of steps that were lost."""
        kept = [line for line in self._lines() if _is_done(line, trainer)]
        with replacing(self.path) as temporary:
            temporary.write_text("".join(kept), encoding="utf-8")
        self._file = self.path.open("a", encoding="utf-8")

    def on_step(self, trainer: Trainer) -> None:
        """Write a step's line."""
        if self.steps:
            self.write("step", _step_record(trainer))

    def on_epoch_end(self, trainer: Trainer) -> None:
        """Write the epoch's line."""
        self.write("epoch", trainer.history[-1])

    def on_train_end(self, trainer: Trainer) -> None:
        """Close the file."""
        if self._file is not None:
            with naming_file(self.path):
                self._file.close()

    def write(self, event: str, record: dict[str, Any]) -> None:
        """Write a line; the record may have lists and dicts in it."""
        assert self._file is not None
        with naming_file(self.path):
            self._file.write(json.dumps({"event": event, **finite(record)}) + "\n")
            self._file.flush()

    def _lines(self) -> list[str]:
        return self.path.read_text(encoding="utf-8").splitlines(keepends=True) if self.path.exists() else []


def finite(value: Any) -> Any:
    """The same with None for each number that is not finite, which JSON has no form for."""
    if isinstance(value, dict):
        return {name: finite(item) for name, item in value.items()}
    if isinstance(value, list):
        return [finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _is_done(line: str, trainer: Trainer) -> bool:
    """Whether the line is of a step or an epoch that the trainer's state has behind it."""
    try:
        record = json.loads(line)
        is_epoch = record["event"] == "epoch"
        return bool(record["epoch"] <= len(trainer.history) if is_epoch else record["step"] <= trainer.step)
    except (ValueError, KeyError, TypeError):  # the process was killed while it wrote this line; another's
        return False


class TensorBoard(Callback):
    """Writes every epoch's record, and every step's loss and learning rate, for TensorBoard.

    Needs torch with tensorboard, or tensorboardX; ImportError naming the extra where both are missing.
    """

    first_rank_only = True

    def __init__(self, folder: str | Path) -> None:
        self._writer_type = _summary_writer()
        self.folder = Path(folder)
        self._writer: Any = None

    def on_train_start(self, trainer: Trainer) -> None:
        """Start to write; TensorBoard then leaves out an earlier run's steps from here on."""
        self._writer = self._writer_type(str(self.folder), purge_step=trainer.step + 1)

    def on_step(self, trainer: Trainer) -> None:
        """Write the step's loss and learning rate."""
        self._writer.add_scalar("step/loss", trainer.step_loss, trainer.step)
        self._writer.add_scalar("step/lr", trainer.lr, trainer.step)

    def on_epoch_end(self, trainer: Trainer) -> None:
        """Write the epoch's record."""
        for name, value in trainer.history[-1].items():
            if name not in ("epoch", "step"):
                self._writer.add_scalar(f"epoch/{name}", value, trainer.step)
        self._writer.flush()

    def on_train_end(self, trainer: Trainer) -> None:
        """Close the files."""
        if self._writer is not None:
            self._writer.close()


def _summary_writer() -> Any:
    for module in ("torch.utils.tensorboard", "tensorboardX"):
        try:
            return importlib.import_module(module).SummaryWriter
        except ImportError:
            continue
    raise ImportError(f"tensorboardX is not installed: {way_to('tensorboard')}", name="tensorboardX")
