"""Loads arrays by name, from a mapping or a file, into the arrays of a module. It knows no layers."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from fastnn._core.devices import assignment, on_host
from fastnn._core.extras import require
from fastnn._core.typing import Array
from fastnn._core.uninterrupted import uninterrupted


class IncompatibleKeys(NamedTuple):
    """Names that the module has and the state lacks, and names that the state has and the module lacks."""

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
            f"state_dict: {path} must hold tensors by name, as torch.save(model.state_dict(), path) writes"
            f" them, got a {type(loaded).__name__}"
        )
    return loaded


def load_arrays(
    owner: str, own: Mapping[str, Array], given: Mapping[str, Any], strict: bool
) -> IncompatibleKeys:
    """Copy given arrays into own ones of the same names, after all of them were checked."""
    missing, unexpected = sorted(own.keys() - given.keys()), sorted(given.keys() - own.keys())
    if strict and (missing or unexpected):
        raise ValueError(
            f"state_dict must have the names of {owner}, got missing names {missing}, unknown names"
            f" {unexpected}"
        )
    values = {name: on_host(given[name]) for name in own if name in given}
    for name, value in values.items():
        array = own[name]
        if value.shape != array.shape:
            raise ValueError(
                f"state_dict[{name!r}] must have the shape of the module's, {array.shape}, got {value.shape}"
            )
        if not np.can_cast(value.dtype, array.dtype, "same_kind"):
            raise TypeError(
                f"state_dict[{name!r}] must have a dtype that converts to {array.dtype}, got {value.dtype}"
            )
        if isinstance(array, np.ndarray) and not array.flags.writeable:
            raise ValueError(f"{owner}: {name} must be writeable for load_state_dict, got a read-only array")
    uninterrupted([assignment(own[name], value) for name, value in values.items()])
    return IncompatibleKeys(missing, unexpected)
