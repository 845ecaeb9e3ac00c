"""The reference against what is independent of it: mpmath, finite differences, torch, published vectors."""

import inspect
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
import pytest
from mpmath import mp

from fastnn import reference
from fastnn._core.typing import Array
from fastnn.reference.philox import philox4x32, random_draws
from support.cases import each

EPS = np.finfo(np.float64).eps
LEAST = 2.0**-1074  # the least subnormal float64
rng = np.random.default_rng(0)


class Case(NamedTuple):
    """A function of one array: its parameters, definition in mpmath, and where it is not differentiable."""

    name: str
    exact: Callable[[Any], Any]
    params: Mapping[str, Any] = MappingProxyType({})
    kinks: tuple[float, ...] = ()
    rtol: float = 1e-14
    least: int = 2  # absolute error allowed where results are subnormal, in units of LEAST

    def __str__(self) -> str:
        return "-".join([self.name, *map(str, self.params.values())])

    def forward(self, x: Array) -> Array:
        y: Array = getattr(reference, self.name)(x, **self.params)
        return y

    def backward(self, dy: Array, x: Array) -> Array:
        gradient = getattr(reference, self.name + "_backward")
        takes_output = "output" in inspect.signature(gradient).parameters
        dx: Array = gradient(dy, self.forward(x) if takes_output else x, **self.params)
        return dx


def _logistic(x: Any) -> Any:
    return 1 / (1 + mp.exp(-x))


def _softplus(x: Any) -> Any:
    return mp.log1p(mp.exp(x))


def _phi(x: Any) -> Any:
    return mp.erfc(-max(min(x, 1000), -1000) / mp.sqrt(2)) / 2  # mpmath cannot take 1e200


def _elu(x: Any, scale: Any = 1, alpha: Any = 1) -> Any:
    return scale * (x if x > 0 else alpha * mp.expm1(x))


def _gelu_tanh(x: Any) -> Any:
    return x * _logistic(2 * mp.sqrt(2 / mp.pi) * (x + mp.mpf("0.044715") * x**3))


def _selu(x: Any) -> Any:
    alpha, scale = "1.6732632423543772848170429916717", "1.0507009873554804934193349852946"
    return _elu(x, mp.mpf(scale), mp.mpf(alpha))


SMOOTH = [
    Case("elu", _elu),
    Case("elu", lambda x: _elu(x, alpha=0.3), {"alpha": 0.3}, (0,)),
    Case("selu", _selu, {}, (0,)),
    Case("celu", _elu),
    Case("celu", lambda x: x if x > 0 else 3 * mp.expm1(x / 3), {"alpha": 3.0}),
    Case("gelu", lambda x: x * _phi(x), least=40),
    Case("gelu", _gelu_tanh, {"approximate": "tanh"}, rtol=745 * 4 * EPS),
    Case("sigmoid", _logistic),
    Case("tanh", mp.tanh),
    Case("silu", lambda x: x * _logistic(x)),
    Case("mish", lambda x: x * mp.tanh(_softplus(x))),
    Case("softplus", lambda x: x if x > 20 else _softplus(x), {}, (20,)),
    Case(
        "softplus",
        lambda x: x if 3 * x > 9 else _softplus(3 * x) / 3,
        {"beta": 3.0, "threshold": 9.0},
        (3,),
        rtol=745 * 2 * EPS,
    ),
    Case("softsign", lambda x: x / (1 + abs(x))),
    Case("logsigmoid", lambda x: -_softplus(-x)),
    Case("tanhshrink", lambda x: x - mp.tanh(x)),
    Case("squareplus", lambda x: (x + mp.sqrt(x * x + 4)) / 2),
    Case("squareplus", lambda x: (x + mp.sqrt(x * x + 0.7)) / 2, {"b": 0.7}),
    Case("square", lambda x: x * x),
    Case("exp", mp.exp),
]

