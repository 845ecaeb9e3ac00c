"""What there is of a GPU, its driver and the packages for it, in one line. It imports none of them."""

from __future__ import annotations

import ctypes
import functools
import importlib.metadata
import os
from typing import Any, NamedTuple

from fastnn._core.extras import way_to

PACKAGES = ("numba-cuda", "cuda-core", "cupy-cuda13x", "nvmath-python")
CUDA = 13  # which these packages are for
DRIVER = 580  # the first for CUDA 13, on Linux
OLDEST = (7, 5)  # compute capability

_LIBRARY = "libnvidia-ml.so.1"  # the driver's, which tells all this without starting CUDA


class Gpu(NamedTuple):
    """The first GPU of the machine, and its driver."""

    name: str
    capability: tuple[int, int]
    gpus: int
    driver: str
    cuda: tuple[int, int]


def status() -> str:
    """GPU, driver and packages, or what is missing and how to get it. It raises nothing."""
    gpu = find_gpu()
    seen = gpu if isinstance(gpu, str) else _described(gpu)
    hidden = os.environ.get("CUDA_VISIBLE_DEVICES")
    if hidden is not None and not isinstance(gpu, str):
        seen += f"; CUDA_VISIBLE_DEVICES={hidden!r}"
    return f"{seen}; {_packages()}"


@functools.cache
def check_driver() -> None:
    """RuntimeError for a driver that is too old, in place of whatever its first use would raise."""
    gpu = find_gpu()
    if isinstance(gpu, Gpu) and gpu.cuda[0] < CUDA:
        needed = f"for CUDA {CUDA} or later ({DRIVER} or later on Linux)"
        raise RuntimeError(
            f"the NVIDIA driver must be {needed}, got {gpu.driver} for CUDA {gpu.cuda[0]}.{gpu.cuda[1]};"
            " update the driver"
        )


def find_gpu() -> Gpu | str:
    """The first GPU, or why there is none."""
    try:
        nvml = ctypes.CDLL(_LIBRARY)
    except OSError:
        return "no GPU: no NVIDIA driver found"
    try:
        if error := nvml.nvmlInit_v2():
            return f"no GPU: the NVIDIA driver does not start (NVML error {error})"
        try:
            return _first(nvml)
        finally:
            nvml.nvmlShutdown()
    except (AttributeError, OSError) as error:  # a driver that is too old to have these functions
        return f"no GPU: the NVIDIA driver is not usable ({error})"


def _first(nvml: Any) -> Gpu | str:
    count, major, minor, cuda = (ctypes.c_int() for _ in range(4))
    device, name, driver = ctypes.c_void_p(), ctypes.create_string_buffer(96), ctypes.create_string_buffer(96)
    if nvml.nvmlDeviceGetCount_v2(ctypes.byref(count)) or not count.value:
        return "no GPU: the NVIDIA driver finds none"
    failed = (
        nvml.nvmlDeviceGetHandleByIndex_v2(0, ctypes.byref(device)),
        nvml.nvmlDeviceGetName(device, name, len(name)),
        nvml.nvmlDeviceGetCudaComputeCapability(device, ctypes.byref(major), ctypes.byref(minor)),
        nvml.nvmlSystemGetDriverVersion(driver, len(driver)),
        nvml.nvmlSystemGetCudaDriverVersion(ctypes.byref(cuda)),
    )
    if any(failed):
        return f"no GPU: the NVIDIA driver does not tell which (NVML error {max(failed)})"
    version = cuda.value // 1000, cuda.value % 1000 // 10
    capability = major.value, minor.value
    return Gpu(name.value.decode(), capability, count.value, driver.value.decode(), version)


def _described(gpu: Gpu) -> str:
    count = f"{gpu.gpus} GPUs, the first: " if gpu.gpus > 1 else ""
    major, minor = gpu.capability
    text = f"{count}{gpu.name}, compute capability {major}.{minor}"
    if gpu.capability < OLDEST:
        text += " (too old: {}.{} or later is needed)".format(*OLDEST)
    text += ", driver {} for CUDA {}.{}".format(gpu.driver, *gpu.cuda)
    return text if gpu.cuda[0] >= CUDA else f"{text} (too old: CUDA {CUDA} is needed; update the driver)"


def _packages() -> str:
    """The versions of the packages, or the names of those that are missing."""
    versions = {}
    for package in PACKAGES:
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    if missing := [package for package in PACKAGES if package not in versions]:
        return f"without {', '.join(missing)}: {way_to('cuda')}"
    return ", ".join(f"{package} {version}" for package, version in versions.items())
