"""nn.Sequential computes fused what its layers compute one by one."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import fastnn
from fastnn import functional as F
from fastnn import nn, stages
from fastnn._core.typing import Array
from fastnn.random import Key, default_generator

Model = tuple[Callable[[], list[nn.Module]], tuple[int, ...]]


class Doubled(nn.BatchNorm1d):
    """A layer of one's own over a layer that is fused; its forward must not be passed by."""

    def forward(self, x: Array) -> Array:
        return 2 * super().forward(x)

    def backward(self, dy: Array) -> Array:
        return super().backward(2 * dy)


MODELS: dict[str, Model] = {
    "block": (lambda: [nn.BatchNorm1d(5), nn.ReLU(), nn.Dropout(0.5)], (16, 5)),
    "network": (
        lambda: [nn.Linear(7, 5), nn.BatchNorm1d(5), nn.ReLU(), nn.Dropout(0.5), nn.Linear(5, 3), nn.Tanh()],
        (16, 7),
    ),
    "images": (lambda: [nn.BatchNorm2d(3), nn.ReLU(), nn.GELU(), nn.BatchNorm2d(3), nn.SiLU()], (4, 3, 5, 6)),
    "cheap_then_costly": (lambda: [nn.BatchNorm1d(5), nn.LeakyReLU(), nn.GELU()], (16, 5, 9)),
    "dropouts": (lambda: [nn.ReLU(), nn.Dropout(0.25), nn.Dropout(0.5), nn.GELU(), nn.Dropout()], (16, 5)),
    "nested": (
        lambda: [nn.BatchNorm1d(5), nn.Sequential(nn.ReLU(), nn.Dropout()), nn.Sigmoid(), nn.Dropout()],
        (16, 5),
    ),
    "other_dropouts": (
        lambda: [nn.ReLU(), nn.AlphaDropout(), nn.ReLU(), nn.Dropout(), nn.DropPath(), nn.Dropout()],
        (16, 5),
    ),
    "bare": (
        lambda: [nn.BatchNorm1d(5, affine=False, track_running_stats=False), nn.ReLU(), nn.ReLU()],
        (16, 5),
    ),
    "average": (lambda: [nn.BatchNorm1d(5, momentum=None, bias=False), nn.ELU()], (16, 5)),
    "many": (lambda: [nn.BatchNorm1d(5), *[nn.Softsign() for _ in range(20)]], (16, 5)),
    "subclass": (lambda: [Doubled(5), nn.ReLU()], (16, 5)),
    "nothing_to_fuse": (lambda: [nn.Linear(7, 5), nn.Linear(5, 3)], (16, 7)),
}
ALL = pytest.mark.parametrize("name", MODELS)


def numbers(shape: tuple[int, ...], seed: int = 0) -> Array:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def make(name: str) -> tuple[nn.Sequential, tuple[int, ...]]:
    layers, shape = MODELS[name]
    fastnn.manual_seed(5)
    return nn.Sequential(*layers()), shape


def run(name: str, fused: bool, modes: str, layout: Callable[[Array], Array] = np.copy) -> dict[str, Array]:
    """What a model computes in passes in training ("t") and evaluation ("e"), one after the other."""
    model, shape = make(name)
    seen: dict[str, Array] = {}
    for index, mode in enumerate(modes):
        model.train(mode == "t")
        with fastnn.fusion(fused):
            y = model(layout(numbers(shape, index)))
            model.train(mode != "t")  # backward is of the mode that forward ran in
            seen[f"y {index}"] = y
            seen[f"dx {index}"] = model.backward(layout(numbers(y.shape, 100 + index)))
    seen |= {f"grad {key}": p.grad for key, p in model.named_parameters() if p.grad is not None}
    seen |= {f"state {key}": array for key, array in model.state_dict().items()}
    seen["key"] = np.array(default_generator().key())
    return seen


def channels_last(array: Array) -> Array:
    return np.moveaxis(np.moveaxis(array, 1, -1).copy(), -1, 1)


@ALL
@pytest.mark.parametrize("modes", ["t", "e", "ttett"])
@pytest.mark.parametrize("layout", [np.copy, channels_last, np.asfortranarray])
def test_fused_is_unfused(name: str, modes: str, layout: Callable[[Array], Array]) -> None:
    fused, unfused = (run(name, on, modes, layout) for on in (True, False))
    assert fused.keys() == unfused.keys()
    for key, array in unfused.items():
        assert fused[key].dtype == array.dtype, key
        if layout is np.copy:
            np.testing.assert_array_equal(fused[key], array, err_msg=key)
        else:  # an activation by itself may lay its result out otherwise, and sums are then in another order
            np.testing.assert_allclose(fused[key], array, rtol=2e-5, atol=2e-5, err_msg=key)


