"""Initialisers: moments, bounds and structure, torch's formulas, repeatability, whole models, errors."""

from __future__ import annotations

import math
import re
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest

import fastnn
from fastnn import init, nn
from fastnn._core.typing import Array
from fastnn.nn.module import Module
from support.cases import each

PAGE = Path(__file__).parents[2] / "docs" / "init.md"

DRAWS: dict[str, Callable[..., Any]] = {
    "normal": lambda w, g: init.normal_(w, 1.0, 2.0, generator=g),
    "uniform": lambda w, g: init.uniform_(w, -1.0, 2.0, generator=g),
    "trunc_normal": lambda w, g: init.trunc_normal_(w, generator=g),
    "xavier_uniform": lambda w, g: init.xavier_uniform_(w, generator=g),
    "xavier_normal": lambda w, g: init.xavier_normal_(w, generator=g),
    "kaiming_uniform": lambda w, g: init.kaiming_uniform_(w, generator=g),
    "kaiming_normal": lambda w, g: init.kaiming_normal_(w, generator=g),
    "lecun_uniform": lambda w, g: init.lecun_uniform_(w, generator=g),
    "lecun_normal": lambda w, g: init.lecun_normal_(w, generator=g),
    "orthogonal": lambda w, g: init.orthogonal_(w, generator=g),
    "sparse": lambda w, g: init.sparse_(w, 0.3, generator=g),
    "truncated scaling": lambda w, g: init.variance_scaling_(w, 2.0, "fan_out", "truncated_normal", g),
}
CONSTANTS: dict[str, Callable[[Any], Any]] = {
    "constant": lambda w: init.constant_(w, 0.5),
    "zeros": init.zeros_,
    "ones": init.ones_,
    "eye": init.eye_,
}
ALL: dict[str, Callable[[Any], Any]] = {
    **CONSTANTS,
    **{name: partial(draw, g=None) for name, draw in DRAWS.items()},
}


@pytest.fixture(autouse=True)
def _seed() -> None:
    fastnn.manual_seed(7)


def z_scores(values: Array, mean: float, std: float, fourth: float) -> tuple[float, float]:
    """By how many standard errors mean and variance are off; fourth: the law's E[(x - mean)^4] / std^4."""
    x = np.asarray(values, np.float64).ravel()
    error = std**2 * math.sqrt((fourth - 1) / x.size)
    off = float(x.mean()) - mean
    return off * math.sqrt(x.size) / std, (float(np.mean((x - mean) ** 2)) - std**2) / error


def check_moments(values: Array, mean: float, std: float, fourth: float) -> None:
    for z in z_scores(values, mean, std, fourth):
        assert abs(z) < 4.5


NORMAL, UNIFORM = 3.0, 1.8


# ---- what all of them do -----------------------------------------------------------------------------------


@pytest.mark.parametrize("initialise", ALL.values(), ids=ALL.keys())
@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.float16, ml_dtypes.bfloat16, ">f4"])
def test_they_write_in_place_and_return_the_argument(initialise: Callable[[Any], Any], dtype: Any) -> None:
    base = np.full((12, 10), np.nan, dtype)
    view = base[::2, 1::3]
    assert initialise(view) is view
    assert np.isfinite(view.astype(np.float64)).all()
    outside = np.ones(base.shape, bool)
    outside[::2, 1::3] = False
    assert np.isnan(base.astype(np.float64)[outside]).all()

    parameter = nn.Parameter(np.full((6, 3), np.nan, dtype))
    data = parameter.data
    fastnn.manual_seed(7)
    initialise(view)
    fastnn.manual_seed(7)
    assert initialise(parameter) is parameter
    assert parameter.data is data
    np.testing.assert_array_equal(data, view)


@pytest.mark.parametrize("draw", DRAWS.values(), ids=DRAWS.keys())
def test_draws_are_repeatable(draw: Callable[[Any, Any], Any]) -> None:
    def drawn(generator: Any) -> Array:
        array: Array = draw(np.empty((8, 6)), generator)
        return array

    first = drawn(None)
    assert (first != drawn(None)).any()
    fastnn.manual_seed(7)
    np.testing.assert_array_equal(drawn(None), first)
    np.testing.assert_array_equal(drawn(fastnn.Generator(7)), first)
    one, same, other = (drawn(np.random.default_rng(seed)) for seed in (1, 1, 2))
    np.testing.assert_array_equal(one, same)
    assert (one != other).any()


