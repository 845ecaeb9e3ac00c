"""Constants, products, quotients and bits of numbers in registers.

Numba types a Python literal as int64 or float64, and an operation with one widens: `like(x, 0.5)` is the
constant in the type of x, `by_type(x, 0.5, 0.25)` one for each type.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

from llvmlite import ir
from numba import types
from numba.cuda import cgutils
from numba.cuda.extending import intrinsic

from fastnn.cuda._runtime.ptx.llvm import BIT, INTEGERS, instruction


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
            return BIT(0)
        text = target.insert_const_string(builder.module, "__CUDA_FTZ")  # set by fastmath
        reflect = ir.FunctionType(INTEGERS[32], [text.type])
        function = cgutils.get_or_insert_function(builder.module, reflect, "__nvvm_reflect")
        return builder.icmp_signed("!=", builder.call(function, [text]), INTEGERS[32](0))

    return types.boolean(x), generate


@intrinsic  # type: ignore[untyped-decorator]
def estimate(context: Any, x: Any) -> Any:
    """1 / x to about 20 bits, for what is small beside the result; subnormals count as 0."""

    def generate(target: Any, builder: Any, signature: Any, args: Sequence[Any]) -> Any:
        name = "rcp.approx.ftz.f64" if x == types.float64 else "rcp.approx.ftz.f32"
        return instruction(builder, name, args[0].type, args)

    return x(x), generate


@intrinsic  # type: ignore[untyped-decorator]
def power_of_2(context: Any, x: Any) -> Any:
    """The float whose exponent's bits are the low bits of `x`."""

    def generate(target: Any, builder: Any, signature: Any, args: Sequence[Any]) -> Any:
        bits, places = (INTEGERS[64], 52) if x == types.float64 else (INTEGERS[32], 23)
        return builder.bitcast(builder.shl(builder.bitcast(args[0], bits), bits(places)), args[0].type)

    return x(x), generate


def polynomial(single: Sequence[float], double: Sequence[float]) -> Any:
    """A device function of x: the polynomial with these coefficients, constant term first (Horner)."""

    @intrinsic  # type: ignore[untyped-decorator]
    def evaluate(context: Any, x: Any) -> Any:
        def generate(target: Any, builder: Any, signature: Any, args: Sequence[Any]) -> Any:
            real = args[0].type
            *others, last = [real(each) for each in (double if x == types.float64 else single)]
            return functools.reduce(lambda y, c: builder.fma(y, args[0], c), reversed(others), last)

        return x(x), generate

    evaluate.coefficients = single, double
    return evaluate


@intrinsic  # type: ignore[untyped-decorator]
def fma(context: Any, a: Any, b: Any, c: Any) -> Any:
    """a b + c with one rounding, in the type of a."""

    def generate(target: Any, builder: Any, signature: Any, args: Sequence[Any]) -> Any:
        given = zip(args, signature.args, strict=True)
        return builder.fma(*[target.cast(builder, arg, arg_type, a) for arg, arg_type in given])

    return a(a, b, c), generate


@intrinsic  # type: ignore[untyped-decorator]
def quotient(context: Any, a: Any, b: Any) -> Any:
    """a // b of whole numbers from 0 to 2^32 - 1: a 64-bit division takes five times as long."""

    def generate(target: Any, builder: Any, signature: Any, args: Sequence[Any]) -> Any:
        a, b = (builder.trunc(arg, INTEGERS[32]) for arg in args)
        return builder.zext(builder.udiv(a, b), INTEGERS[64])

    return types.int64(types.int64, types.int64), generate


def _product(instructions: dict[Any, tuple[str, Any]]) -> Any:
    """An intrinsic of (a, b), b cast to the type of a: by that, the instruction and the result's type."""

    @intrinsic  # type: ignore[untyped-decorator]
    def multiply(context: Any, a: Any, b: Any) -> Any:
        name, result = instructions[a]

        def generate(target: Any, builder: Any, signature: Any, args: Sequence[Any]) -> Any:
            factors = args[0], target.cast(builder, args[1], signature.args[1], a)
            return instruction(builder, name, target.get_value_type(result), factors)

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
