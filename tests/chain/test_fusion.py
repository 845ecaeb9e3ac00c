"""Fused chains: the same as the functions called one after the other, forward and backward."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from itertools import product
from typing import Any

import numpy as np
import pytest

import fastnn
import fastnn.functional as F
from fastnn import stages
from fastnn._core.typing import Array
from support.cases import each
from support.chains import HEADS, KEY, Arrays, Results, Shape, arrays, fused
from support.gradients import numerical_gradient
from support.layouts import LAYOUTS
from support.operations import CALLS, FULL, HALF, ROWS, normal

DTYPES = each("dtype", FULL)
F32 = np.dtype(np.float32)

ACTIVATIONS = [(call.name, dict(call.params)) for call in CALLS if call.name in ROWS and not call.backward]
HEAD = each("head", HEADS)
RELU, TANH = stages.Activation("relu"), stages.Activation("tanh")
BLOCK = [RELU, stages.Dropout(0.25), stages.Add(), TANH]


# ---- one after the other -----------------------------------------------------------------------------------


def along(values: Array, x: Array) -> Array:
    return values.reshape(-1, *[1] * (x.ndim - 2))


def head_by_itself(head: Any, given: Arrays, mean: Array, var: Array) -> tuple[Array, Any]:
    """The first stage, and what its gradient needs; test_bias_and_scale_shift has the others' definitions."""
    if isinstance(head, stages.BatchNorm):
        return F.batch_norm(given.x, mean, var, given.weight, given.bias, head.training, eps=head.eps)
    weight = given.weight if isinstance(head, stages.ScaleShift) else None
    zeros = np.zeros_like(given.bias)
    return F.batch_norm(given.x, zeros, zeros + 1, weight, given.bias, eps=0.0)


def one_by_one(chain: Sequence[Any], given: Arrays) -> Results:
    """The stages as calls of functions, each with an array of its own."""
    mean, var = given.running_mean.copy(), given.running_var.copy()
    head = chain[0] if not isinstance(chain[0], stages.Activation | stages.Dropout | stages.Add) else None
    values: list[Array] = [given.x]
    saved: Any = None
    rest = list(chain[head is not None :])
    if head is not None:
        y, saved = head_by_itself(head, given, mean, var)
        values.append(y)
    for stage in rest:
        x = values[-1]
        if isinstance(stage, stages.Activation):
            values.append(getattr(F, stage.name)(x, **stage.parameters))
        elif isinstance(stage, stages.Dropout):
            values.append(F.dropout(x, stage.p, key=KEY))
        else:
            values.append(x + given.residual)

    g, dresidual, y = given.dy, None, values[-1]
    for stage in reversed(rest):
        after, before = values.pop(), values[-1]
        if isinstance(stage, stages.Activation):
            backward: Any = getattr(F, f"{stage.name}_backward")
            takes = after if "output" in backward.__annotations__ else before
            g = backward(g, takes, **stage.parameters)
        elif isinstance(stage, stages.Dropout):
            g = F.dropout_backward(g, stage.p, key=KEY)
        else:
            dresidual = g
    dweight = dbias = None
    if head is not None:
        dx, dweight, dbias = F.batch_norm_backward(g, saved)
        g = g if isinstance(head, stages.Bias) else dx  # which is the same but for -0
    return Results(y, g, dweight, dbias, dresidual, mean, var)


def assert_same(got: Results, expected: Results) -> None:
    """To the last bit, the sign of 0 included: rounding is the same, and so is the order of sums."""
    for name, one, other in zip(Results._fields, got, expected, strict=True):
        if one is None or other is None:
            assert one is other is None, name
            continue
        assert (one.shape, one.dtype) == (other.shape, other.dtype), name
        np.testing.assert_array_equal(one, other, err_msg=name)
        np.testing.assert_array_equal(np.signbit(one) | np.isnan(one), np.signbit(other) | np.isnan(other))


def chains(head: str, middle: Any) -> list[list[Any]]:
    """With and without dropout, and a residual added nowhere, before or after the activation."""
    drop, add = stages.Dropout(0.5), stages.Add()
    every = []
    for dropout, residual in product((False, True), ("none", "before", "after")):
        chain = [*HEADS[head], *[add] * (residual == "before"), middle, *[drop] * dropout]
        every.append([*chain, *[add] * (residual == "after")])
    return every


