"""What every module shares: names, hooks, freezing, states from files; Residual and Flatten."""

from __future__ import annotations

import copy
import pickle
import re
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fastnn
from fastnn import nn, optim, train
from fastnn._core.typing import Array
from support.cases import each
from support.interrupts import leaves_undone_or_done


def small_model() -> nn.Sequential:
    fastnn.manual_seed(5)
    return nn.Sequential(
        nn.Linear(4, 6),
        nn.BatchNorm1d(6),
        nn.ReLU(),
        nn.Sequential(nn.Linear(6, 5), nn.Tanh()),
        nn.Linear(5, 3),
    )


def batch(*shape: int) -> Array:
    return np.random.default_rng(1).standard_normal(shape, np.float32)


def gradients(model: nn.Module) -> dict[str, Array | None]:
    return {name: p.grad for name, p in model.named_parameters()}


def test_modules_have_torch_s_names() -> None:
    model = small_model()
    assert [name for name, _ in model.named_modules()] == ["", "0", "1", "2", "3", "3.0", "3.1", "4"]
    assert [name for name, _ in model.named_modules("top")][:2] == ["top", "top.0"]
    assert list(model.children()) == list(model)
    assert next(model.modules()) is model


def test_modules_and_parameters_by_name() -> None:
    model, layer, weight = nn.Module(), nn.BatchNorm1d(2), nn.Parameter(np.zeros(3))
    model.add_module("a", layer)
    model.register_module("b", nn.Identity(54, unused=True))
    model.register_parameter("w", weight)
    model.register_parameter("none", None)
    assert [name for name, _ in model.named_parameters()] == ["w", "a.weight", "a.bias"]
    assert [array.shape for array in model.buffers()] == [(2,), (2,), ()]
    model2 = nn.Sequential()
    model2.add_module("first", layer)
    assert model2[0] is layer
    wrong: list[tuple[Any, Any]] = [(model.add_module, weight), (model.register_parameter, layer)]
    for add, value in wrong:
        with pytest.raises(TypeError, match=r"Module: c must be an nn\.(Module|Parameter) or None, got"):
            add("c", value)


def test_apply_goes_from_the_inside_to_the_outside() -> None:
    seen: list[str] = []
    assert isinstance(small_model().apply(lambda module: seen.append(type(module).__name__)), nn.Sequential)
    assert seen == ["Linear", "BatchNorm1d", "ReLU", "Linear", "Tanh", "Sequential", "Linear", "Sequential"]


def test_a_shared_parameter_comes_once_and_is_saved_by_all_its_names() -> None:
    first, second = nn.Linear(4, 4, bias=False), nn.Linear(4, 4, bias=False)
    second.weight = first.weight
    model = nn.Sequential(first, second)
    assert [name for name, _ in model.named_parameters()] == ["0.weight"]
    assert list(model.state_dict()) == ["0.weight", "1.weight"]
    optim.SGD(model.parameters(), lr=0.1)


def test_a_slice_is_a_model_of_the_same_layers() -> None:
    model, x = small_model(), batch(7, 4)
    head = model[:2]
    assert isinstance(head, nn.Sequential)
    assert list(head) == list(model)[:2]
    assert model[-1] is list(model)[-1]
    np.testing.assert_array_equal(model.eval()(x), model[2:](head(x)))


# ---- hooks ------------------------------------------------------------------------------------------------


def test_hooks_see_each_layer_s_own_arrays() -> None:
    model, x, dy = small_model(), batch(7, 4), batch(7, 3)
    plain, dx = model(x), model.backward(dy)
    seen: list[tuple[str, Array, Array]] = []
    handles = []
    for name, layer in model.named_modules():
        handles += [
            layer.register_forward_hook(lambda m, a, b, name=name: seen.append((name, a, b))),
            layer.register_full_backward_hook(lambda m, a, b, name=name: seen.append((name, a, b))),
        ]
    assert "fused" not in repr(model)
    np.testing.assert_allclose(model(x), plain, rtol=1e-6)
    order = ["0", "1", "2", "3.0", "3.1", "3", "4", ""]
    assert [name for name, _, _ in seen] == order
    for (_, _, y), (name, given, _) in pairwise(seen[:4]):
        assert y is given, name
    assert seen[0][1] is x
    seen.clear()
    np.testing.assert_allclose(model.backward(dy), dx, rtol=1e-5, atol=1e-7)
    assert [name for name, _, _ in seen] == ["4", "3.1", "3.0", "3", "2", "1", "0", ""]
    assert seen[0][1] is dy
    seen.clear()
    for handle in handles:
        handle.remove()
        handle.remove()
    np.testing.assert_array_equal(model(x), plain)
    assert not seen
    assert "fused: 1 to 2" in repr(model)


