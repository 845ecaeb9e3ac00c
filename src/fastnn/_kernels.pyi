"""Types of the compiled module: the binding over csrc/. What each function does is said in _kernels.pyx."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray
from typing_extensions import disjoint_base

from fastnn._core.ranks import Ranks
from fastnn.random import Key, KeyLike

__test__: dict[str, str]  # Cython adds it to every module

def are_plain(inputs: tuple[ArrayLike, ...], out: object) -> bool: ...
def are_apart_from(out: object, inputs: tuple[object, ...]) -> bool: ...
def real_number(name: str, value: object) -> float: ...
def register_general(
    call: str, way: Callable[..., Any], twin_for: Callable[[type], Callable[..., Any] | None]
) -> None: ...
def has_tensor(args: tuple[object, ...], kwargs: dict[str, Any]) -> bool: ...
def empty(shape: tuple[int, ...], dtype: DTypeLike) -> NDArray[Any]: ...
def forward(
    kernel: int, input: ArrayLike, out: NDArray[Any] | None, p0: float = 0.0, p1: float = 0.0
) -> NDArray[Any]: ...
def backward(
    kernel: int, dy: ArrayLike, saved: ArrayLike, out: NDArray[Any] | None, p0: float = 0.0, p1: float = 0.0
) -> NDArray[Any]: ...
def map_arrays(
    kernel: int,
    outputs: tuple[NDArray[Any], ...],
    inputs: tuple[NDArray[Any], ...],
    p0: float = 0.0,
    p1: float = 0.0,
) -> None: ...
def map_with_uniform(
    kernel: int,
    outputs: tuple[NDArray[Any], ...],
    inputs: tuple[NDArray[Any], ...],
    key: Key,
    lower: float,
    upper: float,
) -> None: ...
def prelu(input: ArrayLike, weight: ArrayLike, out: NDArray[Any] | None) -> NDArray[Any]: ...
def gated(kernel: int, input: ArrayLike, dim: int, out: NDArray[Any] | None) -> NDArray[Any]: ...
def gated_backward(
    kernel: int, dy: ArrayLike, input: ArrayLike, dim: int, out: NDArray[Any] | None
) -> NDArray[Any]: ...
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

MAX_STAGES: int

@disjoint_base
class Chain:
    def __new__(cls, float64: bool, outer: int, channels: int, inner: int, channels_last: bool) -> Self: ...
    def scale(
        self,
        training: bool,
        mean: NDArray[np.float64] | None,
        mean_low: NDArray[np.float64] | None,
        rstd: NDArray[np.float64] | None,
        weight: NDArray[Any] | None,
        bias: NDArray[Any] | None,
        elsewhere: int = 0,
    ) -> None: ...
    def normalise(
        self, eps: float, weight: NDArray[Any] | None, bias: NDArray[Any] | None
    ) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]: ...
    def evaluate(
        self,
        eps: float,
        running_mean: NDArray[Any],
        running_var: NDArray[Any],
        weight: NDArray[Any] | None,
        bias: NDArray[Any] | None,
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]: ...
    def activate(self, activation: int, p0: float, p1: float) -> None: ...
    def drop(self, key: Key, threshold: int, scale: float, samples: NDArray[Any]) -> None: ...
    def add(self, addend: NDArray[Any] | None, daddend: NDArray[Any] | None) -> None: ...
    def forward(self, x: NDArray[Any], y: NDArray[Any]) -> None: ...
    def backward(
        self,
        dy: NDArray[Any],
        x: NDArray[Any],
        dx: NDArray[Any],
        dbias: NDArray[np.float64] | None,
        dweight: NDArray[np.float64] | None,
    ) -> None: ...

def is_vector(value: object, count: int, like: NDArray[Any]) -> bool: ...
def as_float32(numbers: NDArray[np.float64]) -> NDArray[np.float32]: ...
def update_running(
    running_mean: NDArray[Any],
    running_var: NDArray[Any],
    mean: NDArray[np.float64],
    variance: NDArray[np.float64],
    factor: float,
    momentum: float,
    skip: bool,
    batches: NDArray[np.integer[Any]] | None,
) -> None: ...

# ---- _binding/plan.pxi

_Evaluated = tuple[NDArray[Any], NDArray[np.float64], NDArray[np.float64]]

@disjoint_base
class Attributes:
    def __new__(cls, objects: Iterable[object], besides: str) -> Self: ...
    def unchanged(self) -> bool: ...

@disjoint_base
class EvaluatedChain:
    def __new__(
        cls,
        eps: float,
        running_mean: object,
        running_var: object,
        stages: Iterable[object],
        dims: tuple[int, ...] | None = None,
    ) -> Self: ...
    def forward(self, input: object, weight: object, bias: object) -> _Evaluated | None: ...

# ---- _binding/across.pxi

def normalise_across(
    chain: Chain,
    ranks: Ranks,
    eps: float,
    x: NDArray[Any],
    running_mean: NDArray[Any] | None,
    weight: NDArray[Any] | None,
    bias: NDArray[Any] | None,
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64], NDArray[np.float64], int]: ...
def backward_across(
    chain: Chain,
    ranks: Ranks,
    dy: NDArray[Any],
    x: NDArray[Any],
    dx: NDArray[Any],
    dbias: NDArray[np.float64],
    dweight: NDArray[np.float64],
) -> None: ...

# ---- _binding/batch_norm.pxi

def batch_norm(
    head: object,
    stages: tuple[object, ...],
    input: object,
    running_mean: object,
    running_var: object,
    batches: object,
    weight: object,
    bias: object,
    out: object,
) -> tuple[Any, NDArray[np.float64], NDArray[np.float64] | None, NDArray[np.float64], int] | None: ...
def batch_norm_backward(
    dy: object, saved: tuple[Any, ...], out: object
) -> tuple[Any, NDArray[Any] | None, NDArray[Any] | None] | None: ...

# ---- _binding/random.pxi

def dropout(
    name: str,
    input: ArrayLike,
    out: NDArray[Any] | None,
    key: Key,
    threshold: int,
    scale: float,
    shift: float = 0.0,
    dropped: float = 0.0,
    axes: int = -1,
) -> NDArray[Any]: ...
def dropout_arrays(
    target: NDArray[Any],
    input: NDArray[Any],
    key: Key,
    threshold: int,
    scale: float,
    shift: float,
    dropped: float,
    axes: int,
) -> None: ...
def first_draw(row: int, samples: int, each: int) -> int: ...
def dropout_mask(mask: NDArray[Any], count: int, key: KeyLike, threshold: int, first: int = 0) -> None: ...
def draw_blocks(key: KeyLike, first: int, blocks: int) -> NDArray[np.uint16]: ...

# ---- _binding/row.pxi

def norm(
    input: ArrayLike,
    weight: NDArray[Any] | None,
    bias: NDArray[Any] | None,
    out: NDArray[Any] | None,
    rows: tuple[int, ...],
    blocks: tuple[int, int, int],
    eps: float,
    centred: bool,
    given: tuple[NDArray[np.float64], NDArray[np.float64]] | None,
    variance: NDArray[np.float64] | None,
    channels_last: bool = False,
) -> tuple[NDArray[Any], NDArray[np.float64] | None, NDArray[np.float64]]: ...
def norm_backward(
    dy: NDArray[Any],
    input: NDArray[Any],
    weight: NDArray[Any] | None,
    bias: NDArray[Any] | None,
    out: NDArray[Any] | None,
    mean: NDArray[np.float64] | None,
    rstd: NDArray[np.float64],
    given: bool,
    blocks: tuple[int, int, int],
    parameters: tuple[int, ...],
    channels_last: bool = False,
) -> tuple[NDArray[Any], NDArray[Any] | None, NDArray[Any] | None]: ...

# ---- _binding/softmax.pxi

SOFTMAX: int
LOG_SOFTMAX: int
CROSS_ENTROPY: int
NLL: int
BCE_WITH_LOGITS: int
BCE: int
MSE: int
HUBER: int
KL_DIV: int
KL_DIV_OF_LOG: int

def softmax(operation: int, input: object, dim: object, out: object) -> NDArray[Any]: ...
def softmax_backward(
    operation: int, dy: object, output: object, dim: object, out: object
) -> NDArray[Any]: ...
def cross_entropy(
    operation: int,
    input: object,
    target: object,
    weight: object,
    ignore_index: object,
    reduction: object,
    label_smoothing: object,
    out: object,
) -> tuple[Any, NDArray[Any]]: ...
def hinge_loss(
    input: object, target: object, margin: object, reduction: object, out: object
) -> tuple[Any, NDArray[Any]]: ...
def elements_loss(
    operation: int,
    input: object,
    target: object,
    weight: object,
    pos_weight: object,
    numbers: tuple[float, float, float],
    reduction: object,
    out: object,
) -> tuple[Any, NDArray[Any]]: ...

# ---- _binding/embedding.pxi

def wrong_row(indices: NDArray[Any], rows: int) -> int | None: ...
def take_rows(table: NDArray[Any], indices: NDArray[Any], out: NDArray[Any]) -> None: ...
def add_rows(rows: NDArray[Any], indices: NDArray[Any], skipped: int, sums: NDArray[Any]) -> None: ...

# ---- _binding/augment.pxi

def crop_images(
    x: NDArray[Any], height: int, width: int, padding: int, fill: NDArray[Any], crops: NDArray[Any]
) -> NDArray[Any]: ...
def warp_images(
    x: NDArray[Any], bilinear: bool, fill: NDArray[Any], matrices: NDArray[Any]
) -> NDArray[Any]: ...
def resize_boxes(
    x: NDArray[Any], height: int, width: int, antialias: bool, boxes: NDArray[Any]
) -> NDArray[Any]: ...
def adjust_colours(x: NDArray[Any], adjustments: NDArray[Any], factors: NDArray[Any]) -> NDArray[Any]: ...
def add_noise(x: NDArray[Any], key: Key, mean: float, sigma: float, clip: bool) -> NDArray[Any]: ...
def blend_samples(x: NDArray[Any], weights: NDArray[Any]) -> NDArray[Any]: ...
def patch_images(
    x: NDArray[Any], boxes: NDArray[Any], source: object, back: int, fill: object
) -> NDArray[Any]: ...

# ---- _binding/preprocessing.pxi

def standardize(
    x: NDArray[Any],
    channels_last: bool,
    mean: NDArray[Any],
    mean_low: NDArray[Any],
    factor: NDArray[Any],
    out: NDArray[Any],
) -> None: ...

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
def usable_memory() -> int: ...
def cached_bytes() -> int: ...
def empty_cache() -> None: ...

# ---- _binding/gemm.pxi

def matmul(
    a: object, b: object, out: object = None, add: bool = False, bias: object = None
) -> NDArray[Any]: ...
def linear(x: object, weight: object, bias: object) -> NDArray[Any] | None: ...

# ---- _binding/window.pxi

def convolve(
    x: NDArray[Any],
    weight: NDArray[Any],
    bias: NDArray[Any] | None,
    y: NDArray[Any],
    groups: int,
    windows: tuple[tuple[int, ...], tuple[int, ...]],
) -> None: ...
def convolve_backward(
    dy: NDArray[Any],
    x: NDArray[Any],
    weight: NDArray[Any],
    dx: NDArray[Any] | None,
    dweight: NDArray[Any] | None,
    dbias: NDArray[Any] | None,
    groups: int,
    windows: tuple[tuple[int, ...], tuple[int, ...]],
) -> None: ...
def pool(
    x: NDArray[Any],
    y: NDArray[Any],
    argmax: NDArray[Any] | None,
    divisors: tuple[NDArray[np.float64], NDArray[np.float64]] | None,
    images: int,
    windows: tuple[tuple[int, ...], tuple[int, ...]],
) -> None: ...
def pool_backward(
    dy: NDArray[Any],
    dx: NDArray[Any],
    argmax: NDArray[Any] | None,
    divisors: tuple[NDArray[np.float64], NDArray[np.float64]] | None,
    images: int,
    windows: tuple[tuple[int, ...], tuple[int, ...]],
) -> None: ...
def pool_regions(
    x: NDArray[Any],
    y: NDArray[Any],
    argmax: NDArray[Any] | None,
    images: int,
    size: tuple[int, int],
    bounds: tuple[tuple[NDArray[np.int64], NDArray[np.int64]], tuple[NDArray[np.int64], NDArray[np.int64]]],
) -> None: ...
def pool_regions_backward(
    dy: NDArray[Any],
    dx: NDArray[Any],
    argmax: NDArray[Any] | None,
    images: int,
    size: tuple[int, int],
    bounds: tuple[tuple[NDArray[np.int64], NDArray[np.int64]], tuple[NDArray[np.int64], NDArray[np.int64]]],
) -> None: ...

# ---- _binding/optimizer.pxi

SQUARES: int
SIZES: int
LARGEST: int

def find_rule(name: str) -> int: ...
def rules() -> dict[str, int]: ...
def step(
    rule: int, numbers: tuple[float, ...], arrays: tuple[NDArray[Any], ...], in_place: bool
) -> list[NDArray[Any]] | None: ...

@disjoint_base
class Tensors:
    def __new__(cls, room: int) -> Self: ...
    def __len__(self) -> int: ...
    def add(self, arrays: tuple[NDArray[Any], ...]) -> bool: ...
    def update(
        self,
        rule: int,
        penalties: tuple[bool, float, float, float],
        numbers: tuple[float, ...],
        factors: Sequence[float] | None = None,
    ) -> None: ...
    def reduce(
        self,
        reduction: int,
        rule: int = -1,
        penalties: tuple[bool, float, float, float] = ...,
        numbers: tuple[float, ...] = (),
    ) -> NDArray[np.float64]: ...
    def update_by_trust(
        self,
        rule: int,
        direction: int,
        penalties: tuple[bool, float, float, float],
        numbers: tuple[float, ...],
        coefficient: float,
        decay: float,
    ) -> None: ...

def limit_rows(array: NDArray[Any], limit: float) -> None: ...
