"""Checkpoints: the callback that saves a run's whole state in files, each of which is complete or not there.

A checkpoint is `step-00000090.json`, which names the .safetensors file with its arrays, that file's size and
its SHA-256. The JSON file gets its name last, so a checkpoint that has one is complete. The other file has
part of its hash in its name, so that no file that a checkpoint needs is ever overwritten. These files alone
say which checkpoint is the latest and which the best. This module does not know what a state consists of.
"""

from __future__ import annotations

import hashlib
import json
import math
import shutil
from pathlib import Path
from typing import Any

from fastnn._core.extras import require
from fastnn._core.files import TEMPORARY, replacing, save_json
from fastnn._version import __version__
from fastnn.train.measures import Record, monitored
from fastnn.train.state import pack, unpack
from fastnn.train.trainer import Callback, Trainer

FORMAT = 1


class Checkpoints(Callback):
    """The checkpoints in a folder: the last `keep`, and the best by `monitor` (as for EarlyStopping).

    One is written after every `every_epochs` epochs, and after every `every_steps` steps where that is given.
    monitor=None: "val_loss", or without a validation "loss". Raises ValueError for a number below 1, and
    ImportError where safetensors is missing.
    """

    def __init__(
        self,
        folder: str | Path,
        *,
        every_epochs: int = 1,
        every_steps: int | None = None,
        keep: int = 3,
        monitor: str | None = None,
    ) -> None:
        for name, value in (("every_epochs", every_epochs), ("every_steps", every_steps), ("keep", keep)):
            if value is not None and value < 1:
                raise ValueError(f"{name} must be at least 1, got {value}")
        self._safetensors = require("safetensors.numpy", "demo")
        self.folder = Path(folder)
        self.every_epochs, self.every_steps, self.keep = every_epochs, every_steps, keep
        self.monitor = monitor

    def on_step_end(self, trainer: Trainer) -> None:
        """Save after every `every_steps` steps."""
        if self.every_steps is not None and trainer.step % self.every_steps == 0:
            self.save(trainer.step, trainer.state_dict())

    def on_epoch_end(self, trainer: Trainer) -> None:
        """Save after every `every_epochs` epochs, and after the last one."""
        is_last = trainer.stopped or trainer.epoch == trainer.epochs
        if is_last or trainer.epoch % self.every_epochs == 0:
            self.save(trainer.step, trainer.state_dict(), trainer.history[-1])

    def save(self, step: int, state: dict[str, Any], record: Record | None = None) -> Path:
        """Write a checkpoint, then remove those that are no longer kept; return its JSON file.

        record: the epoch's, from which the value of `monitor` is taken; None within an epoch.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        tree, arrays = pack(state)
        content = self._safetensors.save(arrays)
        digest = hashlib.sha256(content).hexdigest()
        tensors = self.folder / f"step-{step:08}-{digest[:16]}.safetensors"
        with replacing(tensors) as temporary:
            temporary.write_bytes(content)
        about = {"format": FORMAT, "fastnn": __version__, "step": step, "value": self._value(record)}
        path = self.folder / f"step-{step:08}.json"
        contents = {"file": tensors.name, "bytes": len(content), "sha256": digest}
        save_json(path, about | {"tensors": contents, "state": tree})
        self._sweep()
        return path

    def paths(self) -> list[Path]:
        """Return the JSON files of the checkpoints, the latest last."""
        steps = {path: path.stem.removeprefix("step-") for path in self.folder.glob("step-*.json")}
        ours = [path for path, step in steps.items() if step.isdecimal()]
        return sorted(ours, key=lambda path: int(steps[path]))

    def latest(self) -> Path | None:
        """Return the latest checkpoint; None where there is none."""
        return next(reversed(self.paths()), None)

    def best(self) -> Path | None:
        """Return the checkpoint with the best value; None where none has one."""
        values = {path: value for path in self.paths() if (value := _read(path)["value"]) is not None}
        return min(values, key=lambda path: values[path], default=None)

    def load(self, path: Path) -> dict[str, Any]:
        """Return the state in a checkpoint. ValueError naming the file that is damaged or no checkpoint."""
        about = _read(path)
        contents = about["tensors"]
        tensors = path.parent / contents["file"]
        content = tensors.read_bytes() if tensors.exists() else b""
        if len(content) != contents["bytes"] or hashlib.sha256(content).hexdigest() != contents["sha256"]:
            raise ValueError(
                f"{tensors}: damaged, not what {path.name} describes; without {path.name}, the checkpoint"
                " before it is the latest"
            )
        state: dict[str, Any] = unpack(about["state"], self._safetensors.load(content))
        return state

    def clear(self) -> None:
        """Remove all checkpoints."""
        self._remove(self.paths())

    def _value(self, record: Record | None) -> float | None:
        if record is None:
            return None
        value = monitored(record, self.monitor or ("val_loss" if "val_loss" in record else "loss"))
        return value if math.isfinite(value) else None

    def _sweep(self) -> None:
        keep = {*self.paths()[-self.keep :], self.best()}
        self._remove([path for path in self.paths() if path not in keep])

    def _remove(self, paths: list[Path]) -> None:
        for path in paths:
            path.unlink()  # before its arrays, so that no JSON file is ever without them
        needed = {_read(path)["tensors"]["file"] for path in self.paths()}
        for file in self.folder.glob("step-*.safetensors"):
            if file.name not in needed:
                file.unlink()
        for leftover in self.folder.glob(f"{TEMPORARY}*"):  # of a process that was killed
            shutil.rmtree(leftover, ignore_errors=True)


def _read(path: Path) -> dict[str, Any]:
    try:
        about = json.loads(path.read_text(encoding="utf-8"))
        if about["format"] == FORMAT:
            return about  # type: ignore[no-any-return]
    except (ValueError, KeyError, TypeError):
        raise ValueError(f"{path}: not a checkpoint of fastnn") from None
    raise ValueError(f"{path}: the checkpoint's format must be {FORMAT}, got {about['format']}")
