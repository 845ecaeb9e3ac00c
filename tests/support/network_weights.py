"""Weights for large networks, the same in every library, quickly drawn. It must not know what is tested."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any
from zlib import crc32

import numpy as np


def drawn(shapes: Mapping[str, Iterable[int]]) -> dict[str, Any]:
    """An array for each name, which depends on name and shape alone, such that signals keep their size.

    Names are those of PyTorch's state_dict; counters are left out.
    """
    made: dict[str, Any] = {}
    for name, given in shapes.items():
        shape, draw = tuple(given), np.random.Generator(np.random.SFC64(crc32(name.encode())))
        if name.endswith("num_batches_tracked"):
            continue
        values = draw.random(shape, np.float32)
        if len(shape) > 1:
            values -= np.float32(0.5)
            values *= np.float32(np.sqrt(24 / np.prod(shape[1:])))
        elif name.endswith(("running_var", "weight")):
            values += np.float32(0.5)
        else:
            values -= np.float32(0.5)
        made[name] = values
    return made


def images(size: int) -> Any:
    """Two images of three channels."""
    return np.random.Generator(np.random.SFC64(7)).random((2, 3, size, size), np.float32) - np.float32(0.5)