@DTYPES
@HEAD
@pytest.mark.parametrize(("name", "parameters"), ACTIVATIONS, ids=str)
def test_fused_is_one_after_the_other(
    name: str, parameters: dict[str, Any], head: str, dtype: np.dtype[Any], isa: str
) -> None:
    given = arrays((6, 5, 7), dtype)
    for chain in chains(head, stages.Activation(name, **parameters)):
        assert_same(fused(chain, given), one_by_one(chain, given))


@pytest.mark.parametrize(("name", "parameters"), ACTIVATIONS, ids=str)
def test_nan_in_x(name: str, parameters: dict[str, Any], isa: str) -> None:
    given = arrays((6, 5, 7), np.dtype(np.float32))
    given.x[..., ::3] = np.nan
    for head in ("nothing", "scale_shift"):
        chain = [*HEADS[head], stages.Activation(name, **parameters)]
        got = fused(chain, given)
        assert_same(got, one_by_one(chain, given))
        assert name == "identity" or np.isnan(got.input[..., ::3]).all()


SHAPES = [
    *[(2, 1), (2, 3), (3, 16), (5, 17), (40, 33), (700, 3), (3, 1500), (5, 4099)],
    *[
        (1, 2, 2),
        (2, 3, 15),
        (1, 1, 1025),
        (3, 2, 1023),
        (2, 2, 1024),
        (3, 2, 1025),
        (2, 2, 4097),
        (130, 64, 3),
    ],
    *[(3, 2, 4, 4), (2, 5, 40, 60), (2, 1, 3, 5, 7)],
]


def channels_last(array: Array) -> Array:
    """The same array with its channels last in memory."""
    return np.moveaxis(np.moveaxis(array, 1, -1).copy(), -1, 1)


@DTYPES
@HEAD
@each("lay_out", [np.copy, channels_last])
def test_shapes(head: str, lay_out: Callable[[Array], Array], dtype: np.dtype[Any], isa: str) -> None:
    for shape in SHAPES:
        given = arrays(shape, dtype).laid_out(lay_out)
        got = fused([*HEADS[head], *BLOCK], given)
        assert_same(got, one_by_one([*HEADS[head], *BLOCK], given))
        for result in (got.y, got.input):
            same = [r == x or n == 1 for r, x, n in zip(result.strides, given.x.strides, shape, strict=True)]
            assert all(same), shape


@each("chain", [[RELU], [TANH, RELU], BLOCK, [stages.Dropout()], [stages.Add()]])
@each("shape", [(), (1,), (17,), (3000,), (0,), (3, 0)])
def test_without_channels(chain: list[Any], shape: Shape) -> None:
    given = arrays(shape, F32)
    assert_same(fused(chain, given), one_by_one(chain, given))


@DTYPES
@each("head", [name for name in HEADS if name != "nothing"])
def test_the_first_stage_alone(head: str, dtype: np.dtype[Any], isa: str) -> None:
    for shape in ((6, 5), (3, 4, 11), (3, 4, 5, 2)):
        given = arrays(shape, dtype)
        assert_same(fused(HEADS[head], given), one_by_one(HEADS[head], given))


def test_bias_and_scale_shift(isa: str) -> None:
    given = arrays((6, 5, 7), F32)
    wide = given.copies(np.dtype(np.float64))
    weight, bias = along(wide.weight, wide.x), along(wide.bias, wide.x)
    got = fused([stages.Bias()], given)
    np.testing.assert_array_equal(got.y, (wide.x + bias).astype(np.float32))
    np.testing.assert_array_equal(got.input, given.dy)
    np.testing.assert_allclose(got.bias, wide.dy.sum(axis=(0, 2)), rtol=1e-5, atol=1e-5)  # type: ignore[arg-type]
    got, exact = fused([stages.ScaleShift()], given), wide.x * weight + bias
    rounded_twice = 2.0**-24 * (np.abs(wide.x * weight) + np.abs(exact))  # on SSE2
    assert (np.abs(got.y - exact) <= rounded_twice).all()
    np.testing.assert_array_equal(got.input, (wide.dy * weight).astype(np.float32))
    np.testing.assert_allclose(got.bias, wide.dy.sum(axis=(0, 2)), rtol=1e-5, atol=1e-5)  # type: ignore[arg-type]
    np.testing.assert_allclose(got.weight, (wide.dy * wide.x).sum(axis=(0, 2)), rtol=1e-5, atol=1e-5)  # type: ignore[arg-type]
    chain = fastnn.fuse(stages.ScaleShift())
    without, saved = chain.forward(given.x, weight=given.weight)
    np.testing.assert_array_equal(without, (wide.x * weight).astype(np.float32))
    assert chain.backward(given.dy, saved).bias is None