def test_a_model_with_hooks_can_be_copied() -> None:
    model, calls = small_model(), []
    model[0].register_forward_hook(lambda module, x, y: calls.append(module))
    twin = copy.deepcopy(model)
    twin(batch(3, 4))
    assert calls == [twin[0]]


def test_a_handle_removes_its_own_hook_only_and_once() -> None:
    layer, calls = nn.ReLU(), []

    def hook(*given: Any) -> None:
        calls.append(given)

    first, second = layer.register_forward_hook(hook), layer.register_forward_hook(hook)
    first.remove()
    first.remove()
    layer(batch(3))
    assert len(calls) == 1  # the second's
    second.remove()
    layer.register_forward_hook(hook)
    second.remove()
    layer(batch(3))
    assert len(calls) == 2


def test_hooks_of_a_loss_see_its_arguments() -> None:
    loss, seen = nn.MSELoss(), []
    loss.register_forward_hook(lambda *given: seen.append(given))
    loss.register_full_backward_hook(lambda *given: seen.append(given))
    x, target = batch(3), np.zeros(3, np.float32)
    value = loss(x, target)
    gradient = loss.backward()
    assert seen == [(loss, x, target, value), (loss, gradient)]


def test_a_hook_must_be_callable() -> None:
    with pytest.raises(TypeError, match="hook must be callable, got int"):
        nn.ReLU().register_forward_hook(3)  # type: ignore[arg-type]


# ---- freezing, and gradients that nobody needs ------------------------------------------------------------


def test_frozen_parameters_get_no_gradient() -> None:
    model, x, dy = small_model(), batch(7, 4), batch(7, 3)
    model(x)
    dx = model.backward(dy)
    whole = gradients(model)
    assert model[0].requires_grad_(False) is model[0]
    assert model[1].requires_grad_(False) is model[1]
    assert gradients(model)["0.weight"] is None
    model.zero_grad()
    model(x)
    np.testing.assert_array_equal(model.backward(dy), dx)
    for name, gradient in gradients(model).items():
        if name.startswith(("0.", "1.")):
            assert gradient is None, name
        else:
            np.testing.assert_array_equal(gradient, whole[name])
    assert "requires_grad=False" in repr(next(model.parameters()))
    model.requires_grad_()
    assert all(p.requires_grad for p in model.parameters())


def test_frozen_norms_stay_in_evaluation_mode() -> None:
    frozen = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Dropout(0.5))
    model = nn.Sequential(frozen.requires_grad_(False), nn.Linear(4, 2), nn.BatchNorm1d(2))
    norm, dropout = frozen[1], frozen[2]
    before = frozen.state_dict()
    x, y = np.random.default_rng(0).standard_normal((40, 3), np.float32), np.arange(40) % 2
    train.fit(model, (x, y), epochs=2)
    for name, array in frozen.state_dict().items():
        np.testing.assert_array_equal(array, before[name])
    modes = [module.training for module in model.train().modules()]
    assert modes == [True, True, True, False, True, True, True]
    assert not list(copy.deepcopy(model).train().modules())[3].training
    frozen.requires_grad_().train()
    assert norm.training
    dropout.frozen = True
    model.train()
    assert (norm.training, dropout.training) == (True, False)


