"""Files of torch.save, read without torch: tensors by name, of which nothing runs.

Since PyTorch 1.6 it is a zip archive: `data.pkl` is a pickle, whose tensors refer to storages, and each
storage is an uncompressed file `data/KEY`. Before, it was a row of pickles: a magic number, a version, the
machine, the object, the keys of its storages; then the storages, each with its size before it. Both are
mapped into memory, and tensors are views: a file takes no memory but that of the parts that are read.
"""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np

from fastnn._core.file_dtypes import NUMPY, WIDENED
from fastnn._core.pickles import UnknownNameError, run_pickle
from fastnn._core.typing import Array

MAGIC = 0x1950A86A20F9469CFC6C
VERSION = 1001
MORE = ("BINPERSID", "BINFLOAT", "LONG1", "NEWOBJ")  # instructions beside those of plain data
MAX_TUPLES = 2**15
MODULES = ("torch", "torch.cuda", "torch.storage")  # where storages are

#: PyTorch's storages, and their dtypes by safetensors' names.
STORAGES = {
    "Double": "F64", "Float": "F32", "Half": "F16", "BFloat16": "BF16",
    "Long": "I64", "Int": "I32", "Short": "I16", "Char": "I8", "Byte": "U8", "Bool": "BOOL",
    "ComplexFloat": "C64", "Untyped": "U8",
}  # fmt: skip
#: Dtypes without a storage of their own.
DTYPES = {
    "uint16": "U16", "uint32": "U32", "uint64": "U64",
    "float8_e4m3fn": "F8_E4M3", "float8_e5m2": "F8_E5M2",
}  # fmt: skip


class _Storage(NamedTuple):
    """A reference to a storage: its key in the file, and the dtype and number of its elements."""

    key: str
    dtype: str
    elements: int

    @property
    def size(self) -> int:
        """The number of bytes."""
        return self.elements * _bits(self.dtype).itemsize


class _Tensor(NamedTuple):
    """The parts of a tensor; offset and strides count elements."""

    storage: _Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    dtype: str


def read_torch(path: Path) -> Mapping[str, Any]:
    """Return what torch.save has written: a mapping, with arrays for tensors, read-only views of the file.

    There may be more than tensors, in dicts and lists. bfloat16 and 8-bit floats are float32. Raises
    ValueError, begun with the path, for a damaged file, for one that holds anything but tensors and plain
    data, and for one that is no mapping.
    """
    want = (
        f"state_dict: {path} must hold tensors by name, as torch.save(model.state_dict(), path) writes them"
    )
    try:
        with path.open("rb") as file:
            content = np.memmap(file, np.uint8, "r") if path.stat().st_size else np.empty(0, np.uint8)
            read = _read_zip if content[:2].tobytes() == b"PK" else _read_row
            loaded = read(file, content)
    except UnknownNameError as error:
        advice = "which only code can read; load it in PyTorch and save its state_dict()"
        raise ValueError(f"{want}, got an object of {error.name}, {advice}") from None
    except OSError:
        raise
    except Exception as error:  # the parts of a damaged file can be anything
        raise ValueError(f"state_dict: {path} is not a whole file of torch.save: {error}") from None
    if not isinstance(loaded, dict):
        got = "tensor" if isinstance(loaded, np.ndarray) else type(loaded).__name__
        raise ValueError(f"{want}, got a {got}")
    return loaded


def _read_zip(file: BinaryIO, content: Array) -> Any:
    archive = zipfile.ZipFile(file)
    entries = {entry.filename.partition("/")[2]: entry for entry in archive.infolist()}
    with archive.open(entries["data.pkl"]) as pickled:
        made, storages = _run(pickled)
    order = archive.read(entries["byteorder"]) if "byteorder" in entries else b"little"
    places = {key: _place(content, entries[f"data/{key}"]) for key in storages}
    return _with_arrays(made, content, places, is_big=order == b"big")


def _place(content: Array, entry: zipfile.ZipInfo) -> int:
    """Where the bytes of an entry begin: behind a header of 30 bytes and two texts, whose lengths it has."""
    if entry.compress_type != zipfile.ZIP_STORED:
        raise ValueError(f"{entry.filename} is compressed")
    lengths = content[entry.header_offset + 26 :][:4].view("<u2")
    return entry.header_offset + 30 + int(lengths.sum())


