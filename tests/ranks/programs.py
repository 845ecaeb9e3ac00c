"""What test_ranks.py runs on several ranks. Functions return what JSON can write; `results` collects it."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
from mpi4py import MPI

import fastnn
from fastnn import augment, nn, optim, train
from fastnn.train import gradients

WORLD = MPI.COMM_WORLD


def data(samples: int, dtype: str = "float64") -> tuple[Any, Any]:
    """Samples of three classes, of six numbers each."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((samples, 6))
    return x.astype(dtype), (x[:, 0] > 0).astype(np.int64) + (x[:, 1] > 0.3)


def digest(model: nn.Module) -> list[str]:
    """The weights and buffers, to the last bit."""
    return [array.astype(np.float64).tobytes().hex() for array in model.state_dict().values()]


def network(dtype: str = "float64", *, norm: bool = False, dropout: float = 0.0) -> nn.Module:
    """A small network with the same weights on all ranks."""
    fastnn.manual_seed(1)
    layers: list[nn.Module] = [nn.Linear(6, 11, dtype=dtype)]
    layers += [nn.SyncBatchNorm(11, dtype=dtype, ranks=WORLD)] if norm else []
    layers += [nn.ReLU(), *([nn.Dropout(dropout)] if dropout else []), nn.Linear(11, 3, dtype=dtype)]
    return nn.Sequential(*layers)


class Stop(train.Callback):
    """Stops on one rank, after a step or an epoch."""

    def __init__(self, rank: int, moment: str, after: int) -> None:
        self.rank, self.moment, self.after = rank, moment, after

    def on_step(self, trainer: train.Trainer) -> None:
        """Look at the step."""
        if self.moment == "step" and trainer.step == self.after and WORLD.rank == self.rank:
            trainer.stop("enough")

    def on_epoch_end(self, trainer: train.Trainer) -> None:
        """Look at the epoch."""
        if self.moment == "epoch" and trainer.epoch == self.after and WORLD.rank == self.rank:
            trainer.stop("enough")


class Records(train.Callback):
    """Keeps the loss of each step."""

    def __init__(self) -> None:
        self.losses: list[float] = []

    def on_step(self, trainer: train.Trainer) -> None:
        """Take the loss."""
        self.losses.append(trainer.step_loss)


def fit(
    *,
    samples: int = 50,
    dtype: str = "float64",
    form: str = "arrays",
    norm: bool = False,
    dropout: float = 0.0,
    noise: bool = False,
    optimizer: str = "sgd",
    batch_size: int = 7,
    epochs: int = 3,
    weights: Any = None,
    ignored: int = 0,
    metrics: Any = ("accuracy", "f1_macro"),
    overlap: bool = False,
    shard: bool = False,
    stop: Any = None,
    folder: str | None = None,
    resume: bool = False,
    more: Any = None,
) -> dict[str, Any]:
    """Train, and return all that should be the same on all ranks."""
    gradients.BUCKET = 256  # bytes, so that there are several buckets, and weights are cut
    x, y = data(samples, dtype)
    y[:ignored] = -100
    model = network(dtype, norm=norm, dropout=dropout)
    rules: dict[str, Any] = {
        "sgd": lambda p: optim.SGD(p, lr=0.1, momentum=0.9),
        "adam": lambda p: optim.Adam(p, lr=0.01),
    }
    optimizer_ = rules[optimizer](model.parameters())
    records = Records()
    given: Any = {
        "arrays": (x, y),
        "dataset": [*zip(x, y, strict=True)],
        "batches": [(x[i : i + 8], y[i : i + 8]) for i in range(0, samples, 8)],
    }[form]
    if form == "dataset":
        given = _Dataset(given)
    settings = {
        "validation": data(29, dtype),
        "class_weight": weights and {int(label): weight for label, weight in weights.items()},
        "metrics": list(metrics),
        "optimizer": optimizer_,
        "scheduler": optim.lr_scheduler.ReduceLROnPlateau(optimizer_, patience=0),
        "batch_size": None if form == "batches" else batch_size,
        "epochs": epochs,
        "transform": _noisy if noise else None,
        "callbacks": [records, *([Stop(*stop)] if stop else [])],
        "checkpoints": folder,
        "resume": resume,
        "ranks": train.Ranks(WORLD, overlap=overlap, shard_optimizer=shard, timeout=20),
    }
    history = train.fit(model, given, **{**settings, **(more or {})})
    return {
        "weights": [array.ravel().tolist() for array in model.state_dict().values()],
        "bits": digest(model),
        "history": [{k: v for k, v in record.items() if k != "seconds"} for record in history],
        "losses": records.losses,
        "state": sum(a.size for s in optimizer_.state.values() for a in s.values() if hasattr(a, "size")),
        "lr": optimizer_.param_groups[0]["lr"],
    }


