"""Loss and metrics by epoch, as a picture."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from fastnn._core.extras import require
from fastnn._core.files import replacing
from fastnn.train.measures import Record
from fastnn.train.trainer import Callback, Trainer

TRAINING, HELD_OUT = "#9a9a9a", "#0b6fb8"


class Curves(Callback):
    """Writes the curves of loss and metrics, training and validation, as a PNG at the end of training.

    Needs matplotlib; ImportError naming the extra where it is missing.
    """

    def __init__(self, path: str | Path, title: str = "") -> None:
        require("matplotlib.figure", "demo")
        self.path, self.title = Path(path), title

    def on_train_end(self, trainer: Trainer) -> None:
        """Write the picture, if an epoch has ended."""
        if trainer.history:
            save_curves(self.path, trainer.history, self.title)


def save_curves(path: str | Path, history: Sequence[Record], title: str = "") -> None:
    """Draw loss and metrics of what `fit` returned, by epoch, as a PNG."""
    names = [name.removeprefix("val_") for name in history[0] if f"val_{name}" in history[0]]
    names = names or [name for name in history[0] if name not in NOT_DRAWN]
    size = (4.5 * len(names), 3.8)
    figure = require("matplotlib.figure", "demo").Figure(figsize=size, dpi=150, layout="constrained")
    figure.suptitle(title)
    panels = figure.subplots(1, len(names), squeeze=False)[0]
    for axes, name in zip(panels, names, strict=True):
        _draw(axes, history, name)
    panels[-1].legend(frameon=False)
    path = Path(path)
    with replacing(path) as temporary:
        figure.savefig(temporary, format="png")


NOT_DRAWN = ("epoch", "step", "lr", "seconds")


def _draw(axes: Any, history: Sequence[Record], name: str) -> None:
    ticker = require("matplotlib.ticker", "demo")
    epochs = [record["epoch"] for record in history]
    marker = "o" if len(history) == 1 else None  # a line of one point would not show
    for key, color, of in ((name, TRAINING, "training"), (f"val_{name}", HELD_OUT, "held out")):
        if key in history[0]:
            axes.plot(epochs, [record[key] for record in history], color=color, marker=marker, label=of)
    if name == "loss" and all(line.get_ydata().min() > 0 for line in axes.get_lines()):
        axes.set_yscale("log")
    if name.endswith("accuracy"):
        axes.yaxis.set_major_formatter(ticker.PercentFormatter(xmax=1.0))
    axes.xaxis.set_major_locator(ticker.MaxNLocator(integer=True, min_n_ticks=1))
    axes.set_xlabel("epoch")
    axes.set_title(name, loc="left", fontsize="medium")
    axes.grid(color="#e4e4e4", linewidth=0.6)
    axes.spines[["top", "right"]].set_visible(False)