def _read_row(file: BinaryIO, content: Array) -> Any:
    file.seek(0)
    (magic, _), (version, _), (machine, _) = _run(file), _run(file), _run(file)
    if (magic, version) != (MAGIC, VERSION):
        raise ValueError("it begins with neither a zip archive nor the number of older files")
    made, storages = _run(file)
    keys, _ = _run(file)
    places, place = {}, file.tell()
    for key in keys:
        places[key] = place + 8  # the number of elements comes first
        place += 8 + storages[key].size
    return _with_arrays(made, content, places, is_big=not machine["little_endian"])


# ---- the pickle --------------------------------------------------------------------------------------------


def _run(file: Any) -> tuple[Any, dict[str, _Storage]]:
    """What the pickle makes, and the storages that it refers to, by their keys."""
    storages: dict[str, _Storage] = {}

    def storage_of(reference: Any) -> _Storage:
        kind, dtype, key, _, elements, *view = reference
        if kind != "storage" or dtype not in STORAGES.values() or any(view):
            raise ValueError(f"there is no storage of {reference!r}")
        return storages.setdefault(key, _Storage(key, dtype, elements))

    made = run_pickle(file, NAMES, more=MORE, tuples=MAX_TUPLES, encoding="utf-8", persistent_load=storage_of)
    return made, storages


class _Dict(dict[Any, Any]):
    """What an OrderedDict of the file becomes: the attributes that it had are left out."""

    def __setstate__(self, state: Any) -> None:
        """Keep nothing."""


def _tensor(storage: _Storage, offset: int, shape: Any, strides: Any, *_: Any) -> _Tensor:
    return _Tensor(storage, offset, shape, strides, storage.dtype)


def _tensor_of_dtype(
    storage: _Storage, offset: int, shape: Any, strides: Any, grad: Any, hooks: Any, dtype: str, *_: Any
) -> _Tensor:
    return _Tensor(storage, offset, shape, strides, dtype)


def _parameter(tensor: _Tensor, *_: Any) -> _Tensor:
    return tensor


NAMES: dict[tuple[str, str], Any] = {
    ("collections", "OrderedDict"): _Dict,
    ("torch", "Size"): tuple,
    ("torch._utils", "_rebuild_tensor"): _tensor,
    ("torch._utils", "_rebuild_tensor_v2"): _tensor,
    ("torch._utils", "_rebuild_tensor_v3"): _tensor_of_dtype,
    ("torch._utils", "_rebuild_parameter"): _parameter,
    **{(module, f"{name}Storage"): dtype for name, dtype in STORAGES.items() for module in MODULES},
    **{("torch", name): dtype for name, dtype in DTYPES.items()},
}


# ---- arrays ------------------------------------------------------------------------------------------------


def _with_arrays(made: Any, content: Array, places: Mapping[str, int], is_big: bool) -> Any:
    """What the pickle made, with arrays in the place of tensors, in dicts and lists too."""
    if isinstance(made, _Tensor):
        return _array(made, content, places, is_big)
    if isinstance(made, dict):
        return {name: _with_arrays(value, content, places, is_big) for name, value in made.items()}
    if type(made) in (list, tuple):
        return [_with_arrays(value, content, places, is_big) for value in made]
    return made


def _array(tensor: _Tensor, content: Array, places: Mapping[str, int], is_big: bool) -> Array:
    storage, start = tensor.storage, places[tensor.storage.key]
    part = content[start : start + storage.size]
    if len(part) != storage.size:
        raise ValueError(f"it ends within storage {storage.key}")
    bits = _bits(tensor.dtype)
    # the constructor refuses what would lie outside of the part
    array: Array = np.ndarray(
        tensor.shape,
        bits.newbyteorder(">" if is_big else "<"),
        part,
        tensor.offset * bits.itemsize,
        [stride * bits.itemsize for stride in tensor.strides],
    )
    if tensor.dtype not in WIDENED:
        return array
    return WIDENED[tensor.dtype][1](np.ascontiguousarray(array, bits))


def _bits(dtype: str) -> np.dtype[Any]:
    """The dtype in which the file has the elements."""
    return np.dtype(WIDENED[dtype][0] if dtype in WIDENED else NUMPY[dtype])