@pytest.mark.parametrize("frozen", [0, 1, 3, 5])
def test_backward_goes_no_further_than_it_has_to(frozen: int) -> None:
    model, x, dy = small_model(), batch(7, 4), batch(7, 3)
    model(x)
    model.backward(dy)
    whole = gradients(model)
    for layer in list(model)[:frozen]:
        layer.requires_grad_(False)
    model.zero_grad()
    model.needs_input_grad = False
    ran: list[nn.Module] = []
    for layer in model:
        layer.register_full_backward_hook(lambda module, dy, dx: ran.append(module))
    model(x)
    model.backward(dy)
    assert ran == list(model)[frozen:][::-1]
    for name, p in model.named_parameters():
        if p.requires_grad:
            assert whole[name] is not None
            np.testing.assert_allclose(p.grad, whole[name], rtol=1e-5, atol=1e-7)  # type: ignore[arg-type]
        else:
            assert p.grad is None
    assert all(layer.needs_input_grad for layer in model)  # each by itself is as before
    model.needs_input_grad = True
    model.zero_grad()
    model(x)
    assert model.backward(dy).shape == x.shape


# ---- one backward for each forward ------------------------------------------------------------------------


@pytest.mark.parametrize("layer", [nn.Linear(4, 4), nn.ReLU(), nn.BatchNorm1d(4), nn.Dropout(), nn.Flatten()])
def test_backward_frees_what_forward_kept(layer: nn.Module) -> None:
    x = batch(3, 4)
    layer(x)
    layer.backward(x)
    with pytest.raises(
        RuntimeError, match="needs a forward pass first: call the layer again, its backward freed"
    ):
        layer.backward(x)
    layer(x)
    layer.backward(x)


# ---- states -----------------------------------------------------------------------------------------------


def test_not_strict_leaves_out_what_does_not_fit() -> None:
    model, state = small_model(), small_model().state_dict()
    state["other"] = state.pop("0.weight") + 1
    state["4.bias"] = state["4.bias"] + 1
    before = model.state_dict()
    result = model.load_state_dict(state, strict=False)
    assert result == (["0.weight"], ["other"])
    assert result.missing_keys == ["0.weight"]
    np.testing.assert_array_equal(model.state_dict()["0.weight"], before["0.weight"])
    np.testing.assert_array_equal(model.state_dict()["4.bias"], before["4.bias"] + 1)
    state["4.bias"] = np.zeros(7)
    with pytest.raises(ValueError, match=r"state_dict\['4.bias'\] must have .* \(3,\), got \(7,\)"):
        model.load_state_dict(state, strict=False)


def test_a_state_for_a_read_only_array_changes_nothing() -> None:
    layer = nn.Linear(2, 3)
    before = layer.state_dict()
    layer.bias.data.flags.writeable = False  # type: ignore[union-attr]
    with pytest.raises(ValueError, match=r"^Linear: bias must be writeable .*, got a read-only array"):
        layer.load_state_dict(nn.Linear(2, 3).state_dict())
    np.testing.assert_array_equal(layer.weight.data, before["weight"])


def test_a_state_from_a_safetensors_file(tmp_path: Path) -> None:
    safetensors = pytest.importorskip("safetensors.numpy")
    model, other = small_model(), small_model()
    model[0].weight.data += 1
    safetensors.save_file(model.state_dict(), tmp_path / "model.safetensors")
    assert other.load_state_dict(tmp_path / "model.safetensors") == ([], [])
    for name, value in model.state_dict().items():
        np.testing.assert_array_equal(other.state_dict()[name], value)
    (tmp_path / "half.safetensors").write_bytes((tmp_path / "model.safetensors").read_bytes()[:200])
    with pytest.raises(ValueError, match=r"half.safetensors is not a whole safetensors file"):
        other.load_state_dict(str(tmp_path / "half.safetensors"))


def test_a_state_within_a_checkpoint_or_after_a_prefix() -> None:
    model = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2))
    before, state = model.state_dict(), nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2)).state_dict()
    prefixed = {f"module.{name}": array for name, array in state.items()}
    cases: list[tuple[dict[str, Any], str]] = [
        (prefixed, "them with 'module.' before them, as a wrapper writes them: load_state_dict({name.remove"),
        ({"epoch": 3, "model": state}, "a checkpoint that has them in its 'model': load_state_dict(check"),
        ({"state_dict": prefixed}, "a checkpoint that has them in its 'state_dict': load_state_dict(check"),
    ]
    for given, got in cases:
        message = f"state_dict must have the names of Sequential, got {got}"
        for strict in (True, False):  # without a word, it would load nothing
            with pytest.raises(ValueError, match="^" + re.escape(message)):
                model.load_state_dict(given, strict)
    assert all(np.array_equal(before[name], array) for name, array in model.state_dict().items())
    assert model.load_state_dict({"other": 1}, strict=False).unexpected_keys == ["other"]


