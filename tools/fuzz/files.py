"""Cases of damaged files: they give what the whole ones give, or an error that names the file.

A format without a checksum (weights, CSV, IDX, CIFAR) may give other numbers, but no error of another kind.
"""

from __future__ import annotations

import atexit
import pickle
import shutil
import sys
import tempfile
import warnings
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

import fastnn
from fastnn import datasets, nn, optim, train

from .arrays import Draw
from .damage import damaged
from .judge import Fault

Read = Callable[[Path], Any]


@dataclass(frozen=True)
class Kind:
    """Files of one kind: what makes them in a folder, what reads them, and which of them are damaged."""

    make: Callable[[Path], None]
    read: Read  # raises, or returns what was read
    damage: Callable[[Path], list[Path]]
    checked: bool  # whether the format has checksums, so that nothing else may be read
    needed: bool = True  # False: what is read does not depend on the damaged files


def _model() -> Any:
    fastnn.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.ReLU(), nn.Linear(4, 2))


class HalfLoadedError(Exception):
    """An error after which a model is another than before."""


def _bits(*values: Any) -> bytes:
    return pickle.dumps(values)


# ---- checkpoints -------------------------------------------------------------------------------------------


def _train(folder: Path, epochs: int, resume: bool) -> Any:
    """The model and the optimiser after these epochs."""
    model = _model()
    optimizer = optim.Adam(model.parameters(), lr=0.02)
    before = _bits(model.state_dict())
    x = np.linspace(-1, 1, 24, dtype="f").reshape(8, 3)
    y = np.arange(8) % 2
    try:
        train.fit(
            model, (x, y), optimizer=optimizer, epochs=epochs, batch_size=4, checkpoints=folder, resume=resume
        )
    except Exception as error:
        if _bits(model.state_dict()) != before or optimizer.state:
            raise HalfLoadedError(f"{type(error).__name__}: {error}") from error
        raise
    return _bits(model.state_dict(), optimizer.state_dict())


def _latest(folder: Path) -> list[Path]:
    last = max(folder.glob("step-*.json"))
    return [last, *folder.glob(f"{last.stem}-*.safetensors")]


def _older(folder: Path) -> list[Path]:
    return [file for file in sorted(folder.glob("step-*")) if file not in _latest(folder)]


# ---- weights -----------------------------------------------------------------------------------------------


def _make_weights(folder: Path) -> None:
    train.save_weights(folder / "weights.safetensors", _model().state_dict(), {"a": "b"})


def _load_weights(folder: Path) -> Any:
    model = _model()
    before = _bits(model.state_dict())
    try:
        model.load_state_dict(folder / "weights.safetensors")
    except Exception as error:
        if _bits(model.state_dict()) != before:
            raise HalfLoadedError(f"{type(error).__name__}: {error}") from error
        raise
    return _bits(model.state_dict())


# ---- data --------------------------------------------------------------------------------------------------


def _samples() -> tuple[Any, Any]:
    rng = np.random.default_rng(0)
    return rng.integers(0, 256, (6, 28, 28), "u1"), np.arange(6, dtype="u1") % 3


def _make_csv(folder: Path) -> None:
    (folder / "data.csv").write_text(
        "a,b,label\n" + "".join(f"{i * i},{i / 4},{'xy'[i % 2]}\n" for i in range(8))
    )


def _make_npz(folder: Path) -> None:
    x, y = _samples()
    np.savez(folder / "data.npz", x=x.reshape(6, -1).astype("f"), y=y.astype(int))


def _make_mnist(folder: Path) -> None:
    from support.dataset_files import make_mnist

    make_mnist(folder)


def _make_cifar(form: str) -> Callable[[Path], None]:
    def make(folder: Path) -> None:
        from support.dataset_files import make_cifar

        make_cifar(folder, "cifar-100", form)

    return make


def _every(folder: Path) -> list[Path]:
    return sorted(file for file in folder.iterdir() if file.is_file())