# ---- layouts, dtypes, outputs ------------------------------------------------------------------------------

FORMS: dict[str, Callable[[Array], Array]] = {
    **{
        name: LAYOUTS[name] for name in ("misaligned", "strided", "rows_apart", "fortran", "other_byte_order")
    },
    "reversed": lambda a: np.flip(np.flip(a).copy()),
    "channels_last": channels_last,
    "some_channels": lambda a: np.repeat(a, 2, axis=1)[:, ::2],
}


def with_native(results: Results) -> Results:
    return Results._make(a if a is None else a.astype(a.dtype.newbyteorder("=")) for a in results)


@DTYPES
@HEAD
@each("form", FORMS)
def test_layouts(form: str, head: str, dtype: np.dtype[Any]) -> None:
    for shape in ((6, 5), (5, 6, 14), (3, 4, 5, 2)):
        given = arrays(shape, dtype).laid_out(FORMS[form])
        before = [array.copy() for array in given[:3]]
        # x alone decides how a channel is summed: the functions get x in the same layout.
        expected = one_by_one([*HEADS[head], *BLOCK], given)
        out, dout = (FORMS[form](np.zeros(shape, dtype)) for _ in range(2))
        got = fused([*HEADS[head], *BLOCK], given, out=out, dout=dout)
        assert got.y is out
        assert got.input is dout
        assert_same(with_native(got), with_native(expected))
        for array, old in zip(given[:3], before, strict=True):
            np.testing.assert_array_equal(array, old)


@HEAD
@each("dtype", HALF)
def test_half_types_are_computed_in_float32_and_rounded_once(
    head: str, dtype: np.dtype[Any], isa: str
) -> None:
    given = arrays((6, 5, 7), dtype)
    single = given.copies(F32)
    for chain in chains(head, stages.Activation("gelu")):
        got, expected = fused(chain, given), fused(chain, single)
        for name, one, other in zip(Results._fields, got, expected, strict=True):
            assert (one is None) == (other is None)
            if one is not None and other is not None:
                assert one.dtype == dtype
                np.testing.assert_array_equal(one, other.astype(dtype), err_msg=name)


@DTYPES
@HEAD
@each("lay_out", [np.copy, channels_last])
def test_in_place(head: str, lay_out: Callable[[Array], Array], dtype: np.dtype[Any], isa: str) -> None:
    for shape, after in product([(40, 5), (3, 4, 50, 70)], ([RELU, stages.Dropout(0.25)], BLOCK)):
        chain = [*HEADS[head], *after]
        if not chain:
            continue
        given = arrays(shape, dtype).laid_out(lay_out)
        expected = fused(chain, given)
        for name in ("x", "residual"):
            again = given.laid_out(lambda a: a.copy(order="K"))
            takes = fastnn.fuse(*chain)
            out = getattr(again, name)
            values = {"residual": again.residual} if after is BLOCK else {}
            values |= {"weight": again.weight} if head not in ("nothing", "bias") else {}
            values |= {"bias": again.bias} if head != "nothing" else {}
            if head.startswith("batch"):
                values |= {"running_mean": again.running_mean.copy(), "running_var": again.running_var.copy()}
            y, _ = takes.forward(again.x, key=KEY, **values, out=out)
            assert y is out
            np.testing.assert_array_equal(y, expected.y)
        for name in ("dy", "x"):
            again = given.laid_out(lambda a: a.copy(order="K"))
            assert_same(fused(chain, again, dout=getattr(again, name)), expected)


def test_the_residual_is_the_input() -> None:
    given = arrays((6, 5, 7), F32)
    given = given._replace(residual=given.x)
    for head in HEADS:
        chain = [*HEADS[head], *BLOCK]
        assert_same(fused(chain, given), one_by_one(chain, given))


def test_a_residual_of_another_dtype_meets_in_the_wider() -> None:
    given = arrays((6, 5, 7), F32)
    chain = fastnn.fuse(RELU, stages.Add())
    y, saved = chain.forward(given.x, residual=given.residual.astype(np.float64))
    np.testing.assert_array_equal(y, F.relu(given.x).astype(np.float64) + given.residual)
    gradients = chain.backward(given.dy.astype(np.float64), saved)
    np.testing.assert_array_equal(gradients.residual, given.dy)


