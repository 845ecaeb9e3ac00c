"""The emulator computes what the PTX manual says, bit by bit: most is compared with exact fractions."""

from __future__ import annotations

import math
from collections.abc import Callable
from fractions import Fraction
from typing import Any

import ml_dtypes
import numpy as np
import pytest

from fastnn._core.typing import Array
from support.ptx_text import compute

_DTYPES: dict[str, Any] = {
    "f16": np.float16,
    "f32": np.float32,
    "f64": np.float64,
    "bf16": ml_dtypes.bfloat16,
}


def rounded(exact: Fraction, dtype: Any, mode: str) -> Any:
    """The float of the dtype nearest to a number, in a rounding mode."""
    guess = dtype(float(exact))
    around = [np.nextafter(guess, dtype(-np.inf)), guess, np.nextafter(guess, dtype(np.inf))]
    below = max(x for x in around if Fraction(float(x)) <= exact)
    above = min(x for x in around if Fraction(float(x)) >= exact)
    if mode == "rn":
        left, right = exact - Fraction(float(below)), Fraction(float(above)) - exact
        even = below if int(below.view(f"u{below.itemsize}")) % 2 == 0 else above
        return even if left == right else below if left < right else above
    return {"rm": below, "rp": above, "rz": below if exact >= 0 else above}[mode]


_EXACT: dict[str, Callable[..., Fraction]] = {
    "add": lambda a, b, c: a + b,
    "sub": lambda a, b, c: a - b,
    "mul": lambda a, b, c: a * b,
    "div": lambda a, b, c: a / b,
    "fma": lambda a, b, c: a * b + c,
}


_BITS = {"f32": 12, "f64": 27}  # half as many as the format has: products are often ties


def operands(kind: str) -> list[Array]:
    """Numbers whose sums and products need rounding, many of them halfway between two floats."""
    random, bits, dtype = np.random.default_rng(5), _BITS[kind], _DTYPES[kind]
    coarse = [random.integers(-(2**bits), 2**bits, 100) | 1 for _ in range(3)]
    scale = [2.0 ** (random.integers(-4, 4, 100) - bits) for _ in range(3)]
    return [(x * s).astype(dtype) for x, s in zip(coarse, scale, strict=True)]


@pytest.mark.parametrize("mode", ["rn", "rz", "rm", "rp"])
@pytest.mark.parametrize("kind", ["f32", "f64"])
@pytest.mark.parametrize("name", _EXACT)
def test_one_rounding_in_each_mode(name: str, kind: str, mode: str) -> None:
    dtype = _DTYPES[kind]
    a, b, c = operands(kind)
    text = f"{name}.{mode}.{kind} d, a, b{', c' if name == 'fma' else ''};"
    found = compute(text, kind, a=(kind, a), b=(kind, b), c=(kind, c)).view(dtype)
    triples = [[Fraction(float(x)) for x in xs] for xs in zip(a, b, c, strict=True)]
    expected = [rounded(_EXACT[name](*xs), dtype, mode) for xs in triples]
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("kind", ["f16", "bf16"])
@pytest.mark.parametrize("name", ["add", "mul", "fma"])
def test_half_formats_round_once(name: str, kind: str) -> None:
    dtype, random = _DTYPES[kind], np.random.default_rng(6)
    low, high, tiny = (46, 64, 2.0**-24) if kind == "f16" else (17, 22, 2.0**-70)
    a, b = ((random.integers(low, high, 100) | 1).astype(dtype) for _ in range(2))  # all products are ties,
    c = random.choice([-tiny, tiny, 3.0, -100], 100).astype(dtype)  # which c decides, from far below
    text = f"{name}.rn.{kind} d, a, b{', c' if name == 'fma' else ''};"
    found = compute(text, "b16", a=("b16", a), b=("b16", b), c=("b16", c)).view(dtype)
    triples = [[Fraction(float(x)) for x in xs] for xs in zip(a, b, c, strict=True)]
    expected = np.array([rounded(_EXACT[name](*xs), dtype, "rn") for xs in triples])
    np.testing.assert_array_equal(found.astype(np.float64), expected.astype(np.float64))


def test_pairs_of_halves_and_of_floats() -> None:
    pair = np.array([1.5, -2.25], np.float16).view(np.uint32)
    found = compute("fma.rn.f16x2 d, a, b, a;", "b32", a=("b32", pair), b=("b32", pair)).view(np.float16)
    np.testing.assert_array_equal(found, [1.5 * 1.5 + 1.5, 2.25 * 2.25 - 2.25])
    wide = np.array([1.5, 3], np.float32).view(np.uint64)
    found = compute("add.rn.f32x2 d, a, a;", "b64", a=("b64", wide)).view(np.float32)
    np.testing.assert_array_equal(found, [3, 6])


