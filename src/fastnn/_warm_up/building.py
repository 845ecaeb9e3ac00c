"""Compiles kernels into the cache on the disk, by several processes. It must not know models."""

from __future__ import annotations

import importlib
import pkgutil
import sys
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Executor, as_completed
from typing import Any

from fastnn._warm_up.planning import Kernel
from fastnn.cuda import kernels
from fastnn.cuda._runtime import cache
from fastnn.cuda._runtime.compiler import Capability, Template


def templates() -> dict[str, Template]:
    """All templates of kernels, by name."""
    for module in pkgutil.walk_packages(kernels.__path__, kernels.__name__ + "."):
        importlib.import_module(module.name)
    found = {template.name: template for template in Template.all}
    assert len(found) == len(Template.all), "two templates of one name"
    return found


def examples() -> list[Kernel]:
    """The examples of all templates."""
    return [Kernel(name, key) for name, template in templates().items() for key in template.examples()]


def build(kernel: Kernel, capability: Capability) -> bool:
    """Put a kernel into the cache; return whether it had to be compiled. OSError where it cannot be kept."""
    template = templates()[kernel.template]
    which = capability, kernel.key, kernel.fast_math
    if template.is_kept(*which):
        return False
    template.compile(*which)
    if not template.is_kept(*which):
        raise OSError(
            f"{cache.folder()}: compiled kernels cannot be kept there; FASTNN_CACHE_DIR names another"
        )
    return True


def build_all(pool: Executor, wanted: Sequence[Kernel], capability: Capability, progress: bool) -> int:
    """Put kernels into the cache, each by a process of the pool; return how many had to be compiled."""
    started = [pool.submit(build, kernel, capability) for kernel in wanted]
    try:
        return sum(each.result() for each in shown(as_completed(started), len(started), progress))
    finally:
        for each in started:
            each.cancel()


def shown(done: Iterable[Any], total: int, progress: bool) -> Iterator[Any]:
    """Show how many are done: a bar where tqdm is installed and there is a terminal, else some lines."""
    try:
        from tqdm.auto import tqdm
    except ImportError:
        tqdm = None
    if not progress:
        yield from done
    elif tqdm is not None and sys.stderr.isatty():
        yield from tqdm(done, total=total, unit="kernel")
    else:
        for number, each in enumerate(done, 1):
            if number % -(-total // 10) == 0 or number == total:
                print(f"[{number}/{total}] kernels", file=sys.stderr)
            yield each