@each("shape", [(0, 3), (2, 0), (0, 3, 4), (2, 3, 0)])
@HEAD
def test_no_elements(head: str, shape: Shape) -> None:
    given = arrays(shape, F32)
    got = fused([*HEADS[head], *BLOCK], given)
    assert got.y.shape == got.input.shape == shape
    for gradient in (got.weight, got.bias):
        assert gradient is None or (gradient == 0).all()
    np.testing.assert_array_equal(got.running_var, given.running_var)


# ---- dropout's draws ---------------------------------------------------------------------------------------


@each("p", [0.0, 0.1, 0.5, 0.999, 1.0])
def test_probabilities(p: float, isa: str) -> None:
    given = arrays((6, 5, 70), F32)
    for lay_out in (np.copy, channels_last):
        for chain in ([stages.Dropout(p)], [stages.BatchNorm(), RELU, stages.Dropout(p)]):
            assert_same(fused(chain, given.laid_out(lay_out)), one_by_one(chain, given.laid_out(lay_out)))


def test_without_a_key_it_is_the_default_generator_s_next() -> None:
    x = normal((6, 50), F32)
    chain = fastnn.fuse(RELU, stages.Dropout(0.5))
    fastnn.manual_seed(3)
    first, saved = chain.forward(x)
    second, _ = chain.forward(x)
    keys = fastnn.Generator(3)
    for y in (first, second):
        np.testing.assert_array_equal(y, F.dropout(F.relu(x), key=keys.key()))
    fastnn.manual_seed(77)  # backward draws what forward drew
    np.testing.assert_array_equal(chain.backward(first, saved).input != 0, first != 0)


# ---- threads, memory, long chains --------------------------------------------------------------------------


@DTYPES
@HEAD
@each("lay_out", [np.copy, channels_last])
def test_threads_change_no_bit(
    head: str, lay_out: Callable[[Array], Array], dtype: np.dtype[Any], isa: str, threads: None
) -> None:
    for shape in ((1030, 65), (8, 16, 28, 28), (2, 3, 40_001)):
        given = arrays(shape, dtype).laid_out(lay_out)
        results = []
        for count in (1, 2, 3, 8):
            fastnn.set_num_threads(count)
            got = fused([*HEADS[head], *BLOCK], given)
            results.append([None if array is None else array.tobytes() for array in got])
        assert all(result == results[0] for result in results[1:])


@each("training", [True, False])
def test_nothing_of_the_size_of_the_output_is_kept(training: bool) -> None:
    given = arrays((8, 4, 30, 30), F32)
    chain = fastnn.fuse(stages.BatchNorm(training=training), RELU, stages.Dropout(0.5))
    running = {"running_mean": given.running_mean, "running_var": given.running_var}
    _, saved = chain.forward(given.x, **running, key=KEY)
    large = [value for value in saved if isinstance(value, np.ndarray) and value.size > 4]
    assert len(large) == 1
    assert np.shares_memory(large[0], given.x)


@DTYPES
@HEAD
def test_the_longest_chain(head: str, dtype: np.dtype[Any], isa: str) -> None:
    names = ("tanh", "gelu", "silu", "elu", "softplus", "mish")
    chain = [*HEADS[head], *[stages.Activation(name) for name in names], stages.Dropout(0.25), stages.Add()]
    for lay_out in (np.copy, channels_last):
        given = arrays((5, 6, 211), dtype).laid_out(lay_out)
        assert_same(fused(chain, given), one_by_one(chain, given))
    with pytest.raises(ValueError, match=r"at most 8 stages after the first, got 9"):
        fastnn.fuse(*chain, RELU)


def test_forty_blocks(isa: str) -> None:
    """A deep residual network: rounding is the same everywhere, so nothing can grow."""
    blocks = [
        [stages.BatchNorm(), stages.Activation(name), stages.Dropout(0.1), stages.Add()]
        for name in ("relu", "gelu")
    ]
    given = arrays((16, 8, 6, 5), F32)
    ours = theirs = given
    for i in range(40):
        ours = ours._replace(residual=ours.x, x=fused(blocks[i % 2], ours._replace(residual=ours.x)).y)
        theirs = theirs._replace(
            residual=theirs.x, x=one_by_one(blocks[i % 2], theirs._replace(residual=theirs.x)).y
        )
    np.testing.assert_array_equal(ours.x, theirs.x)


