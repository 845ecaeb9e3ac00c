"""What kernels need below Python: 16-byte accesses, half types, exact products, bits of floats.

All that is particular to numba-cuda's code generation is here, so that a port to another front end rewrites
this file. It must not know any operation.

Numba types a Python literal as int64 or float64, and an operation with one widens: `like(x, 0.5)` is the
constant in the type of x, `by_type(x, 0.5, 0.25)` one for each type.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias, TypeVar, cast

from llvmlite import ir
from numba import cuda, types
from numba.cuda import cgutils
from numba.cuda.core.targetconfig import ConfigStack
from numba.cuda.extending import intrinsic

from fastnn._core.dtypes import computing_name

F = TypeVar("F", bound=Callable[..., Any])
#: A number in a kernel, float32 or float64.
Real: TypeAlias = Any

#: Bytes of an element in memory, by dtype.
ITEMSIZE = {"float64": 8, "float32": 4, "float16": 2, "bfloat16": 2}
#: Elements of one 16-byte access.
WIDTH = {dtype: 16 // size for dtype, size in ITEMSIZE.items()}

_BITS_1 = ir.IntType(1)
_BITS = {8: ir.IntType(8), 16: ir.IntType(16), 32: ir.IntType(32), 64: ir.IntType(64)}
_FLOATS = {16: ir.HalfType(), 32: ir.FloatType(), 64: ir.DoubleType()}


def device(function: F) -> F:
    """The function for use in kernels, where it is inlined. Its `py_func` is its Python twin."""
    inlined: F = cuda.jit(device=True, forceinline=True)(function)
    return inlined


_Key = tuple[Any, ...]
_MADE: dict[_Key, Any] = {}
#: The compute capability that kernels are being built for (set by fastnn.cuda._runtime.compiler).
building_for: list[tuple[int, int]] = [(0, 0)]


def made_once(factory: F) -> F:
    """Decorator of what makes device functions: for the same arguments the same one, compiled once.

    One for each compute capability: numba-cuda keeps what a device function was compiled to for the first.
    """

    @functools.wraps(factory)
    def remembered(*args: Any) -> Any:
        key = (factory, building_for[-1], *args)
        if key not in _MADE:
            _MADE[key] = factory(*args)
        return _MADE[key]

    return cast(F, remembered)


@device
def _nothing(a: Any, b: Any, c: Any) -> None:
    """For a sequence of no functions."""


def in_turn(functions: Sequence[Any]) -> Any:
    """A device function of three arguments that calls these with them, one after the other."""
    if not functions:
        return _nothing
    if len(functions) == 1:
        return functions[0]
    first, rest = functions[0], in_turn(functions[1:])

    @device
    def both(a: Any, b: Any, c: Any) -> None:
        first(a, b, c)
        rest(a, b, c)

    return both


def computing(dtype: str) -> Any:
    """The dtype that arrays of this one are computed in, as a type of Numba's."""
    return getattr(types, computing_name(dtype))


#: Kinds of registers, as assembly calls them.
_LETTERS = {_BITS[32]: "r", _BITS[64]: "l", _FLOATS[32]: "f", _FLOATS[64]: "d"}


def _instruction(builder: Any, name: str, result: Any, operands: Sequence[Any]) -> Any:
    """What one PTX instruction makes of values in registers; result: its LLVM type."""
    kinds = [operand.type for operand in operands]
    places = ", ".join(f"${k}" for k in range(1 + len(kinds)))
    letters = "=" + ",".join(_LETTERS[kind] for kind in (result, *kinds))
    text = ir.InlineAsm(ir.FunctionType(result, kinds), f"{name} {places};", letters, side_effect=False)
    return builder.call(text, operands)


# ---- constants and bits ------------------------------------------------------------------------------------


@intrinsic  # type: ignore[untyped-decorator]
def like(context: Any, x: Any, value: Any) -> Any:
    """`value` in the type of `x`."""

    def generate(target: Any, builder: Any, signature: Any, args: Sequence[Any]) -> Any:
        return target.cast(builder, args[1], signature.args[1], signature.return_type)

    return x(x, value), generate


