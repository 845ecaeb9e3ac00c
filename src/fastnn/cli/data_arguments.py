"""Options of data that `fastnn train` and the commands that use its model have in common."""

from __future__ import annotations

import argparse
from typing import Any

from fastnn.datasets.image_files import MODES


def add_delimiter(group: Any) -> None:
    """Add what is between the cells of CSV files."""
    group.add_argument(
        "--delimiter",
        type=lambda text: {"tab": "\t", "\\t": "\t"}.get(text, text),
        metavar="CHARACTER",
        help="what is between cells, or 'tab' (default: comma, semicolon, tab or |, as in the first row)",
    )


def add_forms_of_images(group: Any, default: str) -> None:
    """Add what the images of a folder are made to; default: what happens without it."""
    group.add_argument(
        "--size",
        type=_size,
        metavar="N|HxW",
        help=f"height and width in pixels that images of a folder are scaled to (default: {default})",
    )
    group.add_argument(
        "--mode",
        choices=MODES,
        help="what images of a folder are converted to: L (grey), RGB, with A for transparency (default:"
        f" {default})",
    )


def _size(text: str) -> tuple[int, int]:
    sides = text.split("x")
    if len(sides) > 2 or not all(side.isdecimal() and int(side) for side in sides):
        raise argparse.ArgumentTypeError(
            f"must be a number of pixels, or height x width as 32x48, got {text!r}"
        )
    return int(sides[0]), int(sides[-1])