@ALL
def test_something_is_fused(name: str) -> None:
    model, _ = make(name)
    assert ("fused:" in repr(model)) == (name not in ("subclass", "nothing_to_fuse"))
    with fastnn.fusion(False):
        assert "fused:" not in repr(model)


def test_repr_shows_what_is_fused() -> None:
    model, _ = make("dropouts")
    assert "\n  fused: 0 to 1, 2 to 3\n)" in repr(model)
    model, _ = make("many")
    assert "\n  fused: 0 to 7, 8 to 15, 16 to 20\n)" in repr(model)


def test_evaluation_takes_no_key() -> None:
    model = nn.Sequential(nn.ReLU(), nn.Dropout(0.5)).eval()
    fastnn.manual_seed(3)
    model(numbers((4, 5)))
    assert default_generator().key() == Key(3, 0)


def test_keys_come_from_the_layer_s_generator() -> None:
    generator = fastnn.Generator(7)
    model = nn.Sequential(nn.ReLU(), nn.Dropout(0.5, generator=generator))
    x = numbers((40, 5))
    y = model(x)
    np.testing.assert_array_equal(y, F.dropout(F.relu(x), 0.5, key=Key(7, 0)))
    assert generator.key() == Key(7, 1)


def test_a_single_layer_runs_by_itself() -> None:
    model = nn.Sequential(nn.Linear(5, 4), nn.ReLU(), nn.Linear(4, 3))
    x = numbers((6, 5))
    y = model(x)
    assert "fused" not in repr(model)
    relu = model[1]
    np.testing.assert_array_equal(
        relu.backward(np.ones((6, 4), np.float32)), (model[0](x) > 0).astype(np.float32)
    )
    assert y.shape == (6, 3)


@pytest.mark.parametrize("earlier", [False, True])
def test_a_layer_s_own_backward_needs_its_own_forward(earlier: bool) -> None:
    model, shape = make("block")
    if earlier:
        with fastnn.fusion(False):
            model(numbers(shape))
    model(numbers(shape))
    for layer in model:
        with pytest.raises(RuntimeError, match=r"\.backward needs a forward pass first"):
            layer.backward(numbers(shape))


def test_backward_goes_the_way_of_its_forward() -> None:
    for fused in (False, True):
        model, shape = make("block")
        with fastnn.fusion(fused):
            model(numbers(shape))
        with fastnn.fusion(not fused):
            dx = model.backward(numbers(shape, 100))
        np.testing.assert_array_equal(dx, run("block", fused, "t")["dx 0"])


def test_errors_name_the_layer_and_leave_everything_as_it_was() -> None:
    model, _ = make("block")
    before = model.state_dict()
    fastnn.manual_seed(3)
    with pytest.raises(ValueError, match=r"BatchNorm1d: x must have shape .* with C = 5, got \(4, 6\)"):
        model(numbers((4, 6)))
    with pytest.raises(ValueError, match="more than one value per channel"):
        model(numbers((1, 5)))
    with pytest.raises(TypeError, match="input must be an array of"):
        model(np.zeros((4, 5), complex))
    for key, array in model.state_dict().items():
        np.testing.assert_array_equal(array, before[key])


def test_after_a_failed_forward_there_is_no_backward() -> None:
    # Some layers would have kept the failed pass, and others the one before.
    model = nn.Sequential(nn.Linear(5, 5), nn.BatchNorm1d(5), nn.ReLU())
    model(numbers((4, 5)))
    with pytest.raises(ValueError, match="more than one value per channel"):
        model(numbers((1, 5)))
    with pytest.raises(RuntimeError, match=r"Sequential\.backward needs a forward pass first"):
        model.backward(numbers((4, 5)))


def test_fusion_is_restored_after_an_exception() -> None:
    def fail() -> None:
        with fastnn.fusion(False):
            assert not fastnn.fusion.enabled
            with fastnn.fusion(True):
                assert fastnn.fusion.enabled
            assert not fastnn.fusion.enabled
            raise ZeroDivisionError

    assert fastnn.fusion.enabled
    with pytest.raises(ZeroDivisionError):
        fail()
    assert fastnn.fusion.enabled
    fastnn.fusion(False)
    try:
        assert not fastnn.fusion.enabled
    finally:
        fastnn.fusion(True)
    assert fastnn.fusion.enabled


