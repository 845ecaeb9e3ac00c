"""What a user without a GPU, its driver or its packages meets: `fastnn info`, and errors that help."""

from __future__ import annotations

import importlib
import importlib.metadata
import re
import subprocess
import sys
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fastnn
import fastnn.cuda
import fastnn.functional as F
from fastnn._core import dispatch
from fastnn._core.extras import way_to
from fastnn.cli import main
from fastnn.cuda._core import twins
from fastnn.cuda._runtime import status

H100 = status.Gpu("NVIDIA H100", (9, 0), 1, "580.65", (13, 0))
NVML = """
#include <string.h>
int nvmlInit_v2(void) { return START; }
int nvmlShutdown(void) { return 0; }
int nvmlDeviceGetCount_v2(int *n) { *n = COUNT; return 0; }
int nvmlDeviceGetHandleByIndex_v2(int i, void **device) { *device = 0; return HANDLE; }
int nvmlDeviceGetName(void *device, char *name, int length) { strcpy(name, "NVIDIA H100"); return 0; }
int nvmlDeviceGetCudaComputeCapability(void *device, int *a, int *b) { *a = 9; *b = 0; return 0; }
int nvmlSystemGetDriverVersion(char *text, int length) { strcpy(text, "580.65"); return 0; }
int nvmlSystemGetCudaDriverVersion(int *version) { *version = 13000; return 0; }
"""


def packages(monkeypatch: pytest.MonkeyPatch, **versions: str) -> None:
    """Pretends that these are installed, dashes as underlines, and no other."""

    def version(name: str) -> str:
        if name.replace("-", "_") not in versions:
            raise importlib.metadata.PackageNotFoundError(name)
        return versions[name.replace("-", "_")]

    monkeypatch.setattr(importlib.metadata, "version", version)


@pytest.fixture(autouse=True)
def all_visible(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)


@pytest.mark.parametrize(
    ("gpu", "expected"),
    [
        (H100, "NVIDIA H100, compute capability 9.0, driver 580.65 for CUDA 13.0; "),
        (
            H100._replace(gpus=2),
            "2 GPUs, the first: NVIDIA H100, compute capability 9.0, driver 580.65 for CUDA 13.0; ",
        ),
        (H100._replace(cuda=(12, 8)), "for CUDA 12.8 (too old: CUDA 13 is needed; update the driver); "),
        (
            H100._replace(capability=(6, 1)),
            "compute capability 6.1 (too old: 7.5 or later is needed), driver",
        ),
        ("no GPU: no NVIDIA driver found", "no GPU: no NVIDIA driver found; "),
    ],
)
def test_gpus(monkeypatch: pytest.MonkeyPatch, gpu: Any, expected: str) -> None:
    monkeypatch.setattr(status, "find_gpu", lambda: gpu)
    assert expected in fastnn.info()["cuda"]


def test_packages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(status, "find_gpu", lambda: H100)
    versions = {"numba_cuda": "0.30.4", "cuda_core": "1.2.2", "cupy_cuda13x": "14.2.0"}
    packages(monkeypatch, **versions, nvmath_python="1.0.0")
    assert status.status().endswith(
        "; numba-cuda 0.30.4, cuda-core 1.2.2, cupy-cuda13x 14.2.0, nvmath-python 1.0.0"
    )
    packages(monkeypatch, **versions)
    assert status.status().endswith(f"; without nvmath-python: {way_to('cuda')}")
    packages(monkeypatch, numba_cuda="0.30.4", nvmath_python="1.0.0")
    assert status.status().endswith(f"; without cuda-core, cupy-cuda13x: {way_to('cuda')}")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert "for CUDA 13.0; CUDA_VISIBLE_DEVICES=''; without" in status.status()


@pytest.mark.parametrize(
    ("macros", "expected"),
    [
        ({"START": 0, "COUNT": 1, "HANDLE": 0}, H100),
        ({"START": 0, "COUNT": 0, "HANDLE": 0}, "no GPU: the NVIDIA driver finds none"),
        ({"START": 9, "COUNT": 1, "HANDLE": 0}, "no GPU: the NVIDIA driver does not start (NVML error 9)"),
        (
            {"START": 0, "COUNT": 1, "HANDLE": 4},
            "no GPU: the NVIDIA driver does not tell which (NVML error 4)",
        ),
    ],
)
def test_driver(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, macros: dict[str, int], expected: Any
) -> None:
    """A library in the driver's place."""
    source, library = tmp_path / "nvml.c", tmp_path / "nvml.so"
    source.write_text(NVML)
    defined = [f"-D{name}={value}" for name, value in macros.items()]
    subprocess.run(["cc", "-shared", "-fPIC", *defined, "-o", library, source], check=True)
    monkeypatch.setattr(status, "_LIBRARY", str(library))
    assert status.find_gpu() == expected


