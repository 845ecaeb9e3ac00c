"""What the machine code of a kernel says of itself: registers, stack, accesses to memory. It knows no kernel."""

from __future__ import annotations

import importlib.util
import re
import shutil
import struct
import subprocess
import tempfile
from pathlib import Path
from typing import NamedTuple

REGISTERS, STACK = 0x2F, 0x12  # attributes of the section .nv.info: 8 bytes, of a function and a number


class Facts(NamedTuple):
    """What a test asserts of a kernel."""

    registers: int
    stack: int  # bytes of a thread
    loads: dict[int, int]  # of global memory: how many, by bytes
    stores: dict[int, int]
    mixed: list[str]  # global accesses that are narrower than 16 bytes in a block of code with wider ones
    local: list[str]  # instructions on local memory, and declarations of it
    divisions: list[str]  # of 64-bit integers

    def accesses(self) -> dict[str, dict[int, int]]:
        """Loads and stores, by these names."""
        return {"loads": self.loads, "stores": self.stores}


def nvdisasm() -> str | None:
    """NVIDIA's disassembler: that of the package nvidia-cuda-nvdisasm, or of a toolkit; None without one."""
    spec = importlib.util.find_spec("nvidia.cu13") if importlib.util.find_spec("nvidia") else None
    folders = spec.submodule_search_locations if spec else None
    packaged = [Path(folder) / "bin" / "nvdisasm" for folder in folders or ()]
    return next((str(path) for path in packaged if path.exists()), shutil.which("nvdisasm"))


def facts(ptx: str, cubin: bytes) -> Facts:
    """Those of a kernel."""
    blocks = _blocks(_disassembled(cubin))
    code = [line for block in blocks for line in block]
    return Facts(
        registers=_most(cubin, REGISTERS),
        stack=_most(cubin, STACK),
        loads=_accesses(code, "LDG"),
        stores=_accesses(code, "STG"),
        mixed=[line for block in blocks for line in _narrow_beside_wide(block)],
        local=[line for line in code if re.search(r"\b(LDL|STL)\b", line)] + re.findall(r"\.local\s.*", ptx),
        divisions=re.findall(r"\b(?:div|rem)\.[su]64.*", ptx),
    )


def _disassembled(cubin: bytes) -> str:
    tool = nvdisasm()
    assert tool is not None
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        file.write(cubin)
        file.flush()
        return subprocess.run([tool, "-c", file.name], capture_output=True, text=True, check=True).stdout


def _blocks(text: str) -> list[list[str]]:
    """The instructions between labels and branches."""
    blocks: list[list[str]] = [[]]
    for line in text.splitlines():
        if found := re.match(r"\s*/\*[0-9a-f]+\*/\s+(.*?)\s*;", line):
            blocks[-1].append(found[1])
            if re.search(r"\b(BRA|EXIT|RET|BRX)\b", found[1]):
                blocks.append([])
        elif re.match(r"\.\w+:", line):
            blocks.append([])
    return blocks


def _size(line: str, kind: str) -> int | None:
    """The bytes of an access of a kind, LDG or STG; None for another instruction."""
    found = re.search(rf"\b{kind}((?:\.\w+)*)", line)
    if found is None:
        return None
    sizes = {"128": 16, "64": 8, "U16": 2, "S16": 2, "16": 2, "U8": 1, "S8": 1, "8": 1}
    return next((sizes[part] for part in found[1].split(".") if part in sizes), 4)


def _accesses(code: list[str], kind: str) -> dict[int, int]:
    sizes = [size for line in code if (size := _size(line, kind))]
    return {size: sizes.count(size) for size in sorted(set(sizes))}


def _narrow_beside_wide(block: list[str]) -> list[str]:
    found = []
    for kind in ("LDG", "STG"):
        sizes = [(size, line) for line in block if (size := _size(line, kind))]
        if any(size == 16 for size, _ in sizes):
            found += [line for size, line in sizes if size < 16]
    return found


def _most(cubin: bytes, attribute: int) -> int:
    """The largest number of an attribute, over the functions of a cubin."""
    (table,) = struct.unpack_from("<Q", cubin, 0x28)
    size, count, names = struct.unpack_from("<HHH", cubin, 0x3A)
    sections = [struct.unpack_from("<IIQQQQ", cubin, table + i * size) for i in range(count)]
    start = sections[names][4]
    for name, _, _, _, offset, length in sections:
        if cubin[start + name :].startswith(b".nv.info\0"):
            words = struct.iter_unpack("<BBHII", cubin[offset : offset + length])
            return max(value for _, kind, _, _, value in words if kind == attribute)
    raise AssertionError("a cubin without .nv.info")