def test_square_root_reciprocal_and_subnormals() -> None:
    x = np.array([2, 3, 1e-40, 1e30], np.float32)
    root = compute("sqrt.rn.f32 d, a;", "f32", a=("f32", x)).view(np.float32)
    np.testing.assert_array_equal(root, np.sqrt(x.astype(np.float64)).astype(np.float32))
    up = compute("sqrt.rp.f32 d, a;", "f32", a=("f32", x[:2])).view(np.float32)
    assert [Fraction(float(u)) ** 2 >= n for u, n in zip(up, (2, 3), strict=True)] == [True, True]
    kept = compute("add.f32 d, a, 0f00000000;", "f32", a=("f32", x)).view(np.float32)
    np.testing.assert_array_equal(kept, x)
    flushed = compute("add.ftz.f32 d, a, 0f00000000;", "f32", a=("f32", x)).view(np.float32)
    np.testing.assert_array_equal(flushed, [2, 3, 0, np.float32(1e30)])
    third = compute("rcp.approx.ftz.f64 d, a;", "f64", a=("f64", [3.0]))
    assert third == [0x3FD5555500000000]


def test_saturation() -> None:
    found = compute("add.sat.f32 d, a, a;", "f32", a=("f32", np.array([-1, 0.25, 7, np.nan, -0.0], "f4")))
    np.testing.assert_array_equal(found.view(np.float32), [0, 0.5, 1, 0, 0])
    assert found[4] == 0  # not -0


def test_nan_is_canonical_in_float32_and_kept_by_moves() -> None:
    odd = np.array([0xFFC12345], np.uint32)
    assert compute("add.f32 d, a, a;", "f32", a=("f32", odd)) == [0x7FFFFFFF]
    assert compute("mul.f32 d, a, 0f00000000;", "f32", a=("f32", np.array([np.inf], np.float32))) == [
        0x7FFFFFFF
    ]
    assert compute("mov.f32 d, a;", "f32", a=("f32", odd)) == odd
    assert compute("neg.f32 d, a;", "f32", a=("f32", odd)) == [0x7FC12345]
    assert compute("cvt.rn.bf16.f32 d, a;", "b16", a=("f32", odd)) == [0x7FFF]


@pytest.mark.parametrize(("name", "expected"), [("min", [1, 2, -3, -0.0]), ("max", [1, 2, 4, 0.0])])
def test_min_and_max_prefer_numbers(name: str, expected: list[float]) -> None:
    a = np.array([np.nan, 2, -3, 0.0], np.float32)
    b = np.array([1, np.nan, 4, -0.0], np.float32)
    found = compute(f"{name}.f32 d, a, b;", "f32", a=("f32", a), b=("f32", b))
    np.testing.assert_array_equal(found, np.array(expected, np.float32).view(np.uint32))
    found = compute(f"{name}.NaN.f32 d, a, b;", "f32", a=("f32", a), b=("f32", b))
    assert list(found[:2]) == [0x7FFFFFFF, 0x7FFFFFFF]


def test_comparisons_with_nan() -> None:
    a, b = np.array([1, 2, 2, np.nan], np.float32), np.array([2, 2, 1, 1], np.float32)
    expected = {"lt": 0b0001, "le": 0b0011, "eq": 0b0010, "ne": 0b0101, "gt": 0b0100, "ge": 0b0110}
    unordered = {f"{name}u": bits | 0b1000 for name, bits in expected.items()}
    expected |= unordered | {"num": 0b0111, "nan": 0b1000}
    for name, bits in expected.items():
        text = f".reg .pred q; setp.{name}.f32 q, a, b; selp.b32 d, 1, 0, q;"
        found = compute(text, "b32", a=("f32", a), b=("f32", b))
        assert sum(int(bit) << i for i, bit in enumerate(found)) == bits, name


def test_comparisons_combine_and_complement() -> None:
    text = """.reg .pred p, q, r; setp.gt.s32 r, a, 2; setp.lt.and.s32 p|q, a, 5, r;
    .reg .b32 x, y; selp.b32 x, 1, 0, p; selp.b32 y, 2, 0, q; add.u32 d, x, y;"""
    assert list(compute(text, "b32", a=("b32", np.array([1, 3, 7], np.int32)))) == [0, 1, 2]


