"""fit(transform=): what training and validation batches go through, and that a resumed run repeats it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fastnn
from fastnn import nn, train
from fastnn._core.typing import Array
from fastnn.augment import Transform
from fastnn.preprocessing import Standardize, Transformer
from support.cases import each

pytest.importorskip("safetensors")

RNG = np.random.default_rng(5)
X = RNG.standard_normal((50, 4), np.float32)
Y = (X[:, 0] > 0).astype(np.int64)


class Noise(Transform):
    """Adds numbers that follow from the key, and standardises; keeps the keys."""

    def __init__(self, size: float = 0.1) -> None:
        self.size = size
        self.keys: list[fastnn.Key] = []
        self.scale = Standardize().fit(X)

    def apply(self, x: Any, y: Any, key: fastnn.Key) -> tuple[Array, Any]:
        self.keys.append(key)
        noise = fastnn.Generator().set_state(key).numpy().standard_normal(x.shape, np.float32)
        return self.scale.transform(x + np.float32(self.size) * noise), y

    def preprocessing(self) -> Transformer:
        return self.scale


class Interrupt(train.Callback):
    def on_step(self, trainer: train.Trainer) -> None:
        if trainer.step == 5:
            raise KeyboardInterrupt


def fit(transform: Any, **options: Any) -> tuple[list[bytes], list[Any]]:
    """The weights and the history, without times, of a run of 2 epochs of 4 steps."""
    if not options.get("resume"):
        fastnn.manual_seed(3)
    model = nn.Sequential(nn.Linear(4, 8), nn.Dropout(0.2), nn.Linear(8, 2))
    options |= {"batch_size": 8, "accumulate": 2, "validation": (X, Y), "epochs": 2}
    history = train.fit(model, (X, Y), transform=transform, **options)
    weights = [array.tobytes() for array in model.state_dict().values()]
    return weights, [{name: v for name, v in record.items() if name != "seconds"} for record in history]


def test_a_resumed_run_repeats_the_draws(tmp_path: Path) -> None:
    whole, part = Noise(), Noise()
    expected = fit(whole)
    assert len({*whole.keys}) == len(whole.keys) == 2 * 7  # each batch has a key of its own
    folder = train.Checkpoints(tmp_path, every_steps=1)
    with pytest.raises(KeyboardInterrupt):
        fit(part, checkpoints=folder, callbacks=[Interrupt()])
    assert fit(part, checkpoints=folder, resume=True) == expected
    assert [key for key in whole.keys if key not in part.keys] == []
    with pytest.raises(ValueError, match=r"transform must be Noise\(size=0.1\), as in the checkpoint, got N"):
        fit(Noise(0.2), checkpoints=tmp_path, resume=True)
    assert fit(Noise(0.2)) != expected


def test_a_resumed_run_has_the_statistics_of_its_transform(tmp_path: Path) -> None:
    fit(Noise(), checkpoints=tmp_path)
    other = Noise()
    other.scale.fit(X + 1)
    with pytest.raises(ValueError, match=r"the training samples must be as when .* has another mean now"):
        fit(other, checkpoints=tmp_path, resume=True)


def test_a_function_gets_training_batches_alone() -> None:
    seen: list[int] = []

    def same(x: Array, y: Array) -> tuple[Array, Array]:
        seen.append(len(x))
        x += 0.0  # a copy of the data's rows
        return x, y

    assert fit(same) == fit(None)
    assert seen == [8, 8, 8, 8, 8, 8, 2] * 2


def test_validation_goes_through_the_fixed_steps() -> None:
    values: list[float] = []

    def mean(output: Array, target: Array) -> float:
        return 0.0

    class Spy(nn.Module):
        def __init__(self) -> None:
            self.weight = nn.Parameter(np.ones(1, np.float32))

        def forward(self, x: Array) -> Array:
            values.extend([] if self.training else x[:, :2].mean(axis=0))
            return x[:, :2] * 1

        def backward(self, dy: Array) -> Array:
            return dy

    train.fit(Spy(), (X + 7, Y), validation=(X, Y), transform=Noise(), epochs=1, metrics=[mean])
    np.testing.assert_allclose(values, 0, atol=1e-6)


def two(x: Any, y: Any) -> Any:
    return x, y, y


@each(
    ("transform", "error", "message"),
    [
        (3, TypeError, r"transform must be one of fastnn.augment or a function \(x, y\) -> \(x, y\), got 3"),
        (Noise, TypeError, r"transform must be .*, got the class Noise"),
        (two, TypeError, r"transform must return \(x, y\), got tuple"),
        (lambda x, y: x, TypeError, r"transform must return \(x, y\), got ndarray"),
        (lambda x, y: (x[:3], y), ValueError, r"as many samples as it got, 8, got shapes \(3, 4\), \(8,\)"),
        (lambda x, y: (x, 1), ValueError, r"as many samples as it got, 8, got shapes \(8, 4\), None"),
        (
            lambda x, y: (x * np.float32("nan"), y),
            train.Diverged,
            r"transform must return finite numbers, got 32 NaN and 0 infinite of 32 in x$",
        ),
    ],
)
def test_wrong_transforms(transform: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        fit(transform)


def test_several_inputs_go_to_a_function_as_they_are() -> None:
    class Sum(nn.Module):
        def __init__(self) -> None:
            self.a = nn.Linear(4, 2)

        def forward(self, x: Array, z: Array) -> Any:
            return self.a(x + z)

        def backward(self, dy: Any) -> Any:
            return self.a.backward(dy)

    def swap(x: tuple[Array, Array], y: Array) -> Any:
        return (x[1], x[0]), y

    assert len(train.fit(Sum(), ((X, X), Y), transform=swap, epochs=1)) == 1
    with pytest.raises(TypeError, match=r"model of several inputs: those of .*, got Noise and 2 inputs"):
        train.fit(Sum(), ((X, X), Y), transform=Noise())