def test_gradients_add_up_over_passes() -> None:
    model, shape = make("cheap_then_costly")
    x, dy = numbers(shape), numbers(shape, 1)
    model(x)
    model.backward(dy)
    once = {name: np.copy(p.grad) for name, p in model.named_parameters() if p.grad is not None}
    model(x)
    model.backward(dy)
    assert len(once) == 2
    for name, p in model.named_parameters():
        np.testing.assert_array_equal(p.grad, 2 * once[name])


@pytest.mark.parametrize("duplicate", [copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m))])
def test_copies_go_on_by_themselves(duplicate: Callable[[nn.Module], nn.Module]) -> None:
    model, shape = make("cheap_then_costly")
    model(numbers(shape))
    other = duplicate(model)
    other(numbers(shape))
    dx = other.backward(numbers(shape, 1))
    assert all(p.grad is None for p in model.parameters())
    assert all(p.grad is not None for p in other.parameters())
    np.testing.assert_array_equal(dx, model.backward(numbers(shape, 1)))


# ---- what a chain is given ---------------------------------------------------------------------------------


@pytest.mark.parametrize("first", ["relu", "leaky_relu", "hardswish", "silu"])
@pytest.mark.parametrize("second", ["gelu", "silu", "leaky_relu", "relu"])
def test_two_activations_after_batch_norm(first: str, second: str, isa: str) -> None:
    # The second one's gradient can depend on the first one's output, which backward finds again.
    x, dy = numbers((16, 5, 7)), numbers((16, 5, 7), 1)
    block = fastnn.fuse(stages.BatchNorm(), stages.Activation(first), stages.Activation(second))
    after = fastnn.fuse(stages.Activation(first), stages.Activation(second))
    y, saved = block.forward(x)
    z, head = F.batch_norm(x, training=True)
    expected, rest = after.forward(z)
    np.testing.assert_array_equal(y, expected)
    np.testing.assert_array_equal(
        block.backward(dy, saved).input, F.batch_norm_backward(after.backward(dy, rest).input, head)[0]
    )


def test_gradients_of_whole_weights_are_not_whole() -> None:
    x, dy = numbers((16, 3)), numbers((16, 3), 1)
    _, saved = F.batch_norm(x, weight=[1, 2, 3], bias=[0, 0, 1], training=True)
    _, dweight, dbias = F.batch_norm_backward(dy, saved)
    _, exact = F.batch_norm(x, weight=np.array([1.0, 2, 3]), bias=np.array([0.0, 0, 1]), training=True)
    _, dweight_of_floats, dbias_of_floats = F.batch_norm_backward(dy, exact)
    np.testing.assert_array_equal(dweight, dweight_of_floats)
    np.testing.assert_array_equal(dbias, dbias_of_floats)


@pytest.mark.parametrize("momentum", [None, 0.1])
@pytest.mark.parametrize(
    ("value", "dtype"), [(-1, np.int64), (127, np.int8), (255, np.uint8), (2**63 - 1, np.int64)]
)
def test_a_counter_that_cannot_count_on(
    value: int, dtype: type[np.integer[Any]], momentum: float | None
) -> None:
    mean, var, counter = np.zeros(3), np.ones(3), np.array(value, dtype)
    with pytest.raises(ValueError, match=rf"num_batches_tracked must be at least 0 .* got {value}"):
        F.batch_norm(
            numbers((4, 3)), mean, var, training=True, momentum=momentum, num_batches_tracked=counter
        )
    assert (mean == 0).all()
    assert (var == 1).all()
    assert counter == value


def test_layers_can_be_subclassed() -> None:
    class Named(nn.Dropout):
        pass

    layer = nn.Sequential(nn.ReLU(), Named(0.5, generator=fastnn.Generator(7)))
    x = numbers((40, 5))
    np.testing.assert_array_equal(layer(x), F.dropout(F.relu(x), 0.5, key=Key(7, 0)))


def test_running_statistics_of_two_half_types() -> None:
    bfloat16 = pytest.importorskip("ml_dtypes").bfloat16
    x, mean, var = numbers((40, 3)), np.zeros(3, np.float16), np.ones(3, bfloat16)
    F.batch_norm(x, mean, var, training=True, momentum=1.0)
    np.testing.assert_allclose(mean, x.mean(0), rtol=2e-3, atol=2e-3)
    np.testing.assert_allclose(var.astype(np.float32), x.var(0, ddof=1), rtol=1e-2)