class _Dataset:
    def __init__(self, samples: list[Any]) -> None:
        self.samples = samples

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int) -> Any:
        return self.samples[index]


def _noisy(x: Any, y: Any) -> tuple[Any, Any]:
    return x * 2, y


def evaluate(samples: int) -> dict[str, float]:
    """Measure a network."""
    return train.evaluate(network(), data(samples), metrics=["accuracy", "f1_macro"], ranks=WORLD)


def error(what: str, folder: str = "") -> str:
    """What is wrong on one rank alone, and has to be told on all."""
    x, y = data(40)
    model: nn.Module = network()
    more: dict[str, Any] = {}
    last = WORLD.rank == WORLD.size - 1
    if what == "nan":
        x[13, 2] = np.nan
    elif what == "learning rate":
        more["optimizer"] = optim.SGD(model.parameters(), lr=1e4)
    elif what == "settings":
        more["batch_size"] = 8 if last else 7
    elif what == "samples":
        x, y = x[: 40 - last], y[: 40 - last]
    elif what == "model":
        model = nn.Sequential(
            nn.Linear(6, 5 + last, dtype="float64"), nn.Linear(5 + last, 3, dtype="float64")
        )
    elif what == "batch norm":
        model = nn.Sequential(nn.Linear(6, 3, dtype="float64"), nn.BatchNorm1d(3, dtype="float64"))
    elif what == "instance norm":
        norm = nn.InstanceNorm1d(6, track_running_stats=True, dtype="float64")
        model = nn.Sequential(norm, nn.Linear(6, 3, dtype="float64"))
    elif what == "batches":
        shift = int(last)
        batches = [(x[i + shift : i + 8], y[i + shift : i + 8]) for i in range(0, 40, 8)]
        return _told(lambda: train.fit(model, batches, epochs=1, ranks=WORLD))
    elif what == "checkpoints":
        more["checkpoints"] = folder
    elif what == "sum":
        more["loss"] = nn.CrossEntropyLoss(reduction="sum")
    return _told(lambda: train.fit(model, (x, y), epochs=3, ranks=WORLD, **more))


def _told(function: Any) -> str:
    try:
        function()
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    return ""


class _Trouble(train.Callback):
    """Something that happens on one rank in the middle of training."""

    def __init__(self, what: str) -> None:
        self.what = what

    def on_step(self, trainer: train.Trainer) -> None:
        """Let it happen."""
        if trainer.step != 3 or WORLD.rank != WORLD.size - 1:
            return
        if self.what == "hang":
            time.sleep(100)
        elif self.what == "kill":
            print("ready", flush=True)
            time.sleep(100)
        else:
            raise RuntimeError("a callback has failed")


def trouble(what: str) -> None:
    """Train with a rank that fails, hangs or is killed."""
    ranks = train.Ranks(WORLD, timeout=1.0 if what == "hang" else 50.0)
    train.fit(network(), data(40), epochs=3, callbacks=[_Trouble(what)], ranks=ranks)


def augmented(transform: str) -> list[str]:
    """Train on images that are augmented."""
    rng = np.random.default_rng(2)
    x = rng.standard_normal((23, 3, 8, 8)).astype(np.float32)
    fastnn.manual_seed(1)
    model = nn.Sequential(nn.Flatten(), nn.Linear(192, 4))
    made: dict[str, Any] = {
        "flip": lambda: augment.Compose([augment.RandomHorizontalFlip(), augment.GaussianNoise(0.1)]),
        "mixup": lambda: augment.MixUp(num_classes=4),
    }
    seen: list[str] = []

    class Look(nn.Module):
        def forward(self, x: Any) -> Any:
            seen.append(x.tobytes().hex())
            return x

        def backward(self, dy: Any) -> Any:
            return dy

    model = nn.Sequential(Look(), *model.children())
    train.fit(
        model, (x, rng.integers(0, 4, 23)), epochs=1, batch_size=5, transform=made[transform](), ranks=WORLD
    )
    return seen


def files(folder: str) -> list[str]:
    """Train with everything that writes."""
    model = network()
    path = Path(folder)
    callbacks = [train.JsonLog(path / "log.jsonl", steps=True), train.Curves(path / "curves.png")]
    train.fit(
        model,
        data(30),
        epochs=2,
        callbacks=callbacks,
        checkpoints=path / "checkpoints",
        progress="lines",
        ranks=WORLD,
    )
    return []


if __name__ == "__main__":
    found = globals()[sys.argv[1]](**json.loads(sys.argv[2]))
    for rank in range(WORLD.size):  # one after the other, or lines mix
        WORLD.Barrier()
        if rank == WORLD.rank:
            print(json.dumps([rank, found]), flush=True)
            time.sleep(0.01)
