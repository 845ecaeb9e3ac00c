"""fastnn.cs231n.optim: the numbers that the FullyConnectedNets notebook compares with, and the configs."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from fastnn._core.typing import Array
from fastnn.cs231n.optim import adam, rmsprop, sgd, sgd_momentum
from support.cases import each
from support.notebooks import rel_error


def line(start: float, stop: float) -> Array:
    return np.linspace(start, stop, num=20).reshape(4, 5)


def ends(array: Array) -> Array:
    return array.reshape(-1)[[0, 1, 10, 18, 19]]


W, DW = line(-0.4, 0.6), line(-0.6, 0.4)
DEFAULTS: dict[Any, dict[str, float]] = {
    sgd: {"learning_rate": 1e-2},
    sgd_momentum: {"learning_rate": 1e-2, "momentum": 0.9},
    rmsprop: {"learning_rate": 1e-2, "decay_rate": 0.99, "epsilon": 1e-8},
    adam: {"learning_rate": 1e-3, "beta1": 0.9, "beta2": 0.999, "epsilon": 1e-8, "t": 1},
}
STATE = {sgd: [], sgd_momentum: ["velocity"], rmsprop: ["cache"], adam: ["m", "v"]}


def test_sgd_momentum_as_in_the_notebook() -> None:
    config: dict[str, Any] = {"learning_rate": 1e-3, "velocity": line(0.6, 0.9)}
    next_w, _ = sgd_momentum(W, DW, config=config)
    expected = np.array([0.1406, 0.20738947, 0.80849474, 1.34281053, 1.4096])
    assert rel_error(ends(next_w), expected) < 1e-8
    velocity = np.array([0.5406, 0.55475789, 0.68217895, 0.79544211, 0.8096])
    assert rel_error(ends(config["velocity"]), velocity) < 1e-8


def test_rmsprop_as_in_the_notebook() -> None:
    config: dict[str, Any] = {"learning_rate": 1e-2, "cache": line(0.6, 0.9)}
    next_w, _ = rmsprop(W, DW, config=config)
    expected = np.array([-0.39223849, -0.34037513, 0.12716641, 0.54365823, 0.59576619])
    assert rel_error(ends(next_w), expected) < 1e-7
    assert rel_error(config["cache"], 0.99 * line(0.6, 0.9) + 0.01 * DW * DW) < 1e-15


def test_adam_as_in_the_notebook() -> None:
    config: dict[str, Any] = {"learning_rate": 1e-2, "m": line(0.6, 0.9), "v": line(0.7, 0.5), "t": 5}
    next_w, _ = adam(W, DW, config=config)
    expected = np.array([-0.40094747, -0.34836187, 0.1248705, 0.54544852, 0.59801459])
    assert rel_error(ends(next_w), expected) < 1e-6
    assert config["t"] == 6
    assert rel_error(config["m"], 0.9 * line(0.6, 0.9) + 0.1 * DW) < 1e-15
    assert rel_error(config["v"], 0.999 * line(0.7, 0.5) + 0.001 * DW * DW) < 1e-15


@pytest.mark.parametrize("rule", DEFAULTS)
def test_configs_are_filled_in_and_handed_back(rule: Any) -> None:
    given = {"learning_rate": 0.5}
    _, config = rule(W.copy(), DW, given)
    assert config is given
    assert config["learning_rate"] == 0.5
    _, config = rule(W.copy(), DW)
    state = {name: config.pop(name) for name in STATE[rule]}
    assert config == DEFAULTS[rule]
    assert all(array.shape == W.shape for array in state.values())


def test_sgd_alone_works_in_place() -> None:
    w = W.copy()
    next_w, _ = sgd(w, DW, {"learning_rate": 0.1})
    assert next_w is w
    np.testing.assert_allclose(w, W - 0.1 * DW, rtol=1e-15)
    for rule in (sgd_momentum, rmsprop, adam):
        w = W.copy()
        assert rule(w, DW)[0] is not w
        np.testing.assert_array_equal(w, W)


@pytest.mark.parametrize("rule", DEFAULTS)
def test_float32_stays_float32(rule: Any) -> None:
    next_w, config = rule(W.astype(np.float32), DW.astype(np.float32))
    assert {next_w.dtype, *(config[name].dtype for name in STATE[rule])} == {np.dtype(np.float32)}


def by_numpy(rule: Any, w: Array, dw: Array, c: dict[str, Any]) -> tuple[Array, dict[str, Array]]:
    """The hand-out's formulas."""
    if rule is sgd:
        return w - c["learning_rate"] * dw, {}
    if rule is sgd_momentum:
        velocity = c["momentum"] * c["velocity"] - c["learning_rate"] * dw
        return w + velocity, {"velocity": velocity}
    if rule is rmsprop:
        cache = c["decay_rate"] * c["cache"] + (1 - c["decay_rate"]) * dw**2
        return w - c["learning_rate"] * dw / (np.sqrt(cache) + c["epsilon"]), {"cache": cache}
    m, v = c["beta1"] * c["m"] + (1 - c["beta1"]) * dw, c["beta2"] * c["v"] + (1 - c["beta2"]) * dw**2
    mt, vt = m / (1 - c["beta1"] ** (c["t"] + 1)), v / (1 - c["beta2"] ** (c["t"] + 1))
    return w - c["learning_rate"] * mt / (np.sqrt(vt) + c["epsilon"]), {"m": m, "v": v}


def wide(array: Array) -> Array:
    return np.repeat(array, 2, axis=-1)[..., ::2]


@each("rule", DEFAULTS)
@each(
    ("w", "dw"),
    [
        (W, DW),
        (W, W),
        (wide(W), DW.T.copy().T),
        (W.astype(">f8"), DW),
        (W, DW.astype(np.float32)),
        (W.astype(np.float32), DW.astype(np.float32)),
        (W, DW[:1]),
        (W[0, 0], DW[0, 0]),
        (np.zeros((0, 3)), np.zeros((0, 3))),
        (np.linspace(-1, 1, 40_000), np.linspace(2, -1, 40_000)),
    ],
)
def test_as_the_hand_out_s(rule: Any, w: Array, dw: Array) -> None:
    """Three steps, and arrays that are kept from earlier ones stay as they were."""
    w, kept = w.copy(), []
    config: dict[str, Any] = DEFAULTS[rule] | dict.fromkeys(STATE[rule], np.zeros_like(w))
    config.pop("t", None)
    for t in range(3):
        expected, states = by_numpy(rule, w, dw, {"t": t, **config})
        kept += [(config[name], config[name].copy()) for name in STATE[rule]]
        w, config = rule(w, dw, config)
        assert w.dtype.newbyteorder("=") == expected.dtype
        exact = 1e-14 if dw.dtype == np.float64 else 1e-6
        np.testing.assert_allclose(w, expected, rtol=exact, atol=exact)
        for name, state in states.items():
            np.testing.assert_allclose(config[name], state, rtol=exact, atol=exact)
    for array, before in kept:
        np.testing.assert_array_equal(array, before)


def test_whole_numbers_and_read_only_arrays() -> None:
    w = np.arange(6).reshape(2, 3)
    for rule in (sgd_momentum, rmsprop, adam):
        assert rule(w, w)[0].dtype == np.float64
    frozen = W.copy()
    frozen.flags.writeable = False
    np.testing.assert_array_equal(adam(frozen, DW)[0], adam(W, DW)[0])
    with pytest.raises(ValueError, match="read-only"):
        sgd(frozen, DW)
    with pytest.raises(TypeError, match=r"^dw must be an array without masked elements"):
        adam(W, np.ma.masked_less(DW, 0))