@pytest.mark.parametrize("name", sorted(set(ALL) - {"eye", "sparse"}))
@pytest.mark.parametrize("shape", [(0, 5), (5, 0), (4, 3, 0)])
def test_arrays_without_elements(name: str, shape: tuple[int, ...]) -> None:
    assert ALL[name](np.empty(shape)).shape == shape


# ---- constants ---------------------------------------------------------------------------------------------


def test_constants() -> None:
    np.testing.assert_array_equal(init.constant_(np.empty((2, 3)), 0.25), np.full((2, 3), 0.25))
    np.testing.assert_array_equal(init.zeros_(np.empty(3)), [0, 0, 0])
    np.testing.assert_array_equal(init.ones_(np.empty(3)), [1, 1, 1])
    for shape in ((3, 3), (2, 4), (4, 2)):
        np.testing.assert_array_equal(init.eye_(np.empty(shape)), np.eye(*shape))


@pytest.mark.parametrize("shape", [(4, 4, 3), (6, 2, 3, 5), (2, 5, 4, 3, 3), (4, 3, 1)])
@pytest.mark.parametrize("groups", [1, 2])
def test_dirac_keeps_the_channels(shape: tuple[int, ...], groups: int) -> None:
    weight = init.dirac_(np.empty(shape), groups)
    each = shape[0] // groups
    kept = min(each, shape[1])
    middle = tuple(size // 2 for size in shape[2:])
    assert weight.sum() == groups * kept
    for group in range(groups):
        for channel in range(kept):
            assert weight[(group * each + channel, channel, *middle)] == 1


# ---- draws -------------------------------------------------------------------------------------------------


def test_normal_and_uniform() -> None:
    check_moments(init.normal_(np.empty((300, 200)), -1.0, 3.0), -1.0, 3.0, NORMAL)
    uniform = init.uniform_(np.empty((300, 200)), -2.0, 6.0)
    check_moments(uniform, 2.0, 8 / math.sqrt(12), UNIFORM)
    assert -2 <= uniform.min() < -1.99
    assert 5.99 < uniform.max() <= 6


@pytest.mark.parametrize(
    ("mean", "std", "a", "b"),
    [
        (0, 1, -2, 2),
        (0, 0.02, -2, 2),
        (1, 2, 0, 1.5),
        (0, 1, 5, 100),
        (0, 1, -math.inf, -8),
        (3, 0.5, 0, 0.1),
        (0, 1, 0.5, math.inf),
        (0, 1, 1, 1.01),
    ],
)
def test_truncated_normal(mean: float, std: float, a: float, b: float) -> None:
    stats = pytest.importorskip("scipy.stats")
    values = init.trunc_normal_(np.empty(20000), mean, std, a, b)
    assert a <= values.min()
    assert values.max() <= b
    law = stats.truncnorm((a - mean) / std, (b - mean) / std, mean, std)
    assert stats.kstest(values, law.cdf).pvalue > 1e-4


def test_truncated_normal_at_its_limits() -> None:
    np.testing.assert_array_equal(init.trunc_normal_(np.empty(3), 5.0, 0.0, -1, 2), [2, 2, 2])
    np.testing.assert_array_equal(init.trunc_normal_(np.empty(3), 0.0, 1.0, 2, 2), [2, 2, 2])
    np.testing.assert_array_equal(init.trunc_normal_(np.empty(3), 0.0, 1e-250, 2, 3), [2, 2, 2])


@pytest.mark.parametrize("shape", [(5, 5), (3, 8), (8, 3), (4, 2, 3, 3), (40, 2, 3, 3)])
def test_orthogonal(shape: tuple[int, ...]) -> None:
    weight = init.orthogonal_(np.empty(shape), gain=1.5).reshape(shape[0], -1)
    short = weight if weight.shape[0] <= weight.shape[1] else weight.T
    np.testing.assert_allclose(short @ short.T, 1.5**2 * np.eye(len(short)), atol=1e-13)


def test_orthogonal_matrices_are_uniform() -> None:
    signs = [np.sign(np.diagonal(init.orthogonal_(np.empty((2, 2))))) for _ in range(400)]
    assert abs(np.sum(signs)) < 4.5 * math.sqrt(800)  # QR alone gives diagonals of one sign


def test_sparse() -> None:
    weight = init.sparse_(np.empty((50, 400)), 0.31, std=0.1)
    np.testing.assert_array_equal((weight == 0).sum(axis=0), 16)  # 15.5, rounded up
    check_moments(weight[weight != 0], 0, 0.1, NORMAL)
    in_row = (weight == 0).sum(axis=1)
    assert np.abs(in_row - 128).max() < 4.5 * math.sqrt(400 * 0.32 * 0.68)


# ---- the family of variance scaling ------------------------------------------------------------------------

SHAPE = (60, 40, 3, 5)
FAN_IN, FAN_OUT = 40 * 15, 60 * 15
XAVIER = math.sqrt(2 / (FAN_IN + FAN_OUT))

SCALED: dict[str, tuple[Callable[[Array], Array], float, float]] = {
    "xavier_uniform": (lambda w: init.xavier_uniform_(w, 1.5), 1.5 * XAVIER, UNIFORM),
    "xavier_normal": (lambda w: init.xavier_normal_(w, 0.5), 0.5 * XAVIER, NORMAL),
    "kaiming_uniform": (init.kaiming_uniform_, math.sqrt(2 / FAN_IN), UNIFORM),
    "kaiming_uniform a": (
        lambda w: init.kaiming_uniform_(w, math.sqrt(5)),
        math.sqrt(1 / 3 / FAN_IN),
        UNIFORM,
    ),
    "kaiming_normal": (
        lambda w: init.kaiming_normal_(w, mode="fan_out", nonlinearity="relu"),
        math.sqrt(2 / FAN_OUT),
        NORMAL,
    ),
    "kaiming_normal tanh": (
        lambda w: init.kaiming_normal_(w, nonlinearity="tanh"),
        5 / 3 / math.sqrt(FAN_IN),
        NORMAL,
    ),
    "lecun_uniform": (init.lecun_uniform_, math.sqrt(1 / FAN_IN), UNIFORM),
    "lecun_normal": (init.lecun_normal_, math.sqrt(1 / FAN_IN), NORMAL),
    "truncated": (
        lambda w: init.variance_scaling_(w, 2.0, "fan_avg", "truncated_normal"),
        math.sqrt(2) * XAVIER,
        2.37,
    ),
}


@pytest.mark.parametrize(("initialise", "std", "fourth"), SCALED.values(), ids=SCALED.keys())
def test_spread_follows_the_shape(initialise: Callable[[Array], Array], std: float, fourth: float) -> None:
    weight = initialise(np.empty(SHAPE, np.float32))
    check_moments(weight, 0, std, fourth)
    if fourth != NORMAL:
        bound = math.sqrt(3) * std if fourth == UNIFORM else 2 * std / 0.87962566103423978
        assert 0.98 * bound < abs(weight).max() <= bound * (1 + 1e-6)


@pytest.mark.parametrize("shape", [(5, 3), (5, 3, 2), (6, 4, 3, 3), (2, 3, 2, 3, 4)])
def test_fans_are_torch_s(shape: tuple[int, ...]) -> None:
    torch = pytest.importorskip("torch")
    weight = np.empty(shape)
    assert init.fans(weight) == torch.nn.init._calculate_fan_in_and_fan_out(torch.from_numpy(weight))


def test_fans_are_channels_times_the_kernel() -> None:
    assert init.fans(np.empty((5, 3))) == (3, 5)
    assert init.fans(np.empty((6, 4, 3, 2))) == (24, 36)


def test_gains() -> None:
    root = math.sqrt(2)
    assert init.calculate_gain("relu") == root
    assert init.calculate_gain("leaky_relu", 0.2) == math.sqrt(2 / 1.04)
    assert [init.calculate_gain(name) for name in ("linear", "sigmoid", "tanh", "selu")] == [
        1,
        1,
        5 / 3,
        3 / 4,
    ]


@pytest.mark.parametrize("param", [None, 0.0, 0.3])
def test_gains_are_torch_s(param: float | None) -> None:
    torch = pytest.importorskip("torch")
    for name in init.scaling.GAINS:
        assert init.calculate_gain(name, param) == torch.nn.init.calculate_gain(name, param)


@pytest.mark.parametrize(
    "name", ["xavier_uniform_", "xavier_normal_", "kaiming_uniform_", "kaiming_normal_", "trunc_normal_"]
)
def test_spread_is_torch_s(name: str) -> None:
    """The same distribution, by the two samples' quantiles."""
    torch = pytest.importorskip("torch")
    stats = pytest.importorskip("scipy.stats")
    torch.manual_seed(0)
    ours = getattr(init, name)(np.empty((80, 50, 3)))
    theirs = getattr(torch.nn.init, name)(torch.empty(80, 50, 3, dtype=torch.float64)).numpy()
    assert stats.ks_2samp(ours.ravel(), theirs.ravel()).pvalue > 1e-4


# ---- whole models ------------------------------------------------------------------------------------------


def branch(width: int, layers: int) -> Module:
    modules: list[Module] = []
    for _ in range(layers):
        modules += [nn.ReLU(), nn.Linear(width, width)]
    return nn.Sequential(*modules)


def residual_model(width: int, blocks: int, layers: int) -> nn.Sequential:
    inside = [nn.Residual(branch(width, layers)) for _ in range(blocks)]
    return nn.Sequential(nn.Linear(width, width), *inside, nn.ReLU(), nn.Linear(width, 10))


def linears(module: Module) -> list[nn.Linear]:
    return [inner for inner in module.modules() if isinstance(inner, nn.Linear)]


def bias_of(layer: nn.Linear) -> Array:
    assert layer.bias is not None
    return layer.bias.data


@pytest.mark.parametrize(("blocks", "layers"), [(4, 2), (9, 3), (3, 1)])
def test_fixup(blocks: int, layers: int) -> None:
    width = 100
    model = residual_model(width, blocks, layers)
    stem = model[0].state_dict()
    assert init.fixup_(model) is model
    for block in model.modules():
        if not isinstance(block, nn.Residual):
            continue
        *first, last = linears(block)
        for layer in first:
            std = math.sqrt(2 / width) * blocks ** (-1 / (2 * layers - 2))
            check_moments(layer.weight.data, 0, std, NORMAL)
            assert not bias_of(layer).any()
        assert not last.weight.data.any()
        assert not bias_of(last).any()
    assert not linears(model)[-1].weight.data.any()
    for name, array in model[0].state_dict().items():
        np.testing.assert_array_equal(array, stem[name])
    again = [p.data.copy() for p in init.fixup_(model, fastnn.Generator(1)).parameters()]
    for parameter, array in zip(init.fixup_(model, fastnn.Generator(1)).parameters(), again, strict=True):
        np.testing.assert_array_equal(parameter.data, array)


def test_fixup_keeps_the_step_of_the_output_independent_of_the_depth() -> None:
    """The scheme's aim: one SGD step changes the output by as much for 4 blocks as for 64."""
    x = np.random.default_rng(0).standard_normal((64, 50)).astype(np.float32)
    dy = np.random.default_rng(1).standard_normal((64, 50)).astype(np.float32) / 64
    changes = []
    for blocks in (4, 64):
        model = nn.Sequential(*[nn.Residual(branch(50, 2)) for _ in range(blocks)])
        init.fixup_(model)
        before = model(x).copy()
        model.backward(dy)
        for layer in linears(model):
            if layer.weight.grad is not None:
                layer.weight.data -= 0.01 * layer.weight.grad
        changes.append(np.linalg.norm(model(x) - before))
    assert 0.7 < changes[1] / changes[0] < 1.4  # He's initialisation alone: about 16


def test_zero_last_makes_blocks_start_as_their_shortcut() -> None:
    normed = nn.Sequential(nn.Linear(6, 6), nn.ReLU(), nn.Linear(6, 6), nn.BatchNorm1d(6), nn.PReLU())
    model = nn.Sequential(nn.Residual(branch(6, 2)), nn.Residual(normed))
    before = [layer.weight.data.copy() for layer in linears(normed)]
    x = np.random.default_rng(0).standard_normal((8, 6)).astype(np.float32)
    assert init.zero_last_(model) is model
    np.testing.assert_array_equal(model(x), x)
    for layer, weight in zip(linears(normed), before, strict=True):
        np.testing.assert_array_equal(layer.weight.data, weight)  # it is the norm that is 0
    assert linears(model)[0].weight.data.any()


def deep(width: int = 64, depth: int = 12) -> nn.Sequential:
    modules: list[Module] = []
    for _ in range(depth):
        modules += [nn.Linear(width, width), nn.Tanh(), nn.Dropout(0.2)]
    return nn.Sequential(*modules)


def test_lsuv_gives_every_layer_unit_variance() -> None:
    model = deep()
    batch = 3 * np.random.default_rng(0).standard_normal((200, 64)).astype(np.float32)
    model[1].training = False
    modes = [module.training for module in model.modules()]
    assert init.lsuv_(model, batch, tol=0.01) is model
    assert [module.training for module in model.modules()] == modes
    variances: list[float] = []
    for layer in linears(model):
        layer.register_forward_hook(lambda module, x, y: variances.append(float(y.var())))
    model.eval()(batch)
    assert len(variances) == 12
    assert all(abs(variance - 1) < 0.01 for variance in variances)
    for layer in linears(model):
        gram = layer.weight.data @ layer.weight.data.T
        np.testing.assert_allclose(gram, gram[0, 0] * np.eye(64), atol=1e-4)
        assert not bias_of(layer).any()


@pytest.mark.parametrize("norm", [nn.LayerNorm((4, 8)), nn.RMSNorm((4, 8))], ids=str)
def test_a_norm_s_weight_stays_as_it_is(norm: nn.Module) -> None:
    batch = np.random.default_rng(0).standard_normal((50, 4, 8)).astype(np.float32)
    branch = nn.Sequential(nn.Linear(8, 8), nn.ReLU(), norm, nn.Linear(8, 8))
    init.lsuv_(branch, batch)
    init.fixup_(nn.Sequential(nn.Residual(branch)))
    np.testing.assert_array_equal(norm.state_dict()["weight"], np.ones((4, 8)))


def test_lsuv_goes_in_the_order_in_which_layers_run() -> None:
    class Backwards(Module):
        def __init__(self) -> None:
            self.second, self.first = nn.Linear(20, 20), nn.Linear(20, 20)

        def forward(self, x: Array) -> Array:
            return self.second(np.maximum(self.first(x), 0))

    model = Backwards()
    batch = 5 * np.random.default_rng(0).standard_normal((99, 20)).astype(np.float32)
    init.lsuv_(model, batch, tol=1e-3)
    assert model(batch).var() == pytest.approx(1, abs=1e-3)
    assert model.first(batch).var() == pytest.approx(1, abs=1e-3)


def test_lsuv_leaves_no_hooks_and_draws_no_mask() -> None:
    model, batch = deep(8, 2), np.ones((4, 8), np.float32) * np.arange(8, dtype=np.float32)
    generator = fastnn.Generator(3)
    offset = repr(fastnn.random.default_generator())
    init.lsuv_(model, batch, generator=generator)
    assert repr(fastnn.random.default_generator()) == offset
    assert not any("forward" in vars(module) for module in model.modules())


def test_lsuv_warns_of_a_layer_that_does_not_get_there() -> None:
    class Stubborn(nn.Linear):
        def forward(self, x: Array) -> Array:
            return np.float32(3) * x

    with pytest.warns(UserWarning, match="Stubborn.* has an output of variance"):
        init.lsuv_(nn.Sequential(Stubborn(4, 4)), np.eye(4, dtype=np.float32), max_iterations=2)


# ---- errors and limits ------------------------------------------------------------------------------------


#: Numbers that each argument of an initialiser must refuse by its name.
NOT_FINITE: list[tuple[Callable[..., Any], tuple[str, ...]]] = [
    (init.normal_, ("mean", "std")),
    (init.uniform_, ("a", "b")),
    (init.trunc_normal_, ("mean", "std")),
    (partial(init.sparse_, sparsity=0.5), ("std",)),
    (init.orthogonal_, ("gain",)),
    (init.variance_scaling_, ("scale",)),
    (init.xavier_uniform_, ("gain",)),
    (init.xavier_normal_, ("gain",)),
    (init.kaiming_uniform_, ("a",)),
    (init.kaiming_normal_, ("a",)),
    (lambda w, **kw: init.calculate_gain("leaky_relu", **kw), ("param",)),
]


@each(("initialise", "names"), NOT_FINITE)
def test_numbers_that_are_not_finite_are_refused(
    initialise: Callable[..., Any], names: tuple[str, ...]
) -> None:
    w = np.zeros((2, 2))
    for name in names:
        for value in (math.inf, -math.inf, math.nan):
            with pytest.raises(ValueError, match=f"^{name} must be finite, got {value}"):
                initialise(w, **{name: value})
        with pytest.raises(ValueError, match=f"^{name} must be in the range of float64, got int beyond it"):
            initialise(w, **{name: 10**400})
    assert not w.any()


def test_a_std_of_minus_zero_is_zero() -> None:
    np.testing.assert_array_equal(init.normal_(np.ones(3), 2.0, -0.0), np.full(3, 2.0))


@each(
    ("arguments", "value"),
    [
        ((1e300, 1.0, -2.0, 2.0), 2.0),
        ((-5.0, 1e-320, -2.0, 2.0), -2.0),
        ((0.0, 1.0, 1e308, math.inf), 1e308),
        ((0.0, 0.0, -math.inf, math.inf), 0.0),
    ],
)
def test_truncated_normal_of_which_one_value_is_left(arguments: tuple[float, ...], value: float) -> None:
    mean, std, a, b = arguments
    np.testing.assert_array_equal(init.trunc_normal_(np.zeros(9), mean, std, a, b), np.full(9, value))


def read_only() -> Array:
    array = np.empty((2, 2))
    array.flags.writeable = False
    return array


# ---- one scheme for a model --------------------------------------------------------------------------------

WIDTH = 96


def linear() -> nn.Linear:
    return nn.Linear(WIDTH, WIDTH)


@each(
    ("scheme", "std"),
    [
        ("kaiming", math.sqrt(2 / WIDTH)),
        ("kaiming_uniform", math.sqrt(2 / WIDTH)),
        ("xavier", math.sqrt(1 / WIDTH)),
        ("xavier_uniform", math.sqrt(1 / WIDTH)),
        ("lecun_normal", math.sqrt(1 / WIDTH)),
        ("orthogonal", math.sqrt(1 / WIDTH)),
    ],
)
def test_a_scheme_for_all_layers(scheme: str, std: float) -> None:
    norm, table, prelu = nn.BatchNorm1d(WIDTH), nn.Embedding(5, WIDTH), nn.PReLU()
    kept = [{name: a.copy() for name, a in layer.state_dict().items()} for layer in (norm, table, prelu)]
    model = nn.Sequential(table, linear(), norm, nn.ReLU(), linear(), nn.ReLU(), prelu)
    assert init.apply(model, scheme) is model
    for layer in (model[1], model[4]):
        assert not layer.bias.data.any()
        w = layer.weight.data
        fourth = {"uniform": UNIFORM}.get(scheme.partition("_")[2], NORMAL)
        if scheme == "orthogonal":
            np.testing.assert_allclose(w @ w.T, np.eye(WIDTH), atol=1e-5)
        else:
            check_moments(w, 0.0, std, fourth)
    for layer, state in zip((norm, table, prelu), kept, strict=True):
        for name, array in layer.state_dict().items():
            np.testing.assert_array_equal(array, state[name])


class Leaf(nn.Module):
    """A layer of which nobody knows what it does."""


class Own(nn.Module):
    """A module in which nobody sees what follows what."""

    def __init__(self) -> None:
        self.layer, self.act = linear(), nn.Tanh()


def test_the_activation_behind_a_layer_decides_the_gain() -> None:
    relu, tanh, leaky = math.sqrt(2), 5 / 3, math.sqrt(2 / (1 + 0.2**2))
    block = nn.Residual(nn.Sequential(linear(), nn.BatchNorm1d(WIDTH), nn.SELU(), linear()), linear())
    model = nn.Sequential(
        linear(),
        nn.Sequential(nn.BatchNorm1d(WIDTH), nn.Dropout(0.5), nn.Tanh(), linear()),
        nn.LeakyReLU(0.2),
        nn.Conv2d(WIDTH, WIDTH, 1),
        nn.MaxPool2d(2),
        nn.GELU(),
        linear(),
        block,
        nn.Sigmoid(),
        linear(),
        nn.Square(),
        linear(),
        Own(),
        linear(),
        Leaf(),
        linear(),
        nn.Softmax(1),
    )
    init.apply(model, "kaiming", generator=np.random.default_rng(0))
    gains = [tanh, leaky, relu, 1, 0.75, 1, 1, relu, relu, relu, relu, 1]
    layers = [m for m in model.modules() if isinstance(m, nn.Linear | nn.Conv2d)]
    assert len(layers) == len(gains)
    found = [float(layer.weight.data.std()) * math.sqrt(WIDTH) for layer in layers]
    np.testing.assert_allclose(found, gains, rtol=0.04)
    init.apply(model, "kaiming", gain=0.1)
    assert float(layers[0].weight.data.std()) * math.sqrt(WIDTH) == pytest.approx(0.1, rel=0.04)


W = np.empty((3, 4))
BAD: list[tuple[Callable[[], Any], type[Exception], str]] = [
    (lambda: init.zeros_([1.0]), TypeError, "tensor must be an array or an nn.Parameter, got list"),  # type: ignore[type-var]
    (lambda: init.ones_(np.empty(3, int)), TypeError, "tensor must be of a floating dtype, got int64"),
    (lambda: init.normal_(np.empty(3, complex)), TypeError, "floating dtype, got complex128"),
    (lambda: init.zeros_(read_only()), ValueError, "tensor must be writeable, got a read-only array"),
    (lambda: init.constant_(W, "1"), TypeError, "val must be a real number, got str"),  # type: ignore[arg-type]
    (lambda: init.normal_(W, std=-1), ValueError, "std must be at least 0, got -1.0"),
    (lambda: init.uniform_(W, 1, 0), ValueError, "a must be at most b, 0.0, got 1.0"),
    (lambda: init.trunc_normal_(W, a=1, b=0), ValueError, "a must be at most b, 0.0, got 1.0$"),
    (lambda: init.trunc_normal_(W, std=math.nan), ValueError, "std must be finite, got nan"),
    (lambda: init.trunc_normal_(W, a=math.inf, b=math.inf), ValueError, "a and b must have finite numbers"),
    (lambda: init.uniform_(W, -1e308, 1e308), ValueError, "^b - a must be finite, got inf"),
    (lambda: init.xavier_normal_(W, 1e200), ValueError, "the square of gain must be finite, got inf"),
    (lambda: init.constant_(W, 10**400), ValueError, "val must be in the range of float64"),
    (lambda: init.dirac_(np.empty((3, 2, 0))), ValueError, r"tensor must have a kernel .* shape \(3, 2, 0\)"),
    (lambda: init.dirac_(np.empty((4, 2, 3)), 2.0), TypeError, "groups must be an integer, got float"),  # type: ignore[arg-type]
    (lambda: init.apply(W), TypeError, r"model must be a layer of fastnn\.nn, got ndarray"),  # type: ignore[arg-type]
    (
        lambda: init.apply(nn.BatchNorm1d(3)),
        ValueError,
        "must have a linear layer .* got BatchNorm1d without",
    ),
    (
        lambda: init.apply(deep(), "he"),
        ValueError,
        "scheme must be one of 'xavier', .*'orthogonal', got 'he'",
    ),
    (lambda: init.apply(deep(), gain=math.nan), ValueError, "gain must be finite, got nan"),
    (lambda: init.apply(deep(), gain=1e200), ValueError, "the square of gain must be finite, got inf"),
    (lambda: init.lsuv_(W, W), TypeError, r"model must be a layer of fastnn\.nn, got ndarray"),  # type: ignore[arg-type]
    (
        lambda: init.lsuv_(nn.Linear(3, 2), np.empty((0, 3), np.float32)),
        ValueError,
        r"batch must have at least one sample, got an output of shape \(0, 2\)",
    ),
    (lambda: init.fixup_(W), TypeError, r"model must be a layer of fastnn\.nn, got ndarray"),  # type: ignore[arg-type]
    (lambda: init.eye_(np.empty(3)), ValueError, r"tensor must have 2 dimensions, got shape \(3,\)"),
    (lambda: init.sparse_(np.empty(3), 0.1), ValueError, "tensor must have 2 dimensions"),
    (lambda: init.sparse_(W, 1.1), ValueError, r"sparsity must be in \[0, 1\]"),
    (lambda: init.orthogonal_(np.empty(3)), ValueError, "tensor must have at least 2 dimensions, got shape"),
    (lambda: init.dirac_(W), ValueError, "tensor must have 3, 4 or 5 dimensions"),
    (lambda: init.dirac_(np.empty((3, 2, 3)), 2), ValueError, "groups must divide .* 3, got 2"),
    (lambda: init.xavier_normal_(np.empty(3)), ValueError, r"at least 2 dimensions, \(out, in, kernel"),
    (
        lambda: init.kaiming_normal_(W, mode="fan"),
        ValueError,
        "mode must be one of 'fan_in', 'fan_out', .*, got 'fan'",
    ),
    (
        lambda: init.kaiming_normal_(W, nonlinearity="gelu"),
        ValueError,
        "nonlinearity must be one of .*'selu', got 'gelu'",
    ),
    (lambda: init.calculate_gain("leaky_relu", "x"), TypeError, "param must be a real number"),  # type: ignore[arg-type]
    (lambda: init.variance_scaling_(W, -1), ValueError, "scale must be at least 0, got -1.0"),
    (
        lambda: init.variance_scaling_(W, distribution="x"),
        ValueError,
        "distribution must be 'normal', .*, got 'x'",
    ),
    (lambda: init.zero_last_(deep()), ValueError, r"model must have an nn\.Residual, got Sequential"),
    (lambda: init.fixup_(deep()), ValueError, r"model must have an nn\.Residual, got Sequential"),
    (lambda: init.zero_last_(nn.Residual(nn.ReLU())), ValueError, "branch must have a layer with a weight"),
    (lambda: init.lsuv_(nn.ReLU(), W), ValueError, "model must have .* weight of 2 dimensions, got ReLU"),
    (lambda: init.lsuv_(deep(), W, tol=0), ValueError, "tol must be above 0, got 0"),
    (
        lambda: init.lsuv_(deep(), W, max_iterations=0),
        ValueError,
        "max_iterations must be a whole number of at least 1, got 0",
    ),
    (
        lambda: init.lsuv_(deep(4, 1), np.zeros((3, 4), np.float32)),
        ValueError,
        "output of Linear.* must have a finite variance above 0, got 0.0",
    ),
    (lambda: init.calculate_gain([]), ValueError, r"nonlinearity must be one of .*, got \[\]"),  # type: ignore[arg-type]
    (lambda: init.calculate_gain("leaky_relu", 1e200), ValueError, "the square of param must be finite, got"),
    (lambda: init.kaiming_normal_(W, 1e200), ValueError, "the square of a must be finite, got inf"),
    (lambda: init.lecun_normal_(W, 3), TypeError, "generator must be a fastnn.Generator, got int"),  # type: ignore[arg-type]
    (
        lambda: init.variance_scaling_(W, distribution=W),  # type: ignore[arg-type]
        ValueError,
        "distribution must be 'normal', .* got arr",
    ),
    (lambda: init.variance_scaling_(W, 1, {}), ValueError, "mode must be one of .*, got {}"),  # type: ignore[arg-type]
]


@pytest.mark.parametrize(("call", "error", "message"), BAD, ids=[message for *_, message in BAD])
def test_bad_arguments_are_named(call: Callable[[], Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        call()


@pytest.mark.parametrize("code", re.findall(r"^```python\n(.*?)^```$", PAGE.read_text(), re.M | re.S))
def test_examples_run(code: str) -> None:
    exec(code, {"__name__": "example"})


def test_it_is_there_without_the_layers() -> None:
    code = "import sys, fastnn; fastnn.init.zeros_; sys.exit('fastnn.nn' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
    assert nn.init is init
