"""Loads and stores of integers."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

from numba import types
from numba.cuda.extending import intrinsic

from fastnn.cuda._runtime.ptx.llvm import INTEGERS
from fastnn.cuda._runtime.ptx.words import load_words, places_in, pointer, store_words


@intrinsic  # type: ignore[untyped-decorator]
def two_words_at(context: Any, address: Any) -> Any:
    """The two 64-bit integers at an address, a multiple of 16."""

    def generate(target: Any, builder: Any, signature: Any, args: Sequence[Any]) -> Any:
        words = load_words(builder, args[0], INTEGERS[64], 2)
        return target.make_tuple(builder, signature.return_type, words)

    return types.UniTuple(types.int64, 2)(types.uint64), generate


@functools.cache
def store_integers(count: int) -> Any:
    """store(address, buffer): `count` integers of a local array, by one aligned access."""

    @intrinsic  # type: ignore[untyped-decorator]
    def store_elements(context: Any, address: Any, buffer: Any) -> Any:
        def generate(target: Any, builder: Any, signature: Any, args: Sequence[Any]) -> Any:
            places = places_in(target, builder, buffer, args[1], INTEGERS[64](0), count)
            store_words(builder, args[0], [builder.load(place) for place in places])
            return target.get_dummy_value()

        return types.void(types.uint64, buffer), generate

    return store_elements


@functools.cache
def _whole(dtype: str) -> tuple[Any, bool]:
    """The type of an integer dtype in memory, and whether it is signed."""
    return INTEGERS[int(dtype.lstrip("uint"))], dtype.startswith("int")


@functools.cache
def whole_number(dtype: str) -> Any:
    """whole_number(address): an element of an integer dtype, as an int64."""
    word_type, signed = _whole(dtype)

    @intrinsic  # type: ignore[untyped-decorator]
    def read(context: Any, address: Any) -> Any:
        def generate(target: Any, builder: Any, signature: Any, args: Sequence[Any]) -> Any:
            word = builder.load(pointer(builder, args[0], word_type))
            return builder.sext(word, INTEGERS[64]) if signed else builder.zext(word, INTEGERS[64])

        return types.int64(types.uint64), generate

    return read


#: The 64-bit integer at an address.
word_at = whole_number("int64")


@functools.cache
def store_number(dtype: str) -> Any:
    """store_number(address, number): an int64 as an element of an integer dtype, its lowest bits."""
    word_type, _ = _whole(dtype)

    @intrinsic  # type: ignore[untyped-decorator]
    def write(context: Any, address: Any, number: Any) -> Any:
        def generate(target: Any, builder: Any, signature: Any, args: Sequence[Any]) -> Any:
            word = args[1] if word_type.width == 64 else builder.trunc(args[1], word_type)
            builder.store(word, pointer(builder, args[0], word_type))
            return target.get_dummy_value()

        return types.void(types.uint64, types.int64), generate

    return write
