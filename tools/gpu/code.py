"""What the machine code of kernels says of them: registers, stack, accesses to memory. It knows no kernel."""

from __future__ import annotations

import importlib.util
import itertools
import re
import shutil
import struct
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

REGISTERS, STACK = 0x2F, 0x12  # attributes in the section .nv.info: 8 bytes, of a function and a number
SIZES = {"128": 16, "64": 8, "U16": 2, "S16": 2, "U8": 1, "S8": 1}  # of an access, by its suffix
WIDE = 16

Instruction = tuple[int, str]  # address, text


class Facts(NamedTuple):
    """What a test asserts of a kernel."""

    registers: int
    stack: int  # bytes of a thread
    loads: set[int]  # of global memory, by bytes
    stores: set[int]
    mixed: list[str]  # global accesses of less than 16 bytes in a block of code that has such of 16, too
    local: list[str]  # instructions on local memory, and declarations of it
    divisions: list[str]  # of 64-bit integers

    def accesses(self) -> dict[str, set[int]]:
        """Loads and stores, by these names."""
        return {"loads": self.loads, "stores": self.stores}


def nvdisasm() -> str | None:
    """NVIDIA's disassembler: that of the package nvidia-cuda-nvdisasm, or of a toolkit; None without one."""
    spec = importlib.util.find_spec("nvidia.cu13") if importlib.util.find_spec("nvidia") else None
    folders = spec.submodule_search_locations if spec else None
    packaged = [Path(folder) / "bin" / "nvdisasm" for folder in folders or ()]
    return next((str(path) for path in packaged if path.exists()), shutil.which("nvdisasm"))


def facts(capability: tuple[int, int], kernels: Sequence[tuple[str, bytes]]) -> list[Facts]:
    """The facts of kernels that were compiled for one compute capability, each given as PTX and cubin."""
    codes = [
        b"".join(content for name, content in _sections(cubin) if name.startswith(".text."))
        for _, cubin in kernels
    ]
    disassembled = _disassembled(capability, codes)
    return [_facts(ptx, cubin, code) for (ptx, cubin), code in zip(kernels, disassembled, strict=True)]


def instructions(capability: tuple[int, int], cubins: Sequence[bytes]) -> list[list[str]]:
    """The instructions of cubins, which have one kernel each; functions that a kernel calls are left out."""
    sections = [dict(_sections(cubin)) for cubin in cubins]
    entries = [
        next(n.removeprefix(".nv.constant0.") for n in each if ".constant0." in n) for each in sections
    ]
    codes = [each[f".text.{entry}"] for each, entry in zip(sections, entries, strict=True)]
    return [[text for _, text in code] for code in _disassembled(capability, codes)]


def _facts(ptx: str, cubin: bytes, code: list[Instruction]) -> Facts:
    lines = [text for _, text in code]
    blocks = _blocks(code)
    return Facts(
        registers=most(cubin, REGISTERS),
        stack=most(cubin, STACK),
        loads=_accesses(lines, "LDG"),
        stores=_accesses(lines, "STG"),
        mixed=[
            text for block in blocks for kind in ("LDG", "STG") for text in _narrow_beside_wide(block, kind)
        ],
        local=[text for text in lines if re.search(r"\b(LDL|STL)\b", text)] + re.findall(r"\.local\s.*", ptx),
        divisions=re.findall(r"\b(?:div|rem)\.[su]64.*", ptx),
    )


def _disassembled(capability: tuple[int, int], codes: Sequence[bytes]) -> list[list[Instruction]]:
    """The instructions of each, by one run of the disassembler, whose start costs more than many kernels."""
    tool = nvdisasm()
    assert tool is not None
    with tempfile.NamedTemporaryFile() as file:
        file.write(b"".join(codes))
        file.flush()
        command = [tool, "--no-dataflow", "--binary", "SM{}{}".format(*capability), file.name]
        text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    found = re.findall(r"^\s*/\*([0-9a-f]+)\*/\s+(.*?)\s*;", text, re.MULTILINE)
    instructions = [(int(address, 16), line) for address, line in found]
    ends = itertools.accumulate(len(code) for code in codes)
    return [
        [each for each in instructions if end - len(code) <= each[0] < end]
        for end, code in zip(ends, codes, strict=True)
    ]


def _blocks(code: list[Instruction]) -> list[list[str]]:
    """The basic blocks: instructions between branches and their targets."""
    targets = {int(found[1], 16) for _, text in code if (found := re.search(r"\bBRA.* 0x([0-9a-f]+)$", text))}
    blocks: list[list[str]] = [[]]
    for address, text in code:
        if address in targets:
            blocks.append([])
        blocks[-1].append(text)
        if re.search(r"\b(BRA|BRX|EXIT|RET)\b", text):
            blocks.append([])
    return blocks


def _size(text: str, kind: str) -> int | None:
    """The bytes of an access of a kind, LDG or STG; None for another instruction."""
    found = re.search(rf"\b{kind}((?:\.\w+)*)", text)
    return found and next((SIZES[part] for part in found[1].split(".") if part in SIZES), 4)


def _accesses(lines: list[str], kind: str) -> set[int]:
    return {size for text in lines if (size := _size(text, kind))}


def _narrow_beside_wide(block: list[str], kind: str) -> list[str]:
    """Narrow accesses beside wide ones, of a vector taken apart; without few loads of what threads share."""
    narrow = [text for text in block if (_size(text, kind) or WIDE) < WIDE]
    wide = [text for text in block if _size(text, kind) == WIDE]
    return narrow if wide and (kind == "STG" or len(narrow) > len(wide)) else []


def _sections(elf: bytes) -> Iterator[tuple[str, bytes]]:
    """The sections of an ELF file: names and contents."""
    yield from ((name, elf[offset : offset + length]) for name, offset, length in _headers(elf))


def _headers(elf: bytes) -> Iterator[tuple[str, int, int]]:
    """The sections of an ELF file: names, offsets, lengths; shared memory has no content."""
    (table,) = struct.unpack_from("<Q", elf, 0x28)
    size, count, names = struct.unpack_from("<HHH", elf, 0x3A)
    headers = [struct.unpack_from("<IIQQQQ", elf, table + i * size) for i in range(count)]
    for name, _, _, _, offset, length in headers:
        start = headers[names][4] + name
        yield elf[start : elf.index(b"\0", start)].decode(), offset, length


def most(cubin: bytes, attribute: int) -> int:
    """The largest number of an attribute, over the functions of a cubin."""
    content = dict(_sections(cubin))[".nv.info"]
    return max(
        int(value) for _, kind, _, _, value in struct.iter_unpack("<BBHII", content) if kind == attribute
    )


def shared_memory(cubin: bytes) -> int:
    """The bytes of static shared memory of a block."""
    return sum(length for name, _, length in _headers(cubin) if name.startswith(".nv.shared."))
