"""Random arrays: shapes, dtypes, values, and the places in memory where they lie. It knows no function.

An array is drawn as a view of a buffer of bytes that holds it and nothing more, so that AddressSanitizer sees
an access outside of it. What is between its elements is filled with ones: as floats, NaN.
"""

from __future__ import annotations

import base64
import math
import zlib
from collections.abc import Sequence
from typing import Any, TypeVar

import ml_dtypes
import numpy as np

from fastnn._core.typing import Array

T = TypeVar("T")
Shape = tuple[int, ...]

BFLOAT16: np.dtype[Any] = np.dtype(ml_dtypes.bfloat16)
FLOATS: tuple[np.dtype[Any], ...] = (
    np.dtype(np.float32),
    np.dtype(np.float64),
    np.dtype(np.float16),
    BFLOAT16,
)
WHOLE = tuple(np.dtype(t) for t in "bBhHiIqQ?")
REFUSED = tuple(
    np.dtype(t) for t in ("F", "D", "O", "U3", "S3", "M8[s]", "m8[s]", "g", "V4", ml_dtypes.float8_e4m3fn)
)
SIZES = (0, 1, 1, 2, 2, 3, 3, 4, 5, 7, 8, 9, 15, 16, 17, 31, 33, 64, 65, 100, 257, 1025, 4099, 9000)
MOST_ELEMENTS = (60, 600, 600, 600, 3000, 3000, 20_000, 70_000)
SPECIAL = (0.0, -0.0, math.inf, -math.inf, math.nan, 5e-324, 1e-45, 1e-38, 3.4e38, -3.4e38, 1e300, 65504.0)


