"""Makes arrays ready for the kernels: promotion, shapes, outputs, overlap. It knows NumPy, and no kernel.

Ready means: native float16, bfloat16, float32 or float64, all of one shape, and no output shares memory with
an input unless the two are laid out the same.
"""

from __future__ import annotations

import operator
from collections.abc import Sequence
from typing import Any, TypeGuard, cast

import numpy as np
from numpy.typing import ArrayLike, DTypeLike

from fastnn import _kernels
from fastnn._core.dtypes import computing_dtype
from fastnn._core.typing import Array
from fastnn._kernels import real_number as real_number

_FLOATS = (np.float16, np.float32, np.float64)


def is_whole(value: object) -> TypeGuard[int]:
    """Whether it is an integer of Python's or NumPy's, and no boolean."""
    return isinstance(value, int | np.integer) and not isinstance(value, bool)


def check_count(name: str, value: object) -> None:
    """ValueError unless it is a whole number of at least 1."""
    if not is_whole(value) or value < 1:
        raise ValueError(f"{name} must be a whole number of at least 1, got {value!r}")


def integer(name: str, value: object) -> int:
    """`value` as an integer; a TypeError that names the parameter if it is none."""
    try:
        return operator.index(value)  # type: ignore[arg-type]
    except TypeError:
        raise TypeError(f"{name} must be an integer, got {type(value).__name__}") from None


def axis(dim: int, ndim: int) -> int:
    """`dim` as an axis >= 0."""
    index = integer("dim", dim)
    if not -ndim <= index < ndim:
        raise ValueError(f"dim must be in [{-ndim}, {ndim}) for an input of {ndim} dimensions, got {dim}")
    return index % ndim


def divisor(name: str, value: object, length: int, of: str) -> int:
    """`value` as an integer >= 1 that divides a length, `of` in the error's words.

    All integers divide 0; they are taken up to 2^31, beyond which kernels could not compute sizes.
    """
    number = integer(name, value)
    if not 1 <= number <= (length or 2**31) or length % number:
        raise ValueError(f"{name} must be >= 1 and divide {of}, got {value}")
    return number


def probability(name: str, value: object) -> float:
    """`value` as a float; a ValueError that names the parameter if it is not in [0, 1]."""
    number = real_number(name, value)
    if not 0 <= number <= 1:
        raise ValueError(f"{name} must be in [0, 1], got {number}")
    return number


def float_dtype(name: str, dtype: np.dtype[Any]) -> np.dtype[Any]:
    """The floating dtype for `dtype`, as np.tanh has it: small integers in float16, large in float64."""
    if dtype.kind in "biu":
        return np.dtype({1: np.float16, 2: np.float32}.get(dtype.itemsize, np.float64))
    if dtype.name == "bfloat16" or dtype.type in _FLOATS:
        return dtype.newbyteorder("=")
    raise TypeError(
        f"{name} must be an array of float16, bfloat16, float32, float64, integers or booleans, got {dtype}"
    )


def check_whole(name: str, value: object) -> None:
    """TypeError for what would become an array without its mask or its unit.

    The rule for all that is taken as an array: nothing of its meaning is lost without a sign. Masked
    elements and units, which np.asarray drops, are refused here; complex numbers and objects, as arrays with
    pandas' missing values, by `float_dtype`. NaN in the place of a missing value is a sign.
    """
    if isinstance(value, list | tuple):
        for item in value:
            if type(item) is not float and type(item) is not int:
                check_whole(name, item)
    elif isinstance(value, np.ma.MaskedArray) and np.ma.is_masked(value):
        raise TypeError(
            f"{name} must be an array without masked elements, got {np.count_nonzero(value.mask)} of them;"
            " x.filled(value) or x.compressed() makes one"
        )
    elif hasattr(type(value), "unit") or hasattr(type(value), "units"):
        raise TypeError(f"{name} must be plain numbers, got a {type(value).__name__} with a unit")


def as_array(name: str, value: ArrayLike) -> Array:
    """`value` as an array of NumPy's, by the rule of `check_whole`."""
    if type(value) is not np.ndarray:
        check_whole(name, value)
    try:
        return np.asarray(value)
    except ValueError:
        if not isinstance(value, list | tuple):
            raise
        got = f"a {type(value).__name__} whose parts have different shapes"
        raise ValueError(f"{name} must be an array or nested sequences of one shape, got {got}") from None


def shape_of(name: str, value: Any) -> tuple[int, ...]:
    """The shape of an array of any library, or of numbers."""
    return tuple(value.shape) if hasattr(value, "shape") else as_array(name, value).shape


def ready(name: str, value: ArrayLike) -> Array:
    """`value` as an array of a supported dtype."""
    array = as_array(name, value)
    if array.dtype.char in "fd" and array.dtype.isnative:  # the short way: this is part of small calls
        return array
    return array.astype(float_dtype(name, array.dtype), copy=False)


def rounded(array: Array, dtype: DTypeLike) -> Array:
    """The array in a dtype; itself if it has it. The rounding gives no warning, nor an error of np.errstate.

    The kernels, which round to half types themselves, give none either.
    """
    if array.dtype == dtype:
        return array
    with np.errstate(all="ignore"):
        return array.astype(dtype)


def write(out: Array, values: ArrayLike) -> None:
    """out[...] = values, rounded as by `rounded`."""
    with np.errstate(all="ignore"):
        out[...] = values


def check_dy(got: tuple[int, ...], result: tuple[int, ...]) -> None:
    """ValueError unless dy has the shape of the forward call's result."""
    if got != result:
        raise ValueError(f"dy must have the shape of forward's result, {result}, got {got}")


