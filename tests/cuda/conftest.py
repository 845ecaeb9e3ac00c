"""What all tests of the GPU path share: the fixture `cupy`, by which they run on the emulator or on a GPU.

Without a GPU, kernels are compiled as for compute capability 9.0 and their PTX runs on the CPU. `pytest -m
gpu` runs the same tests on a GPU, and those besides that are marked gpu: they need real hardware.
"""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from typing import Any

import pytest

#: Cases of a test function that run without --all-cases. To compile its kernels takes seconds.
_CASES = 1

#: Packages that warn for reasons of their own, on machines that nobody here has seen: no failure of a test's.
_WARNING = ("cupy", "torch", "numba", "cuda", "nvmath")

_MISSING = [
    name for name in ("numba_cuda", "cuda.core", "ml_dtypes") if importlib.util.find_spec(name) is None
]


class _Skipped(pytest.Module):
    def collect(self) -> Any:
        pytest.skip(f"needs the extra cuda: {', '.join(_MISSING)} not installed", allow_module_level=True)


def pytest_pycollect_makemodule(module_path: Any, parent: Any) -> Any:
    """Leaves out this folder's tests where its packages are not installed."""
    return _Skipped.from_parent(parent, path=module_path) if _MISSING else None


def _on_gpu(config: pytest.Config) -> bool:
    return re.search(r"(?<!not )\bgpu\b", config.getoption("markexpr")) is not None


def _keep_some(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Deselects all but _CASES cases of each test function of this folder that was not asked for by name.

    A function that is marked `every_case` keeps all.
    """
    cases: dict[str, list[pytest.Item]] = {}
    for item in items:
        if Path(__file__).parent in item.path.parents and not item.get_closest_marker("every_case"):
            cases.setdefault(item.nodeid.partition("[")[0], []).append(item)
    named = any("::" in argument for argument in config.args)
    left_out = {
        item
        for several in cases.values()
        for index, item in enumerate(several)
        if not named and index * _CASES // len(several) == (index - 1) * _CASES // len(several)
    }
    if left_out:
        config.hook.pytest_deselected(items=[item for item in items if item in left_out])
        items[:] = [item for item in items if item not in left_out]


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """With -m gpu, selects what can run there; without, skips what can run nowhere else.

    To compile a kernel and emulate it takes seconds: without a GPU each test function runs few of its cases.
    """
    if not _on_gpu(config) and not config.getoption("--all-cases"):
        _keep_some(config, items)
    for item in items:
        if _on_gpu(config) and "cupy" in getattr(item, "fixturenames", ()):
            item.add_marker("gpu")
            for package in _WARNING:
                item.add_marker(pytest.mark.filterwarnings(f"default:::{package}"))
        elif not _on_gpu(config) and item.get_closest_marker("gpu"):
            item.add_marker(pytest.mark.skip(reason="needs a GPU: pytest -m gpu"))


@pytest.fixture
def cupy(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The module cupy: with -m gpu the real one, else the stand-in, whose kernels the emulator runs."""
    if _on_gpu(request.config):
        real = pytest.importorskip("cupy")
        if not real.cuda.is_available():
            pytest.skip("no GPU")
        return real
    from support import emulated_device

    return emulated_device.install(monkeypatch)
