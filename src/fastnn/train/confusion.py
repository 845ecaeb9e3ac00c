"""The confusion matrix of a classifier, and accuracy, precision and recall, as text and as a picture.

It knows labels and predictions, and no model.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from fastnn._core.extras import require
from fastnn._core.figures import new_figure, save_figure
from fastnn._core.typing import Array

MOST_NUMBERS = 20  # classes with a number in each cell of the picture


class Confusion:
    """How many samples of each class were predicted as which: `counts[label, prediction]`.

    names: the classes; labels and predictions: an index of a class for each sample.
    """

    def __init__(self, names: Sequence[Any], labels: Array, predictions: Array) -> None:
        self.names = [str(name) for name in names]
        self.counts = np.zeros((len(names), len(names)), np.int64)
        np.add.at(self.counts, (labels, predictions), 1)

    @property
    def accuracy(self) -> float:
        """The share of samples that were predicted right."""
        return float(np.trace(self.counts) / self.counts.sum())

    @property
    def precision(self) -> Array:
        """For each class the share of right ones among those predicted as it; NaN where there are none."""
        return _share(np.diag(self.counts), self.counts.sum(axis=0))

    @property
    def recall(self) -> Array:
        """For each class the share of its samples that were predicted as it; NaN where there are none."""
        return _share(np.diag(self.counts), self.counts.sum(axis=1))

    def numbers(self) -> dict[str, Any]:
        """Return all of it, as JSON can write it; null in the place of NaN."""
        shares = {
            name: [None if np.isnan(one) else float(one) for one in getattr(self, name)]
            for name in ("precision", "recall")
        }
        return {"accuracy": self.accuracy, "classes": self.names, **shares, "confusion": self.counts.tolist()}

    def table(self) -> list[str]:
        """Return a line for each class: precision, recall, number of samples."""
        width = max(map(len, ["class", *self.names]))
        lines = [f"{'class':<{width}}  precision   recall  samples"]
        samples = self.counts.sum(axis=1)
        for name, *shares, count in zip(self.names, self.precision, self.recall, samples, strict=True):
            first, second = ("-" if np.isnan(share) else f"{share:.2%}" for share in shares)
            lines.append(f"{name:<{width}}  {first:>9}  {second:>7}  {count:>7}")
        return lines

    def matrix_lines(self) -> list[str]:
        """Return the matrix as text: a row for each class, a column for each prediction."""
        label = "class \\ predicted as"
        first = max(map(len, [label, *self.names]))
        width = max(map(len, [*self.names, str(self.counts.max())]))
        lines = [f"{label:<{first}}  " + "  ".join(f"{name:>{width}}" for name in self.names)]
        for name, row in zip(self.names, self.counts, strict=True):
            lines.append(f"{name:<{first}}  " + "  ".join(f"{count:>{width}}" for count in row))
        return lines

    def most_confused(self, most: int) -> list[str]:
        """Return a line for each of the pairs that were taken for each other most often."""
        wrong = self.counts - np.diag(np.diag(self.counts))
        order = np.argsort(-wrong, axis=None, kind="stable")[:most]
        pairs = [(int(place) // len(wrong), int(place) % len(wrong)) for place in order]
        return ["most often mistaken:"] + [
            f"  {self.names[label]} for {self.names[taken]}: {wrong[label, taken]}"
            for label, taken in pairs
            if wrong[label, taken]
        ]


def _share(part: Array, whole: Array) -> Array:
    share: Array = np.divide(part, whole, out=np.full(len(part), np.nan), where=whole > 0)
    return share


def save_confusion(path: str | Path, confusion: Confusion, title: str = "") -> None:
    """Draw the matrix as a PNG: each row is coloured by the shares of its class. Needs matplotlib."""
    names, counts = confusion.names, confusion.counts
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    side = min(14.0, 2.5 + 0.45 * len(names))
    figure = new_figure(side + 1, side)
    axes = figure.subplots()
    picture = axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    axes.set_title(title, loc="left", fontsize="medium")
    axes.set_xlabel("predicted as")
    axes.set_ylabel("class")
    if len(names) <= MOST_NUMBERS:
        upright = max(map(len, names)) > 3
        axes.set_xticks(range(len(names)), names, rotation=90 if upright else 0)
        axes.set_yticks(range(len(names)), names)
        for (row, column), count in np.ndenumerate(counts):
            color = "white" if shares[row, column] > 0.5 else "black"
            if count:
                axes.text(column, row, str(count), ha="center", va="center", color=color, fontsize="small")
    ticker = require("matplotlib.ticker", "demo")
    bar = figure.colorbar(picture, ax=axes, shrink=0.8, format=ticker.PercentFormatter(xmax=1.0))
    bar.set_label("share of the class")
    save_figure(figure, path)
