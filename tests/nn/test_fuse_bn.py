"""nn.utils.fuse_bn: batch norms as part of the layers before them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fastnn
from fastnn import nn
from fastnn._core.typing import Array
from fastnn.models import resnet
from support.cases import each

DRAW = np.random.default_rng(0)
IMAGES = DRAW.standard_normal((3, 4, 8, 8), np.float32)


def norm(kind: Callable[..., Any], features: int, **options: Any) -> Any:
    """A norm in evaluation mode whose arrays are no first ones."""
    made = kind(features, **options)
    for name, array in made._named_state():
        if name != "num_batches_tracked":
            array[...] = DRAW.uniform(-1 if name == "running_mean" else 0.5, 2, features)
    return made


def norms(model: nn.Module) -> list[str]:
    return [name for name, module in model.named_modules() if "BatchNorm" in type(module).__name__]


def wide() -> list[Any]:
    """Layers of float64, some of them in a Sequential within."""
    linear, inner = nn.Linear(4, 6, dtype=np.float64), nn.Linear(6, 2, dtype=np.float64)
    inside = nn.Sequential(inner, norm(nn.BatchNorm1d, 2, dtype=np.float64))
    return [linear, norm(nn.BatchNorm1d, 6, dtype=np.float64), inside]


def lines() -> list[Any]:
    """A convolution of lines and a linear layer."""
    convolution = nn.Conv1d(4, 6, 3), norm(nn.BatchNorm1d, 6, bias=False)
    return [*convolution, nn.Flatten(), nn.Linear(36, 5), norm(nn.BatchNorm1d, 5, eps=0.1)]


def groups() -> list[Any]:
    """A convolution of groups, with a padding of its own and a bias."""
    convolution = nn.Conv2d(4, 6, 3, groups=2, padding=1, padding_mode="reflect")
    return [convolution, norm(nn.BatchNorm2d, 6, affine=False)]


CASES: list[tuple[Callable[[], list[Any]], tuple[int, ...]]] = [
    (lambda: [nn.Conv2d(4, 6, 3, bias=False), norm(nn.BatchNorm2d, 6), nn.ReLU()], (3, 4, 8, 8)),
    (groups, (3, 4, 8, 8)),
    (lines, (3, 4, 8)),
    (wide, (3, 4)),
]


@each(("layers", "shape"), CASES)
def test_outputs_stay(layers: Callable[[], list[Any]], shape: tuple[int, ...]) -> None:
    model: nn.Sequential = nn.Sequential(*layers()).eval()
    x = DRAW.standard_normal(shape).astype(next(model.parameters()).dtype)
    y, before = model(x), model.state_dict()
    fused = nn.utils.fuse_bn(model)
    assert norms(fused) == []
    np.testing.assert_allclose(fused(x), y, rtol=1e-5, atol=1e-5)
    assert all(np.array_equal(array, before[name]) for name, array in model.state_dict().items())
    assert {name for name, _ in fused.named_parameters()} - before.keys() <= {"0.bias"}


def test_a_resnet(tmp_path: Path) -> None:
    pytest.importorskip("safetensors")
    model = resnet._resnet(resnet._bottleneck, 4, (1, 1), num_classes=2)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            vars(module).update(vars(norm(nn.BatchNorm2d, module.num_features)))
    fused = nn.utils.fuse_bn(model.eval())
    assert norms(fused) == []
    x = IMAGES[:, :3]
    want = model(x)
    np.testing.assert_allclose(fused(x), want, rtol=1e-5, atol=1e-5 * abs(want).max())
    fastnn.save(tmp_path / "fused.safetensors", fused)
    np.testing.assert_array_equal(fastnn.load(tmp_path / "fused.safetensors").model(x), fused(x))


class Skips(nn.Sequential):
    """One whose layers do not run in order."""

    def forward(self, x: Array) -> Array:
        return self[1](self[0](x)) + self[0](x)  # type: ignore[no-any-return]


class Net(nn.Module):
    """One that reads what is between a layer and its norm."""

    def __init__(self) -> None:
        self.body = nn.Sequential(nn.Conv2d(4, 4, 1), norm(nn.BatchNorm2d, 4))
        self.first = self.body[0]

    def forward(self, x: Array) -> Array:
        return self.body(x) + self.first(x)  # type: ignore[no-any-return]


def hooked(place: int) -> nn.Module:
    model = nn.Sequential(nn.Conv2d(4, 4, 1), norm(nn.BatchNorm2d, 4))
    model[place].register_forward_hook(lambda *given: None)
    return model


def tied() -> nn.Module:
    model = nn.Sequential(nn.Conv2d(4, 4, 1), norm(nn.BatchNorm2d, 4), nn.Conv2d(4, 4, 1))
    model[2].weight = model[0].weight
    return model


@each(
    "make",
    [
        lambda: Skips(nn.Conv2d(4, 4, 1), norm(nn.BatchNorm2d, 4)),
        lambda: hooked(0),
        lambda: hooked(1),
        Net,
        tied,
        lambda: nn.Sequential(nn.Conv2d(4, 4, 1), nn.BatchNorm2d(4, track_running_stats=False)),
        lambda: nn.Sequential(nn.Conv2d(4, 4, 1), nn.ReLU(), norm(nn.BatchNorm2d, 4)),
        lambda: nn.Sequential(nn.Sequential(nn.Conv2d(4, 4, 1)), norm(nn.BatchNorm2d, 4)),
    ],
)
def test_norms_that_stay(make: Callable[[], nn.Module]) -> None:
    model = make().eval()
    fused = nn.utils.fuse_bn(model)
    assert norms(fused) == norms(model)
    np.testing.assert_array_equal(fused(IMAGES), model(IMAGES))


def test_a_model_in_training_is_refused() -> None:
    with pytest.raises(ValueError, match=r"model must be in evaluation mode, model.eval\(\)"):
        nn.utils.fuse_bn(nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2)))
    with pytest.raises(TypeError, match=r"model must be a layer of fastnn.nn, got str"):
        nn.utils.fuse_bn("model")  # type: ignore[type-var]