class Draw:
    """The random choices of one case: all depend on its seed and number alone."""

    def __init__(self, seed: int, number: int) -> None:
        self.rng = np.random.default_rng((seed, number))
        self.most = self.pick(MOST_ELEMENTS)
        self.dtype = self.pick_dtype()
        # "ordinary": for the reference, too; "special": infinities, NaN, the smallest and largest numbers.
        self.values = self.pick(("ordinary", "ordinary", "ordinary", "ties", "special"))
        self.awkward = self.chance(0.8)  # memory that is not plain
        self.swaps = True  # bytes in the other order
        self.extreme = False  # a parameter is wrong, or so large or small that rounding is all

    def chance(self, p: float) -> bool:
        """True with this probability."""
        return bool(self.rng.random() < p)

    def pick(self, values: Sequence[T]) -> T:
        """One of these."""
        return values[int(self.rng.integers(len(values)))]

    def below(self, n: int) -> int:
        """A whole number from 0 to n - 1."""
        return int(self.rng.integers(n))

    def pick_dtype(self) -> np.dtype[Any]:
        """A dtype, most often one that kernels compute in."""
        which = self.rng.random()
        if which < 0.6:
            return self.pick(FLOATS[:2])
        return self.pick(FLOATS[2:] if which < 0.85 else WHOLE if which < 0.97 else REFUSED)

    # ---- shapes -------------------------------------------------------------------------------------------

    def size(self, most: int | None = None) -> int:
        """A length of one dimension, at most this or what the case allows."""
        limit = self.most if most is None else max(most, 1)
        return self.pick([size for size in SIZES if size <= limit])

    def shape(self, least: int = 0, most: int = 5) -> Shape:
        """A shape of `least` to `most` dimensions; now and then of as many as NumPy allows."""
        if most >= 5 and self.chance(0.01):
            return (1,) * self.pick((6, 31, 32, 33, 63)) + (self.pick((0, 1, 2, 3)),)
        sizes: list[int] = []
        room = self.most
        for _ in range(least + self.below(most - least + 1)):
            sizes.append(self.size(room))
            room //= max(sizes[-1], 1)
        self.rng.shuffle(sizes)
        return tuple(sizes)

    # ---- arrays -------------------------------------------------------------------------------------------

    def numbers(self, shape: Shape, dtype: np.dtype[Any]) -> Array:
        """Values of an array, contiguous and native."""
        if dtype.kind in "OUSMmV" and dtype != BFLOAT16:
            return np.zeros(shape, dtype)
        if dtype.kind in "biu":
            ends = (0, 2) if dtype.kind == "b" else (0 if dtype.kind == "u" else -5, 6)
            return self.rng.integers(*ends, size=shape).astype(dtype)
        with np.errstate(all="ignore"):
            values = self.rng.normal(scale=self.pick((1.0, 1.0, 3.0)), size=shape)
            if self.values == "ties":
                values = np.rint(values * 2) / 2
            elif self.values == "special":
                mask = self.rng.random(shape) < self.pick((0.02, 0.3))
                values = np.where(mask, self.rng.choice(SPECIAL, shape), values)
            return values.astype(dtype)

    def array(
        self,
        shape: Shape,
        dtype: np.dtype[Any] | None = None,
        values: Array | None = None,
        writable: bool = False,
    ) -> Array:
        """An array of this shape at a random place in memory; values are drawn if they are not given."""
        if dtype is None:
            dtype = self.dtype if self.chance(0.9) else self.pick_dtype()
        if values is None:
            values = self.numbers(shape, dtype)
        if dtype.hasobject:
            return values
        view = self.place(shape, dtype)
        view[...] = values
        if writable:
            return view
        if self.awkward and self.chance(0.15):
            view = self.repeated(view)
        if self.chance(0.1):
            view.flags.writeable = False
        return view

    def place(self, shape: Shape, dtype: np.dtype[Any]) -> Array:
        """An array of its own memory: of random order, strides and alignment."""
        if self.swaps and self.awkward and self.chance(0.15) and dtype.kind != "V":
            dtype = dtype.newbyteorder()
        strides, before, extent = self.strides(shape, dtype)
        shift = self.pick((0, 0, 0, 1, 3, dtype.itemsize)) if self.awkward else 0
        base = np.full(shift + extent, 0xFF, np.uint8)
        return np.ndarray(shape, dtype, base, shift + before, strides)

    def strides(self, shape: Shape, dtype: np.dtype[Any]) -> tuple[Shape, int, int]:
        """Random strides that let no elements overlap; bytes before the first element, and bytes in all."""
        order = list(range(len(shape)))
        apart = self.awkward and self.chance(0.6)
        if self.awkward and self.chance(0.4):
            self.rng.shuffle(order)
        strides, before, step = [0] * len(shape), 0, dtype.itemsize
        extent = dtype.itemsize if math.prod(shape) else 0
        for d in reversed(order):
            if apart and step < 2**18 and self.chance(0.4):
                step = step * self.pick((2, 3)) if self.chance(0.9) else step + self.pick((1, 2, 4))
            backwards = apart and self.chance(0.3)
            strides[d] = -step if backwards else step
            reach = step * max(shape[d] - 1, 0)
            if extent:
                extent += reach
                before += reach if backwards else 0
            step = max(step * shape[d], step)
        return tuple(strides), before, extent

    def repeated(self, view: Array) -> Array:
        """The array with the same memory for all indices of some dimensions: strides of 0."""
        index = tuple(slice(0, 1) if n > 1 and self.chance(0.5) else slice(None) for n in view.shape)
        return np.broadcast_to(view[index], view.shape)

    def overlapping(self, other: Array, shape: Shape, dtype: np.dtype[Any]) -> tuple[Array, Array]:
        """`other` moved to new memory, and an array in the same memory that overlaps it in a random way."""
        if self.chance(0.5):
            self.awkward = False  # two plain arrays: else most results are computed elsewhere and copied
        forms = []
        for form, kind in ((other.shape, other.dtype), (shape, dtype)):
            strides, before, extent = self.strides(form, kind)
            forms.append((form, kind, strides, before, extent))
        longer = max(forms[0][4], forms[1][4])
        places = []
        for form, kind, strides, before, extent in forms:
            room = longer - extent
            most = room // kind.itemsize * kind.itemsize
            places.append((form, kind, strides, before + self.pick((0, 0, most, min(kind.itemsize, most)))))
        base = np.full(longer + self.pick((0, 8)), 0xFF, np.uint8)
        slack = len(base) - longer
        moved, second = (
            np.ndarray(form, kind, base, offset + (slack if self.chance(0.5) else 0), strides)
            for form, kind, strides, offset in places
        )
        moved[...] = other
        return moved, second


def native(array: Array) -> Array:
    """A contiguous, aligned and native copy."""
    return np.array(array, array.dtype.newbyteorder("="), order="C", subok=False)


def memory_of(array: Array) -> Array:
    """The buffer that the array is a view of."""
    base = array
    while isinstance(base.base, np.ndarray):
        base = base.base
    return base


def code_of(name: str, array: Array, known: dict[int, str]) -> list[str]:
    """Lines of Python that make the array again, with its place in memory; `known`: the names of buffers."""
    if array.dtype.hasobject:
        return [f"{name} = np.zeros({array.shape}, object)"]
    base = memory_of(array)
    lines = []
    if id(base) not in known:
        known[id(base)] = f"memory{len(known)}"
        data = base.tobytes()
        packed = base64.b85encode(zlib.compress(data))
        short = f"bytes.fromhex({data.hex()!r})"
        text = short if len(data) <= 256 else f"zlib.decompress(base64.b85decode({packed!r}))"
        lines.append(f"{known[id(base)]} = bytearray({text})")
    start = array.__array_interface__["data"][0] - base.__array_interface__["data"][0]
    dtype = array.dtype
    text = (
        repr(dtype.str)
        if dtype.name != "bfloat16"
        else f"np.dtype(bfloat16).newbyteorder({dtype.byteorder!r})"
    )
    lines.append(f"{name} = np.ndarray({array.shape}, {text}, {known[id(base)]}, {start}, {array.strides})")
    if not array.flags.writeable:
        lines.append(f"{name}.flags.writeable = False")
    return lines
