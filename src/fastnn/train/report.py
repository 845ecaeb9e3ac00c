"""What a training run leaves behind: curves, weights, numbers. A file appears whole or not at all."""

from __future__ import annotations

import contextlib
import json
import os
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from fastnn._extras import require
from fastnn.train.data import Array
from fastnn.train.loop import Epoch

TRAINING, HELD_OUT = "#9a9a9a", "#0b6fb8"


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary path in the same folder, which becomes `path` at the end, or vanishes on an error."""
    with tempfile.TemporaryDirectory(prefix=".fastnn-", dir=path.parent) as folder:
        temporary = Path(folder) / path.name
        yield temporary
        os.replace(temporary, path)


def save_json(path: Path, value: Mapping[str, Any]) -> None:
    """Write `value` as indented JSON."""
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(value, indent=2) + "\n", encoding="utf-8")


def save_weights(path: Path, tensors: Mapping[str, Array], metadata: Mapping[str, str]) -> None:
    """Write named arrays as safetensors."""
    contiguous = {name: np.asarray(tensor, order="C") for name, tensor in tensors.items()}
    with replacing(path) as temporary:
        temporary.write_bytes(require("safetensors.numpy", "demo").save(contiguous, dict(metadata)))


def save_curves(path: Path, history: Sequence[Epoch], title: str) -> None:
    """Draw loss and accuracy per epoch, training and held-out, as a PNG."""
    figure = require("matplotlib.figure", "demo").Figure(figsize=(9, 3.8), dpi=150, layout="constrained")
    ticker = require("matplotlib.ticker", "demo")
    figure.suptitle(title)
    loss, accuracy = figure.subplots(1, 2)
    _draw(loss, history, "loss", "cross-entropy loss")
    loss.set_yscale("log")
    _draw(accuracy, history, "accuracy", "accuracy")
    accuracy.yaxis.set_major_formatter(ticker.PercentFormatter(xmax=1.0))
    for axes in (loss, accuracy):
        axes.xaxis.set_major_locator(ticker.MaxNLocator(integer=True, min_n_ticks=1))
    accuracy.legend(frameon=False)
    with replacing(path) as temporary:
        figure.savefig(temporary, format="png")


def _draw(axes: Any, history: Sequence[Epoch], name: str, label: str) -> None:
    epochs = [epoch.epoch for epoch in history]
    marker = "o" if len(history) == 1 else None  # a line of one point would not show
    for prefix, color, of in (("", TRAINING, "training"), ("test_", HELD_OUT, "held out")):
        values = [getattr(epoch, prefix + name) for epoch in history]
        axes.plot(epochs, values, color=color, marker=marker, label=of)
    axes.set_xlabel("epoch")
    axes.set_title(label, loc="left", fontsize="medium")
    axes.grid(color="#e4e4e4", linewidth=0.6)
    axes.spines[["top", "right"]].set_visible(False)
