"""Checkpoints: the callback that saves a run's whole state in files, each of which is complete or not there.

A checkpoint is `step-00000090.json`, which has a SHA-256 of its own content, and names the .safetensors file
with its arrays, that file's size and its SHA-256. The JSON file gets its name last, so a checkpoint that has
one is complete. The other file has part of its hash in its name, so that no file that a checkpoint needs is
ever overwritten, and a file of another origin is never taken for one of ours. These files alone say which
checkpoint is the latest and which the best. This module does not know what a state consists of.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import math
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from fastnn._core.arrays import check_count
from fastnn._core.extras import require
from fastnn._core.files import replacing, save_json
from fastnn._core.locks import FolderLock
from fastnn._version import __version__
from fastnn.train.measures import Record, better, monitored
from fastnn.train.state import pack, unpack
from fastnn.train.trainer import Callback, Trainer

FORMAT = 2


class Checkpoints(Callback):
    """The checkpoints in a folder: the last `keep`, and the best by `monitor` and `mode` (see EarlyStopping).

    One is written after every `every_epochs` epochs, and after every `every_steps` steps where that is given,
    and at the end. monitor=None: "val_loss", or without a validation "loss". Other files in the folder are
    left alone, and so are checkpoints that are damaged. One run at a time writes to a folder. Raises
    ValueError for a number below 1, for a monitor that needs a mode, and where another run writes to the
    folder, ImportError where safetensors is missing.
    """

    def __init__(
        self,
        folder: str | Path,
        *,
        every_epochs: int = 1,
        every_steps: int | None = None,
        keep: int = 3,
        monitor: str | None = None,
        mode: str | None = None,
    ) -> None:
        for name, value in (("every_epochs", every_epochs), ("every_steps", every_steps), ("keep", keep)):
            if value is not None:
                check_count(name, value)
        self._safetensors = require("safetensors.numpy", "demo")
        self.folder = Path(folder)
        self.every_epochs, self.every_steps, self.keep = every_epochs, every_steps, keep
        self.monitor, self.mode = monitor, mode
        better(monitor or "loss", mode)  # a wrong mode is reported here
        self._lock: FolderLock | None = None

    def on_step_end(self, trainer: Trainer) -> None:
        """Save after every `every_steps` steps, and where training ends within an epoch."""
        if trainer.stopped or (self.every_steps is not None and trainer.step % self.every_steps == 0):
            self._save(trainer)

    def on_epoch_end(self, trainer: Trainer) -> None:
        """Save after every `every_epochs` epochs, and after the last one."""
        is_last = trainer.stopped or trainer.epoch == trainer.epochs
        if is_last or trainer.epoch % self.every_epochs == 0:
            self._save(trainer, trainer.history[-1])

    def _save(self, trainer: Trainer, record: Record | None = None) -> None:
        """Save on rank 0 what all ranks have."""
        state = trainer.state_dict()
        if trainer.ranks.rank == 0:
            self.save(trainer.step, state, record)

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Return a context in which nobody else can write checkpoints here: `fit` takes it for a whole run.

        Raises ValueError naming the process that has the folder.
        """
        is_new = not self.folder.exists()
        self.folder.mkdir(parents=True, exist_ok=True)
        try:
            lock = FolderLock(self.folder)
        except BlockingIOError as error:
            raise ValueError(
                f"checkpoints must be a folder that no other run writes to, got {self.folder}, which"
                f" {error.strerror} has; wait for its end, or give another folder"
            ) from None
        try:
            self._lock = lock
            yield
        finally:
            self._lock = None
            lock.release()
            if is_new and not any(self.folder.iterdir()):
                self.folder.rmdir()

    def save(self, step: int, state: dict[str, Any], record: Record | None = None) -> Path:
        """Write a checkpoint, then remove those that are no longer kept; return its JSON file.

        record: the epoch's, from which the value of `monitor` is taken; None within an epoch.
        """
        with contextlib.nullcontext() if self._lock else self.locked():
            tree, arrays = pack(state)
            content = self._safetensors.save(arrays)
            digest = hashlib.sha256(content).hexdigest()
            tensors = self.folder / f"step-{step:08}-{digest[:16]}.safetensors"
            with replacing(tensors) as temporary:
                temporary.write_bytes(content)
            about = {"format": FORMAT, "fastnn": __version__, "step": step, **self._value(record)}
            contents = {"file": tensors.name, "bytes": len(content), "sha256": digest}
            about |= {"tensors": contents, "state": tree}
            path = self.folder / f"step-{step:08}.json"
            save_json(path, about | {"sha256": _digest(about)})
            self._sweep()
        return path

    def paths(self) -> list[Path]:
        """Return the JSON files of the checkpoints, the latest last."""
        steps = {path: _JSON.fullmatch(path.name) for path in self.folder.glob("step-*.json")}
        return sorted((path for path, match in steps.items() if match), key=lambda path: int(path.stem[5:]))

    def latest(self) -> Path | None:
        """Return the latest checkpoint; None where there is none."""
        return next(reversed(self.paths()), None)

    def best(self) -> Path | None:
        """Return the checkpoint with the best value; None where none has one. Damaged ones are left out."""
        return self._best(self._whole())

    def load(self, path: Path) -> dict[str, Any]:
        """Return the state in a checkpoint, after all of it was checked.

        Raises ValueError naming the file that is damaged or no checkpoint, and the checkpoint before it.
        """
        try:
            about = _read(path)
            tensors = path.parent / about["tensors"]["file"]
            content = tensors.read_bytes() if tensors.exists() else b""
            if hashlib.sha256(content).hexdigest() != about["tensors"]["sha256"]:
                raise _DamagedError(tensors, f"it is not the file that {path.name} describes")
        except _DamagedError as error:
            raise ValueError(f"{error}; {self._way_back(path)}") from None
        state: dict[str, Any] = unpack(about["state"], self._safetensors.load(content))
        return state

    def clear(self) -> None:
        """Remove all checkpoints."""
        if self.folder.exists():
            with contextlib.nullcontext() if self._lock else self.locked():
                self._remove(self.paths())

    def _value(self, record: Record | None) -> dict[str, Any]:
        """What is compared with other checkpoints, less being better, and of what it is the value."""
        if record is None:
            return {"value": None, "monitor": None}
        monitor = self.monitor or ("val_loss" if "val_loss" in record else "loss")
        value = monitored(record, monitor, self.mode)
        return {
            "value": value if math.isfinite(value) else None,
            "monitor": [monitor, better(monitor, self.mode)],
        }

    def _whole(self) -> dict[Path, dict[str, Any]]:
        """The contents of the JSON files that are not damaged, the latest last."""
        found = {}
        for path in self.paths():
            with contextlib.suppress(_DamagedError, OSError):
                found[path] = _read(path)
        return found

    def _best(self, whole: dict[Path, dict[str, Any]]) -> Path | None:
        """The best of those that have a value of what the latest of them has a value of."""
        scored = {path: about for path, about in whole.items() if about["value"] is not None}
        last = next(reversed(scored.values()), None)
        same = [path for path, about in scored.items() if last and about["monitor"] == last["monitor"]]
        return min(same, key=lambda path: scored[path]["value"], default=None)

    def _way_back(self, path: Path) -> str:
        """What a person can do about a damaged checkpoint."""
        before = [other for other in self._whole() if int(other.stem[5:]) < int(path.stem[5:])]
        if not before:
            return "there is no whole checkpoint before it, so the run has to start again, in another folder"
        later = [other.name for other in self.paths() if int(other.stem[5:]) > int(before[-1].stem[5:])]
        return f"remove {' and '.join(later)} to go on from the one before, {before[-1].name}"

    def _sweep(self) -> None:
        whole = self._whole()
        keep = {*[*whole][-self.keep :], self._best(whole)}
        self._remove([path for path in whole if path not in keep])

    def _remove(self, paths: list[Path]) -> None:
        """Remove checkpoints, and all arrays that were written here and belong to no checkpoint."""
        for path in paths:
            path.unlink()  # before its arrays, so that no JSON file is ever without them
        whole = self._whole()
        needed = {about["tensors"]["file"] for about in whole.values()}
        damaged = {path.stem for path in self.paths() if path not in whole}
        for file in self.folder.glob("step-*.safetensors"):
            match = _ARRAYS.fullmatch(file.name)
            if match and file.name not in needed and match[1] not in damaged and _has_digest(file, match[2]):
                file.unlink()