def test_a_state_from_something_else(tmp_path: Path) -> None:
    model = small_model()
    with pytest.raises(FileNotFoundError, match=r"there is no file .*none.safetensors"):
        model.load_state_dict(tmp_path / "none.safetensors")
    (tmp_path / "weights.bin").write_bytes(b"")
    with pytest.raises(ValueError, match=r"weights.bin must end in .safetensors, .pt or .pth"):
        model.load_state_dict(tmp_path / "weights.bin")
    with pytest.raises(TypeError, match="state_dict must be a mapping or a path, got int"):
        model.load_state_dict(3)  # type: ignore[arg-type]


def test_a_copy_has_nothing_of_the_last_pass() -> None:
    model, x = small_model(), batch(7, 4)
    fresh = len(pickle.dumps(model))
    y = model(x)
    assert len(pickle.dumps(model)) == fresh
    for twin in (pickle.loads(pickle.dumps(model)), copy.deepcopy(model)):
        with pytest.raises(RuntimeError, match="needs a forward pass first"):
            twin.backward(batch(7, 3))
        np.testing.assert_array_equal(twin(x), y)
        assert twin.backward(batch(7, 3)).shape == x.shape
    assert model.backward(batch(7, 3)).shape == x.shape


def test_a_copy_of_a_layer_s_generator_goes_on_by_itself() -> None:
    layer = nn.Dropout(generator=fastnn.Generator(3))
    layer(batch(7, 4))
    twin = pickle.loads(pickle.dumps(layer))
    np.testing.assert_array_equal(twin(batch(7, 4)), layer(batch(7, 4)))
    np.testing.assert_array_equal(twin(batch(7, 4)), layer(batch(7, 4)))


# ---- Residual, Flatten ------------------------------------------------------------------------------------


@pytest.mark.parametrize("projected", [False, True])
def test_residual_adds_the_shortcut(projected: bool) -> None:
    fastnn.manual_seed(0)
    branch = nn.Sequential(nn.Linear(4, 4, dtype=np.float64), nn.Tanh())
    shortcut = nn.Linear(4, 4, dtype=np.float64) if projected else None
    layer = nn.Residual(branch, shortcut)
    x, dy = batch(7, 4).astype(np.float64), batch(7, 4).astype(np.float64)
    around = x if shortcut is None else shortcut(x)
    np.testing.assert_allclose(layer(x), branch(x) + around, rtol=1e-15)
    layer(x)
    dx, step = layer.backward(dy), 1e-6
    for index in np.ndindex(x.shape):
        moved = np.zeros_like(x)
        moved[index] = step
        difference = np.sum(dy * (layer(x + moved) - layer(x - moved))) / (2 * step)
        np.testing.assert_allclose(dx[index], difference, rtol=1e-6, atol=1e-9)
    names = ["branch.0.weight", "branch.0.bias"] + ["shortcut.weight", "shortcut.bias"] * projected
    assert [name for name, _ in layer.named_parameters()] == names


def test_residual_spares_the_gradient_for_its_input() -> None:
    layer = nn.Residual(nn.Linear(4, 3), nn.Linear(4, 3))
    layer(batch(7, 4))
    whole = layer.backward(batch(7, 3))
    assert whole.shape == (7, 4)
    weights = gradients(layer)
    layer.zero_grad()
    layer.needs_input_grad = False
    layer(batch(7, 4))
    assert layer.backward(batch(7, 3)) is None
    for name, gradient in gradients(layer).items():
        np.testing.assert_array_equal(gradient, weights[name])
    assert layer.branch.needs_input_grad


