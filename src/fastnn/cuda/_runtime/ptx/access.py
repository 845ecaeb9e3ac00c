"""Loads and stores of floating-point elements, up to 16 bytes by one access, and shared memory."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

from llvmlite import ir
from numba import types
from numba.cuda.extending import intrinsic

from fastnn.cuda._runtime.dtypes import ITEMSIZE
from fastnn.cuda._runtime.ptx.half import packed, widened
from fastnn.cuda._runtime.ptx.llvm import FLOATS, INTEGERS
from fastnn.cuda._runtime.ptx.words import GLOBAL, SHARED, load_words, places_in, store_words


def _words_of(builder: Any, address: Any, dtype: str, width: int, space: int = GLOBAL) -> list[Any]:
    """The words that one access to `width` elements loads: one for each, or for two of a half type."""
    if ITEMSIZE[dtype] > 2:
        return load_words(builder, address, FLOATS[8 * ITEMSIZE[dtype]], width, space)
    word_type, count = (INTEGERS[16], 1) if width == 1 else (INTEGERS[32], width // 2)
    return load_words(builder, address, word_type, count, space)


def _elements_of(builder: Any, dtype: str, words: list[Any]) -> list[Any]:
    """The elements in words, in the computing type."""
    if ITEMSIZE[dtype] > 2:
        return words
    halves = words
    if len(words) > 1:
        shifts = [builder.lshr(word, INTEGERS[32](shift)) for word in words for shift in (0, 16)]
        halves = [builder.trunc(bits, INTEGERS[16]) for bits in shifts]
    return [widened(builder, dtype, half) for half in halves]


def _put_into(
    target: Any, builder: Any, dtype: str, words: list[Any], array_type: Any, buffer: Any, at: Any
) -> None:
    """The elements in words into a local array, from its element `at` on."""
    values = _elements_of(builder, dtype, words)
    places = places_in(target, builder, array_type, buffer, at, len(values))
    for place, value in zip(places, values, strict=True):
        builder.store(value, place)


def _loading(space: int) -> Callable[[str, int], Any]:
    @functools.cache
    def load(dtype: str, width: int) -> Any:
        @intrinsic  # type: ignore[untyped-decorator]
        def load_elements(context: Any, address: Any, buffer: Any, at: Any) -> Any:
            def generate(target: Any, builder: Any, signature: Any, args: Sequence[Any]) -> Any:
                words = _words_of(builder, args[0], dtype, width, space)
                _put_into(target, builder, dtype, words, buffer, *args[1:])
                return target.get_dummy_value()

            return types.void(types.uint64, buffer, types.int64), generate

        return load_elements

    return load


#: load(dtype, width)(address, buffer, at): `width` elements of `dtype` into a local array, from its element
#: `at` on. The array is of the computing type. One access; the address must be a multiple of its size.
#: width: 1, or WIDTH[dtype].
load = _loading(GLOBAL)

#: As `load`, from shared memory.
load_shared = _loading(SHARED)


@functools.cache
def load_and_keep(dtype: str, width: int) -> Any:
    """load_and_keep(address, place, buffer, at): as `load`, and a copy to a place in shared memory."""

    @intrinsic  # type: ignore[untyped-decorator]
    def load_elements(context: Any, address: Any, place: Any, buffer: Any, at: Any) -> Any:
        def generate(target: Any, builder: Any, signature: Any, args: Sequence[Any]) -> Any:
            words = _words_of(builder, args[0], dtype, width)
            store_words(builder, args[1], words, SHARED)
            _put_into(target, builder, dtype, words, buffer, *args[2:])
            return target.get_dummy_value()

        return types.void(types.uint64, types.uint64, buffer, types.int64), generate

    return load_elements


@intrinsic  # type: ignore[untyped-decorator]
def dynamic_shared(context: Any) -> Any:
    """The address of the shared memory whose size is given at launch."""

    def generate(target: Any, builder: Any, signature: Any, args: Sequence[Any]) -> Any:
        found = ir.GlobalVariable(builder.module, ir.ArrayType(INTEGERS[8], 0), "dynamic_shared", SHARED)
        found.linkage, found.align = "external", 16
        return builder.ptrtoint(found, INTEGERS[64])

    return types.uint64(), generate


@functools.cache
def store(dtype: str, width: int) -> Any:
    """store(address, buffer, at): `width` elements of a local array to memory, rounded; as `load`."""

    @intrinsic  # type: ignore[untyped-decorator]
    def store_elements(context: Any, address: Any, buffer: Any, at: Any) -> Any:
        def generate(target: Any, builder: Any, signature: Any, args: Sequence[Any]) -> Any:
            places = places_in(target, builder, buffer, args[1], args[2], width)
            values = [builder.load(place) for place in places]
            if ITEMSIZE[dtype] == 2:
                values = packed(builder, dtype, values)
            store_words(builder, args[0], values)
            return target.get_dummy_value()

        return types.void(types.uint64, buffer, types.int64), generate

    return store_elements
