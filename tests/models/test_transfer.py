"""Transfer learning: new heads, frozen layers, rates by depth, features, weights of other classes."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fastnn
from fastnn import models, nn, optim, train
from fastnn.models import resnet
from support.cases import each
from support.pages import run_page

X = np.random.default_rng(0).standard_normal((24, 2, 4, 4), np.float32)
Y = np.arange(24) % 3


def network(classes: int = 3, seed: int = 0) -> Any:
    """A small network of nested Sequentials, with a norm and dropout in both parts."""
    fastnn.manual_seed(seed)
    features = nn.Sequential(
        *(nn.Conv2d(2, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(), nn.Dropout(0.5)),
        *(nn.Conv2d(4, 6, 3, padding=1), nn.ReLU(), nn.Dropout(0.5)),
    )
    classifier = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, classes))
    return nn.Sequential(features, nn.AdaptiveAvgPool2d(1), nn.Flatten(), classifier)


def test_the_examples_of_the_page_run() -> None:
    run_page("models.md")


def trained(model: nn.Module) -> list[str]:
    return [name for name, parameter in model.named_parameters() if parameter.requires_grad]


def test_a_new_head() -> None:
    model = network()
    model.eval()
    made: Any = models.replace_head(model, 7, generator=fastnn.Generator(1))
    assert made is model
    head = model[3][2]
    assert (head.in_features, head.out_features, head.bias.shape) == (8, 7, (7,))
    assert model(X).shape == (24, 7)
    first = nn.Linear(8, 7, generator=fastnn.Generator(1)).weight.data
    np.testing.assert_array_equal(head.weight.data, first)
    narrow: Any = nn.Sequential(nn.ReLU(), nn.Linear(3, 2, False, np.float64))
    models.replace_head(narrow.requires_grad_(False), 4)
    assert (narrow[1].bias, narrow[1].weight.dtype) == (None, np.float64)
    assert narrow[1].weight.requires_grad
    for wrong in (nn.Linear(2, 2), nn.Sequential(nn.Conv2d(1, 1, 1)), nn.ReLU()):
        with pytest.raises(ValueError, match="must have others before a Linear as its last layer"):
            models.replace_head(wrong, 2)
    with pytest.raises(ValueError, match="Linear: out_features must be"):
        models.replace_head(model, 0)
    with pytest.raises(TypeError, match=r"model must be a layer of fastnn.nn, got str"):
        models.replace_head("model", 2)  # type: ignore[arg-type]


BEHIND = ["0.5", "0.6", "1", "2", "3", "3.0", "3.1", "3.2"]


@each(
    ("until", "left", "in_training"),
    [
        (None, ["3.2.weight", "3.2.bias"], ["", "3", "3.1", "3.2"]),
        ("3", ["3.0.weight", "3.0.bias", "3.2.weight", "3.2.bias"], ["", *BEHIND]),
        ("0.4", ["0.4.weight"], ["", "0", "0.2", "0.3", "0.4", *BEHIND]),
    ],
)
def test_freezing(until: str | None, left: list[str], in_training: list[str]) -> None:
    model = network()
    assert models.freeze(model, until) is model
    assert trained(model)[: len(left)] == left
    assert not any(name.startswith("0.0") for name in trained(model))
    assert [name for name, module in model.train().named_modules() if module.training] == in_training
    before = model.state_dict()
    train.fit(model, (X, Y), epochs=2)
    changed = [name for name, array in model.state_dict().items() if not np.array_equal(array, before[name])]
    assert changed == trained(model)
    assert all(parameter.grad is None for parameter in model.parameters() if not parameter.requires_grad)
    model.requires_grad_().train()
    assert all(module.training for module in model.modules())
    assert len(trained(model)) == 10


def test_what_cannot_be_frozen() -> None:
    for until in ("classifier", "", "0.9"):
        with pytest.raises(
            ValueError, match=rf"until must be the name of a layer, as one of 0, 1, 2, 3, got '{until}'"
        ):
            models.freeze(network(), until)
    with pytest.raises(ValueError, match=r"until must have layers with parameters before it, got '0.0'"):
        models.freeze(network(), "0.0")


def test_learning_rates_by_depth() -> None:
    model = network()
    groups = models.parameter_groups(model, 0.8, layer_decay=0.5)
    names = [[name for name, _ in group["params"]] for group in groups]
    assert names == [
        ["0.0.weight", "0.0.bias", "0.1.weight", "0.1.bias"],
        ["0.4.weight", "0.4.bias"],
        ["3.0.weight", "3.0.bias"],
        ["3.2.weight", "3.2.bias"],
    ]
    assert [group["lr"] for group in groups] == [0.1, 0.2, 0.4, 0.8]
    optimizer = optim.SGD(groups, momentum=0.9)
    assert [group["lr"] for group in optimizer.param_groups] == [0.1, 0.2, 0.4, 0.8]
    models.freeze(model, "3")
    assert [group["lr"] for group in models.parameter_groups(model, 0.8, 0.5)] == [0.4, 0.8]
    blocks = resnet._resnet(resnet._basic, 1, (1, 1), num_classes=2)
    assert len(models.parameter_groups(blocks, 1, 0.5)) == 4  # conv1, two blocks, fc

    class Own(nn.Module):
        def __init__(self) -> None:
            self.scale = nn.Parameter(np.ones(1))
            self.body, self.head = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2)), nn.Linear(2, 1)

    assert [len(group["params"]) for group in models.parameter_groups(Own(), 1, 0.5)] == [2, 2, 3]
    with pytest.raises(ValueError, match="lr must be at least 0, got -1"):
        models.parameter_groups(model, -1, 0.5)
    with pytest.raises(ValueError, match=r"layer_decay must be in \(0, 1\], got 0"):
        models.parameter_groups(model, 1, 0)


@each("until", [None, "3"])
def test_training_on_features_is_training_with_the_frozen_part(until: str | None, tmp_path: Path) -> None:
    whole = models.freeze(network(), until)
    other = copy.deepcopy(whole)
    fastnn.manual_seed(1)
    train.fit(whole, (X, Y), optimizer=optim.SGD(whole.parameters(), lr=0.1), epochs=3)
    body, head = models.split(other)
    features = models.extract_features(body, X, batch_size=7, out=tmp_path / "features.npy")
    assert isinstance(features, np.memmap)
    np.testing.assert_array_equal(features, models.extract_features(body, X, batch_size=7))
    assert next(body.modules()).training
    fastnn.manual_seed(1)
    train.fit(head, (features, Y), optimizer=optim.SGD(head.parameters(), lr=0.1), epochs=3)
    for name, array in whole.state_dict().items():
        np.testing.assert_allclose(other.state_dict()[name], array, rtol=1e-5, atol=1e-6, err_msg=name)


def test_what_gives_no_features(tmp_path: Path) -> None:
    for model, got in (
        (network(), "no frozen layers first"),
        (network().requires_grad_(False), "all frozen"),
    ):
        with pytest.raises(ValueError, match=f"model must be a Sequential of frozen layers, .* with {got}"):
            models.split(model)
    body, _ = models.split(models.freeze(network()))
    for arguments, message in (
        ({"x": X[:0]}, r"x must have at least one sample, got shape \(0, 2, 4, 4\)"),
        ({"batch_size": 0}, "batch_size must be a whole number of at least 1, got 0"),
        ({"out": tmp_path / "a.txt"}, "out must end in .npy, got .*a.txt"),
    ):
        with pytest.raises(ValueError, match=message):
            models.extract_features(body, **{"x": X, **arguments})  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="must have 2 channels"):
        models.extract_features(body, X[:, :1], out=tmp_path / "a.npy")
    assert [*tmp_path.iterdir()] == []


def test_weights_of_the_same_and_of_other_classes(tmp_path: Path) -> None:
    source, same, other = network(seed=1), network(), network(5)
    report = models.load_pretrained(same, source.state_dict())
    assert str(report) == "loaded: 13 of 13 arrays of the model"
    np.testing.assert_array_equal(same.eval()(X), source.eval()(X))
    head = other[3][2].weight.data.copy()
    wrapped = {"epoch": 3, "net": {f"module.{name}": array for name, array in source.state_dict().items()}}
    report = models.load_pretrained(other, wrapped | {"extra": np.ones(1)})
    assert report.mismatched == {"3.2.bias": ((3,), (5,)), "3.2.weight": ((3, 8), (5, 8))}
    np.testing.assert_array_equal(other[3][2].weight.data, head)
    np.testing.assert_array_equal(other[3][0].weight.data, source[3][0].weight.data)
    state = {name: array for name, array in source.state_dict().items() if not name.startswith("3.2")}
    report = models.load_pretrained(other, state | {"fc.bias": np.ones(2)})
    assert str(report).splitlines() == [
        "loaded: 11 of 13 arrays of the model",
        "not given: 3.2.bias, 3.2.weight",
        "not the model's: fc.bias",
    ]


def test_weights_that_do_not_fit_change_nothing(tmp_path: Path) -> None:
    model, state = network(), network(5, seed=1).state_dict()
    before = model.state_dict()
    others = {"0.0.weight": np.ones((4, 3, 3, 3)), "0.0.bias": np.ones(2)}
    fewer = {name: array for name, array in state.items() if name != "0.4.weight"}
    for given, message in (
        (state | others, r"\['0.0.weight'\] must .*; so must 0.0.bias$"),
        (fewer, r"must have the names of Sequential, got missing names \['0.4.weight'\]"),
    ):
        with pytest.raises(ValueError, match=message):
            models.load_pretrained(model, given)
    assert all(np.array_equal(array, before[name]) for name, array in model.state_dict().items())