_JSON = re.compile(r"step-\d{8,}\.json")
_ARRAYS = re.compile(r"(step-\d{8,})-([0-9a-f]{16})\.safetensors")


class _DamagedError(ValueError):
    def __init__(self, path: Path, why: str) -> None:
        super().__init__(f"{path}: the checkpoint is damaged, {why}")


def _digest(about: dict[str, Any]) -> str:
    """The SHA-256 of a JSON file's content but for this digest itself."""
    return hashlib.sha256(json.dumps(about, sort_keys=True).encode()).hexdigest()


def _has_digest(file: Path, start: str) -> bool:
    """Whether the file's hash begins with these digits of its name: nobody else's files are named so."""
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest().startswith(start)


def _read(path: Path) -> dict[str, Any]:
    """The content of a checkpoint's JSON file, after it was checked."""
    try:
        about = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError):
        raise _DamagedError(path, "it is no JSON") from None
    if not isinstance(about, dict) or about.get("format") != FORMAT:
        got = about.get("format") if isinstance(about, dict) else type(about).__name__
        raise _DamagedError(path, f"or not this version's: its format must be {FORMAT}, got {got!r}")
    if about.pop("sha256", None) != _digest(about):
        raise _DamagedError(path, "its content is not what its checksum was made of")
    return about