def test_residual_s_errors() -> None:
    with pytest.raises(ValueError, match=r"must return the same shape, got \(2, 3\) and \(2, 4\)"):
        nn.Residual(nn.Linear(4, 3))(batch(2, 4))
    with pytest.raises(TypeError, match=r"Residual: branch must be an nn.Module, got int"):
        nn.Residual(3)  # type: ignore[arg-type]
    layer = nn.ReLU()
    with pytest.raises(ValueError, match="branch and shortcut must be two modules, got the same one twice"):
        nn.Residual(layer, layer)


def test_flatten() -> None:
    x = batch(2, 3, 4, 5)
    assert repr(nn.Flatten()) == "Flatten(start_dim=1, end_dim=-1)"
    layer: nn.Module = nn.Flatten()
    np.testing.assert_array_equal(layer(x), x.reshape(2, 60))
    np.testing.assert_array_equal(layer.backward(x.reshape(2, 60)), x)
    assert nn.Flatten(1, 2)(x).shape == (2, 12, 5)
    assert nn.Flatten(0)(np.zeros((0, 3))).shape == (0,)
    layer(x)
    with pytest.raises(ValueError, match=r"dy must have .* result, \(2, 60\), got \(60, 2\)"):
        layer.backward(batch(60, 2))
    with pytest.raises(IndexError, match=r"start_dim must be in \[-1, 1\) .*, got 1"):
        nn.Flatten()(batch(4))
    with pytest.raises(ValueError, match="end_dim must not be before start_dim, 1, got 0"):
        nn.Flatten(1, 0)(batch(4, 2))


def test_an_interrupt_leaves_weights_undone_or_done() -> None:
    state = {name: array + 1 for name, array in small_model().state_dict().items()}

    def look(model: nn.Sequential) -> list[bytes]:
        return [array.tobytes() for array in model.state_dict().values()]

    assert leaves_undone_or_done(small_model, lambda model: model.load_state_dict(state), look, every=29) > 20


# ---- attributes that repr shows ----------------------------------------------------------------------------

IMAGES = np.random.default_rng(0).standard_normal((2, 4, 6, 6)).astype(np.float32)
DROPOUTS = nn.Dropout, nn.Dropout2d, nn.AlphaDropout, nn.DropPath
RUNNING = {"num_features": 4, "eps": 1e-5, "momentum": 0.2, "affine": True, "track_running_stats": True}
ROWS = {"normalized_shape": 6, "eps": 1e-5, "elementwise_affine": True}
WINDOWS = {"kernel_size": 3, "stride": 2, "padding": 1, "dilation": 2}
SHOWN: list[tuple[type[nn.Module], dict[str, Any]]] = [
    *(
        (cls, {name: False if name == "inplace" else 0.5 for name in cls.__match_args__})
        for cls in nn.ACTIVATIONS.values()
        if cls is not nn.GELU
    ),
    (nn.GELU, {"approximate": "none"}),
    (nn.Linear, {"in_features": 6, "out_features": 3}),
    (nn.Conv2d, {"in_channels": 4, "out_channels": 4, "groups": 2, **WINDOWS}),
    (
        nn.Conv2d,
        {"in_channels": 4, "out_channels": 4, "kernel_size": 3, "stride": 2, "padding_mode": "reflect"},
    ),
    (nn.MaxPool2d, {**WINDOWS, "dilation": 1, "ceil_mode": False}),
    (nn.AvgPool2d, {"kernel_size": 2, "stride": 2, "padding": 1}),
    (nn.AdaptiveAvgPool2d, {"output_size": 3}),
    (nn.Flatten, {"start_dim": 1, "end_dim": 2}),
    *((cls, {"dim": 1}) for cls in (nn.Softmax, nn.LogSoftmax, nn.GLU, nn.SwiGLU)),
    (nn.PReLU, {"num_parameters": 4}),
    (nn.RReLU, {"lower": 0.1, "upper": 0.6}),
    (nn.Maxout, {"k": 2, "dim": 1}),
    *((cls, {"p": 0.5, "inplace": False}) for cls in DROPOUTS),
    (nn.DropConnect, {"linear": nn.Linear(6, 3), "p": 0.5}),
    (nn.LayerNorm, ROWS),
    (nn.RMSNorm, ROWS),
    (nn.GroupNorm, {"num_groups": 2, "num_channels": 4, "eps": 1e-5, "affine": True}),
    (nn.BatchNorm2d, RUNNING),
    (nn.InstanceNorm2d, RUNNING),
]
OTHER = {
    "approximate": "tanh",
    "dim": 3,
    "end_dim": 3,
    "eps": 0.5,
    "upper": 0.9,
    "lower": 0.3,
    "k": 4,
    "num_groups": 4,
    "normalized_shape": (6, 6),
    "kernel_size": 5,
    "stride": 1,
    "dilation": 1,
    "padding": 0,
    "padding_mode": "circular",
}


