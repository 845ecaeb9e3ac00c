"""States, nested dicts and lists of numbers, texts and arrays, converted to JSON plus named arrays, and back.

Everything comes back bitwise equal: tuples, keys that are numbers, infinities, NumPy scalars.
It knows nothing of files, nor of what the state describes.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from fastnn._core.arrays import as_array
from fastnn._core.typing import Array


def pack(state: object) -> tuple[Any, dict[str, Array]]:
    """Return (what JSON can write, the arrays by a name). TypeError naming the place of what cannot be saved.

    What JSON has no form for is a dict with one key: {"$array": name}, {"$scalar": name}, {"$tuple": [...]},
    {"$dict": [[key, value], ...]} for keys that are no texts, {"$float": "inf"}.
    """
    arrays: dict[str, Array] = {}
    return _pack(state, "", arrays), arrays


def unpack(tree: Any, arrays: dict[str, Array]) -> Any:
    """Return what was packed; its arrays are copies."""
    if isinstance(tree, list):
        return [unpack(item, arrays) for item in tree]
    if not isinstance(tree, dict):
        return tree
    if len(tree) == 1:
        [(kind, value)] = tree.items()
        if kind in _UNPACK:
            return _UNPACK[kind](value, arrays)
    return {key: unpack(value, arrays) for key, value in tree.items()}


_UNPACK: dict[str, Any] = {
    "$array": lambda name, arrays: np.array(arrays[name]),
    "$scalar": lambda name, arrays: arrays[name][()],
    "$tuple": lambda items, arrays: tuple(unpack(items, arrays)),
    "$dict": lambda items, arrays: dict(unpack(items, arrays)),
    "$float": lambda text, arrays: float(text),
}


def _pack(value: Any, place: str, arrays: dict[str, Array]) -> Any:
    if value is None or (isinstance(value, bool | int | str) and not isinstance(value, np.generic)):
        return value
    if isinstance(value, np.generic | np.ndarray):  # before float, of which NumPy's float64 is a subclass
        while place in arrays:  # {"a.b": array, "a": {"b": array}}
            place += "'"
        arrays[place] = np.asarray(as_array(place, value), order="C")
        return {"$scalar" if isinstance(value, np.generic) else "$array": place}
    if isinstance(value, float):
        return value if math.isfinite(value) else {"$float": repr(value)}
    if isinstance(value, list | tuple):
        items = [_pack(item, f"{place}.{index}", arrays) for index, item in enumerate(value)]
        return items if isinstance(value, list) else {"$tuple": items}
    if isinstance(value, dict):
        return _pack_dict(value, place, arrays)
    raise TypeError(
        f"{place} must be a number, a text, an array, or a list or dict of them, got {type(value).__name__}"
    )


def _pack_dict(value: dict[Any, Any], place: str, arrays: dict[str, Array]) -> Any:
    packed = {
        key: _pack(item, f"{place}.{key}" if place else str(key), arrays) for key, item in value.items()
    }
    if all(isinstance(key, str) and not key.startswith("$") for key in packed):
        return packed
    return {"$dict": [[key, item] for key, item in packed.items()]}