LINEAR = [
    Case("identity", lambda x: x),
    Case("relu", lambda x: max(x, 0), {}, (0,)),
    Case("leaky_relu", lambda x: x if x > 0 else x * mp.mpf(0.01), {}, (0,)),
    Case("leaky_relu", lambda x: x if x > 0 else x * mp.mpf(0.3), {"negative_slope": 0.3}, (0,)),
    Case("rrelu", lambda x: x if x > 0 else x * mp.mpf(1 / 8 + 1 / 3) / 2, {}, (0,)),
    Case("hardsigmoid", lambda x: min(max(x + 3, 0), 6) / 6, {}, (-3, 3)),
    Case("hardswish", lambda x: x * min(max(x + 3, 0), 6) / 6, {}, (-3, 3)),
    Case("hardtanh", lambda x: min(max(x, -1), 1), {}, (-1, 1)),
    Case("hardtanh", lambda x: min(max(x, -0.5), 2), {"min_val": -0.5, "max_val": 2.0}, (-0.5, 2)),
    Case("relu6", lambda x: min(max(x, 0), 6), {}, (0, 6)),
    Case("threshold", lambda x: x if x > 0.2 else -7, {"threshold": 0.2, "value": -7.0}, (0.2,)),
    Case("hardshrink", lambda x: x if abs(x) > 0.5 else 0, {}, (-0.5, 0.5)),
    Case("softshrink", lambda x: x - min(max(x, -0.5), 0.5), {}, (-0.5, 0.5)),
]

EACH = pytest.mark.parametrize("case", SMOOTH + LINEAR, ids=str)

# Powers of ten, small and large; ends of the exponential's and of erfc's range; changes of formula.
_POSITIVE = [
    *[0.0, LEAST, 1e-310, 1e-200, 1e-154, 1e-100, 1e-20, 1e-10, 1e-8, 1e-5, 1e-3, 0.01, 0.1, 0.3, 0.49, 0.7],
    *[
        1 - EPS,
        1,
        1.1,
        1.5,
        2,
        2.9,
        3.3,
        5,
        5.5,
        6.5,
        8,
        10,
        13,
        17,
        20,
        21,
        21.6,
        21.7,
        26,
        30,
        36.7,
        37.4,
        38.4,
    ],
    *[49.9, 50, 50.1, 88, 104, 300, 700, 708.5, 730, 744, 746, 1e3, 1e8, 1e16, 1e100, 1e154, 1e200, 1e308],
    *[np.finfo(np.float64).max],
]
HARD = np.array([-x for x in reversed(_POSITIVE)] + _POSITIVE)


def _mpf(value: Any) -> Any:
    """Any NumPy float, exactly; mpmath does not take a longdouble."""
    high = float(value)
    return mp.mpf(high) + mp.mpf(float(value - type(value)(high))) if np.isfinite(high) else mp.mpf(high)


def _mismatch(case: Case, got: Array, exact: list[Any], x: Array, rtol: float) -> list[str]:
    """Return a line for every point where the result is further off than the tolerance."""
    bad = []
    for at, value, truth in zip(x, got, exact, strict=True):
        overflows = abs(truth) > np.finfo(np.float64).max
        error = 0 if overflows and np.isinf(value) else abs(_mpf(value) - truth)
        if not error <= rtol * abs(truth) + case.least * LEAST:
            bad.append(f"{case}({at!r}) = {value!r}, exactly {mp.nstr(truth, 20)}")
    return bad


@EACH
def test_forward_against_mpmath_at_hard_points(case: Case) -> None:
    with mp.workdps(700):  # x - tanh(x) at 1e-310 needs 620 digits
        exact = [case.exact(mp.mpf(x)) for x in HARD]
        assert not _mismatch(case, case.forward(HARD), exact, HARD, case.rtol)


@pytest.mark.skipif(
    bool(np.finfo(np.longdouble).eps > 1e-18), reason="longdouble is no wider than float64 here"
)
@pytest.mark.parametrize("case", [c for c in SMOOTH if str(c) != "gelu"], ids=str)
def test_longdouble_keeps_its_digits(case: Case) -> None:
    x = rng.normal(scale=8, size=40).astype(np.longdouble)
    y = case.forward(x)
    assert y.dtype == np.longdouble
    with mp.workdps(60):
        exact = [case.exact(_mpf(v)) for v in x]
        assert not _mismatch(case, y, exact, x, case.rtol * float(np.finfo(np.longdouble).eps / EPS))