def passes(layer: nn.Module) -> bytes:
    fastnn.manual_seed(1)
    first, second = layer(IMAGES.copy()), layer(IMAGES.copy())
    dx = layer.backward(np.ones_like(second))
    rest = layer.eval()(IMAGES.copy())
    return b"".join(array.tobytes() for array in (first, dx, rest, *layer.state_dict().values()))


def made(layer: type[nn.Module], arguments: dict[str, Any]) -> nn.Module:
    fastnn.manual_seed(0)
    return layer(**copy.deepcopy(arguments))


@each(("layer", "arguments"), SHOWN)
def test_what_repr_shows_works_or_is_read_only(layer: type[nn.Module], arguments: dict[str, Any]) -> None:
    text = made(layer, arguments).extra_repr()
    assert {*re.findall(r"(\w+)=", text)} - {"bias"} <= arguments.keys()
    for name, value in arguments.items():
        if name in (
            "linear",
            "min_val",
        ):  # a layer; the lower end of an interval
            continue
        other = OTHER.get(name, not value if isinstance(value, bool) else value * 2)
        changed = made(layer, arguments)
        setattr(changed, name, getattr(changed, name))
        try:
            setattr(changed, name, other)
        except AttributeError as error:
            if not str(error).startswith(f"{layer.__name__}: {name} must stay as the layer was made, "):
                raise
            assert changed.extra_repr() == text
        else:
            assert str(other) in changed.extra_repr()
            assert passes(changed) == passes(made(layer, arguments | {name: other})), name


def test_unflatten() -> None:
    x = np.arange(24.0).reshape(2, 12)
    for dim, sizes in ((1, (3, 4)), (-1, (3, -1)), (1, [2, 2, 3])):
        layer = nn.Unflatten(dim, sizes)
        y = layer(x)
        assert y.base is not None
        np.testing.assert_array_equal(y, x.reshape(2, *(3, 4) if len(sizes) == 2 else sizes))
        np.testing.assert_array_equal(layer.backward(2 * y), 2 * x)
    assert nn.Unflatten(0, (0, 5))(np.zeros((0, 3))).shape == (0, 5, 3)
    assert repr(nn.Unflatten(1, (3, -1))) == "Unflatten(dim=1, unflattened_size=(3, -1))"
    with pytest.raises(IndexError, match=r"^Unflatten: dim must be in \[-2, 2\) for .* 2 dimensions, got 2"):
        nn.Unflatten(2, (1, -1))(x)
    for wrong in ((5, -1), (3, 3), (0, -1)):
        with pytest.raises(
            ValueError, match=r"^Unflatten: x must have a length along dim 1 that is the product"
        ):
            nn.Unflatten(1, wrong)(x)
    for size, error in (
        ((), ValueError),
        ((-1, -1), ValueError),
        ((-2,), ValueError),
        ("3", TypeError),
        ((1.0,), TypeError),
    ):
        with pytest.raises(error, match=r"^Unflatten: unflattened_size must be"):
            nn.Unflatten(1, size)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="unflattened_size must give at most 64 dimensions, got 65"):
        nn.Unflatten(0, (1,) * 65)(np.ones(1, np.float32))
    layer = nn.Unflatten(1, (3, 4))
    layer(x)
    with pytest.raises(
        ValueError, match=r"^Unflatten: dy must have the shape of forward's result, \(2, 3, 4\)"
    ):
        layer.backward(x)
