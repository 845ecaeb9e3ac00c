"""Cycles of compiled loops: objdump shows the kernels' objects, llvm-mca counts what the ports need for them.

What counts is the shortest way from a store of a vector back to it, in instructions: of a branch the shorter
side, since the longer one is for rare arguments or for what is left at the end. Of several such ways a
kernel's loop is that with the most stores. Calls do not count.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

from tools.limits.machine import run

ROOT = Path(__file__).parents[2]
LANES = {"avx512": 16, "avx2": 8}  # float32 in a vector
FUNCTION = re.compile(r"^[0-9a-f]+ <(.+)>:$")
LINE = re.compile(r"^ *([0-9a-f]+):\s+(\S.*)$")
JUMP = re.compile(r"^j\w+ +([0-9a-f]+) <")
STORE = re.compile(r"^vmov\w+ %[yz]mm\d+,[^%]*\((%\w+).*\)(?:\{%k\d\})?$")


LEAVES = ("jmp", "notrack jmp", "ret", "ud2")
Code = list[tuple[int, str]]  # addresses and instructions of a function


class Loop(NamedTuple):
    """The instructions of an iteration, and how many vectors they store."""

    instructions: list[str]
    stores: int


def compile_kernels(isas: Iterable[str], folder: Path) -> dict[str, list[Path]]:
    """The float32 objects of each instruction set, compiled as for the wheel."""
    names = list(dict.fromkeys(isas))
    run("cmake", "-S", ROOT, "-B", folder, "-GNinja", f"-DFASTNN_ISAS={';'.join(names)}")
    targets = [f"fastnn_kernels_{isa}_32" for isa in names]
    run("cmake", "--build", folder, "--target", *targets)
    return {
        isa: sorted((folder / "CMakeFiles" / f"{target}.dir").rglob("*.o"))
        for isa, target in zip(names, targets, strict=True)
    }


def loops(objects: Iterable[Path]) -> dict[str, Loop]:
    """The loop of each function that has one, by the function's name."""
    found = {}
    for path in objects:
        for name, code in functions(run("objdump", "--disassemble", "--no-show-raw-insn", path)):
            if name.endswith("_loop") and (loop := quickest(code)):
                found[name] = loop
    return found


def functions(text: str) -> Iterator[tuple[str, Code]]:
    """Names and code (addresses, instructions) in what objdump printed."""
    name, code = "", Code()
    for line in text.splitlines():
        if begins := FUNCTION.match(line):
            yield name, code
            name, code = begins[1], []
        elif part := LINE.match(line):
            code.append((int(part[1], 16), part[2].split("#")[0].strip()))
    yield name, code


def quickest(code: Code) -> Loop | None:
    """The way round with the most stores; of several, that with the most instructions."""
    after = successors(code)
    stores = {
        i for i, (_, text) in enumerate(code) if (store := STORE.match(text)) and not on_stack(store[1], code)
    }
    ways = filter(None, (round_trip(after, i) for i in stores))
    made = [Loop([code[i][1].split(" <")[0] for i in way], len(stores.intersection(way))) for way in ways]
    return max(made, key=lambda loop: (loop.stores, len(loop.instructions)), default=None)


def on_stack(base: str, code: Code) -> bool:
    """Whether this register points to the function's own memory."""
    return base == "%rsp" or (base == "%rbp" and any(text == "mov %rsp,%rbp" for _, text in code))


def successors(code: Code) -> list[list[int]]:
    """The instructions that may come after each one, by their numbers."""
    index = {address: i for i, (address, _) in enumerate(code)}
    after = []
    for i, (_, text) in enumerate(code):
        jump = JUMP.match(text)
        after.append([i + 1] * (not text.startswith(LEAVES) and i + 1 < len(code)))
        if jump and int(jump[1], 16) in index:
            after[-1].append(index[int(jump[1], 16)])
    return after


def round_trip(after: list[list[int]], start: int) -> list[int]:
    """The shortest way from an instruction to itself, in the order of execution; empty if there is none."""
    came_from: dict[int, int] = {}
    wanted = deque([start])
    while wanted and start not in came_from:
        i = wanted.popleft()
        for k in after[i]:
            if k not in came_from:
                came_from[k] = i
                wanted.append(k)
    if start not in came_from:
        return []
    way = [came_from[start]]
    while way[-1] != start:
        way.append(came_from[way[-1]])
    return way[::-1]


def cycles(loop: Loop, cpu: str) -> float:
    """The cycles that a processor's ports need for an iteration (llvm-mca's "Block RThroughput")."""
    shown = run(
        "llvm-mca",
        f"-mcpu={cpu}",
        "-iterations=1",
        "-instruction-info=false",
        "-resource-pressure=false",
        input="\n".join(line for line in loop.instructions if not line.startswith(("call", "j"))),
    )
    match = re.search(r"Block RThroughput: +([0-9.]+)", shown)
    assert match, shown
    return float(match[1])


def all_cycles(found: dict[str, Loop], cpu: str) -> dict[str, float]:
    """`cycles` of the stored vector, for each loop."""
    with ThreadPoolExecutor() as pool:
        counted = pool.map(lambda loop: cycles(loop, cpu) / loop.stores, found.values())
        return dict(zip(found, counted, strict=True))