@intrinsic  # type: ignore[untyped-decorator]
def by_type(context: Any, x: Any, single: Any, double: Any) -> Any:
    """The first value in the type of `x` if that is float32, the second if it is float64."""

    def generate(target: Any, builder: Any, signature: Any, args: Sequence[Any]) -> Any:
        chosen = 2 if x == types.float64 else 1
        return target.cast(builder, args[chosen], signature.args[chosen], x)

    return x(x, single, double), generate


@intrinsic  # type: ignore[untyped-decorator]
def approximate(context: Any, x: Any) -> Any:
    """Whether approximate instructions are wanted, and there are any for the type of `x`.

    The answer is known when a kernel is linked, so that a device function is compiled once for both.
    """

    def generate(target: Any, builder: Any, signature: Any, args: Sequence[Any]) -> Any:
        if x != types.float32:
            return _BITS_1(0)
        text = target.insert_const_string(builder.module, "__CUDA_FTZ")  # set by fastmath
        reflect = ir.FunctionType(_BITS[32], [text.type])
        function = cgutils.get_or_insert_function(builder.module, reflect, "__nvvm_reflect")
        return builder.icmp_signed("!=", builder.call(function, [text]), _BITS[32](0))

    return types.boolean(x), generate


@intrinsic  # type: ignore[untyped-decorator]
def estimate(context: Any, x: Any) -> Any:
    """1 / x to about 20 bits, for what is small beside the result; subnormals count as 0."""

    def generate(target: Any, builder: Any, signature: Any, args: Sequence[Any]) -> Any:
        name = "rcp.approx.ftz.f64" if x == types.float64 else "rcp.approx.ftz.f32"
        return _instruction(builder, name, args[0].type, args)

    return x(x), generate


@intrinsic  # type: ignore[untyped-decorator]
def power_of_2(context: Any, x: Any) -> Any:
    """The float whose exponent's bits are the low bits of `x`."""

    def generate(target: Any, builder: Any, signature: Any, args: Sequence[Any]) -> Any:
        bits, places = (_BITS[64], 52) if x == types.float64 else (_BITS[32], 23)
        return builder.bitcast(builder.shl(builder.bitcast(args[0], bits), bits(places)), args[0].type)

    return x(x), generate


def polynomial(single: Sequence[float], double: Sequence[float]) -> Any:
    """A device function of x: the polynomial with these coefficients, constant term first (Horner)."""

    @intrinsic  # type: ignore[untyped-decorator]
    def evaluate(context: Any, x: Any) -> Any:
        def generate(target: Any, builder: Any, signature: Any, args: Sequence[Any]) -> Any:
            kind = args[0].type
            *others, last = [kind(each) for each in (double if x == types.float64 else single)]
            return functools.reduce(lambda y, c: builder.fma(y, args[0], c), reversed(others), last)

        return x(x), generate

    evaluate.coefficients = single, double
    return evaluate


def _reinterpreted(result_of: dict[Any, Any]) -> Any:
    @intrinsic  # type: ignore[untyped-decorator]
    def reinterpret(context: Any, x: Any) -> Any:
        result = result_of[x]

        def generate(target: Any, builder: Any, signature: Any, args: Sequence[Any]) -> Any:
            return builder.bitcast(args[0], target.get_value_type(result))

        return result(x), generate

    return reinterpret


#: The bits of a float as a signed integer of its size, and back.
as_bits = _reinterpreted({types.float32: types.int32, types.float64: types.int64})
from_bits = _reinterpreted({types.int32: types.float32, types.int64: types.float64})


@intrinsic  # type: ignore[untyped-decorator]
def fma(context: Any, a: Any, b: Any, c: Any) -> Any:
    """a b + c with one rounding, in the type of a."""

    def generate(target: Any, builder: Any, signature: Any, args: Sequence[Any]) -> Any:
        values = [target.cast(builder, arg, kind, a) for arg, kind in zip(args, signature.args, strict=True)]
        return builder.fma(*values)

    return a(a, b, c), generate


