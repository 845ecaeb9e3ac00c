"""Compiles every kernel's examples for every compute capability, without a GPU, and writes what came out.

python -m tools.gpu.compile_all > docs/gpu-kernels.md

The page has the most registers of each template, and all that is wrong; on the way each kernel gets a line.
The tests do the same for a part of the kernels at capability 9.0, and for some at the others.
"""

from __future__ import annotations

import itertools
import multiprocessing
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from typing import NamedTuple

from fastnn import _kernels
from fastnn._warm_up.building import templates
from fastnn.cuda._runtime.compiler import Capability, Key, Template
from tools.accuracy.report import markdown
from tools.gpu.code import Facts, facts

CAPABILITIES: tuple[Capability, ...] = ((7, 5), (8, 0), (9, 0), (10, 0))
PART = 8  # kernels that one process compiles together, at least

_HEAD = """# The GPU's kernels, compiled

All {} examples of kernels, compiled for each of four compute capabilities and read as machine code by
`python -m tools.gpu.compile_all > docs/gpu-kernels.md`. Each must have 16-byte loads and stores, unless its
template says why not, and no narrower ones beside them, no local memory, no stack, no 64-bit division, and
at most the registers that its template allows. The table has the examples of each template, and the most
registers of a thread in any of them.
"""
_WRONG = "## What is not so\n"

Kernel = tuple[str, Key, Capability]


def every_kernel(capability: Capability) -> list[Kernel]:
    """The examples of all templates."""
    return [(name, key, capability) for name, template in templates().items() for key in template.examples()]


def compiled(wanted: Sequence[Kernel]) -> list[Facts]:
    """The facts of kernels for one compute capability."""
    codes = [templates()[name].compile(capability, key) for name, key, capability in wanted]
    return facts(wanted[0][2], [(code.ptx, code.cubin) for code in codes])


def compiled_all(wanted: Sequence[Kernel]) -> dict[Kernel, Facts]:
    """The facts of kernels, compiled by as many processes as there are cores."""
    workers = _kernels.usable_cpus()
    parts = [
        part
        for capability in CAPABILITIES
        for part in cut([k for k in wanted if k[2] == capability], workers)
    ]
    if len(parts) < 2 or workers < 2:
        results = list(map(compiled, parts))
    else:
        with ProcessPoolExecutor(workers, multiprocessing.get_context("spawn")) as pool:
            results = list(pool.map(compiled, parts))
    pairs = (zip(part, found, strict=True) for part, found in zip(parts, results, strict=True))
    return dict(itertools.chain.from_iterable(pairs))


def cut(kernels: list[Kernel], workers: int) -> list[list[Kernel]]:
    """The kernels in parts, some for each worker; neighbours share device functions, and stay together."""
    size = max(PART, -(-len(kernels) // (4 * workers)))
    return [kernels[i : i + size] for i in range(0, len(kernels), size)]


def wrong(template: Template, key: Key, has: Facts) -> list[str]:
    """What is wrong with a compiled kernel, one line for each fault."""
    found = [f"local memory: {line}" for line in has.local]
    found += [f"64-bit division: {line}" for line in has.divisions]
    if has.stack:
        found.append(f"{has.stack} bytes of stack")
    if has.registers > template.most_registers(key):
        found.append(f"{has.registers} registers, more than {template.most_registers(key)}")
    if not template.why_narrow(key):
        found += [f"no 16-byte {kind}" for kind, sizes in has.accesses().items() if 16 not in sizes]
        found += [f"narrow beside wide accesses: {line}" for line in has.mixed]
    return found


class Row(NamedTuple):
    """The facts of a compiled kernel that the page has."""

    kernel: Kernel
    registers: int
    problems: list[str]

    def __str__(self) -> str:
        name, key, (major, minor) = self.kernel
        return f"{major}.{minor} {name} {key}: {self.registers} {'; '.join(self.problems)}".rstrip()


def rows() -> Iterator[Row]:
    """The rows of all kernels, for all capabilities."""
    for capability in CAPABILITIES:
        for kernel, has in compiled_all(every_kernel(capability)).items():
            yield Row(kernel, has.registers, wrong(templates()[kernel[0]], kernel[1], has))


def page(found: Sequence[Row]) -> str:
    """The page, in Markdown."""
    most: dict[str, dict[Capability, list[int]]] = {}
    for row in found:
        name, _, capability = row.kernel
        most.setdefault(name, {}).setdefault(capability, []).append(row.registers)
    head = ["template", "kernels", *(f"{major}.{minor}" for major, minor in CAPABILITIES)]
    table = [head] + [
        [name, str(len(next(iter(each.values())))), *(str(max(each[c])) for c in CAPABILITIES)]
        for name, each in sorted(most.items())
    ]
    faulty = [f"- {_in_short(row)}" for row in found if row.problems]
    return "\n".join([_HEAD.format(len(found)), markdown(table), _WRONG, *(faulty or ["None."])]) + "\n"


def _in_short(row: Row) -> str:
    kinds = {problem.partition(":")[0] for problem in row.problems}
    name, key, (major, minor) = row.kernel
    return f"{major}.{minor} `{name}{key!r}`: {row.registers} registers; {', '.join(sorted(kinds))}"


def main() -> int:
    """Print the page; 1 where something is wrong."""
    found = []
    for row in rows():
        print(row, file=sys.stderr, flush=True)
        found.append(row)
    print(page(found), end="")
    return int(any(row.problems for row in found))


if __name__ == "__main__":
    sys.exit(main())
