"""The networks: torchvision's names and numbers, and its outputs and gradients for equal weights."""

from __future__ import annotations

import copy
from collections import OrderedDict
from pathlib import Path
from typing import Any
from zlib import crc32

import numpy as np
import pytest

import fastnn
import fastnn.functional as F
from fastnn import init, models, nn
from fastnn._core.typing import Array
from fastnn.models import resnet
from fastnn.models.build import convolution
from fastnn.random import Zeros
from support.cases import each
from support.network_weights import drawn, images

#: Of torchvision 0.28: the number of parameters, and the CRC of the names of the state_dict, a line for each.
NETWORKS = {
    "alexnet": (61_100_840, 1905870282),
    "resnet18": (11_689_512, 1167687956),
    "resnet34": (21_797_672, 1366055522),
    "resnet50": (25_557_032, 3820642731),
    "resnet101": (44_549_160, 1783322136),
    "vgg11": (132_863_336, 556228949),
    "vgg11_bn": (132_868_840, 2598320627),
    "vgg13": (133_047_848, 2253520966),
    "vgg13_bn": (133_053_736, 932826854),
    "vgg16": (138_357_544, 2880851410),
    "vgg16_bn": (138_365_992, 2918072520),
    "vgg19": (143_667_240, 205626632),
    "vgg19_bn": (143_678_248, 3851949667),
}

#: What torchvision's networks give in float64, in evaluation mode, for `images(size)` and `drawn` weights: of
#: ResNets of (1, 2, 1, 1) blocks the outputs of 5 classes, of the others the means of the first 5 channels of
#: the convolutional part.
OUTPUTS = {
    "_basic": [
        [-5.6476325, 5.1644653, 4.6499049, 1.8350236, 2.1698439],
        [-6.0908352, 5.2793975, 4.6778089, 2.8100409, 0.5518236],
    ],
    "_bottleneck": [
        [10.9145031, 6.028683, -6.329584, 16.0553485, -8.590429],
        [12.344405, 4.9701429, -4.5570983, 18.1012407, -7.7947576],
    ],
    "vgg11_bn": [
        [1.8580366, 0.6081401, 0.7967471, 0.2816074, 0.0],
        [2.16536, 0.7151578, 0.7910503, 0.4451354, 0.0],
    ],
    "alexnet": [
        [2.4189443, 1.9820428, 1.3613919, 1.276567, 0.3669543],
        [2.3110081, 1.946102, 1.0784885, 1.3087952, 0.4239157],
    ],
}


class _Unwritten(np.ndarray[Any, Any]):
    """A large array that takes no memory, as layers make theirs."""

    def astype(self, dtype: Any, *_: Any, **__: Any) -> Any:
        return self


