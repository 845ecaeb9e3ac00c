"""Files of weights: arrays by name, from .safetensors, .pt and .pth. It knows no layers."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from fastnn._core.extras import require
from fastnn._core.file_dtypes import array_of
from fastnn._core.torch_files import read_torch
from fastnn._core.typing import Array

#: The key in the metadata under which fastnn.save keeps the architecture and all else, as one JSON text:
#: safetensors writes several entries in an order that differs from run to run.
MODEL_ENTRY = "fastnn"


def read_weights(path: Path) -> Mapping[str, Any]:
    """Return what a file holds: arrays by name; a .pt or .pth file may have more, in dicts and lists.

    bfloat16 and the 8-bit floats E4M3 and E5M2 come as float32, which has all their values. Raises
    FileNotFoundError; ValueError for another kind of file, a damaged one, and one that does not hold tensors
    by name; ImportError where safetensors is missing.
    """
    if not path.exists():
        raise FileNotFoundError(f"state_dict: there is no file {path}")
    if path.suffix == ".safetensors":
        tensors, metadata = read_safetensors("state_dict: ", path)
        others = model_entry(metadata).get("others")
        left_out = others if isinstance(others, list) else []
        return {name: tensor for name, tensor in tensors.items() if name not in left_out}
    if path.suffix in (".pt", ".pth"):
        return read_torch(path)
    raise ValueError(f"state_dict: {path} must end in .safetensors, .pt or .pth")


def read_safetensors(what: str, path: Path) -> tuple[dict[str, Array], dict[str, str]]:
    """Return the arrays and the metadata of a .safetensors file; ValueError, begun by `what`, if damaged.

    The file is mapped into memory, and arrays are read-only views of it.
    """
    safetensors = require("safetensors", "demo")
    try:
        with safetensors.safe_open(path, "np"):  # it checks the header
            pass
    except safetensors.SafetensorError as error:
        raise ValueError(f"{what}{path} is not a whole safetensors file: {error}") from None
    content = np.memmap(path, np.uint8, "r")
    start = 8 + int.from_bytes(content[:8].tobytes(), "little")
    header = json.loads(content[8:start].tobytes())
    metadata, arrays = header.pop("__metadata__", None) or {}, {}
    for name, tensor in header.items():
        first, last = (start + offset for offset in tensor["data_offsets"])
        arrays[name] = array_of(
            f"{what}{path}: {name}", tensor["dtype"], tensor["shape"], content[first:last]
        )
    return arrays, metadata


def model_entry(metadata: Mapping[str, str]) -> dict[str, Any]:
    """Return what fastnn.save has written into a file's metadata, unchecked; {} where there is no such entry.

    Its "others" are the names of arrays that are not the model's.
    """
    try:
        entry = json.loads(metadata.get(MODEL_ENTRY, "{}"))
    except (ValueError, RecursionError):
        return {}
    return entry if isinstance(entry, dict) else {}
