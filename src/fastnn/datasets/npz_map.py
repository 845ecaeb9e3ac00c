"""An array of a .npz file as a map of its bytes there. A .npz file is a ZIP archive of .npy files."""

from __future__ import annotations

import math
import struct
import zipfile
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.lib import format as npy

from fastnn._core.typing import Array

Mode = Literal["r", "c"]

# Bytes before a member's name; the last four are the lengths of the name and of a field after it.
LOCAL_HEADER = 30


def mapped(path: Path, file: Any, key: str, mode: Mode) -> Array:
    """Return array `key` of `file`, which numpy.load opened at `path`, as numpy.memmap.

    Raises ValueError for one that is compressed, and for a damaged file.
    """
    member = file.zip.getinfo(f"{key}.npy")
    if member.compress_type != zipfile.ZIP_STORED:
        raise ValueError(f"mmap_mode must be None, as {key} is compressed; numpy.savez does not compress")
    try:
        with path.open("rb") as raw:
            raw.seek(member.header_offset)
            lengths = struct.unpack("<2H", raw.read(LOCAL_HEADER)[-4:])
            start = raw.seek(sum(lengths), 1)
            readers = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}
            shape, is_fortran, dtype = readers[npy.read_magic(raw)](raw)
            offset = raw.tell()
        if dtype.hasobject or offset - start + math.prod(shape) * dtype.itemsize != member.file_size:
            raise ValueError(f"an array of {dtype} and shape {shape} in {member.file_size} bytes")
    except (OSError, KeyError, ValueError, struct.error) as error:
        raise ValueError(f"key {key!r} cannot be mapped: {error}") from None
    return np.memmap(path, dtype, mode, offset, shape, "F" if is_fortran else "C")
