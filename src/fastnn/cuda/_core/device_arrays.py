"""What users give, as arrays that kernels take: checks, promotion, outputs.

Results are of the first array's library. It must not know any operation.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple, cast

from fastnn._core.dlpack import is_on_gpu
from fastnn.cuda._core.libraries import library_of, library_on_gpu
from fastnn.cuda._core.overlap import is_dense, is_harmless
from fastnn.cuda._runtime.dtypes import ITEMSIZE
from fastnn.cuda._runtime.memory import Alike, DeviceArray, Shape, empty_like

Named = Sequence[tuple[str, Any]]


def alike(first: Any, others: Sequence[Any], out: Any) -> Alike | None:
    """The quick way for most calls: the arrays, and a new result unless `out` is given, as kernels take them.

    None where they are not all alike, or empty, or where `out` overlaps one of them in part.
    """
    array_type: Any = type(first)
    library = library_on_gpu(array_type)
    return None if library is None else library.alike(first, others, out)


def describe(name: str, value: Any) -> DeviceArray:
    """The array as kernels need it; TypeError naming the argument for what is not in a GPU's memory."""
    if not is_on_gpu(value):
        where = getattr(value, "device", None) if hasattr(value, "__dlpack__") else None
        got = f"{type(value).__name__}" + (f" on {where}" if where is not None else "")
        raise TypeError(
            f"{name} must be in the GPU's memory, as another argument is, got {got}; copy it there"
            " (cupy.asarray, .cuda()), or all to the CPU"
        )
    array_type: Any = type(value)
    return library_of(array_type).describe(name, value)


_PROMOTED = {
    **dict.fromkeys(("bool", "int8", "uint8"), "float16"),
    **dict.fromkeys(("int16", "uint16"), "float32"),
    **dict.fromkeys(("int32", "uint32", "int64", "uint64"), "float64"),
}


def ready(name: str, value: Any) -> DeviceArray:
    """The array in a floating dtype: integers and booleans are promoted as by np.tanh."""
    array = describe(name, value)
    if array.dtype in ITEMSIZE:
        return array
    promoted = _PROMOTED.get(array.dtype)
    if promoted is None:
        raise TypeError(
            f"{name} must be an array of float16, bfloat16, float32, float64, integers or booleans, got"
            f" {array.dtype}"
        )
    return astype(array, promoted)


def astype(array: DeviceArray, dtype: str) -> DeviceArray:
    """The array if it is of this dtype, else a copy."""
    if array.dtype == dtype:
        return array
    return array.library.describe("a copy", array.library.astype(array.owner, dtype))


def contiguous(array: DeviceArray) -> DeviceArray:
    """The array if it is C-contiguous, else a copy."""
    if array.contiguous:
        return array
    return array.library.describe("a copy", array.library.contiguous(array.owner))


def common_dtype(named: Named) -> str:
    """The dtype that arrays promote to; None is left out."""
    given = [(name, array) for name, array in named if array is not None]
    dtypes = {array.dtype for _, array in given}
    if len(dtypes) > 1 and "bfloat16" in dtypes and "float16" in dtypes:
        got = " and ".join(f"{name} of {array.dtype}" for name, array in given)
        raise TypeError(f"the arrays must have dtypes with a common one, got {got}")
    order = ("bfloat16", "float16", "float32", "float64")
    return str(max(dtypes, key=order.index))


def same_device(named: Named) -> None:
    """ValueError for arrays of several GPUs; None is left out."""
    (first_name, first), *others = [(name, array) for name, array in named if array is not None]
    for name, array in others:
        if array.device != first.device:
            raise ValueError(
                f"{name} must be on the GPU of {first_name}, number {first.device}, got one on number"
                f" {array.device}"
            )


def check_out(out: Any, shape: Shape, dtype: str) -> DeviceArray:
    """`out` as an array that a result of this shape and dtype can be written to."""
    array = describe("out", out)
    if array.shape != shape:
        raise ValueError(f"out must have shape {shape}, got {array.shape}")
    if array.dtype != dtype:
        raise TypeError(f"out must have dtype {dtype}, got {array.dtype}")
    return array


class Elementwise(NamedTuple):
    """Arrays that a kernel can take element by element, as if they had one dimension."""

    inputs: tuple[DeviceArray, ...]
    target: DeviceArray
    out: Any  # what the target is copied to at last; None: it is the result

    def result(self) -> Any:
        """What the caller gets, once the kernel is launched."""
        if self.out is None:
            return self.target.owner
        self.target.library.assign(self.out, self.target.owner)
        return self.out


def elementwise(named: Named, out: Any, in_c_order: bool = False) -> Elementwise:
    """Inputs of one dtype and shape, and a target of that form; elements in the same order in memory."""
    arrays = [(name, ready(name, value)) for name, value in named]
    first_name, first = arrays[0]
    for name, array in arrays[1:]:
        if array.shape != first.shape:
            raise ValueError(f"{name} must have the shape of {first_name}, {first.shape}, got {array.shape}")
    dtype = first.dtype if len(arrays) == 1 else common_dtype(arrays)
    given = None if out is None else check_out(out, first.shape, dtype)
    same_device([*arrays, ("out", given)])
    inputs = [astype(array, dtype) for _, array in arrays]
    layouts = {None if array.contiguous else array.strides() for array in inputs}
    if in_c_order or len(layouts) > 1 or not is_dense(inputs[0]):
        inputs = [contiguous(array) for array in inputs]
    if given is None:
        return Elementwise(tuple(inputs), empty_like(inputs[0]), None)
    if _fits(given, inputs):
        return Elementwise(tuple(inputs), given._replace(owner=out), None)
    return Elementwise(tuple(inputs), empty_like(inputs[0]), out)


def _fits(out: DeviceArray, inputs: Sequence[DeviceArray]) -> bool:
    """Whether a kernel may write there: laid out as the inputs are, and each input the same or apart."""
    same = all((out.contiguous and x.contiguous) or out.strides() == x.strides() for x in inputs)
    return same and is_harmless(out, inputs)


def owners(*arrays: DeviceArray | None) -> tuple[Any, ...]:
    """The libraries' own arrays, None for None."""
    return tuple(None if array is None else cast(Any, array.owner) for array in arrays)