@intrinsic  # type: ignore[untyped-decorator]
def quotient(context: Any, a: Any, b: Any) -> Any:
    """a // b of whole numbers from 0 to 2^32 - 1: a 64-bit division takes five times as long."""

    def generate(target: Any, builder: Any, signature: Any, args: Sequence[Any]) -> Any:
        a, b = (builder.trunc(arg, _BITS[32]) for arg in args)
        return builder.zext(builder.udiv(a, b), _BITS[64])

    return types.int64(types.int64, types.int64), generate


def _product(instructions: dict[Any, tuple[str, Any]]) -> Any:
    """An intrinsic of (a, b), b cast to the type of a: by that, the instruction and the result's type."""

    @intrinsic  # type: ignore[untyped-decorator]
    def multiply(context: Any, a: Any, b: Any) -> Any:
        name, result = instructions[a]

        def generate(target: Any, builder: Any, signature: Any, args: Sequence[Any]) -> Any:
            factors = args[0], target.cast(builder, args[1], signature.args[1], a)
            return _instruction(builder, name, target.get_value_type(result), factors)

        return result(a, b), generate

    return multiply


#: The 64 bits of a product of two unsigned 32-bit numbers, by one instruction.
product_64 = _product({types.uint32: ("mul.wide.u32", types.uint64)})
#: The upper 64 of the 128 bits of a product of two unsigned 64-bit numbers.
high_64 = _product({types.uint64: ("mul.hi.u64", types.uint64)})
#: a b, rounded: no addition that follows makes an fma of it. In the type of a.
product = _product(
    {types.float32: ("mul.rn.f32", types.float32), types.float64: ("mul.rn.f64", types.float64)}
)


# ---- memory ------------------------------------------------------------------------------------------------


#: Address spaces: without one, accesses would be generic.
_GLOBAL, _SHARED = 1, 3


def _pointer(builder: Any, address: Any, pointee: Any, space: int = _GLOBAL) -> Any:
    return builder.inttoptr(address, ir.PointerType(pointee, addrspace=space))


def _places(target: Any, builder: Any, kind: Any, buffer: Any, at: Any, count: int) -> list[Any]:
    """Pointers to `count` elements of a local array, from `at` on."""
    data = target.make_array(kind)(target, builder, buffer).data
    return [builder.gep(data, [builder.add(at, at.type(k))]) for k in range(count)]


def _load_words(builder: Any, address: Any, kind: Any, count: int, space: int = _GLOBAL) -> list[Any]:
    """`count` words by one access, which must be aligned to its size."""
    if count == 1:
        return [builder.load(_pointer(builder, address, kind, space))]
    pointer = _pointer(builder, address, ir.VectorType(kind, count), space)
    vector = builder.load(pointer, align=16)
    return [builder.extract_element(vector, _BITS[32](k)) for k in range(count)]


def _store_words(builder: Any, address: Any, words: list[Any], space: int = _GLOBAL) -> None:
    if len(words) == 1:
        builder.store(words[0], _pointer(builder, address, words[0].type, space))
        return
    vector: Any = ir.Constant(ir.VectorType(words[0].type, len(words)), ir.Undefined)
    for k, word in enumerate(words):
        vector = builder.insert_element(vector, word, _BITS[32](k))
    builder.store(vector, _pointer(builder, address, vector.type, space), align=16)


def _widened(builder: Any, dtype: str, half: Any) -> Any:
    """The float32 of 16 bits."""
    if dtype == "float16":
        return builder.fpext(builder.bitcast(half, _FLOATS[16]), _FLOATS[32])
    shifted = builder.shl(builder.zext(half, _BITS[32]), _BITS[32](16))
    return builder.bitcast(shifted, _FLOATS[32])


def _narrowed(builder: Any, dtype: str, value: Any) -> Any:
    """The 16 bits that a float32 rounds to, to nearest, half to even; NaN stays NaN."""
    if dtype == "float16":
        return builder.bitcast(builder.fptrunc(value, _FLOATS[16]), _BITS[16])
    bits = builder.bitcast(value, _BITS[32])  # by integers: compute capability 7.5 has no instruction
    odd = builder.and_(builder.lshr(bits, _BITS[32](16)), _BITS[32](1))
    rounded = builder.add(builder.add(bits, odd), _BITS[32](0x7FFF))
    is_nan = builder.fcmp_unordered("uno", value, value)
    chosen = builder.select(is_nan, builder.or_(bits, _BITS[32](0x400000)), rounded)
    return builder.trunc(builder.lshr(chosen, _BITS[32](16)), _BITS[16])


