"""Arrays by name, from a file or another library, into the arrays of a module. Knows no layers."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from fastnn._core.extras import require
from fastnn._core.typing import Array
from fastnn.nn._device import assign, on_host


class IncompatibleKeys(NamedTuple):
    """Names that a module has and the state has not, and the other way round."""

    missing_keys: list[str]
    unexpected_keys: list[str]


def read_state(source: Mapping[str, Any] | str | Path) -> Mapping[str, Any]:
    """Return arrays by name: of a mapping as it is, else of a .safetensors, .pt or .pth file."""
    if isinstance(source, Mapping):
        return source
    if not isinstance(source, str | Path):
        raise TypeError(f"state_dict must be a mapping or a path, got {type(source).__name__}")
    path = Path(source)
    if not path.exists():
        raise FileNotFoundError(f"state_dict: there is no file {path}")
    if path.suffix == ".safetensors":
        safetensors = require("safetensors", "demo")
        try:
            loaded: Any = require("safetensors.numpy", "demo").load_file(path)
        except safetensors.SafetensorError as error:
            raise ValueError(f"state_dict: {path} is not a whole safetensors file: {error}") from None
    elif path.suffix in (".pt", ".pth"):
        loaded = require("torch", "bench").load(path, map_location="cpu", weights_only=True)
    else:
        raise ValueError(f"state_dict: {path} must end in .safetensors, .pt or .pth")
    if not isinstance(loaded, Mapping):
        raise ValueError(
            f"state_dict: {path} holds a {type(loaded).__name__}; it takes tensors by name, as"
            " torch.save(model.state_dict(), path) writes them"
        )
    return loaded


def load_arrays(
    owner: str, own: Mapping[str, Array], given: Mapping[str, Any], strict: bool
) -> IncompatibleKeys:
    """Copy given arrays into own ones of the same names, after all of them were checked."""
    missing, unexpected = sorted(own.keys() - given.keys()), sorted(given.keys() - own.keys())
    if strict and (missing or unexpected):
        raise ValueError(
            f"state_dict does not fit {owner}: missing names {missing}, unknown names {unexpected}"
        )
    values = {name: on_host(given[name]) for name in own if name in given}
    for name, value in values.items():
        array = own[name]
        if value.shape != array.shape:
            raise ValueError(f"state_dict[{name!r}] has shape {value.shape}, the module's {array.shape}")
        if not np.can_cast(value.dtype, array.dtype, "same_kind"):
            raise TypeError(f"state_dict[{name!r}] has dtype {value.dtype}, the module's {array.dtype}")
        if isinstance(array, np.ndarray) and not array.flags.writeable:
            raise ValueError(f"{owner}: {name} is read-only; load_state_dict writes to it in place")
    for name, value in values.items():
        assign(own[name], value)
    return IncompatibleKeys(missing, unexpected)