@pytest.mark.parametrize(
    ("to", "kind", "x", "expected"),
    [
        (
            "rzi.s32.f32",
            "f32",
            [1.9, -1.9, 3e9, -3e9, np.nan, np.inf],
            [1, -1, 2**31 - 1, -(2**31), 0, 2**31 - 1],
        ),
        ("rni.s32.f32", "f32", [0.5, 1.5, -2.5], [0, 2, -2]),
        ("rmi.u32.f64", "f64", [1.9, -0.5, 5e9, np.nan], [1, 0, 2**32 - 1, 2**31]),
        ("rpi.s64.f32", "f32", [1.1, 1e30, np.nan], [2, 2**63 - 1, -(2**63)]),
        ("rzi.u64.f64", "f64", [2.0**63, 1e30], [2**63, 2**64 - 1]),
    ],
)
def test_floats_to_integers_clamp(to: str, kind: str, x: list[float], expected: list[int]) -> None:
    width = to.split(".")[1][1:]
    found = compute(f"cvt.{to} d, a;", f"b{width}", a=(kind, np.array(x, _DTYPES[kind])))
    assert [int(value) for value in found] == [value % 2 ** int(width) for value in expected]


@pytest.mark.parametrize("mode", ["rn", "rz", "rm", "rp"])
@pytest.mark.parametrize(("to", "kind"), [("f32", "f64"), ("f16", "f32"), ("f16", "f64")])
def test_narrowing_in_each_mode(to: str, kind: str, mode: str) -> None:
    x = np.concatenate([operands(kind)[0] * _DTYPES[kind](1 / 3), [1e-9, -1e-9]]).astype(_DTYPES[kind])
    found = compute(f"cvt.{mode}.{to}.{kind} d, a;", f"b{_DTYPES[to]().itemsize * 8}", a=(kind, x)).view(
        _DTYPES[to]
    )
    np.testing.assert_array_equal(found, [rounded(Fraction(float(each)), _DTYPES[to], mode) for each in x])


def test_bfloat16_conversions() -> None:
    a, b = np.array([1 + 2**-8, 1 + 3 * 2**-8], np.float32), np.array([-2, np.inf], np.float32)
    found = compute("cvt.rn.bf16x2.f32 d, a, b;", "b32", a=("f32", a), b=("f32", b)).view(ml_dtypes.bfloat16)
    assert found.astype(np.float64).tolist() == [-2, 1, math.inf, 1 + 4 * 2**-8]  # b in the lower half
    back = compute("cvt.f32.bf16 d, a;", "f32", a=("b16", np.array([0x3F81], np.uint16))).view(np.float32)
    assert back == [1 + 2**-7]


def test_integers_to_floats_and_to_wider() -> None:
    x = np.array([2**24 + 1, 2**24 + 3, -1], np.int32)
    found = compute("cvt.rn.f32.s32 d, a;", "f32", a=("b32", x)).view(np.float32)
    np.testing.assert_array_equal(found, [2**24, 2**24 + 4, -1])
    found = compute("cvt.rz.f32.s32 d, a;", "f32", a=("b32", x)).view(np.float32)
    np.testing.assert_array_equal(found, [2**24, 2**24 + 2, -1])
    assert compute("cvt.s64.s32 d, a;", "b64", a=("b32", x))[2] == 2**64 - 1
    assert compute("cvt.u64.u32 d, a;", "b64", a=("b32", x))[2] == 2**32 - 1
    assert compute("cvt.s32.s8 d, a;", "b32", a=("b32", np.array([0x1FF], np.int32))) == [2**32 - 1]
    assert compute("cvt.sat.u8.s32 d, a;", "b32", a=("b32", np.array([300], np.int32))) == [255]


_A, _B = 0xFEDCBA9876543210, 0x8FEDCBA987654321
_TWO = {"a": ("b64", np.array([_A], np.uint64)), "b": ("b64", np.array([_B], np.uint64))}


def _signed(x: int, bits: int) -> int:
    return x - 2**bits if x >> bits - 1 else x