def _packed(builder: Any, dtype: str, values: list[Any]) -> list[Any]:
    """Words of two rounded elements each; one element is 16 bits."""
    if len(values) == 1:
        return [_narrowed(builder, dtype, values[0])]
    pairs = zip(values[::2], values[1::2], strict=True)
    if dtype == "bfloat16" and ConfigStack().top().compute_capability >= (8, 0):
        pack = "cvt.rn.bf16x2.f32"
        return [_instruction(builder, pack, _BITS[32], (high, low)) for low, high in pairs]
    halves = [[builder.zext(_narrowed(builder, dtype, value), _BITS[32]) for value in pair] for pair in pairs]
    return [builder.or_(low, builder.shl(high, _BITS[32](16))) for low, high in halves]


@intrinsic  # type: ignore[untyped-decorator]
def two_words_at(context: Any, address: Any) -> Any:
    """The two 64-bit integers at an address, a multiple of 16."""

    def generate(target: Any, builder: Any, signature: Any, args: Sequence[Any]) -> Any:
        words = _load_words(builder, args[0], _BITS[64], 2)
        return target.make_tuple(builder, signature.return_type, words)

    return types.UniTuple(types.int64, 2)(types.uint64), generate


@functools.cache
def store_integers(count: int) -> Any:
    """store(address, buffer): `count` integers of a local array, by one aligned access."""

    @intrinsic  # type: ignore[untyped-decorator]
    def store_elements(context: Any, address: Any, buffer: Any) -> Any:
        def generate(target: Any, builder: Any, signature: Any, args: Sequence[Any]) -> Any:
            places = _places(target, builder, buffer, args[1], _BITS[64](0), count)
            _store_words(builder, args[0], [builder.load(place) for place in places])
            return target.get_dummy_value()

        return types.void(types.uint64, buffer), generate

    return store_elements


