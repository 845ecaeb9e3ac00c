"""PNG and JPEG files, read by Pillow into one array. It knows no labels."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from fastnn._core.extras import require
from fastnn._core.typing import Array

FORMATS = ("PNG", "JPEG")
ENDINGS = (".png", ".jpg", ".jpeg")
MODES = ("L", "LA", "RGB", "RGBA")  # Pillow's names of 1 to 4 channels of 8 bits
AS_MODE = {"1": "L", "P": "RGB", "PA": "RGBA"}  # what has another form of these in a file
Size = int | tuple[int, int]


def find_images(folder: Path) -> Iterator[Path]:
    """Yield the images in a folder and those inside it, in the order of their names.

    Hidden files and folders, whose names begin with a dot, are left out. Links are followed, but not to a
    folder that the way there has come through.
    """
    yield from _find(folder, (folder.resolve(),))


def _find(folder: Path, way: tuple[Path, ...]) -> Iterator[Path]:
    for path in sorted(folder.iterdir()):
        if path.name.startswith("."):
            continue
        if path.is_dir():
            if (real := path.resolve()) not in way:
                yield from _find(path, (*way, real))
        elif path.suffix.lower() in ENDINGS:
            yield path


def check_form(size: Size | None, mode: str | None) -> tuple[int, int] | None:
    """Return the size as (height, width); ValueError for a size or a mode that cannot be."""
    if mode is not None and mode not in MODES:
        raise ValueError(f"mode must be one of {', '.join(MODES)}, got {mode!r}")
    if size is None:
        return None
    pair = (size, size) if isinstance(size, int) else tuple(size)
    if len(pair) != 2 or not all(type(side) is int and 1 <= side <= 2**16 for side in pair):
        raise ValueError(f"size must be a number of pixels, or (height, width), got {size!r}")
    return pair[0], pair[1]


def read_images(paths: Sequence[Path], size: Size | None = None, mode: str | None = None) -> Array:
    """Return the images, uint8 (N, channels, height, width); `size` scales them, `mode` converts them.

    Palettes become colours. Without `size` and `mode` all must be as the first: ValueError naming the first
    one that is not, also where a file is damaged or has 16 bits for each channel. ImportError without Pillow.
    """
    pair = check_form(size, mode)
    images: Array | None = None
    first = ""
    for place, path in enumerate(paths):
        image = _read(path, pair, mode)
        if images is None:
            first = f"{image.mode}, {image.width} x {image.height}"
            images = np.empty((len(paths), len(image.getbands()), image.height, image.width), np.uint8)
        pixels = np.asarray(image).reshape(image.height, image.width, -1)
        if pixels.shape != (*images.shape[2:], images.shape[1]):
            raise ValueError(
                f"{path}: images must be of one mode and size, {first} as {paths[0].name}, got {image.mode},"
                f" {image.width} x {image.height}; mode (--mode) converts them, size (--size) scales them"
            )
        images[place] = np.moveaxis(pixels, -1, 0)
    if images is None:
        raise ValueError("there must be at least one image, got none")
    return images


def _read(path: Path, size: tuple[int, int] | None, mode: str | None) -> Any:
    pillow = require("PIL.Image", "images")
    try:
        with pillow.open(path, formats=FORMATS) as image:
            deep = any(";16" in str(tile[-1]) for tile in image.tile)
            image.load()
    except FileNotFoundError:
        raise FileNotFoundError(f"{path}: there is no such file, or a link leads to none") from None
    except PermissionError:
        raise
    except Exception as error:  # a damaged file makes Pillow raise nearly anything, SyntaxError too
        raise ValueError(f"{path}: not a whole PNG or JPEG image: {error}") from None
    if deep:
        raise ValueError(f"{path}: images must have 8 bits for each channel, got 16; convert them first")
    clear = image.mode == "P" and "transparency" in image.info
    own = "RGBA" if clear else AS_MODE.get(image.mode, image.mode)
    image = image.convert(mode or (own if own in MODES else "RGB"))
    return image if size is None else image.resize(size[::-1], pillow.Resampling.BILINEAR)


def names_in(folder: Path, paths: Sequence[Path]) -> tuple[str, ...]:
    """Return the paths as they are seen from the folder."""
    return tuple(os.fspath(path.relative_to(folder)) for path in paths)
