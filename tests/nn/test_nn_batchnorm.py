"""BatchNorm layers and buffers: values and gradients against torch and finite differences, state, errors."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest

import fastnn
import fastnn.functional as F
from fastnn import nn
from fastnn._core.typing import Array
from support.gradients import numerical_gradient

LAYERS: dict[type[nn.Module], list[tuple[int, ...]]] = {
    nn.BatchNorm1d: [(7, 3), (4, 3, 5)],
    nn.BatchNorm2d: [(4, 3, 5, 2)],
    nn.BatchNorm3d: [(2, 3, 2, 3, 2)],
}
EACH = pytest.mark.parametrize(
    ("layer", "shape"), [(layer, shape) for layer, shapes in LAYERS.items() for shape in shapes]
)
OPTIONS: list[dict[str, Any]] = [
    {},
    {"eps": 1e-3, "momentum": 0.3},
    {"momentum": None},
    {"affine": False},
    {"track_running_stats": False},
    {"affine": False, "track_running_stats": False, "momentum": None},
    {"bias": False},
]


def batch(shape: tuple[int, ...], seed: int) -> Array:
    return np.random.default_rng(seed).normal(3, 2, shape)


@EACH
@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_training_and_evaluation_are_torch_s(
    layer: type[nn.Module], shape: tuple[int, ...], options: dict[str, Any]
) -> None:
    torch = pytest.importorskip("torch")
    if "bias" in options and "bias=" not in repr(torch.nn.BatchNorm1d(1)):
        pytest.skip("this torch has no such option")
    theirs = getattr(torch.nn, layer.__name__)(3, dtype=torch.float64, **options)
    ours: Any = layer(3, dtype=np.float64, **options)  # type: ignore[call-arg]
    assert list(ours.state_dict()) == list(theirs.state_dict())
    for name, parameter in ours.named_parameters():
        parameter.data[...] = np.arange(3) - 0.75
        theirs.get_parameter(name).data[...] = torch.tensor(parameter.data)
    for step, training in enumerate([True, True, False, True, False]):
        ours.train(training)
        theirs.train(training)
        ours.zero_grad()
        theirs.zero_grad()
        x, dy = batch(shape, step), batch(shape, step + 10)
        theirs_x = torch.tensor(x, requires_grad=True)
        theirs_y = theirs(theirs_x)
        theirs_y.backward(torch.tensor(dy))
        near: Any = {"rtol": 1e-11, "atol": 1e-12}
        np.testing.assert_allclose(ours(x), theirs_y.detach(), **near)
        np.testing.assert_allclose(ours.backward(dy), theirs_x.grad, **near)
        for name, parameter in ours.named_parameters():
            np.testing.assert_allclose(parameter.grad, theirs.get_parameter(name).grad, **near)
        for name, value in theirs.state_dict().items():
            np.testing.assert_allclose(ours.state_dict()[name], value, **near, err_msg=name)


@EACH
def test_the_state_is_torch_s(layer: type[nn.Module], shape: tuple[int, ...]) -> None:
    torch = pytest.importorskip("torch")
    theirs = torch.nn.Sequential(torch.nn.Linear(2, 3), getattr(torch.nn, layer.__name__)(3)).state_dict()
    ours = nn.Sequential(nn.Linear(2, 3), layer(3)).state_dict()  # type: ignore[call-arg]
    assert list(ours) == list(theirs)
    for name, value in theirs.items():
        assert (ours[name].shape, ours[name].dtype) == (value.shape, value.numpy().dtype), name
        if name.startswith("1."):
            np.testing.assert_array_equal(ours[name], value)


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_repr_is_torch_s(options: dict[str, Any]) -> None:
    torch = pytest.importorskip("torch")
    if "bias=" not in repr(torch.nn.BatchNorm1d(1)):
        pytest.skip("older torch does not write bias")
    for layer in LAYERS:
        theirs = getattr(torch.nn, layer.__name__)(3, **options)
        assert repr(layer(3, **options)) == repr(theirs)  # type: ignore[call-arg]


@pytest.mark.parametrize("training", [True, False])
def test_gradients_are_the_finite_differences(training: bool) -> None:
    layer = nn.BatchNorm1d(3, dtype=np.float64)
    assert layer.weight is not None
    assert layer.bias is not None
    layer.weight.data[...] = [0.5, -2, 1]
    layer(batch((9, 3), 5))  # running statistics that differ from 0 and 1
    model = nn.Sequential(nn.Linear(4, 3, dtype=np.float64), layer, nn.Tanh()).train(training)
    x, dy = batch((6, 4), 0), batch((6, 3), 1)

    def loss() -> float:
        return float((model(x) * dy).sum())

    loss()
    np.testing.assert_allclose(model.backward(dy), numerical_gradient(loss, x), rtol=1e-6, atol=1e-8)
    for name, parameter in model.named_parameters():
        numerical = numerical_gradient(loss, parameter.data)
        assert parameter.grad is not None
        # In training a shift of all inputs changes nothing: the Linear's bias has a gradient of 0.
        np.testing.assert_allclose(parameter.grad, numerical, rtol=1e-6, atol=1e-8, err_msg=name)


def test_gradients_add_up() -> None:
    layer, x, dy = nn.BatchNorm1d(3, dtype=np.float64), batch((7, 3), 0), batch((7, 3), 1)
    layer(x)
    layer.backward(dy)
    assert layer.weight is not None
    assert layer.weight.grad is not None
    once = layer.weight.grad.copy()
    layer(x)
    layer.backward(dy)
    np.testing.assert_array_equal(layer.weight.grad, 2 * once)


def test_options_reach_the_function() -> None:
    x = batch((7, 3), 0)
    biased: Any = nn.BatchNorm1d(3, momentum=1.0, dtype=np.float64, biased_running_var=True)
    biased(x)
    np.testing.assert_allclose(biased.running_var, x.var(axis=0), rtol=1e-13)
    x[2, 1] = np.nan
    for skips in (True, False):
        layer = nn.BatchNorm1d(3, dtype=np.float64, skip_nonfinite=skips)
        layer(x)
        assert layer.running_mean is not None
        assert np.isfinite(layer.running_mean).tolist() == [True, skips, True]
        assert layer.num_batches_tracked == 1
    flat = nn.BatchNorm1d(3, eps=15.0, dtype=np.float64)
    np.testing.assert_allclose(flat.eval()(np.ones((1, 3))), np.full((1, 3), 0.25), rtol=1e-13)


def test_evaluation_changes_nothing() -> None:
    layer = nn.BatchNorm2d(3)
    layer(batch((4, 3, 2, 2), 0).astype(np.float32))
    before = layer.state_dict()
    x = batch((4, 3, 2, 2), 1).astype(np.float32)
    y = layer.eval()(x)
    assert y.dtype == np.float32
    expected, _ = F.batch_norm(x, before["running_mean"], before["running_var"])
    np.testing.assert_array_equal(y, expected)
    for name, value in layer.state_dict().items():
        np.testing.assert_array_equal(value, before[name])


def test_reset_running_stats() -> None:
    layer = nn.BatchNorm1d(3)
    start = layer.state_dict()
    layer(batch((4, 3), 0).astype(np.float32))
    assert layer.num_batches_tracked == 1
    layer.reset_running_stats()
    for name, value in layer.state_dict().items():
        np.testing.assert_array_equal(value, start[name])
    nn.BatchNorm1d(3, track_running_stats=False).reset_running_stats()


@pytest.mark.parametrize("layer", LAYERS)
def test_shapes_that_do_not_fit(layer: Any) -> None:
    right = [len(shape) for shape in LAYERS[layer]]
    for ndim in range(7):
        shape = (2, 3, 2, 2, 2, 2)[:ndim]
        if ndim not in right:
            with pytest.raises(
                ValueError, match=rf"^{layer.__name__}: x must have shape \(N, C.*C = 3, got \("
            ):
                layer(3)(np.ones(shape, np.float32))
    with pytest.raises(ValueError, match=r"x must have shape .*C = 4, got \(2, 3"):
        layer(4)(np.ones((2, 3, 2, 2, 2)[: right[0]], np.float32))


def test_one_value_per_channel_is_an_error_that_says_what_to_do() -> None:
    layer = nn.BatchNorm1d(3)
    with pytest.raises(ValueError, match=r"more than one value per channel.*larger batch or eval\(\)"):
        layer(np.ones((1, 3), np.float32))
    assert layer.num_batches_tracked == 0
    assert layer.eval()(np.ones((1, 3), np.float32)).shape == (1, 3)


def test_bad_constructor_arguments() -> None:
    for wrong in (0, -1, 2.0, "3"):
        with pytest.raises(ValueError, match=r"^BatchNorm1d: num_features must be a whole number .*, got"):
            nn.BatchNorm1d(wrong)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=r"^BatchNorm2d: dtype must be float32 or float64, got int64"):
        nn.BatchNorm2d(3, dtype=np.int64)
    with pytest.raises(RuntimeError, match="backward needs a forward pass first"):
        nn.BatchNorm1d(3).backward(np.ones((2, 3), np.float32))


# ---- buffers -----------------------------------------------------------------------------------------------


def test_buffers_by_name() -> None:
    model = nn.Sequential(nn.BatchNorm1d(3), nn.Sequential(nn.BatchNorm1d(3, track_running_stats=False)))
    names = ["0.running_mean", "0.running_var", "0.num_batches_tracked"]
    assert [name for name, _ in model.named_buffers()] == names
    assert list(model.state_dict()) == ["0.weight", "0.bias", *names, "1.0.weight", "1.0.bias"]
    first: Any = model[0]
    assert dict(model.named_buffers())["0.running_mean"] is first.running_mean


def test_state_dict_round_trip_with_buffers() -> None:
    saved, model = nn.BatchNorm1d(3), nn.BatchNorm1d(3)
    for seed in range(2):
        saved(batch((4, 3), seed).astype(np.float32))
    arrays, state = dict(model.named_buffers()), saved.state_dict()
    model.load_state_dict(state)
    for name, array in model.named_buffers():
        assert array is arrays[name]
        np.testing.assert_array_equal(array, state[name])
    assert model.num_batches_tracked == 2
    saved(batch((4, 3), 2).astype(np.float32))
    assert state["num_batches_tracked"] == 2  # a copy
    assert model.num_batches_tracked == 2
    with pytest.raises(TypeError, match=r"'num_batches_tracked'\] must have .* to int64, got float64"):
        model.load_state_dict({**state, "num_batches_tracked": np.array(2.0)})
    with pytest.raises(ValueError, match=r"missing names \['running_var'\]"):
        model.load_state_dict({name: value for name, value in state.items() if name != "running_var"})


def test_copies_have_buffers_of_their_own() -> None:
    layer: Any = nn.BatchNorm1d(3)
    twin = copy.deepcopy(layer)
    twin(batch((4, 3), 0).astype(np.float32))
    assert (layer.num_batches_tracked, twin.num_batches_tracked) == (0, 1)
    np.testing.assert_array_equal(layer.state_dict()["running_mean"], np.zeros(3))


def test_a_buffer_of_ones_own() -> None:
    class Counter(nn.Module):
        def __init__(self) -> None:
            self.register_buffer("calls", np.array(0))
            self.register_buffer("unused", None)

        calls: Array

        def forward(self, x: Array) -> Array:
            self.calls += 1
            return x

    model = nn.Sequential(Counter(), Counter())
    model(np.ones(1))
    assert model.state_dict() == {"0.calls": 1, "1.calls": 1}
    assert list(model.parameters()) == []


# ---- update_bn ---------------------------------------------------------------------------------------------


def normed() -> Any:
    layers = nn.Linear(4, 3), nn.BatchNorm1d(3, momentum=0.3), nn.Dropout(0.5), nn.BatchNorm1d(3)
    return nn.Sequential(*layers, nn.BatchNorm1d(3, track_running_stats=False))


def test_statistics_are_computed_anew() -> None:
    """By the definition: means over batches of their means and unbiased variances."""
    model, x = normed(), batch((60, 4), 0).astype(np.float32)
    model(x)
    model.train()
    model[2].eval()
    before, key = model.state_dict(), fastnn.random.default_generator().get_state()
    parts = np.split(x, 3)
    nn.utils.update_bn(model, x, 20)
    y = [model[0].forward(part).astype(np.float64) for part in parts]
    np.testing.assert_allclose(model[1].running_mean, np.mean([part.mean(0) for part in y], 0), rtol=1e-5)
    expected = np.mean([part.var(0, ddof=1) for part in y], 0)
    np.testing.assert_allclose(model[1].running_var, expected, rtol=1e-5)
    np.testing.assert_allclose(model[3].running_mean, model[1].bias.data, atol=1e-6)  # nothing is dropped
    assert (model[1].num_batches_tracked, model[1].momentum) == (3, 0.3)
    assert [layer.training for layer in model] == [True, True, False, True, True]
    assert fastnn.random.default_generator().get_state() == key
    after = model.state_dict()
    assert all((before[name] == after[name]).all() for name, _ in model.named_parameters())
    forms: list[Any] = [(x, np.zeros(60)), ((x,), np.zeros(60)), parts, iter([(part, 0) for part in parts])]
    for data in forms:
        other = normed()
        other.load_state_dict(before)
        nn.utils.update_bn(other, data, 20)
        for name, array in other.state_dict().items():
            np.testing.assert_array_equal(array, after[name])


def test_what_is_frozen_stays_and_errors_change_nothing() -> None:
    model, x = normed(), batch((60, 4), 0).astype(np.float32)
    model[1].requires_grad_(False)
    nn.utils.update_bn(model, x)
    assert model[1].num_batches_tracked == 0
    assert model[3].num_batches_tracked == 1
    before = model.state_dict()
    for data, message in (
        ([x, x[:, :3]], "x must have shape"),
        ([], "data must have at least one batch, got none"),
        (x[:0], "data must have at least one batch, got none"),
    ):
        with pytest.raises(ValueError, match=message):
            nn.utils.update_bn(model, data)
        for name, array in model.state_dict().items():
            np.testing.assert_array_equal(array, before[name])
        assert model[3].momentum == 0.1
    nn.utils.update_bn(model, x[:50], 20)
    assert model[3].num_batches_tracked == 2  # equal batches of at least 20
    with pytest.raises(ValueError, match="batch_size must be a whole number of at least 1, got 0"):
        nn.utils.update_bn(model, x, 0)
    with pytest.raises(TypeError, match=r"model must be a layer of fastnn\.nn, got list"):
        nn.utils.update_bn([model], x)  # type: ignore[arg-type]
