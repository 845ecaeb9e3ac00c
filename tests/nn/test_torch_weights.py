"""Weights from torch and to torch: the same names, shapes and outputs, through dicts and files."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fastnn
from fastnn import nn, optim

torch = pytest.importorskip("torch")
safetensors_torch = pytest.importorskip("safetensors.torch")
safetensors_numpy = pytest.importorskip("safetensors.numpy")


def mlp(lib: Any) -> Any:
    """A multilayer perceptron of either library."""
    return lib.Sequential(
        lib.Linear(12, 16),
        lib.BatchNorm1d(16),
        lib.ReLU(),
        lib.Dropout(0.5),
        lib.Linear(16, 8, bias=False),
        lib.LayerNorm(8),
        lib.PReLU(),
        lib.Linear(8, 3),
    )


def cnn(lib: Any) -> Any:
    """A convolutional network of either library."""
    return lib.Sequential(
        lib.Conv2d(3, 8, 3, padding=1),
        lib.BatchNorm2d(8),
        lib.ReLU(),
        lib.MaxPool2d(2),
        lib.Conv2d(8, 12, 3, stride=2, padding=1, groups=4, bias=False),
        lib.GroupNorm(3, 12),
        lib.GELU(),
        lib.AdaptiveAvgPool2d(2),
        lib.Flatten(),
        lib.Linear(48, 3),
    )


MODELS = [pytest.param(mlp, (6, 12), id="mlp"), pytest.param(cnn, (6, 3, 8, 8), id="cnn")]
Build = Callable[[Any], Any]


def inputs(shape: tuple[int, ...]) -> Any:
    return np.random.default_rng(4).standard_normal(shape, np.float32)


def trained_by_torch(build: Build, x: Any) -> Any:
    """A torch model whose weights, buffers and statistics have all left their first values."""
    torch.manual_seed(0)
    model = build(torch.nn)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for _ in range(3):
        optimizer.zero_grad()
        model(torch.from_numpy(x)).square().sum().backward()
        optimizer.step()
    return model.eval()


def torch_output(model: Any, x: Any) -> Any:
    with torch.no_grad():
        return model(torch.from_numpy(x)).numpy()


@pytest.mark.parametrize(("build", "shape"), MODELS)
@pytest.mark.parametrize("way", ["tensors", "arrays", ".pt", ".safetensors"])
def test_torch_s_weights_load_here(build: Build, shape: tuple[int, ...], way: str, tmp_path: Path) -> None:
    x = inputs(shape)
    theirs, ours = trained_by_torch(build, x), build(nn)
    state: Any = theirs.state_dict()
    if way == "arrays":
        state = {name: tensor.numpy() for name, tensor in state.items()}
    elif way == ".pt":
        torch.save(state, tmp_path / "model.pt")
        state = tmp_path / "model.pt"
    elif way == ".safetensors":
        safetensors_torch.save_file(state, tmp_path / "model.safetensors")
        state = tmp_path / "model.safetensors"
    assert ours.load_state_dict(state) == ([], [])
    np.testing.assert_allclose(ours.eval()(x), torch_output(theirs, x), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("build", "shape"), MODELS)
def test_weights_saved_here_load_in_torch(build: Build, shape: tuple[int, ...], tmp_path: Path) -> None:
    fastnn.manual_seed(0)
    x, ours = inputs(shape), build(nn)
    optimizer = optim.SGD(ours.parameters(), lr=0.1)
    for _ in range(3):
        optimizer.zero_grad()
        ours.backward(2 * ours(x))
        optimizer.step()
    y = ours.eval()(x)
    theirs = build(torch.nn)
    assert list(ours.state_dict()) == list(theirs.state_dict())
    safetensors_numpy.save_file(ours.state_dict(), tmp_path / "model.safetensors")
    theirs.load_state_dict(safetensors_torch.load_file(tmp_path / "model.safetensors"))
    np.testing.assert_allclose(torch_output(theirs.eval(), x), y, rtol=1e-4, atol=1e-5)


def test_a_pt_file_of_something_else(tmp_path: Path) -> None:
    torch.save([torch.zeros(3)], tmp_path / "list.pt")
    with pytest.raises(ValueError, match=r"list.pt must hold tensors by name, .* got a list"):
        mlp(nn).load_state_dict(tmp_path / "list.pt")


def test_a_pt_file_of_a_whole_model(tmp_path: Path) -> None:
    torch.save(mlp(torch.nn), tmp_path / "model.pt")
    with pytest.raises(ValueError, match=r"got an object of torch.nn.modules.container.Sequential, .*$"):
        mlp(nn).load_state_dict(tmp_path / "model.pt")
    for content in (b"", b"garbage", (tmp_path / "model.pt").read_bytes()[:200]):
        (tmp_path / "cut.pt").write_bytes(content)
        with pytest.raises(ValueError, match=r"cut.pt is not a whole file of torch.save"):
            mlp(nn).load_state_dict(tmp_path / "cut.pt")


def test_torch_s_sgd_goes_on_here() -> None:
    x = inputs((6, 12))
    theirs, ours = torch.nn.Linear(12, 3), nn.Linear(12, 3)
    ours.load_state_dict(theirs.state_dict())
    options: dict[str, Any] = {"lr": 0.1, "momentum": 0.9, "dampening": 0.5}
    their_sgd, our_sgd = (
        torch.optim.SGD(theirs.parameters(), **options),
        optim.SGD(ours.parameters(), **options),
    )

    def step_theirs() -> None:
        their_sgd.zero_grad()
        theirs(torch.from_numpy(x)).square().sum().backward()
        their_sgd.step()

    step_theirs()
    ours.load_state_dict(theirs.state_dict())
    our_sgd.load_state_dict(their_sgd.state_dict())
    step_theirs()
    ours.backward(2 * ours(x))
    our_sgd.step()
    np.testing.assert_allclose(ours.weight.data, theirs.weight.detach().numpy(), rtol=1e-5, atol=1e-6)


def test_bfloat16_tensors_load() -> None:
    theirs, ours = mlp(torch.nn).bfloat16(), mlp(nn)
    ours.load_state_dict(theirs.state_dict())
    np.testing.assert_array_equal(ours[0].weight.data, theirs[0].weight.detach().float().numpy())