def _values(data: Any) -> bytes:
    return _bits([(np.asarray(a).dtype.str, np.asarray(a).shape, np.asarray(a).tobytes()) for a in data])


def _cifar(folder: Path) -> Any:
    return _values([*datasets.cifar100(folder), *datasets.cifar100(folder, train=False)])


KINDS: dict[str, Kind] = {
    "checkpoint": Kind(
        lambda folder: _train(folder, 2, False), lambda folder: _train(folder, 2, True), _latest, True
    ),
    "older checkpoint": Kind(
        lambda folder: _train(folder, 2, False), lambda folder: _train(folder, 3, True), _older, True, False
    ),
    "weights": Kind(_make_weights, _load_weights, _every, False),
    "csv": Kind(_make_csv, lambda folder: _values(datasets.csv(folder / "data.csv")), _every, False),
    "npz": Kind(_make_npz, lambda folder: _values(datasets.npz(folder / "data.npz")), _every, True),
    "mnist": Kind(_make_mnist, lambda folder: _values(datasets.mnist(folder)), _every, False),
    **{
        f"cifar, {form}": Kind(_make_cifar(form), _cifar, _every, False)
        for form in ("python 2", "protocol 4", "binary")
    },
}


@cache
def _home() -> Path:
    """The folder of this process for files."""
    folder = Path(tempfile.mkdtemp(prefix="fastnn-fuzz-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


@cache
def _whole(name: str) -> tuple[dict[str, bytes], list[str], Any]:
    """The files of this kind by name, those that are damaged, and what is read of the whole ones."""
    sys.path.insert(0, str(Path(__file__).parents[2] / "tests"))  # for the tests' files of CIFAR and MNIST
    kind, folder = KINDS[name], _home() / "whole"
    folder.mkdir()
    try:
        kind.make(folder)
        contents = {file.name: file.read_bytes() for file in _every(folder)}
        names = [file.name for file in kind.damage(folder)]
        return contents, names, kind.read(folder)
    finally:
        shutil.rmtree(folder)


@dataclass(frozen=True)
class FileCase:
    """A damaged file of a kind."""

    kind: str
    file: str
    content: bytes
    damage: str

    def code(self) -> str:
        """What is done, in words and the bytes."""
        return f"# {self.kind}: {self.file}: {self.damage}\ncontent = bytes.fromhex({self.content.hex()!r})"

    def judge(self) -> Fault | None:
        """What is wrong with how the damaged file is read."""
        contents, _, expected = _whole(self.kind)
        kind, folder = KINDS[self.kind], _home() / "damaged"
        folder.mkdir()
        try:
            for name, content in contents.items():
                (folder / name).write_bytes(self.content if name == self.file else content)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of a damaged file that is not needed there may be one
                got = kind.read(folder)
        except Exception as error:
            return self._wrong_error(error, [*contents, str(folder)])
        finally:
            with suppress(OSError):
                shutil.rmtree(folder)
        if kind.checked and got != expected:
            return Fault("a damaged file is read as another", f"{self.file}: {self.damage}")
        return None

    def _wrong_error(self, error: Exception, names: list[str]) -> Fault | None:
        text = f"{self.file}: {self.damage}: {type(error).__name__}: {error}"
        if not KINDS[self.kind].needed:
            return Fault("a file that is not needed stops the run", text)
        if isinstance(error, HalfLoadedError):
            return Fault("a model is half loaded", text)
        if type(error) is not ValueError and not isinstance(error, OSError):
            return Fault(f"raises {type(error).__name__}", text)
        if not any(name in str(error) for name in names):
            return Fault("an error that names no file", text)
        return None


def case_of(d: Draw, name: str) -> FileCase:
    """One of the files of this kind, damaged."""
    contents, names, _ = _whole(name)
    file = d.pick(names)
    content, text = damaged(d, contents[file])
    return FileCase(name, file, content, text)
