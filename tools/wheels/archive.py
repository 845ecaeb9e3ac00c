"""Rewrites a wheel with a better deflate (zopfli), in an order and with fields of its contents alone.

Every reader of ZIP files reads the result. It has no entries for folders, which nothing asks for.
"""

from __future__ import annotations

import struct
import zipfile
import zlib
from pathlib import Path
from typing import NamedTuple

_VERSION = 20  # of the format: the first that has deflate
_UNIX = 3 << 8  # the upper byte of "version made by", so that the permissions count
_DEFLATE = 8
_UTF8 = 1 << 11


class _Entry(NamedTuple):
    """A file of the archive, compressed, and where it begins."""

    fields: bytes  # those that a file's own header and the list at the end have in common
    name: bytes
    attributes: int
    offset: int


def recompress(wheel: Path) -> None:
    """Replaces the wheel by a smaller one of the same files, times and permissions."""
    with zipfile.ZipFile(wheel) as archive:
        files = sorted((entry for entry in archive.infolist() if not entry.is_dir()), key=_order)
        contents = [(entry, archive.read(entry)) for entry in files]
    partial = wheel.with_suffix(".part")
    try:
        _write(contents, partial)
        partial.replace(wheel)
    finally:
        partial.unlink(missing_ok=True)


def _order(entry: zipfile.ZipInfo) -> tuple[bool, str]:
    """By name, with the metadata at the end, where installers look first."""
    return ".dist-info/" in entry.filename, entry.filename


def _write(contents: list[tuple[zipfile.ZipInfo, bytes]], path: Path) -> None:
    entries: list[_Entry] = []
    with path.open("xb") as output:
        for info, data in contents:
            packed, name = _deflated(data), info.filename.encode()
            fields = struct.pack(
                "<HHHHHLLLHH",
                _VERSION,
                0 if name.isascii() else _UTF8,
                _DEFLATE,
                *_dos_time(info.date_time),
                zlib.crc32(data),
                len(packed),
                len(data),
                len(name),
                0,
            )
            entries.append(_Entry(fields, name, info.external_attr, output.tell()))
            output.write(b"PK\3\4" + fields + name + packed)
        start = output.tell()
        for entry in entries:
            output.write(b"PK\1\2" + struct.pack("<H", _UNIX | _VERSION) + entry.fields)
            output.write(struct.pack("<HHHLL", 0, 0, 0, entry.attributes, entry.offset) + entry.name)
        size = output.tell() - start
        output.write(b"PK\5\6" + struct.pack("<HHHHLLH", 0, 0, len(entries), len(entries), size, start, 0))


def _deflated(data: bytes) -> bytes:
    """A plain deflate stream: that of zlib's format without its header and its checksum."""
    try:
        import zopfli.zlib
    except ImportError as error:
        raise RuntimeError("zopfli is not installed: pip install --group release") from error
    return bytes(zopfli.zlib.compress(data)[2:-4])


def _dos_time(time: tuple[int, int, int, int, int, int]) -> tuple[int, int]:
    year, month, day, hour, minute, second = time
    return hour << 11 | minute << 5 | second // 2, (year - 1980) << 9 | month << 5 | day