@EACH
def test_gradient_is_the_finite_difference(case: Case) -> None:
    x = np.concatenate([rng.normal(scale=3, size=200), [-25.0, -12.0, -7.0, 7.0, 12.0, 25.0]])
    x = x[np.all([np.abs(x - kink) > 1e-3 for kink in case.kinks], axis=0)] if case.kinks else x
    dy, h = rng.normal(size=x.size), 1e-5
    numeric = dy * (case.forward(x + h) - case.forward(x - h)) / (2 * h)
    np.testing.assert_allclose(case.backward(dy, x), numeric, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize(
    "case",
    [
        c
        for c in SMOOTH
        if c.name in {"gelu", "silu", "mish", "softplus", "softsign", "tanhshrink", "squareplus"}
    ],
    ids=str,
)
def test_gradient_against_mpmath_in_the_tails(case: Case) -> None:
    x = HARD[(np.abs(HARD) > 0.05) & (np.abs(HARD) < 1000) & ~np.isin(HARD, case.kinks)]
    with mp.workdps(400):
        exact = [mp.diff(case.exact, mp.mpf(v)) for v in x]
        assert not _mismatch(case, case.backward(np.ones_like(x), x), exact, x, max(case.rtol, 4e-14))


@pytest.mark.parametrize(
    ("name", "params", "at", "slope"),
    [
        ("relu", {}, 0, 0),
        ("leaky_relu", {}, 0, 0.01),
        ("rrelu", {}, 0, (1 / 8 + 1 / 3) / 2),
        ("elu", {"alpha": 0.3}, 0, 0.3),
        ("selu", {}, 0, 1.0507009873554805 * 1.6732632423543772),
        ("celu", {"alpha": 3.0}, 0, 1),
        ("hardsigmoid", {}, -3, 0),
        ("hardsigmoid", {}, 3, 0),
        ("hardswish", {}, -3, 0),
        ("hardswish", {}, 3, 1),
        ("hardtanh", {}, -1, 0),
        ("hardtanh", {}, 1, 0),
        ("relu6", {}, 0, 0),
        ("relu6", {}, 6, 0),
        ("threshold", {"threshold": 0.5, "value": -7}, 0.5, 0),
        ("hardshrink", {}, -0.5, 0),
        ("hardshrink", {}, 0.5, 0),
        ("softshrink", {}, -0.5, 0),
        ("softshrink", {}, 0.5, 0),
        ("softplus", {}, 20, 1 / (1 + np.exp(-20.0))),
        ("softplus", {"threshold": 3.0}, 3.5, 1),
    ],
)
def test_gradient_at_kinks(name: str, params: dict[str, float], at: float, slope: float) -> None:
    dx = Case(name, mp.mpf, params).backward(np.array([2.0]), np.array([float(at)]))
    np.testing.assert_allclose(dx, [2 * slope], rtol=1e-15)


LIMITS = {  # y at -inf and inf, dy/dx at -inf and inf
    "identity": (-np.inf, np.inf, 1, 1),
    "relu": (0, np.inf, 0, 1),
    "leaky_relu": (-np.inf, np.inf, 0.01, 1),
    "rrelu": (-np.inf, np.inf, (1 / 8 + 1 / 3) / 2, 1),
    "elu": (-1, np.inf, 0, 1),
    "selu": (-1.7580993408473766, np.inf, 0, 1.0507009873554805),
    "celu": (-1, np.inf, 0, 1),
    "gelu": (0, np.inf, 0, 1),
    "sigmoid": (0, 1, 0, 0),
    "tanh": (-1, 1, 0, 0),
    "silu": (0, np.inf, 0, 1),
    "mish": (0, np.inf, 0, 1),
    "softplus": (0, np.inf, 0, 1),
    "softsign": (-1, 1, 0, 0),
    "logsigmoid": (-np.inf, 0, 1, 0),
    "hardsigmoid": (0, 1, 0, 0),
    "hardswish": (0, np.inf, 0, 1),
    "hardtanh": (-1, 1, 0, 0),
    "relu6": (0, 6, 0, 0),
    "threshold": (-7, np.inf, 0, 1),
    "hardshrink": (-np.inf, np.inf, 1, 1),
    "softshrink": (-np.inf, np.inf, 1, 1),
    "tanhshrink": (-np.inf, np.inf, 1, 1),
    "squareplus": (0, np.inf, 0, 1),
    "square": (np.inf, np.inf, -np.inf, np.inf),
    "exp": (0, np.inf, 0, np.inf),
}


@pytest.mark.parametrize(
    "case", [c for c in SMOOTH + LINEAR if not c.params or c.name in {"gelu", "threshold"}], ids=str
)
@each("dtype", [np.float32, np.float64, np.longdouble])
def test_limits_and_nan(case: Case, dtype: Any) -> None:
    x = np.array([-np.inf, np.inf], dtype)
    low, high, low_slope, high_slope = LIMITS[case.name]
    np.testing.assert_allclose(case.forward(x), [low, high], rtol=1e-6)
    np.testing.assert_allclose(case.backward(np.ones_like(x), x), [low_slope, high_slope], rtol=1e-6)
    assert np.isnan(case.forward(np.array([np.nan], dtype))).all()


@EACH
def test_dtypes_and_shapes(case: Case) -> None:
    for dtype in (np.float16, np.float32, np.float64, np.longdouble):
        x = rng.normal(size=(3, 4)).astype(dtype)
        assert case.forward(x).dtype == dtype
        assert case.backward(x, x).dtype == dtype
    for shape in ((), (0,), (2, 0, 3), (2, 3, 4)):
        x = rng.normal(size=shape)
        assert case.forward(x).shape == shape
        assert case.backward(x, x).shape == shape
    for integers in (np.bool_, np.int8, np.uint16, np.int32, np.int64):
        ones = np.ones(3, integers)
        assert case.forward(ones).dtype == np.tanh(ones).dtype
    for wrong in (np.ones(2, complex), np.ones(2, object), np.array(["a"])):
        with pytest.raises(TypeError, match=str(wrong.dtype)):
            case.forward(wrong)


@EACH
def test_float32_agrees_with_float64(case: Case) -> None:
    x = rng.normal(scale=3, size=1000).astype(np.float32)
    wide = x.astype(np.float64)
    np.testing.assert_allclose(case.forward(x), case.forward(wide), rtol=1e-5, atol=1e-7)
    np.testing.assert_allclose(case.backward(x, x), case.backward(wide, wide), rtol=1e-4, atol=1e-5)


def test_algebraic_gradients_where_a_square_leaves_the_range() -> None:
    dy = np.array([1e300])
    np.testing.assert_allclose(reference.softsign_backward(dy, [-1e200]), [1e-100], rtol=1e-14)
    np.testing.assert_allclose(reference.squareplus_backward(dy, [-1e150]), [1.0], rtol=1e-14)
    np.testing.assert_array_equal(reference.squareplus_backward(dy, [1e200]), dy)
    np.testing.assert_array_equal(reference.squareplus_backward(dy, [0.0], b=0), [0])


def test_gelu_names_a_wrong_approximation() -> None:
    for call in (reference.gelu, lambda x, a: reference.gelu_backward(x, x, a)):
        with pytest.raises(ValueError, match=r"'none' or 'tanh', got 'fast'"):
            call(np.ones(3), "fast")


def _numeric_gradient(f: Callable[[Array], Array], x: Array, dy: Array, h: float = 1e-5) -> Array:
    """The gradient of sum(dy * f(x)), one element of x at a time."""
    dx = np.empty_like(x)
    for i in np.ndindex(x.shape):
        step = np.zeros_like(x)
        step[i] = h
        dx[i] = np.sum(dy * (f(x + step) - f(x - step))) / (2 * h)
    return dx


@each("channels", [1, 3])
@each("shape", [(4, 3), (2, 3, 5), (2, 3, 2, 2)])
def test_prelu(shape: tuple[int, ...], channels: int) -> None:
    x, dy = rng.normal(size=shape), rng.normal(size=shape)
    weight = rng.normal(size=channels)
    dx, dweight = reference.prelu_backward(dy, x, weight)
    np.testing.assert_allclose(dx, _numeric_gradient(lambda v: reference.prelu(v, weight), x, dy), atol=1e-8)
    np.testing.assert_allclose(
        dweight, _numeric_gradient(lambda w: reference.prelu(x, w), weight, dy), atol=1e-8
    )
    channel = np.broadcast_to(weight, shape[1])
    expected = [np.where(x[:, c] > 0, x[:, c], channel[c] * x[:, c]) for c in range(shape[1])]
    np.testing.assert_array_equal(reference.prelu(x, weight), np.stack(expected, axis=1))


def test_prelu_at_zero_and_with_a_wrong_weight() -> None:
    dx, dweight = reference.prelu_backward([2.0, 2.0], [0.0, -3.0], [0.25])
    assert dx.tolist() == [0.5, 0.5]
    assert dweight.tolist() == [-6.0]
    for weight in (np.ones(2), np.ones((3, 1)), np.float64(1)):
        with pytest.raises(ValueError, match=r"weight must have shape \(1,\) or \(3,\), .* got"):
            reference.prelu(np.ones((4, 3)), weight)


PHILOX = [  # counter, key, result: from kat_vectors of Random123
    ("00000000 00000000 00000000 00000000", "00000000 00000000", "6627e8d5 e169c58d bc57ac4c 9b00dbd8"),
    ("ffffffff ffffffff ffffffff ffffffff", "ffffffff ffffffff", "408f276d 41c83b0e a20bc7c6 6d5451fd"),
    ("243f6a88 85a308d3 13198a2e 03707344", "a4093822 299f31d0", "d16cfe09 94fdcceb 5001e420 24126ea1"),
]


def test_philox_known_answers() -> None:
    counter, key, result = ([[int(w, 16) for w in row[i].split()] for row in PHILOX] for i in range(3))
    np.testing.assert_array_equal(philox4x32(counter, key), result)
    np.testing.assert_array_equal(philox4x32(counter[1], key[1]), result[1])


def test_random_draws_are_the_halves_of_the_blocks_in_order() -> None:
    seed, offset = 0x299F31D0A4093822, 0x0370734413198A2E
    blocks = [[block, 0, 0x13198A2E, 0x03707344] for block in range(3)]
    words = philox4x32(blocks, [0xA4093822, 0x299F31D0]).reshape(-1)
    halves = [half for word in words.tolist() for half in (word & 0xFFFF, word >> 16)]
    np.testing.assert_array_equal(random_draws(21, seed, offset), halves[:21])
    assert random_draws(0, seed, offset).shape == (0,)


def test_rrelu_in_training() -> None:
    x, key = rng.normal(size=(3, 5, 7)), (2**63 + 5, 2**40)
    y = reference.rrelu(x, 0.1, 0.3, training=True, key=key)
    uniform = (random_draws(x.size, *key).reshape(x.shape) + 0.5) / 2**16
    slope = np.where(x > 0, 1, 0.1 + 0.2 * uniform)
    np.testing.assert_allclose(y, slope * x, rtol=1e-14)
    dx = reference.rrelu_backward(x, x, 0.1, 0.3, training=True, key=key)
    np.testing.assert_allclose(dx, slope * x, rtol=1e-14)

    zero_slope = reference.rrelu_backward(np.ones(100_000), np.zeros(100_000), training=True, key=(1, 2))
    assert zero_slope.min() > 1 / 8
    assert zero_slope.max() < 1 / 3
    np.testing.assert_allclose(zero_slope.mean(), (1 / 8 + 1 / 3) / 2, rtol=0.005)
    with pytest.raises(ValueError, match=r"key must be .*, got None"):
        reference.rrelu(x, training=True)


@pytest.mark.parametrize("name", ["glu", "swiglu"])
@each(("shape", "dim"), [((3, 4), -1), ((3, 4), 1), ((4, 3, 2), 0), ((2, 6, 2), 1)])
def test_gated(name: str, shape: tuple[int, ...], dim: int) -> None:
    forward, backward = getattr(reference, name), getattr(reference, name + "_backward")
    x = rng.normal(scale=2, size=shape)
    y = forward(x, dim)
    dy = rng.normal(size=y.shape)
    a, b = np.split(x, 2, axis=dim)
    expected = a / (1 + np.exp(-b)) if name == "glu" else a / (1 + np.exp(-a)) * b
    np.testing.assert_allclose(y, expected, rtol=1e-14)
    np.testing.assert_allclose(
        backward(dy, x, dim), _numeric_gradient(lambda v: forward(v, dim), x, dy), rtol=1e-6, atol=1e-8
    )
    with pytest.raises(ValueError, match=r"an even length along dim 0, got 3"):
        forward(np.ones((3, 2)), 0)


@pytest.mark.parametrize(
    ("shape", "k", "dim"), [((4, 6), 2, 1), ((4, 6, 2), 3, 1), ((2, 4), 4, -1), ((6,), 2, 0)]
)
def test_maxout(shape: tuple[int, ...], k: int, dim: int) -> None:
    x = rng.permutation(np.prod(shape)).reshape(shape).astype(np.float64)
    y, saved = reference.maxout(x, k, dim)
    dy = rng.normal(size=y.shape)
    pieces = np.split(x, shape[dim] // k, axis=dim)
    np.testing.assert_array_equal(
        y, np.concatenate([p.max(axis=dim, keepdims=True) for p in pieces], axis=dim)
    )
    numeric = _numeric_gradient(lambda v: reference.maxout(v, k, dim)[0], x, dy)
    np.testing.assert_allclose(reference.maxout_backward(dy, saved), numeric, atol=1e-8)


def test_maxout_ties_nan_and_a_wrong_k() -> None:
    y, saved = reference.maxout([[1.0, 1.0, 0.0, np.nan, -np.inf, -np.inf]], 2)
    np.testing.assert_array_equal(y, [[1, np.nan, -np.inf]])
    assert reference.maxout_backward([[5.0, 6.0, 7.0]], saved).tolist() == [[5, 0, 0, 6, 7, 0]]
    for k in (4, 0, -1):
        with pytest.raises(ValueError, match=f"k must divide .* 6, got {k}"):
            reference.maxout(np.ones((2, 6)), k)


@pytest.mark.parametrize(
    "case", [c for c in SMOOTH + LINEAR if c.name not in {"identity", "squareplus", "square"}], ids=str
)
def test_agrees_with_torch(case: Case) -> None:
    torch = pytest.importorskip("torch")
    kinks = np.array([-3, -1, -0.5, 0, 0.2, 0.5, 1, 2, 3, 6, 20])
    x = np.concatenate([rng.normal(scale=3, size=500), kinks])
    dy = rng.normal(size=x.size)
    tensor = torch.tensor(x, requires_grad=True)
    space = torch.nn.functional if hasattr(torch.nn.functional, case.name) else torch
    y = getattr(space, case.name)(tensor, **case.params)
    y.backward(torch.tensor(dy))
    np.testing.assert_allclose(case.forward(x), y.detach().numpy(), rtol=1e-12, atol=1e-15)
    rtol = 1e-7 if case.name == "hardsigmoid" else 1e-10  # torch's 1/6 is a float32 there
    np.testing.assert_allclose(case.backward(dy, x), tensor.grad.numpy(), rtol=rtol, atol=1e-12)


def test_prelu_and_glu_agree_with_torch() -> None:
    torch = pytest.importorskip("torch")
    x, weight, dy = rng.normal(size=(3, 4, 6)), rng.normal(size=4), rng.normal(size=(3, 4, 6))
    x[0, 0, 0] = 0
    tensor, w = torch.tensor(x, requires_grad=True), torch.tensor(weight, requires_grad=True)
    torch.nn.functional.prelu(tensor, w).backward(torch.tensor(dy))
    dx, dweight = reference.prelu_backward(dy, x, weight)
    np.testing.assert_allclose(dx, tensor.grad.numpy(), rtol=1e-14)
    np.testing.assert_allclose(dweight, w.grad.numpy(), rtol=1e-12)

    tensor = torch.tensor(x, requires_grad=True)
    torch.nn.functional.glu(tensor, dim=1).backward(torch.tensor(dy[:, :2]))
    np.testing.assert_allclose(reference.glu_backward(dy[:, :2], x, 1), tensor.grad.numpy(), rtol=1e-12)