# ---- values ------------------------------------------------------------------------------------------------


@HEAD
def test_gradients_are_the_finite_differences(head: str) -> None:
    given = arrays((3, 2, 3), np.dtype(np.float64))
    chain = fastnn.fuse(*HEADS[head], TANH, stages.Add(), stages.Dropout(0.25), stages.Activation("softplus"))
    names = {name for stage in chain.stages for name in stage.takes} & {"weight", "bias", "residual"}
    values = {name: getattr(given, name) for name in names}

    def forward() -> tuple[Array, Any]:
        running = {}
        if head.startswith("batch"):
            running = {"running_mean": given.running_mean.copy(), "running_var": given.running_var.copy()}
        return chain.forward(given.x, key=KEY, **values, **running)

    def loss() -> float:
        return float((forward()[0] * given.dy).sum())

    gradients = chain.backward(given.dy, forward()[1])
    for name, gradient in gradients._asdict().items():
        array = given.x if name == "input" else values.get(name)
        assert (gradient is None) == (array is None)
        if gradient is not None and array is not None:
            np.testing.assert_allclose(gradient, numerical_gradient(loss, array), rtol=1e-6, atol=1e-7)


@each("bad", [np.nan, np.inf, -np.inf])
def test_nan_in_a_channel(bad: float, isa: str) -> None:
    for shape in ((40, 19), (3, 19, 6, 7)):
        for lay_out in (np.copy, channels_last):
            given = arrays(shape, F32).laid_out(lay_out)
            given.x[0, 7] = bad
            for head in HEADS:
                chain = [*HEADS[head], stages.Activation("silu"), stages.Add()]
                assert_same(fused(chain, given), one_by_one(chain, given))


def test_dropped_nan_is_0() -> None:
    x = np.full((4, 50), np.nan, np.float32)
    y, saved = fastnn.fuse(RELU, stages.Dropout(0.5)).forward(x, key=KEY)
    np.testing.assert_array_equal(y, F.dropout(x, key=KEY))
    assert (y == 0).any()
    assert saved.key == KEY


# ---- descriptions and errors -------------------------------------------------------------------------------


def test_descriptions_are_values() -> None:
    chain = fastnn.fuse(
        stages.BatchNorm(momentum=None), stages.Activation("elu", alpha=0.5), stages.Dropout()
    )
    assert re.fullmatch(
        r"fuse\(BatchNorm\(eps=1e-05, momentum=None, training=True, .*\),"
        r" Activation\('elu', alpha=0.5\), Dropout\(p=0.5\)\)",
        repr(chain),
    )
    assert stages.Activation("elu") == stages.Activation("elu", alpha=1.0) != stages.Activation("celu")
    assert hash(stages.Activation("elu")) == hash(stages.Activation("elu", alpha=1.0))
    assert stages.Activation("gelu") != stages.Activation("gelu", approximate="tanh")
    assert stages.Dropout(0.5) == stages.Dropout()
    assert len({stages.Add(), stages.Add(), stages.Bias()}) == 2


def test_chains_that_do_not_fit_together() -> None:
    bias, norm, drop, add = stages.Bias(), stages.BatchNorm(), stages.Dropout(), stages.Add()
    wrong: list[tuple[tuple[Any, ...], str]] = [
        ((), "at least one stage"),
        ((RELU, bias), "Bias must be the first stage"),
        ((norm, norm), "BatchNorm must be the first stage"),
        ((bias, stages.ScaleShift()), "ScaleShift must be the first stage"),
        ((drop, drop), "at most one Dropout"),
        ((add, RELU, add), "at most one Add"),
    ]
    for chain, why in wrong:
        with pytest.raises(ValueError, match=why):
            fastnn.fuse(*chain)
    other: Any
    for other in ("relu", F.relu, None):
        with pytest.raises(TypeError, match=r"^a stage must be one of fastnn.stages, got"):
            fastnn.fuse(norm, other)