def check_out(out: object, shape: tuple[int, ...], dtype: np.dtype[Any], input: str = "") -> Array:
    """`out` as an array that a result of this shape and dtype can be written to.

    input: the name of the argument that it is, too: of a function with inplace=True, the caller gave no out.
    """
    name, use = (input, " to hold the result") if input else ("out", "")
    if not isinstance(out, np.ndarray):
        raise TypeError(f"{name} must be a NumPy array{use}, got {type(out).__name__}")
    if type(out) is not np.ndarray:
        check_whole(name, out)
    if out.shape != shape:
        raise ValueError(f"{name} must have shape {shape}{use}, got {out.shape}")
    if out.dtype.newbyteorder("=") != dtype:
        raise TypeError(f"{name} must have dtype {dtype}{use}, got {out.dtype}")
    if not out.flags.writeable:
        raise ValueError(f"{name} must be writeable{use}, got a read-only array")
    return out


def in_place(input: ArrayLike, out: Array | None) -> Array:
    """The input as the place of the result; ValueError for an `out` that is another array."""
    if out is not None and out is not input:
        raise ValueError("out must be None or the input where inplace is True, got another array")
    return cast("Array", input)


def common_dtype(named: Sequence[tuple[str, Array]]) -> np.dtype[Any]:
    """The dtype that the arrays promote to."""
    try:
        return np.result_type(*(array for _, array in named))
    except TypeError:  # float16 and bfloat16
        got = " and ".join(f"{name} of {array.dtype}" for name, array in named)
        raise TypeError(f"the arrays must have dtypes with a common one, got {got}") from None


def target_for(out: object, shape: tuple[int, ...], dtype: np.dtype[Any], input: str = "") -> Array:
    """Where a result is computed: in `out` if it is given and native, else in a new array for `deliver`.

    input: as for `check_out`.
    """
    if out is None:
        return _kernels.empty(shape, dtype)
    array = check_out(out, shape, dtype, input)
    return array if array.dtype.isnative else np.empty(shape, dtype)


def deliver(target: Array, out: Array | None) -> Array:
    """The result, in `out` if it is given."""
    if out is None or out is target:
        return target
    write(out, target)
    return out


def _layout(array: Array) -> tuple[Any, ...]:
    return array.__array_interface__["data"][0], array.shape, array.strides, array.dtype


def spoils(target: Array, array: Array, *, in_step: bool = False) -> bool:
    """Whether an operation that writes `target` may change elements of `array` before it has read them.

    in_step: it reads all that it needs at an index before it writes there, so that `target` may be the
    array itself: the same memory in the same layout.
    """
    if not np.may_share_memory(array, target):
        return False
    return not (in_step and _layout(array) == _layout(target))


def apart(array: Array, target: Array) -> Array:
    """The array, as a copy where writing the target would spoil it."""
    return array.copy() if spoils(target, array) else array


def unspoilt(value: Any, out: object) -> Any:
    """What backward needs as it is now: a copy where it is an array that writing `out` would spoil."""
    both = isinstance(value, np.ndarray) and isinstance(out, np.ndarray)
    return apart(value, cast("Array", out)) if both else value


def in_step(inputs: Sequence[Array], target: Array) -> tuple[Array, ...]:
    """The inputs of an operation that reads and writes in step, as copies where it would spoil them."""
    return tuple(array.copy() if spoils(target, array, in_step=True) else array for array in inputs)


def _empty_like(array: Array, dtype: np.dtype[Any]) -> Array:
    """A new array of this shape, with its dimensions in the same order in memory."""
    order = sorted(range(array.ndim), key=lambda d: -abs(array.strides[d]))
    return _kernels.empty(tuple(array.shape[d] for d in order), dtype).transpose(np.argsort(order))


def prepare(named: Sequence[tuple[str, ArrayLike]], out: object) -> tuple[tuple[Array, ...], Array]:
    """Ready inputs of one dtype and the first one's shape, and the target for a result of that form."""
    values: Any = tuple(value for _, value in named)
    if _kernels.are_plain(values, out):  # the short way: this is part of small calls
        target: Any = _kernels.empty(values[0].shape, values[0].dtype) if out is None else out
        return values, target
    arrays = [(name, ready(name, value)) for name, value in named]
    first_name, first = arrays[0]
    for name, array in arrays:
        if array.shape != first.shape:
            raise ValueError(f"{name} must have the shape of {first_name}, {first.shape}, got {array.shape}")
    dtype = first.dtype if len(arrays) == 1 else common_dtype(arrays)
    inputs = tuple(array.astype(dtype, copy=False) for _, array in arrays)
    if out is None:
        return inputs, _empty_like(first, dtype)
    target = target_for(out, first.shape, dtype, next((name for name, value in named if value is out), ""))
    return in_step(inputs, target), target


def is_plain(array: Array) -> bool:
    """Whether the array is C-contiguous and in a computing dtype: float64, or float32 for all others."""
    flags, dtype = array.flags, array.dtype
    whole = flags.c_contiguous and flags.aligned
    return bool(type(array) is np.ndarray and dtype.char in "fd" and dtype.isnative and whole)


def plain(array: Array) -> Array:
    """The same values in a plain array."""
    return array if is_plain(array) else np.require(array, computing_dtype(array.dtype), ["C", "A"])


def plain_target(target: Array) -> Array:
    """The target if it is plain, else a new plain array for `deliver`."""
    return target if is_plain(target) else np.empty(target.shape, computing_dtype(target.dtype))