def test_no_driver(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(status, "_LIBRARY", str(tmp_path / "none.so"))
    assert status.find_gpu() == "no GPU: no NVIDIA driver found"
    empty = tmp_path / "empty.so"  # a driver from before these functions
    source = tmp_path / "empty.c"
    source.write_text("int nothing;")
    subprocess.run(["cc", "-shared", "-fPIC", "-o", empty, source], check=True)
    monkeypatch.setattr(status, "_LIBRARY", str(empty))
    assert "no GPU: the NVIDIA driver is not usable" in str(status.find_gpu())


def test_the_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["info"]) == 0
    (line,) = [line for line in capsys.readouterr().out.splitlines() if line.startswith("cuda ")]
    assert "GPU" in line or "compute capability" in line


def test_import_loads_nothing_of_cuda() -> None:
    """Neither does `fastnn.info()`, nor fastnn.cuda itself."""
    code = """
import sys, fastnn, fastnn.functional, fastnn.nn, fastnn.cuda, fastnn.cuda._runtime.status
fastnn.info()
known = ("cuda", "numba", "cupy", "llvmlite", "torch")
print([name for name in sys.modules if name.partition(".")[0] in known])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


class OnGpu:
    """An array that is on a GPU, by its word."""

    shape = (2,)

    @property
    def __cuda_array_interface__(self) -> dict[str, Any]:
        return {"shape": (2,), "typestr": "<f4", "data": (16, False), "version": 3}


@pytest.mark.parametrize("missing", ["numba", "cuda"])
def test_arrays_without_the_packages(monkeypatch: pytest.MonkeyPatch, missing: str) -> None:
    def absent(module: str) -> Any:
        if module.partition(".")[0] == missing:
            raise ModuleNotFoundError(f"No module named {missing!r}", name=missing)
        return None

    monkeypatch.setattr(importlib, "import_module", absent)
    twins.twin_of.cache_clear()
    dispatch.twin_of.cache_clear()
    array: Any = OnGpu()
    expected = re.escape(f"{missing} is not installed: {way_to('cuda')}")
    with pytest.raises(ImportError, match=expected):
        F.relu(array)
    with pytest.raises(ImportError, match=expected):
        F.dropout_mask((2,), like=array)
    with pytest.raises(ImportError, match=expected):
        fastnn.cuda.fast_math  # noqa: B018
    assert np.array_equal(F.relu(np.array([-1.0, 2.0])), [0, 2])


def test_bench_without_a_gpu(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """What is missing is said before anything is measured."""
    command = ["bench", "--device", "cuda", "--kernels", "relu", "--output", str(tmp_path / "runs")]
    there = importlib.import_module

    def absent(module: str) -> Any:
        if module == "cupy":
            raise ModuleNotFoundError(f"No module named {module!r}", name=module)
        return there(module) if module.startswith("fastnn") else None

    with monkeypatch.context() as patch:
        patch.setattr(importlib, "import_module", absent)
        assert main(command) == 2
    assert f"cupy is not installed: {way_to('cuda')}" in capsys.readouterr().err
    monkeypatch.setattr("fastnn.bench.gpu.require", lambda module, extra: None)
    monkeypatch.setattr(status, "find_gpu", lambda: "no GPU: no NVIDIA driver found")
    assert main(command) == 2
    expected = "device: no GPU: no NVIDIA driver found; fastnn bench --device cuda needs an NVIDIA GPU"
    assert expected in capsys.readouterr().err
    assert main(["bench", "--kernels", "relu", "--dtypes", "float16"]) == 2
    assert "dtypes: float16 only with --device cuda" in capsys.readouterr().err
    assert not (tmp_path / "runs").exists()


def test_an_old_driver_is_named_before_anything_else(monkeypatch: pytest.MonkeyPatch) -> None:
    old = H100._replace(driver="535.104.05", cuda=(12, 2))
    message = (
        r"the NVIDIA driver must be for CUDA 13 or later \(580 or later on Linux\), got 535.104.05"
        r" for CUDA 12.2; update the driver"
    )
    for found, outcome in ((old, pytest.raises(RuntimeError, match=message)), (H100, nullcontext())):
        monkeypatch.setattr(status, "find_gpu", lambda found=found: found)
        status.check_driver.cache_clear()
        with outcome:
            status.check_driver()
    monkeypatch.setattr(status, "find_gpu", lambda: "no GPU: no NVIDIA driver found")
    status.check_driver.cache_clear()
    status.check_driver()  # whoever starts CUDA says so
    status.check_driver.cache_clear()
