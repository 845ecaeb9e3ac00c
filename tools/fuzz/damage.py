"""Damages to a file: bytes changed, missing or added, and edits of the JSON in it. It knows no reader."""

from __future__ import annotations

import json
import math
import struct
from typing import Any

from .arrays import Draw

VALUES: tuple[Any, ...] = (
    *(
        None,
        True,
        0,
        1,
        -1,
        2.5,
        9.02,
        1e308,
        math.inf,
        math.nan,
        2**31,
        2**63,
        10**40,
        "",
        "x",
        "../x",
        "\0",
        "é",
    ),
    *([], [0], [[1, 2], [3]], {}, {"a": 1}, [[]] * 50, "F32", "BF16", "step-00000001.json"),
)
TEXTS = (
    b"\0",
    b'"',
    b",",
    b";",
    b"\t",
    b"\r",
    b"\n",
    b"nan",
    b"1e400",
    b"-",
    b"_",
    b"\xff",
    b"\xef\xbb\xbf",
    b"9" * 400,
    b"#",
    b" ",
)


def damaged(d: Draw, content: bytes) -> tuple[bytes, str]:
    """The content with one to three damages, and what they are."""
    texts = []
    for _ in range(d.pick((1, 1, 1, 2, 3))):
        ways = [_bits, _bytes, _cut, _insert, _remove, _repeat, _zeros, _text]
        if content[:1] in (b"{", b"[") or content[8:9] == b"{":
            ways += [_edit_json] * 8
        content, text = d.pick(ways)(d, content)
        texts.append(text)
    return content, ", then ".join(texts)


def _place(d: Draw, content: bytes) -> int:
    """A position, most often near the beginning or the end, where headers are."""
    n = len(content)
    near = min(d.pick((16, 300)), n)
    return d.pick((d.below(n + 1), d.below(near + 1), n - d.below(near + 1)))


def _bits(d: Draw, content: bytes) -> tuple[bytes, str]:
    if not content:
        return b"\1", "a byte added"
    at, bit = min(_place(d, content), len(content) - 1), d.below(8)
    return content[:at] + bytes([content[at] ^ 1 << bit]) + content[
        at + 1 :
    ], f"bit {bit} of byte {at} flipped"


def _bytes(d: Draw, content: bytes) -> tuple[bytes, str]:
    at, new = _place(d, content), bytes(d.rng.integers(0, 256, d.pick((1, 1, 2, 4, 8)), dtype="u1"))
    return content[:at] + new + content[at + len(new) :], f"bytes from {at} on replaced by {new!r}"


def _cut(d: Draw, content: bytes) -> tuple[bytes, str]:
    end = d.pick((_place(d, content), 0, len(content) - min(len(content), d.below(12))))
    return content[:end], f"cut off after {end} bytes"


def _insert(d: Draw, content: bytes) -> tuple[bytes, str]:
    at, new = _place(d, content), bytes(d.rng.integers(0, 256, d.pick((1, 2, 100)), dtype="u1"))
    return content[:at] + new + content[at:], f"{len(new)} bytes inserted at {at}"


def _remove(d: Draw, content: bytes) -> tuple[bytes, str]:
    at, count = _place(d, content), d.pick((1, 2, 8, 100))
    return content[:at] + content[at + count :], f"{count} bytes removed at {at}"


def _repeat(d: Draw, content: bytes) -> tuple[bytes, str]:
    at, count = _place(d, content), d.pick((1, 8, 100, 1000))
    return content[: at + count] + content[at:], f"{count} bytes repeated at {at}"


def _zeros(d: Draw, content: bytes) -> tuple[bytes, str]:
    at, count = _place(d, content), d.pick((4, 64, 512))
    return content[:at] + bytes(len(content[at : at + count])) + content[
        at + count :
    ], f"{count} zeros at {at}"


def _text(d: Draw, content: bytes) -> tuple[bytes, str]:
    at, new = _place(d, content), d.pick(TEXTS)
    return content[:at] + new + content[at:], f"{new[:8]!r} inserted at {at}"


# ---- JSON --------------------------------------------------------------------------------------------------


def _edit_json(d: Draw, content: bytes) -> tuple[bytes, str]:
    """Edit a JSON file, or the header of a safetensors file."""
    header = content[8:9] == b"{"
    length = struct.unpack("<Q", content[:8])[0] if header else len(content)
    text = content[8 : 8 + length] if header else content
    try:
        tree = json.loads(text)
    except ValueError:
        return _bits(d, content)
    what = _edit(d, tree)
    new = json.dumps(tree).encode()
    return (struct.pack("<Q", len(new)) + new + content[8 + length :] if header else new), what


def _edit(d: Draw, tree: Any) -> str:
    """Change one place of the tree."""
    node, path = tree, []
    while True:
        keys = list(node) if isinstance(node, dict) else range(len(node))
        if not keys:
            return "nothing changed"
        key = d.pick(keys)
        path.append(str(key))
        if not isinstance(node[key], (dict, list)) or not node[key] or d.chance(0.2):
            break
        node = node[key]
    where = ".".join(path)
    how = d.pick(("value", "value", "number", "remove", "rename", "add"))
    if how == "number" and type(node[key]) in (int, float):
        node[key] = d.pick(
            (node[key] + 1, -node[key], node[key] * 2, node[key] + 9, str(node[key]), float(node[key]))
        )
    elif how == "remove":
        del node[key]
    elif how in ("rename", "add") and isinstance(node, dict):
        value = node[key] if how == "add" else node.pop(key)
        node[d.pick(("x", key.upper(), key + "_", "0.weight"))] = value
    else:
        how, node[key] = "value", d.pick(VALUES)
    return f"{how} of {where} edited"
