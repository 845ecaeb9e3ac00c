"""Files of weights: arrays by name, from .safetensors, .pt and .pth. It knows no layers."""

from __future__ import annotations

import json
import pickle
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from fastnn._core.extras import require
from fastnn._core.typing import Array

# safetensors' names of the dtypes that NumPy has
_NUMPY = {
    **{f"F{bits}": f"<f{bits // 8}" for bits in (16, 32, 64)},
    **{f"{kind}{bits}": f"<{kind.lower()}{bits // 8}" for kind in "IU" for bits in (8, 16, 32, 64)},
    "BOOL": "?",
    "C64": "<c8",
}


#: The key in the metadata under which fastnn.save keeps the architecture and all else, as one JSON text:
#: safetensors writes several entries in an order that differs from run to run.
MODEL_ENTRY = "fastnn"


def read_weights(path: Path) -> Mapping[str, Any]:
    """Return what a file holds: arrays by name, of a .pt or .pth file tensors.

    bfloat16 and the 8-bit floats E4M3 and E5M2 come as float32, which has all their values. Raises
    FileNotFoundError; ValueError for another kind of file, a damaged one, and one that does not hold tensors
    by name; ImportError where safetensors or torch is missing.
    """
    if not path.exists():
        raise FileNotFoundError(f"state_dict: there is no file {path}")
    if path.suffix == ".safetensors":
        tensors, metadata = read_safetensors("state_dict: ", path)
        others = model_entry(metadata).get("others")
        left_out = others if isinstance(others, list) else []
        return {name: tensor for name, tensor in tensors.items() if name not in left_out}
    if path.suffix in (".pt", ".pth"):
        return _read_torch(path)
    raise ValueError(f"state_dict: {path} must end in .safetensors, .pt or .pth")


def read_safetensors(what: str, path: Path) -> tuple[dict[str, Array], dict[str, str]]:
    """Return the arrays and the metadata of a .safetensors file; ValueError, begun by `what`, if damaged."""
    safetensors, content = require("safetensors", "demo"), path.read_bytes()
    try:
        tensors = safetensors.deserialize(content)
    except safetensors.SafetensorError as error:
        raise ValueError(f"{what}{path} is not a whole safetensors file: {error}") from None
    header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
    arrays = {name: _array(f"{what}{path}: {name}", **tensor) for name, tensor in tensors}
    return arrays, header.get("__metadata__") or {}


def model_entry(metadata: Mapping[str, str]) -> dict[str, Any]:
    """Return what fastnn.save has written into a file's metadata, unchecked; {} where there is no such entry.

    Its "others" are the names of arrays that are not the model's.
    """
    try:
        entry = json.loads(metadata.get(MODEL_ENTRY, "{}"))
    except (ValueError, RecursionError):
        return {}
    return entry if isinstance(entry, dict) else {}


def _array(what: str, dtype: str, shape: list[int], data: bytes) -> Array:
    if dtype in _NUMPY:
        return np.frombuffer(data, _NUMPY[dtype]).reshape(shape)
    if dtype not in _WIDENED:
        raise ValueError(f"{what} must be of {', '.join([*_NUMPY, *_WIDENED])}, got {dtype}")
    return _WIDENED[dtype](data).reshape(shape)


# ---- small floats as float32 -------------------------------------------------------------------------------


def _from_bfloat16(data: bytes) -> Array:
    """The upper half of a float32."""
    return (np.frombuffer(data, "<u2").astype(np.uint32) << 16).view(np.float32)


def _from_e5m2(data: bytes) -> Array:
    """The upper half of a float16."""
    return (np.frombuffer(data, np.uint8).astype(np.uint16) << 8).view(np.float16).astype(np.float32)


def _from_e4m3(data: bytes) -> Array:
    """With sign, exponent and mantissa where a float16 has them, only the exponent's bias differs, by 8."""
    bits = np.frombuffer(data, np.uint8).astype(np.uint16)
    half = ((bits & 0x80) << 8 | (bits & 0x7F) << 7).view(np.float16)
    return np.where(bits & 0x7F == 0x7F, np.float32(np.nan), half.astype(np.float32) * 256)


_WIDENED = {"BF16": _from_bfloat16, "F8_E5M2": _from_e5m2, "F8_E4M3": _from_e4m3}


# ---- PyTorch's files ---------------------------------------------------------------------------------------


def _read_torch(path: Path) -> Mapping[str, Any]:
    torch = require("torch", "bench")
    want = (
        f"state_dict: {path} must hold tensors by name, as torch.save(model.state_dict(), path) writes them"
    )
    try:
        loaded: Any = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:  # torch's text is long and coloured, and advises to run the file
        found = re.search(r"GLOBAL ([\w.]+)", str(error))
        got = f"an object of {found[1]}" if found else "another object, or a damaged file"
        raise ValueError(
            f"{want}, got {got}, which only code can read; load it in PyTorch and save its state_dict()"
        ) from None
    except (RuntimeError, EOFError, ValueError, KeyError) as error:
        why = str(error).partition(". ")[0] or "cut off"
        raise ValueError(f"state_dict: {path} is not a whole file of torch.save: {why}") from None
    if not isinstance(loaded, Mapping):
        raise ValueError(f"{want}, got a {type(loaded).__name__}")
    return loaded
