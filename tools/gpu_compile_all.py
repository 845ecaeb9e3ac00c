"""Compiles every kernel's examples for every compute capability, without a GPU, and lists what came out.

python -m tools.gpu_compile_all > docs/gpu_kernels.txt

A line for each kernel and capability: registers of a thread, the widest loads and stores of global memory in bytes, and
what is wrong. The tests do the same for capability 9.0 and for a part of the others.
"""

from __future__ import annotations

import importlib
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


def compiled(kernel: Kernel) -> Facts:
    """What a kernel is like."""
    name, key, capability = kernel
    code = templates()[name].compile(capability, key)
    return facts(code.ptx, code.cubin)


def compiled_all(wanted: Sequence[Kernel]) -> dict[Kernel, Facts]:
    """What these are like, by as many processes as there are cores."""
    workers = min(len(wanted), len(os.sched_getaffinity(0)))
    if workers < 2:
        return {kernel: compiled(kernel) for kernel in wanted}
    with ProcessPoolExecutor(workers, multiprocessing.get_context("spawn")) as pool:
        results = pool.map(compiled, wanted, chunksize=max(1, len(wanted) // (4 * workers)))
        return dict(zip(wanted, results, strict=True))


def wrong(template: Template, has: Facts) -> list[str]:
    """What a kernel must not be."""
    found = [f"local memory: {line}" for line in has.local]
    found += [f"64-bit division: {line}" for line in has.divisions]
    if has.stack:
        found.append(f"{has.stack} bytes of stack")
    if has.registers > template.registers:
        found.append(f"{has.registers} registers, more than {template.registers}")
    if not template.narrow:
        found += [f"no 16-byte {kind}" for kind, sizes in has.accesses().items() if 16 not in sizes]
        found += [f"narrow beside wide accesses: {line}" for line in has.mixed]
    return found


def line(kernel: Kernel, has: Facts) -> str:
    """A kernel as text."""
    name, key, (major, minor) = kernel
    widest = " ".join(f"{kind} {max(sizes, default=0)}" for kind, sizes in has.accesses().items())
    problems = "; ".join(wrong(templates()[name], has))
    return f"{major}.{minor} {name} {key}: registers {has.registers} {widest} {problems}".rstrip()


def main() -> int:
    """Print all; 1 where something is wrong."""
    failed = False
    for capability in CAPABILITIES:
        for kernel, has in compiled_all(every_kernel(capability)).items():
            failed |= bool(wrong(templates()[kernel[0]], has))
            print(line(kernel, has), flush=True)
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