@pytest.mark.parametrize(
    ("text", "bits", "expected"),
    [
        ("mul.lo.u64 d, a, b;", 64, _A * _B),
        ("mul.hi.u64 d, a, b;", 64, _A * _B >> 64),
        ("mul.hi.s64 d, a, b;", 64, _signed(_A, 64) * _signed(_B, 64) >> 64),
        ("div.s64 d, b, 1000;", 64, -(-_signed(_B, 64) // 1000)),
        ("rem.s64 d, b, 1000;", 64, -(-_signed(_B, 64) % 1000)),
        ("shl.b64 d, a, 64;", 64, 0),
        ("shl.b64 d, a, 12;", 64, _A << 12),
        ("shr.s64 d, a, 100;", 64, -1),
        ("shr.u64 d, a, 8;", 64, _A >> 8),
        ("bfe.u64 d, a, 8, 12;", 64, _A >> 8 & 0xFFF),
        ("bfe.s64 d, a, 52, 12;", 64, _signed(_A >> 52, 12)),
        ("bfi.b64 d, a, b, 16, 8;", 64, _B & ~0xFF0000 | (_A & 0xFF) << 16),
        ("brev.b64 d, a;", 64, int(f"{_A:064b}"[::-1], 2)),
        ("clz.b64 d, a;", 32, 0),
        ("popc.b64 d, a;", 32, _A.bit_count()),
        ("min.s64 d, a, 5;", 64, _signed(_A, 64)),
        ("min.u64 d, a, 5;", 64, 5),
        ("abs.s64 d, a;", 64, -_signed(_A, 64)),
        ("xor.b64 d, a, b;", 64, _A ^ _B),
        ("mov.b64 {lo, hi}, a; mov.b64 d, {hi, lo};", 64, (_A & 0xFFFFFFFF) << 32 | _A >> 32),
        ("cvt.u32.u64 lo, a; mul.wide.u32 d, lo, lo;", 64, (_A & 0xFFFFFFFF) ** 2),
        ("mov.b64 {lo, hi}, a; prmt.b32 d, lo, hi, 0xC104;", 32, 0xFF321098),
        ("mov.b64 {lo, hi}, a; shf.l.wrap.b32 d, lo, hi, 36;", 32, _A << 4 >> 32),
        ("mov.b64 {lo, hi}, a; shf.r.clamp.b32 d, lo, hi, 40;", 32, _A >> 32),
        ("mov.b64 {lo, hi}, a; lop3.b32 d, lo, hi, lo, 0x96;", 32, _A >> 32),
        ("mov.b64 {lo, hi}, a; clz.b32 d, 1;", 32, 31),
        ("mov.b64 {lo, hi}, a; mad.lo.s32 d, lo, 3, 7;", 32, (_A & 0xFFFFFFFF) * 3 + 7),
    ],
)
def test_integers(text: str, bits: int, expected: int) -> None:
    found = compute(f".reg .b32 lo, hi; {text}", f"b{bits}", **_TWO)
    assert int(found[0]) == expected % 2**bits


def test_carries_make_long_numbers() -> None:
    halves = """.reg .b32 %x<8>; mov.b64 {%x0, %x1}, a; mov.b64 {%x2, %x3}, b;"""
    add = halves + "add.cc.u32 %x4, %x0, %x2; addc.u32 %x5, %x1, %x3; mov.b64 d, {%x4, %x5};"
    subtract = add.replace("addc", "subc").replace("add", "sub")
    multiply = (
        halves
        + """mul.lo.u32 %x4, %x0, %x2; mul.hi.u32 %x5, %x0, %x2;
    mad.lo.cc.u32 %x5, %x0, %x3, %x5; madc.hi.u32 %x6, %x0, %x3, 0;
    mad.lo.cc.u32 %x5, %x1, %x2, %x5; madc.hi.u32 %x6, %x1, %x2, %x6; mov.b64 d, {%x5, %x6};"""
    )
    for text, expected in ((add, _A + _B), (subtract, _A - _B)):
        found = compute(text, "b64", **_TWO)
        assert int(found[0]) == expected % 2**64
    found = compute(multiply, "b64", **_TWO)
    low, high = _A % 2**32, _A >> 32
    assert int(found[0]) == ((low * _B >> 32) + high * (_B % 2**32)) % 2**64


def test_copysign_takes_the_first_operands_sign() -> None:
    found = compute(
        "copysign.f32 d, a, b;",
        "f32",
        a=("f32", np.array([-1, 2], np.float32)),
        b=("f32", np.array([5, -6], np.float32)),
    )
    np.testing.assert_array_equal(found.view(np.float32), [-5, 6])


@pytest.mark.parametrize(
    ("name", "function"), [("ex2", np.exp2), ("lg2", np.log2), ("tanh", np.tanh), ("sin", np.sin)]
)
def test_approximate_functions_are_nearly_exact(name: str, function: Callable[..., Array]) -> None:
    x = np.linspace(0.1, 3, 100).astype(np.float32)
    found = compute(f"{name}.approx.f32 d, a;", "f32", a=("f32", x)).view(np.float32)
    np.testing.assert_array_equal(found, function(x.astype(np.float64)).astype(np.float32))