def test_stages_with_wrong_parameters() -> None:
    make: Any
    for name in ("prelu", "glu", "maxout", "cube", "gelu_tanh"):
        with pytest.raises(ValueError, match=f"^no activation of a chain is called {name!r}"):
            stages.Activation(name)
    with pytest.raises(ValueError, match=r"^approximate must be 'none' or 'tanh'"):
        stages.Activation("gelu", approximate="erf")
    with pytest.raises(TypeError, match=r"^elu has no parameter beta; it has: alpha"):
        stages.Activation("elu", beta=2.0)
    with pytest.raises(TypeError, match=r"^threshold needs its parameter"):
        stages.Activation("threshold", value=0.0)
    with pytest.raises(TypeError, match=r"^alpha must be a real number, got str"):
        stages.Activation("elu", alpha="1")
    for p in (-0.1, 1.1, np.nan):
        with pytest.raises(ValueError, match=r"^p must be in \[0, 1\], got"):
            stages.Dropout(p)
    for make in (stages.Dropout, stages.BatchNorm):
        with pytest.raises(TypeError, match=r"^(p|eps) must be a real number, got"):
            make("0.5")


def test_arguments_that_no_stage_takes_and_missing_ones() -> None:
    x, one = normal((4, 3), F32), np.ones(3, np.float32)
    wrong: list[tuple[list[Any], dict[str, Any], str]] = [
        ([RELU], {"weight": one}, "takes weight"),
        ([RELU], {"key": KEY}, "takes key"),
        ([stages.Bias()], {"bias": one, "running_mean": one}, "takes running_mean"),
        ([stages.BatchNorm()], {"residual": x}, "takes residual"),
        ([stages.Bias()], {}, "bias must be given"),
        ([stages.ScaleShift()], {"bias": one}, "weight must be given"),
        ([RELU, stages.Add()], {}, "residual must be given"),
        ([stages.BatchNorm(training=False), RELU], {}, "running_mean and running_var must be given"),
    ]
    for chain, given, why in wrong:
        out = np.full((4, 3), 7, F32)
        with pytest.raises(ValueError, match=why):
            fastnn.fuse(*chain).forward(x, **given, out=out)
        assert (out == 7).all()


def test_arrays_that_do_not_fit() -> None:
    given = arrays((4, 3), F32)
    chain = fastnn.fuse(stages.BatchNorm(), RELU, stages.Dropout(), stages.Add())
    right: dict[str, Any] = {
        "weight": given.weight,
        "bias": given.bias,
        "running_mean": given.running_mean,
        "running_var": given.running_var,
        "residual": given.residual,
        "key": KEY,
        "out": np.full((4, 3), 7, F32),
    }
    before = {name: np.copy(value) for name, value in right.items()}
    wrong: list[tuple[str, Any, type[Exception]]] = [
        *[(name, np.ones(4, F32), ValueError) for name in ("weight", "bias", "running_mean", "running_var")],
        *[
            (name, np.ones(3, complex), TypeError)
            for name in ("weight", "bias", "running_mean", "running_var")
        ],
        ("residual", np.ones((4, 1), F32), ValueError),
        ("residual", np.ones((4, 3), complex), TypeError),
        ("key", "abc", TypeError),
        ("key", (-1, 0), ValueError),
        ("out", np.full((3, 4), 7, F32), ValueError),
        ("out", np.full((4, 3), 7, np.float64), TypeError),
    ]
    for name, value, error in wrong:
        with pytest.raises(error, match=rf"^{name} must .*got"):
            chain.forward(given.x, **{**right, name: value})
    with pytest.raises(ValueError, match=r"more than one value per channel, got input of shape \(1, 3\)"):
        chain.forward(given.x[:1], **{**right, "residual": given.residual[:1], "out": None})
    for name, old in before.items():
        np.testing.assert_array_equal(right[name], old)
    for head in (stages.Bias(), stages.ScaleShift(), stages.BatchNorm()):
        values: Any = {name: given.weight for name in head.takes if name in ("weight", "bias")}
        with pytest.raises(ValueError, match=r"^input must have shape \(N, C\).*got \(3,\)"):
            fastnn.fuse(head).forward(given.weight, **values)

    _, saved = chain.forward(given.x, **right)
    dout = np.full((4, 3), 7, F32)
    for shape in ((4,), (3, 4), (4, 3, 1)):
        with pytest.raises(ValueError, match=r"^dy must have the shape of forward's result, \(4, 3\), got"):
            chain.backward(np.ones(shape, F32), saved, out=dout)
    with pytest.raises(TypeError, match=r"^saved must be .*got"):
        chain.backward(given.dy, None, out=dout)  # type: ignore[arg-type]
    for out in (np.full((3, 4), 7, F32), np.full((4, 3), 7, np.float64)):
        with pytest.raises((ValueError, TypeError), match=r"^out must .*got"):
            chain.backward(given.dy, saved, out=out)
    assert (dout == 7).all()
