"""Layers and models on a GPU: moved there and back, against the CPU's results, and what does not fit."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fastnn
from fastnn import nn

RNG = np.random.default_rng(0)


def near(got: Any, expected: Any) -> None:
    """Within some roundings of float32, of the largest."""
    bound = 2.0**-18 * max(1.0, float(np.abs(expected).max(initial=0)))
    np.testing.assert_allclose(got.get(), expected, rtol=0, atol=bound)


def pair(make: Callable[[], nn.Module]) -> tuple[nn.Module, nn.Module]:
    """Two layers with the same parameters, and the same draws to come."""
    layers = []
    for _ in range(2):
        fastnn.manual_seed(1)
        layers.append(make())
    return layers[0], layers[1]


LAYERS: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "Linear": (lambda: nn.Linear(5, 4), (3, 5)),
    "Linear, no bias": (lambda: nn.Linear(5, 4, bias=False), (2, 3, 5)),
    "Conv2d": (lambda: nn.Conv2d(2, 4, 3, 2, 1, groups=2), (2, 2, 5, 6)),
    "Conv2d, reflect": (lambda: nn.Conv2d(2, 4, 3, padding=1, padding_mode="reflect"), (2, 2, 5, 6)),
    "MaxPool2d": (lambda: nn.MaxPool2d(2), (2, 3, 4, 6)),
    "AvgPool2d": (lambda: nn.AvgPool2d(3, 1, 1), (2, 3, 4, 6)),
    "AdaptiveAvgPool2d": (lambda: nn.AdaptiveAvgPool2d(1), (2, 3, 4, 6)),
    "AdaptiveMaxPool2d": (lambda: nn.AdaptiveMaxPool2d((2, 3)), (2, 3, 4, 6)),
    "Conv1d": (lambda: nn.Conv1d(2, 4, 3, 2, 1, groups=2), (2, 2, 6)),
    "MaxPool1d": (lambda: nn.MaxPool1d(2), (2, 3, 6)),
    "AvgPool1d": (lambda: nn.AvgPool1d(3, 1, 1), (2, 3, 6)),
    "Unflatten": (lambda: nn.Unflatten(1, (2, -1)), (2, 6)),
    "FractionalMaxPool2d": (
        lambda: nn.FractionalMaxPool2d(2, 3, generator=fastnn.Generator(4)),
        (2, 3, 6, 7),
    ),
    "Flatten": (lambda: nn.Flatten(), (2, 3, 4)),
    "ReLU": (lambda: nn.ReLU(), (3, 5)),
    "Residual": (lambda: nn.Residual(nn.Linear(5, 5)), (3, 5)),
    "Residual, shortcut": (lambda: nn.Residual(nn.Linear(5, 4), nn.Linear(5, 4)), (3, 5)),
    "BatchNorm2d": (lambda: nn.BatchNorm2d(3), (4, 3, 2, 2)),
    "Dropout": (lambda: nn.Dropout(0.5, generator=fastnn.Generator(4)), (5, 7)),
    "DropConnect": (lambda: nn.DropConnect(nn.Linear(5, 4), 0.5, generator=fastnn.Generator(4)), (3, 5)),
    "PReLU": (lambda: nn.PReLU(3), (2, 3, 4)),
    "LayerNorm": (lambda: nn.LayerNorm(5), (3, 5)),
    "RMSNorm": (lambda: nn.RMSNorm(5), (3, 5)),
    "GroupNorm": (lambda: nn.GroupNorm(2, 4), (3, 4, 5)),
    "InstanceNorm1d": (lambda: nn.InstanceNorm1d(3, affine=True), (2, 3, 6)),
    "InstanceNorm1d, one sample": (lambda: nn.InstanceNorm1d(3, affine=True), (3, 6)),
    "Softmax": (lambda: nn.Softmax(), (3, 5)),
    "SwiGLU": (lambda: nn.SwiGLU(), (3, 6)),
    "Maxout": (lambda: nn.Maxout(2), (3, 6)),
    "Sequential, fused": (
        lambda: nn.Sequential(
            nn.Linear(5, 6),
            nn.BatchNorm1d(6),
            nn.ReLU(),
            nn.Dropout(0.3, generator=fastnn.Generator(4)),
            nn.Linear(6, 2),
        ),
        (8, 5),
    ),
}


@pytest.mark.parametrize("name", LAYERS)
def test_as_on_the_cpu(cupy: Any, name: str) -> None:
    make, shape = LAYERS[name]
    here, there = pair(make)
    assert there.to("cuda") is there
    x = RNG.standard_normal(shape).astype(np.float32)
    for _ in range(2):  # gradients are added up
        y, got = here(x), there(cupy.asarray(x))
        assert isinstance(got, cupy.ndarray)
        near(got, y)
        dy = RNG.standard_normal(y.shape).astype(np.float32)
        near(there.backward(cupy.asarray(dy)), here.backward(dy))
    for (label, own), parameter in zip(here.named_parameters(), there.parameters(), strict=True):
        assert isinstance(parameter.grad, cupy.ndarray), label
        near(parameter.grad, own.grad)
    for (label, buffer), other in zip(here.named_buffers(), there.named_buffers(), strict=True):
        assert isinstance(other[1], cupy.ndarray), label
        near(other[1], buffer)


def test_to_and_back(cupy: Any) -> None:
    model = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4))
    model.backward(np.ones_like(model(np.ones((2, 3), np.float32))))
    parameters = list(model.parameters())
    gradients = [np.array(p.grad) for p in parameters]
    model(np.ones((2, 3), np.float32))
    before = model.state_dict()
    assert model.cuda() is model
    with pytest.raises(RuntimeError, match="needs a forward pass first"):
        model.backward(cupy.ones((2, 4), np.float32))
    for parameter, old, gradient in zip(model.parameters(), parameters, gradients, strict=True):
        assert parameter is old
        assert isinstance(parameter.data, cupy.ndarray)
        np.testing.assert_array_equal(parameter.grad.get(), gradient)  # type: ignore[union-attr]
    for array in (data for _, data in model.named_buffers()):
        assert isinstance(array, cupy.ndarray)
    there = [p.data for p in model.parameters()]
    assert all(p.data is data for p, data in zip(model.to("cuda:0").parameters(), there, strict=True))
    assert model.cpu() is model
    for name, array in model.state_dict().items():
        np.testing.assert_array_equal(array, before[name])
    assert all(isinstance(p.data, np.ndarray) and isinstance(p.grad, np.ndarray) for p in model.parameters())


def test_state_dict(cupy: Any, tmp_path: Path) -> None:
    here, there = (nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4)) for _ in range(2))
    there.to("cuda")
    kept = [p.data for p in there.parameters()]
    assert there.load_state_dict(here.state_dict()) == ([], [])
    assert all(p.data is data for p, data in zip(there.parameters(), kept, strict=True))
    state = there.state_dict()
    for name, array in here.state_dict().items():
        assert type(state[name]) is np.ndarray
        np.testing.assert_array_equal(state[name], array)
    state["0.weight"][:] = 0  # a copy
    assert float(abs(kept[0]).max()) > 0
    safetensors = pytest.importorskip("safetensors.numpy")
    safetensors.save_file(there.state_dict(), tmp_path / "weights.safetensors")
    there.load_state_dict({name: cupy.asarray(array) * 0 for name, array in here.state_dict().items()})
    assert float(abs(kept[0]).max()) == 0
    there.load_state_dict(tmp_path / "weights.safetensors")
    np.testing.assert_array_equal(there.state_dict()["0.weight"], here.state_dict()["0.weight"])
    with pytest.raises(ValueError, match=r"state_dict\['0.bias'\] must have .*, got \(3,\)"):
        there.load_state_dict({**state, "0.bias": np.zeros(3, np.float32)})


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
def test_losses(cupy: Any, reduction: str) -> None:
    x, labels = RNG.standard_normal((4, 3)).astype(np.float32), np.array([0, 2, 1, 1])
    target = RNG.random((4, 3)).astype(np.float32)
    weight = np.array([1, 2, 3], np.float32)
    for criterion, of in [
        (nn.CrossEntropyLoss(weight, reduction=reduction), labels),
        (nn.MSELoss(reduction), target),
        (nn.BCEWithLogitsLoss(weight, reduction), target),
        (nn.HingeLoss(reduction=reduction), labels),
    ]:
        loss = criterion(x, of)
        dx = criterion.backward()
        there = criterion.to("cuda")(cupy.asarray(x), cupy.asarray(of))
        assert isinstance(there, cupy.ndarray)
        assert there.shape == np.shape(loss)
        near(there, np.asarray(loss))
        near(criterion.backward(), dx)


def test_hooks_see_what_is_on_the_gpu(cupy: Any) -> None:
    model, seen = nn.Sequential(nn.Linear(3, 2), nn.ReLU()).to("cuda"), []
    model[0].register_forward_hook(lambda module, x, y: seen.append(y))
    y: Any = model(cupy.ones((4, 3), np.float32))
    assert isinstance(seen[0], cupy.ndarray)
    np.testing.assert_array_equal(y.get(), np.maximum(seen[0].get(), 0))


def test_half_weights(cupy: Any) -> None:
    layer: Any = nn.Linear(4, 3).to("cuda")
    for parameter in layer.parameters():
        parameter.data = parameter.data.astype(np.float16)
    x = RNG.integers(-4, 4, (5, 4)).astype(np.float16)
    y = layer(cupy.asarray(x))
    assert y.dtype == np.float16
    right = x.astype(float) @ layer.weight.data.get().T.astype(float) + layer.bias.data.get()
    np.testing.assert_allclose(y.get(), right, rtol=2e-3, atol=2e-3)


@pytest.mark.parametrize(
    ("layer", "x"), [(lambda: nn.Linear(3, 2), (4, 3)), (lambda: nn.Conv2d(3, 2, 1), (1, 3, 4, 4))]
)
def test_mixed_devices(cupy: Any, layer: Callable[[], nn.Module], x: tuple[int, ...]) -> None:
    there, here = layer().to("cuda"), layer()
    name = type(here).__name__
    message = f"^{name}: x must be in {{}}, as the weight is, got an array in {{}}; move one"
    with pytest.raises(TypeError, match=message.format("a GPU's memory", "the CPU's memory")):
        there(np.ones(x, np.float32))
    with pytest.raises(TypeError, match=message.format("the CPU's memory", "a GPU's memory")):
        here(cupy.ones(x, np.float32))
    for wrong in (np.float64, np.int32, np.complex64):
        with pytest.raises(
            TypeError,
            match=f"^{name}: x must be an array of the weight's dtype, float32, got {np.dtype(wrong)}",
        ):
            there(cupy.ones(x, wrong))
    y: Any = there(cupy.ones(x, np.float32))
    with pytest.raises(TypeError, match=f"^{name}: dy must be in a GPU's memory"):
        there.backward(y.get())


def test_devices_that_there_are_not(cupy: Any) -> None:
    layer = nn.Linear(3, 2)
    for device in ("gpu", "cuda:", "cuda:-1", "cpu:0", 0):
        with pytest.raises(ValueError, match=r"^device must be 'cpu', 'cuda' or a GPU .* 'cuda:1', got"):
            layer.to(device)  # type: ignore[arg-type]
    with pytest.raises(
        ValueError, match=r"^device must be a GPU of this machine, of number 0 to .*, got 'cuda:99'"
    ):
        layer.cuda(99)


def test_without_a_gpu(cupy: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def none() -> int:
        raise RuntimeError("cudaErrorNoDevice: no CUDA-capable device is detected")

    monkeypatch.setattr(cupy.cuda.runtime, "getDeviceCount", none)
    message = r"^device must be 'cpu' where CUDA finds no GPU \(cudaErrorNoDevice: .*\), got 'cuda'"
    with pytest.raises(RuntimeError, match=message):
        nn.Linear(3, 2).cuda()


def test_without_cupy(cupy: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "cupy", None)
    with pytest.raises(ImportError, match=r"cupy"):
        nn.Linear(3, 2).cuda()
