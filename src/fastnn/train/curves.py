"""Loss, metrics and the updates of the weights by epoch, as a picture."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from fastnn._core.extras import require
from fastnn._core.figures import new_figure, plain, save_figure
from fastnn.train.measures import Record
from fastnn.train.statistics import Updates
from fastnn.train.trainer import Callback, Trainer

TRAINING, HELD_OUT, WANTED = "#9a9a9a", "#0b6fb8", "#2f8f5b"
UPDATE_RATIO = "update_ratio"  # |change| / |weights| of an epoch's last step
WANTED_RATIO = 1e-3


class Curves(Callback):
    """Writes the curves of loss and metrics, training and validation, as a PNG at the end of training.

    The gap between training and validation is shaded; a large one of the accuracy is overfitting. One more
    panel has the ratio of update to weight, |change| / |weights|, of each epoch's last step, about 1e-3 of
    which is wanted: it becomes "update_ratio" in the epoch's record (a stream without a length has none).
    Needs matplotlib; ImportError naming the extra where it is missing.
    """

    first_rank_only = True

    def __init__(self, path: str | Path, title: str = "") -> None:
        require("matplotlib.figure", "demo")
        self.path, self.title = Path(path), title
        self._updates = Updates()
        self._ratio: float | None = None

    def on_gradients(self, trainer: Trainer) -> None:
        """Keep the weights as they are before the epoch's last step."""
        if trainer.steps_per_epoch and (trainer.step + 1) % trainer.steps_per_epoch == 0:
            self._updates.before(trainer.model)

    def on_step(self, trainer: Trainer) -> None:
        """Measure how far the last step has moved them."""
        if trainer.steps_per_epoch and trainer.step % trainer.steps_per_epoch == 0:
            self._ratio = self._updates.after()[0]

    def on_epoch_end(self, trainer: Trainer) -> None:
        """Put the ratio into the epoch's record; a model without weights has none."""
        if self._ratio is not None:
            trainer.history[-1][UPDATE_RATIO] = self._ratio

    def on_train_end(self, trainer: Trainer) -> None:
        """Write the picture, if an epoch has ended."""
        if trainer.history:
            save_curves(self.path, trainer.history, self.title)


def save_curves(path: str | Path, history: Sequence[Record], title: str = "") -> None:
    """Draw loss, metrics and update ratios of what `fit` returned, by epoch, as a PNG."""
    names = [name.removeprefix("val_") for name in history[0] if f"val_{name}" in history[0]]
    names = names or [name for name in history[0] if name not in NOT_DRAWN]
    ratios = [UPDATE_RATIO] if all(UPDATE_RATIO in record for record in history) else []
    figure = new_figure(4.5 * len(names + ratios), 3.8)
    figure.suptitle(title)
    panels = figure.subplots(1, len(names + ratios), squeeze=False)[0]
    for axes, name in zip(panels, names + ratios, strict=True):
        _draw(axes, history, name)
    panels[len(names) - 1].legend(frameon=False)
    save_figure(figure, path)


NOT_DRAWN = ("epoch", "step", "lr", "seconds", UPDATE_RATIO)


def _draw(axes: Any, history: Sequence[Record], name: str) -> None:
    ticker = require("matplotlib.ticker", "demo")
    epochs = [record["epoch"] for record in history]
    marker = "o" if len(history) == 1 else None  # a line of one point would not show
    for key, color, of in ((name, TRAINING, "training"), (f"val_{name}", HELD_OUT, "held out")):
        if key in history[0]:
            axes.plot(epochs, [record[key] for record in history], color=color, marker=marker, label=of)
    if name in ("loss", UPDATE_RATIO) and all(line.get_ydata().min() > 0 for line in axes.get_lines()):
        axes.set_yscale("log")
    if name.endswith("accuracy"):
        axes.yaxis.set_major_formatter(ticker.PercentFormatter(xmax=1.0))
    if name == UPDATE_RATIO:
        axes.axhline(WANTED_RATIO, color=WANTED, linestyle=":")
    elif f"val_{name}" in history[0]:
        _draw_gap(axes, history, name)
    axes.xaxis.set_major_locator(ticker.MaxNLocator(integer=True, min_n_ticks=1))
    axes.set_xlabel("epoch")
    axes.set_title(name.replace("_", " "), loc="left", fontsize="medium")
    plain(axes)


def _draw_gap(axes: Any, history: Sequence[Record], name: str) -> None:
    """Shade what lies between training and validation, and write an accuracy's gap."""
    epochs = [record["epoch"] for record in history]
    pairs = [(record[name], record[f"val_{name}"]) for record in history]
    axes.fill_between(epochs, *zip(*pairs, strict=True), color=HELD_OUT, alpha=0.12, linewidth=0)
    if name.endswith("accuracy"):
        gap = pairs[-1][0] - pairs[-1][1]
        axes.set_title(f"gap {gap:.1%}", loc="right", fontsize="small")
