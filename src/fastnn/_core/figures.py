"""Figures: made by matplotlib, which is imported for the first one, and written whole or not at all."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from fastnn._core.extras import require


def new_figure(width: float, height: float, extra: str = "demo") -> Any:
    """A figure of so many inches; ImportError naming the extra where matplotlib is missing."""
    return require("matplotlib.figure", extra).Figure((width, height), dpi=150, layout="constrained")


def plain(axes: Any) -> None:
    """Give axes a pale grid behind everything, and no frame above and to the right."""
    axes.grid(color="#e4e4e4", linewidth=0.6)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)


def save_figure(figure: Any, path: str | Path) -> None:
    """Write a PNG."""
    from fastnn._core.files import replacing  # loads socket: too much for all who import fastnn.optim

    with replacing(Path(path)) as temporary:
        figure.savefig(temporary, format="png")
