"""Compiles every kernel's examples for every compute capability, without a GPU, and lists what came out.

python -m tools.gpu_compile_all > docs/gpu_kernels.txt

A line for each kernel and capability: registers of a thread, the widest loads and stores of global memory in
bytes, and what is wrong. The tests do the same for capability 9.0 and for a part of the others.
"""

from __future__ import annotations

import importlib
import itertools
import multiprocessing
import os
import pkgutil
import sys
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor

from fastnn.cuda import kernels
from fastnn.cuda._compile import Capability, Key, Template
from tools.gpu_code import Facts, facts

CAPABILITIES: tuple[Capability, ...] = ((7, 5), (8, 0), (9, 0), (10, 0))
PART = 8  # kernels that one process compiles together, at least

Kernel = tuple[str, Key, Capability]


def templates() -> dict[str, Template]:
    """All there are, by name."""
    for module in pkgutil.walk_packages(kernels.__path__, kernels.__name__ + "."):
        importlib.import_module(module.name)
    found = {template.name: template for template in Template.all}
    assert len(found) == len(Template.all), "two templates of one name"
    return found


def every_kernel(capability: Capability) -> list[Kernel]:
    """The examples of all templates."""
    return [(name, key, capability) for name, template in templates().items() for key in template.examples()]


def compiled(wanted: Sequence[Kernel]) -> list[Facts]:
    """What kernels for one capability are like."""
    codes = [templates()[name].compile(capability, key) for name, key, capability in wanted]
    return facts(wanted[0][2], [(code.ptx, code.cubin) for code in codes])


def compiled_all(wanted: Sequence[Kernel]) -> dict[Kernel, Facts]:
    """What these are like, by as many processes as there are cores."""
    workers = len(os.sched_getaffinity(0))
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
    """Parts of neighbours, which share device functions: some for each worker."""
    size = max(PART, -(-len(kernels) // (4 * workers)))
    return [kernels[i : i + size] for i in range(0, len(kernels), size)]


def wrong(template: Template, key: Key, has: Facts) -> list[str]:
    """What a kernel must not be."""
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


def line(kernel: Kernel, has: Facts) -> str:
    """A kernel as text."""
    name, key, (major, minor) = kernel
    widest = " ".join(f"{kind} {max(sizes, default=0)}" for kind, sizes in has.accesses().items())
    problems = "; ".join(wrong(templates()[name], key, has))
    return f"{major}.{minor} {name} {key}: registers {has.registers} {widest} {problems}".rstrip()


def main() -> int:
    """Print all; 1 where something is wrong."""
    failed = False
    for capability in CAPABILITIES:
        for kernel, has in compiled_all(every_kernel(capability)).items():
            failed |= bool(wrong(templates()[kernel[0]], kernel[1], has))
            print(line(kernel, has), flush=True)
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