@pytest.fixture
def cheap(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Networks are made without memory for large weights, and nothing is drawn."""
    zeros, limit = Zeros.standard_normal, getattr(request, "param", 2**22)

    def lazy(self: Zeros, size: Any) -> Any:
        if np.prod(size) < limit:
            return zeros(self, size)
        return np.broadcast_to(np.float32(0), size).view(_Unwritten)

    monkeypatch.setattr(Zeros, "standard_normal", lazy)
    for name in ("kaiming_normal_", "normal_"):
        monkeypatch.setattr(init, name, lambda *_, **__: None)


def shapes(model: Any) -> dict[str, Any]:
    return {name: array.shape for name, array in model._named_state()}


def make(name: str, **arguments: Any) -> Any:
    return getattr(models, name)(**arguments)


@pytest.mark.parametrize("cheap", [0], indirect=True)
@each(("name", "expected"), NETWORKS.items())
def test_names_and_numbers_are_torchvision_s(name: str, expected: tuple[int, int], cheap: None) -> None:
    model = make(name, generator=Zeros())
    assert (model.num_parameters(), crc32("\n".join(shapes(model)).encode())) == expected


@each(("block", "expansion"), [("_basic", 1), ("_bottleneck", 4)])
def test_outputs_are_torchvision_s(block: str, expansion: int, cheap: None) -> None:
    model = resnet._resnet(getattr(resnet, block), expansion, (1, 2, 1, 1), num_classes=5)
    model.load_state_dict(drawn(shapes(model)))
    np.testing.assert_allclose(model.eval()(images(40)), OUTPUTS[block], rtol=1e-4, atol=1e-4)


@each(("name", "size"), [("vgg11_bn", 32), ("alexnet", 64)])
def test_features_are_torchvision_s(name: str, size: int, cheap: None) -> None:
    model = make(name, generator=Zeros())
    model.features.load_state_dict(drawn(shapes(model.features)))
    y = model.avgpool(model.features.eval()(images(size)))
    np.testing.assert_allclose(y.mean(axis=(2, 3))[:, :5], OUTPUTS[name], rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(("name", "size", "training"), [("resnet18", 64, False), ("vgg11_bn", 32, True)])
def test_gradients_and_files_of_torchvision(name: str, size: int, training: bool, tmp_path: Path) -> None:
    torch, torchvision = pytest.importorskip("torch"), pytest.importorskip("torchvision")
    options = {"dropout": 0.0} if name.startswith("vgg") else {}
    theirs = getattr(torchvision.models, name)(num_classes=5, **options)
    weights = drawn({key: value.shape for key, value in theirs.state_dict().items()})
    tensors = {key: torch.from_numpy(value) for key, value in weights.items()}
    theirs.load_state_dict(tensors, strict=False)
    torch.save(theirs.state_dict(), tmp_path / "weights.pth")
    ours = make(name, weights=tmp_path / "weights.pth", num_classes=5, **options)
    x = images(size)
    y = ours.eval()(x)
    with torch.no_grad():
        want = theirs.eval()(torch.from_numpy(x)).numpy()
    np.testing.assert_allclose(y, want, rtol=1e-4, atol=1e-4 * np.abs(want).max())
    double = theirs.double().train(training)
    output = double(torch.from_numpy(x).double())
    torch.nn.functional.cross_entropy(output, torch.tensor([1, 3])).backward()
    ours.backward(F.cross_entropy(ours.train(training)(x), np.array([1, 3]))[1])
    for (key, parameter), other in zip(ours.named_parameters(), double.parameters(), strict=True):
        grad = other.grad.numpy()
        if training and key.startswith("features") and key.endswith("bias") and grad.max() < 1e-9:
            continue  # of a convolution before a batch norm: 0 but for rounding
        error = np.linalg.norm(parameter.grad - grad) / np.linalg.norm(grad)
        assert error < 1e-3, key


def test_first_weights_are_distributed_as_torchvision_s() -> None:
    fastnn.manual_seed(0)
    model: Any = resnet._resnet(resnet._basic, 1, (1, 1), num_classes=3, zero_init_residual=True)
    weight = model.layer2[0].conv1.weight.data
    assert abs(weight.std() / np.sqrt(2 / (128 * 9)) - 1) < 0.02
    assert abs(model.fc.weight.data).max() <= 1 / np.sqrt(128)
    assert not model.layer2[0].bn2.weight.data.any()
    assert model.layer2[0].bn1.weight.data.all()


# ---- blocks -----------------------------------------------------------------------------------------------


def block(shortcut: bool = True, norm: bool = True) -> models.ResidualBlock:
    """A small block with weights and statistics that are no first ones."""
    layers: dict[str, nn.Module] = {
        "conv1": nn.Conv2d(3, 5, 3, padding=1), "bn1": nn.BatchNorm2d(5), "relu": nn.ReLU(),
        "conv2": nn.Conv2d(5, 4 if shortcut else 3, 3, padding=1),
    }  # fmt: skip
    if norm:
        layers["bn2"] = nn.BatchNorm2d(4 if shortcut else 3)
    if shortcut:
        layers["downsample"] = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4))
    made = models.ResidualBlock(OrderedDict(layers))
    draw = np.random.default_rng(3)
    for array in made.state_dict(), *[dict(made._named_state())]:
        for name, value in array.items():
            if value.dtype.kind == "f":
                value += draw.random(value.shape, np.float32) * np.float32("weight" in name or 0.3)
    return made


def plain(made: models.ResidualBlock) -> nn.Sequential:
    """The same of fastnn's other layers, with copies of the parameters."""
    layers = copy.deepcopy({name: layer for name, layer in made.named_children() if name != "downsample"})
    shortcut = copy.deepcopy(getattr(made, "downsample", None))
    return nn.Sequential(nn.Residual(nn.Sequential(*layers.values()), shortcut), nn.ReLU())


X = np.random.default_rng(0).standard_normal((4, 3, 6, 5), np.float32)


def passes(model: nn.Module, needs_input: bool = True) -> list[Array]:
    """The output, the gradients and the statistics of a pass."""
    model.needs_input_grad = needs_input
    y = model(X)
    dx = model.backward(np.cos(y))
    grads = [parameter.grad for parameter in model.parameters() if parameter.grad is not None]
    return [y, *([dx] if needs_input else []), *grads, *model.buffers()]


@each("shortcut", [True, False])
@each("norm", [True, False])
@each("training", [True, False])
@each("way", ["plain", "fusion off", "hook", "input not needed"])
def test_a_block_is_a_residual_and_a_relu(shortcut: bool, norm: bool, training: bool, way: str) -> None:
    ours = block(shortcut, norm).train(training)
    expected = passes(plain(ours), way != "input not needed")
    if way == "hook":
        seen: list[object] = []
        ours.last.register_forward_hook(lambda *given: seen.append(given))
    with fastnn.fusion(way != "fusion off"):
        got = passes(ours, way != "input not needed")
    assert way != "hook" or len(seen) == 1
    for a, b in zip(got, expected, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)


def test_a_block_s_layers_are_attributes_and_can_be_replaced() -> None:
    made = block().eval()
    assert [*made.state_dict()][-1] == "downsample.1.num_batches_tracked"
    before = made(X)
    y = made(X)
    made.bn2, norm = nn.Identity(), made.bn2
    made.backward(y)  # the way of its forward pass
    assert norm.weight.grad is not None
    del made.downsample[1]
    assert not np.allclose(made(X), before)
    np.testing.assert_allclose(made(X), plain(made)(X), rtol=1e-5, atol=1e-6)
    with pytest.raises(ValueError, match="ResidualBlock must have layers beside downsample, got none"):
        models.ResidualBlock(OrderedDict(downsample=nn.ReLU()))
    bad = nn.Sequential(block(), models.ResidualBlock(OrderedDict(conv=convolution(4, 2, 1))))
    with pytest.raises(ValueError, match=r"^Sequential\[1\] ResidualBlock: residual must have"):
        bad(X)


def test_models_are_saved_as_data(tmp_path: Path) -> None:
    pytest.importorskip("safetensors")
    model = nn.Sequential(block(), nn.Flatten(), nn.Linear(120, 2)).eval()
    fastnn.save(tmp_path / "model.safetensors", model)
    loaded = fastnn.load(tmp_path / "model.safetensors").model
    np.testing.assert_array_equal(loaded(X), model(X))
    assert repr(loaded) == repr(model)
    np.testing.assert_array_equal(copy.deepcopy(model)(X), model(X))