def _words_of(builder: Any, address: Any, dtype: str, width: int, space: int = _GLOBAL) -> list[Any]:
    """What one access to `width` elements brings: a word for each, or for two of a half type."""
    if ITEMSIZE[dtype] > 2:
        return _load_words(builder, address, _FLOATS[8 * ITEMSIZE[dtype]], width, space)
    kind, count = (_BITS[16], 1) if width == 1 else (_BITS[32], width // 2)
    return _load_words(builder, address, kind, count, space)


def _elements_of(builder: Any, dtype: str, words: list[Any]) -> list[Any]:
    """The elements in words, in the computing type."""
    if ITEMSIZE[dtype] > 2:
        return words
    halves = words
    if len(words) > 1:
        shifts = [builder.lshr(word, _BITS[32](shift)) for word in words for shift in (0, 16)]
        halves = [builder.trunc(bits, _BITS[16]) for bits in shifts]
    return [_widened(builder, dtype, half) for half in halves]


def _put_into(
    target: Any, builder: Any, dtype: str, words: list[Any], kind: Any, buffer: Any, at: Any
) -> None:
    """The elements in words into a local array, from its element `at` on."""
    values = _elements_of(builder, dtype, words)
    places = _places(target, builder, kind, buffer, at, len(values))
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
load = _loading(_GLOBAL)

#: As `load`, from shared memory.
load_shared = _loading(_SHARED)


@functools.cache
def load_and_keep(dtype: str, width: int) -> Any:
    """load_and_keep(address, place, buffer, at): as `load`, and a copy to a place in shared memory."""

    @intrinsic  # type: ignore[untyped-decorator]
    def load_elements(context: Any, address: Any, place: Any, buffer: Any, at: Any) -> Any:
        def generate(target: Any, builder: Any, signature: Any, args: Sequence[Any]) -> Any:
            words = _words_of(builder, args[0], dtype, width)
            _store_words(builder, args[1], words, _SHARED)
            _put_into(target, builder, dtype, words, buffer, *args[2:])
            return target.get_dummy_value()

        return types.void(types.uint64, types.uint64, buffer, types.int64), generate

    return load_elements


@intrinsic  # type: ignore[untyped-decorator]
def dynamic_shared(context: Any) -> Any:
    """The address of the shared memory whose size is given at launch."""

    def generate(target: Any, builder: Any, signature: Any, args: Sequence[Any]) -> Any:
        found = ir.GlobalVariable(builder.module, ir.ArrayType(_BITS[8], 0), "dynamic_shared", _SHARED)
        found.linkage, found.align = "external", 16
        return builder.ptrtoint(found, _BITS[64])

    return types.uint64(), generate


@functools.cache
def store(dtype: str, width: int) -> Any:
    """store(address, buffer, at): `width` elements of a local array to memory, rounded; as `load`."""

    @intrinsic  # type: ignore[untyped-decorator]
    def store_elements(context: Any, address: Any, buffer: Any, at: Any) -> Any:
        def generate(target: Any, builder: Any, signature: Any, args: Sequence[Any]) -> Any:
            places = _places(target, builder, buffer, args[1], args[2], width)
            values = [builder.load(place) for place in places]
            if ITEMSIZE[dtype] == 2:
                values = _packed(builder, dtype, values)
            _store_words(builder, args[0], values)
            return target.get_dummy_value()

        return types.void(types.uint64, buffer, types.int64), generate

    return store_elements


@functools.cache
def _whole(dtype: str) -> tuple[Any, bool]:
    """The type of an integer dtype in memory, and whether it is signed."""
    return _BITS[int(dtype.lstrip("uint"))], dtype.startswith("int")


@functools.cache
def whole_number(dtype: str) -> Any:
    """whole_number(address): an element of an integer dtype, as an int64."""
    kind, signed = _whole(dtype)

    @intrinsic  # type: ignore[untyped-decorator]
    def read(context: Any, address: Any) -> Any:
        def generate(target: Any, builder: Any, signature: Any, args: Sequence[Any]) -> Any:
            word = builder.load(_pointer(builder, args[0], kind))
            return builder.sext(word, _BITS[64]) if signed else builder.zext(word, _BITS[64])

        return types.int64(types.uint64), generate

    return read


#: The 64-bit integer at an address.
word_at = whole_number("int64")


@functools.cache
def store_number(dtype: str) -> Any:
    """store_number(address, number): an int64 as an element of an integer dtype, its lowest bits."""
    kind, _ = _whole(dtype)

    @intrinsic  # type: ignore[untyped-decorator]
    def write(context: Any, address: Any, number: Any) -> Any:
        def generate(target: Any, builder: Any, signature: Any, args: Sequence[Any]) -> Any:
            word = args[1] if kind.width == 64 else builder.trunc(args[1], kind)
            builder.store(word, _pointer(builder, args[0], kind))
            return target.get_dummy_value()

        return types.void(types.uint64, types.int64), generate

    return write


def _in_order(text: str, constraints: str) -> Any:
    """The code of an instruction on a 32-bit word in global memory, which orders what stands around it."""

    def generate(target: Any, builder: Any, signature: Any, args: Sequence[Any]) -> Any:
        kind = ir.FunctionType(_BITS[32], [arg.type for arg in args])
        order = ir.InlineAsm(kind, text, f"{constraints},~{{memory}}", side_effect=True)
        return builder.call(order, args)

    return generate


@intrinsic  # type: ignore[untyped-decorator]
def add_in_order(context: Any, address: Any, number: Any) -> Any:
    """Adds to a word; gives what it was. Blocks that see the sum see what was written before, too."""
    code = _in_order("atom.add.acq_rel.gpu.global.u32 $0, [$1], $2;", "=r,l,r")
    return types.uint32(types.uint64, types.uint32), code


@intrinsic  # type: ignore[untyped-decorator]
def seen_in_order(context: Any, address: Any) -> Any:
    """A word, read before what is read after."""
    return types.uint32(types.uint64), _in_order("ld.acquire.gpu.global.u32 $0, [$1];", "=r,l")
