"""Words in memory: one of them, or several by one access. access.py and integers.py make elements of them."""

from __future__ import annotations

from typing import Any

from llvmlite import ir

from fastnn.cuda._runtime.ptx.llvm import INTEGERS

#: Address spaces: without one, accesses would be generic.
GLOBAL, SHARED = 1, 3


def pointer(builder: Any, address: Any, pointee: Any, space: int = GLOBAL) -> Any:
    """A 64-bit address as a pointer to a value of LLVM's type `pointee`."""
    return builder.inttoptr(address, ir.PointerType(pointee, addrspace=space))


def places_in(target: Any, builder: Any, array_type: Any, buffer: Any, at: Any, count: int) -> list[Any]:
    """Pointers to `count` elements of a local array, from `at` on."""
    data = target.make_array(array_type)(target, builder, buffer).data
    return [builder.gep(data, [builder.add(at, at.type(k))]) for k in range(count)]


def load_words(builder: Any, address: Any, word_type: Any, count: int, space: int = GLOBAL) -> list[Any]:
    """`count` words by one access; the address must be a multiple of its size."""
    if count == 1:
        return [builder.load(pointer(builder, address, word_type, space))]
    vector = builder.load(pointer(builder, address, ir.VectorType(word_type, count), space), align=16)
    return [builder.extract_element(vector, INTEGERS[32](k)) for k in range(count)]


def store_words(builder: Any, address: Any, words: list[Any], space: int = GLOBAL) -> None:
    """The words by one access; several of them must be 16 bytes, and the address a multiple of 16."""
    if len(words) == 1:
        builder.store(words[0], pointer(builder, address, words[0].type, space))
        return
    vector: Any = ir.Constant(ir.VectorType(words[0].type, len(words)), ir.Undefined)
    for k, word in enumerate(words):
        vector = builder.insert_element(vector, word, INTEGERS[32](k))
    builder.store(vector, pointer(builder, address, vector.type, space), align=16)
