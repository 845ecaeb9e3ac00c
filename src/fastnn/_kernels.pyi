"""Types of the compiled module: the binding over csrc/. What each function does is said in _kernels.pyx."""

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

__test__: dict[str, str]  # Cython adds it to every module

def are_plain(inputs: tuple[ArrayLike, ...], out: object) -> bool: ...
def empty(shape: tuple[int, ...], dtype: DTypeLike) -> NDArray[Any]: ...
def forward(
    kernel: int, input: ArrayLike, out: NDArray[Any] | None, p0: float = 0.0, p1: float = 0.0
) -> NDArray[Any]: ...
def backward(
    kernel: int, dy: ArrayLike, saved: ArrayLike, out: NDArray[Any] | None, p0: float = 0.0, p1: float = 0.0
) -> NDArray[Any]: ...
def map_arrays(kernel: int, outputs: tuple[NDArray[Any], ...], inputs: tuple[NDArray[Any], ...]) -> None: ...
def map_with_uniform(
    kernel: int,
    outputs: tuple[NDArray[Any], ...],
    inputs: tuple[NDArray[Any], ...],
    seed: int,
    offset: int,
    lower: float,
    upper: float,
) -> None: ...
def prelu(
    leaky_relu: int, input: ArrayLike, weight: ArrayLike, out: NDArray[Any] | None
) -> NDArray[Any] | None: ...
def gated(kernel: int, input: ArrayLike, axis: int, out: NDArray[Any] | None) -> NDArray[Any] | None: ...
def gated_backward(
    kernel: int, dy: ArrayLike, input: ArrayLike, axis: int, out: NDArray[Any] | None
) -> NDArray[Any] | None: ...
def prelu_backward(
    dy: NDArray[Any], input: NDArray[Any], weight: NDArray[Any], dx: NDArray[Any], outer: int, inner: int
) -> NDArray[np.float64]: ...
def maxout(
    input: NDArray[Any],
    out: NDArray[Any],
    planes: NDArray[np.uint8],
    outer: int,
    groups: int,
    k: int,
    inner: int,
) -> None: ...
def maxout_backward(
    dy: NDArray[Any],
    planes: NDArray[np.uint8],
    dx: NDArray[Any],
    outer: int,
    groups: int,
    k: int,
    inner: int,
) -> None: ...

# ---- _binding/channel.pxi

# ---- _binding/random.pxi

# ---- _binding/row.pxi

# ---- _binding/softmax.pxi

SOFTMAX: int
LOG_SOFTMAX: int
BCE_WITH_LOGITS: int
MSE: int

def softmax(kind: int, input: object, dim: object, out: object) -> NDArray[Any] | None: ...
def softmax_backward(
    kind: int, dy: object, output: object, dim: object, out: object
) -> NDArray[Any] | None: ...
def cross_entropy(
    input: object,
    target: object,
    weight: object,
    ignore_index: object,
    reduction: object,
    label_smoothing: object,
    out: object,
) -> tuple[Any, NDArray[Any]] | None: ...
def hinge_loss(
    input: object, target: object, margin: object, reduction: object, out: object
) -> tuple[Any, NDArray[Any]] | None: ...
def elements_loss(
    kind: int,
    input: object,
    target: object,
    weight: object,
    pos_weight: object,
    reduction: object,
    out: object,
) -> tuple[Any, NDArray[Any]] | None: ...

# ---- the table, the machine

def nothing() -> None: ...
def find_kernel(name: str) -> int: ...
def activations() -> dict[str, tuple[Literal["input", "output"], dict[str, float | None]]]: ...
def available_isas() -> list[str]: ...
def select_isa(name: str | None) -> None: ...
def isa() -> str: ...
def compiler() -> str: ...
def philox4x32(counter: Sequence[int], key: Sequence[int]) -> tuple[int, int, int, int]: ...
def get_num_threads() -> int: ...
def set_num_threads(count: int) -> None: ...
def usable_cpus() -> int: ...
def parse_cpu_max(line: str) -> int: ...
def cached_bytes() -> int: ...
def empty_cache() -> None: ...
