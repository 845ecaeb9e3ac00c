"""fastnn.save and fastnn.load: the file, what is wrong with one, and files that are whole or not there."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fastnn
from fastnn import nn, train
from fastnn._core.typing import Array
from fastnn.preprocessing import (
    PCA,
    Compose,
    Flatten,
    Images,
    MinMax,
    OneHot,
    Standardize,
    Transformer,
    Whiten,
    ZeroCenter,
)
from support.cases import each
from support.pages import run_page

safetensors = pytest.importorskip("safetensors.numpy")

X = np.random.default_rng(0).normal(5, 3, (40, 2, 3))
LABELS = np.where(X[:, 0, 0] > 5, "high", "low")


def test_the_examples_of_the_page_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    run_page("saving.md")


def test_every_transformer_comes_back(tmp_path: Path) -> None:
    """As a step with its parameters and statistics, and alone."""
    x = np.random.default_rng(0).integers(0, 255, (9, 4, 4, 3), np.uint8)
    steps = [ZeroCenter("channel", "nhwc"), MinMax((-1, 1)), PCA(0.5), Whiten(eps=0.1), Images("nhwc")]
    cases: list[tuple[Transformer, Any]] = [(step, x) for step in steps]
    cases += [(Compose(Images(), Whiten("pca")), x), (OneHot(), ["b", "a"]), (OneHot(), [7, 3])]
    for made, samples in cases:
        fastnn.save(tmp_path / "m.safetensors", nn.ReLU(), preprocessing=made.fit(samples))
        found = fastnn.load(tmp_path / "m.safetensors").preprocessing
        assert isinstance(found, Transformer)
        assert repr(found) == repr(made)
        np.testing.assert_array_equal(found.transform(samples), made.transform(samples))


def network(seed: int = 0) -> nn.Sequential:
    fastnn.manual_seed(seed)
    layers = nn.Linear(6, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(0.5), nn.Linear(8, 2)
    return nn.Sequential(*layers)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A file with all that there can be."""
    data = train.prepare((X, LABELS))
    model = network()
    train.fit(model, (data.x_train, data.y_train), epochs=2)
    about = {"lr": np.float32(0.5), "sizes": (8, np.int64(2)), "curve": np.arange(3), "none": None}
    target = tmp_path / "model.safetensors"
    fastnn.save(target, model, preprocessing=data.preprocessing, classes=data.classes, about=about)
    return target


class Scaled(nn.Module):
    """A layer of the user's."""

    def __init__(self, factor: float) -> None:
        self.factor = factor

    def forward(self, x: Array) -> Array:
        return x * np.float32(self.factor)


def rewritten(path: Path, change: Any) -> Path:
    """The file with its entry changed, beside it."""
    with safetensors_open(path) as file:
        entry = json.loads(file.metadata()["fastnn"])
    entry = change(entry)
    text = entry if isinstance(entry, str) else json.dumps(entry)
    other = path.with_name("changed.safetensors")
    safetensors.save_file(safetensors.load_file(path), other, {"fastnn": text})
    return other


def safetensors_open(path: Path) -> Any:
    from safetensors import safe_open

    return safe_open(path, "np")


def test_a_model_comes_back_with_all_that_was_saved(path: Path) -> None:
    found = fastnn.load(path)
    assert isinstance(found, fastnn.Predictor)
    assert found.classes is not None
    assert found.classes.tolist() == ["high", "low"]
    assert found.about == {"lr": 0.5, "sizes": [8, 2], "curve": [0, 1, 2], "none": None}
    assert repr(found) == (
        "Predictor(Sequential, preprocessing=Compose(Flatten(), Standardize()), 2 classes)"
    )
    assert not any(module.training for module in found.model.modules())
    assert {*found.predict(X)} <= {"high", "low"}


def test_load_state_dict_takes_the_model_s_tensors(path: Path) -> None:
    model = network(1)
    assert model.load_state_dict(path) == ([], [])
    raw = fastnn.load(path)
    assert raw.preprocessing is not None
    x = raw.preprocessing.transform(X).astype(np.float32)
    np.testing.assert_array_equal(model.eval()(x), raw.outputs(X))


def test_two_files_of_one_model_are_equal(path: Path) -> None:
    found = fastnn.load(str(path))
    other = path.with_name("again.safetensors")
    fastnn.save(
        str(other),
        found.model,
        preprocessing=found.preprocessing,
        classes=found.classes,
        about=found.about,
    )
    assert other.read_bytes() == path.read_bytes()


@each(
    "classes",
    [["b", "a"], np.array(["b", "a"], object), np.array([7, -1]), [False, True], np.array([1, 2], np.uint8)],
)
def test_names_of_classes(classes: Any, tmp_path: Path) -> None:
    fastnn.save(tmp_path / "m.safetensors", nn.Linear(3, 2), classes=classes)
    found = fastnn.load(tmp_path / "m.safetensors")
    assert found.classes is not None
    assert found.classes.tolist() == [*np.asarray(classes).tolist()]


def test_a_model_with_tensors_called_as_the_preprocessing_s(tmp_path: Path) -> None:
    model = nn.ModuleDict({"preprocessing": nn.Linear(2, 2), "_preprocessing": nn.Linear(1, 1)})
    fastnn.save(tmp_path / "m.safetensors", model, preprocessing=Standardize().fit(X))
    found = fastnn.load(tmp_path / "m.safetensors")
    assert found.preprocessing is not None
    np.testing.assert_array_equal(found.preprocessing.transform(X), Standardize().fit_transform(X))
    model.load_state_dict(tmp_path / "m.safetensors")


def test_layers_of_the_user(tmp_path: Path) -> None:
    model = nn.Sequential(nn.Linear(3, 2), Scaled(2.5))
    target = tmp_path / "m.safetensors"
    fastnn.save(target, model)
    x = np.ones((2, 3), np.float32)
    expected = model(x)
    np.testing.assert_array_equal(fastnn.load(target, layers=[Scaled]).predict(x), expected)
    mine = nn.Sequential(nn.Linear(3, 2), Scaled(2.5))
    found = fastnn.load(target, model=mine)
    assert found.model is mine
    np.testing.assert_array_equal(found.predict(x), expected)
    with pytest.raises(ValueError, match=r"m.safetensors: layers.1: Scaled is a layer of your own: give its"):
        fastnn.load(target)
    before = mine.state_dict()
    wrong = nn.Sequential(nn.Linear(3, 4), Scaled(1))
    for other, message in (
        (wrong, r"must have the shape of the module's, \(4, 3\)"),
        (mine[1], "unknown names"),
    ):
        with pytest.raises(ValueError, match=f"m.safetensors: .*{message}"):
            fastnn.load(target, model=other)
    np.testing.assert_array_equal(mine.state_dict()["0.weight"], before["0.weight"])


def test_weights_alone_fill_a_model(tmp_path: Path) -> None:
    target = tmp_path / "weights.safetensors"
    model = nn.Linear(3, 2)
    safetensors.save_file(model.state_dict(), target)
    found = fastnn.load(target, model=nn.Linear(3, 2))
    np.testing.assert_array_equal(found.model.state_dict()["weight"], model.weight.data)
    with pytest.raises(ValueError, match=r"weights.safetensors: the file has weights, but not how"):
        fastnn.load(target)


def linear(inputs: int, outputs: int) -> dict[str, Any]:
    return {"layer": "Linear", "arguments": {"in_features": inputs, "out_features": outputs}}


def test_tied_weights_stay_tied(tmp_path: Path) -> None:
    model = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3))
    model[1].weight = model[0].weight
    fastnn.save(tmp_path / "m.safetensors", model)
    loaded = fastnn.load(tmp_path / "m.safetensors").model
    assert isinstance(loaded, nn.Sequential)
    assert loaded[1].weight is loaded[0].weight
    np.testing.assert_array_equal(loaded[0].weight.data, model[0].weight.data)


def change(**values: Any) -> Any:
    return lambda entry: entry | values


@each(
    ("new", "message"),
    [
        (change(format=2), r"format 2, written by fastnn .*; this is fastnn .*, which reads formats up to 1"),
        (change(format="x"), "the file is of format 'x'"),
        (change(format=True), "the file is of format True"),
        (change(format=0), "the file is of format 0"),
        (lambda entry: "{", "the entry 'fastnn' of its metadata is damaged"),
        (lambda entry: "[" * 100_000, "the entry 'fastnn' of its metadata is damaged"),
        (lambda entry: {"format": 1}, "the metadata must have .*, and lack .*'classes'"),
        (change(others=None), "others must be a list, got None"),
        (change(others=[["a"]]), "others must be names of tensors"),
        (change(about=3), "about must be a dict, got 3"),
        (change(classes={"a": 1}), "classes must be a list"),
        (change(classes=["a", "a"]), "classes must be distinct"),
        (change(classes=[1.5]), "classes must be a list of texts or of whole numbers"),
        (change(model=linear(50_000, 50_000)), r"weights of shape \(50000, 50000\) are more than the file"),
        (change(model=linear(10**9, 10**9)), "in_features is 1000000000, more than the file has weights"),
        (change(tied=[["0.weight", "none"]]), "tied must be lists of names of the model's parameters"),
        (change(tied=[["0.weight", "0.bias"]]), "tied parameters must have one shape"),
        (change(model=None), "the model must be a layer, got NoneType"),
        (change(model={"layer": "Linear", "arguments": {}}), "Linear cannot be made as the file says"),
        (change(model={"layer": "ReLU", "arguments": {}}), "state_dict must have the names of ReLU"),
        (change(preprocessing=7), "preprocessing must be a transformer, got int"),
        (change(preprocessing={"layer": "ReLU", "arguments": {}}), "must be a transformer, got ReLU"),
        (change(preprocessing={"transformer": "Flatten", "arguments": {}}), "Flatten: state must have"),
        # How deep is too deep, and for what, depends on the version of Python.
        (lambda entry: nested(entry, 20_000), "the entry .fastnn. .* is damaged|nested too deeply"),
        (lambda entry: nested(entry, 400), "the model is nested too deeply|the names of Residual"),
    ],
)  # fmt: skip
def test_a_file_that_is_wrong_is_named(new: Any, message: str, path: Path) -> None:
    other = rewritten(path, new)
    with pytest.raises(ValueError, match=rf"changed.safetensors: .*({message})"):
        fastnn.load(other)


def nested(entry: dict[str, Any], times: int) -> str:
    """A model of that many Residuals within each other."""
    start, end = '{"layer": "Residual", "arguments": {"branch": ', "}}"
    deep = start * times + '{"layer": "ReLU", "arguments": {}}' + end * times
    return json.dumps(entry | {"model": "DEEP"}).replace('"DEEP"', deep)


def test_every_cut_and_every_flipped_byte_is_an_error_or_a_model(path: Path, tmp_path: Path) -> None:
    """A damaged file gives a ValueError that names it, or a model where the damage is within a number."""
    content, target = path.read_bytes(), tmp_path / "damaged.safetensors"
    header = 8 + int.from_bytes(content[:8], "little")
    draw = np.random.default_rng(0)
    for place in [*range(16), *draw.integers(0, header, 60)]:
        for damaged in (content[:place], flipped(content, int(place), 1 << int(draw.integers(8)))):
            target.write_bytes(damaged)
            try:
                fastnn.load(target)
            except ValueError as error:
                assert "damaged.safetensors" in str(error)  # noqa: PT017


def flipped(content: bytes, place: int, bit: int) -> bytes:
    return content[:place] + bytes([content[place] ^ bit]) + content[place + 1 :]


@each(
    ("arguments", "error", "message"),
    [
        ({"path": "a.pt"}, ValueError, r"^path must end in .safetensors, got a.pt"),
        ({"path": 3}, TypeError, r"^path must be a str or a Path, got int"),
        ({"model": dict}, TypeError, r"^model must be a layer of fastnn.nn, got the class dict"),
        ({"preprocessing": len}, TypeError, r"^preprocessing must be a transformer of fastnn.preprocessing"),
        ({"preprocessing": Standardize()}, ValueError, r"^Standardize must be fitted first"),
        ({"classes": [1.5, 2]}, TypeError, r"^classes must be a list of texts or of whole numbers, "),
        ({"classes": ["a", "a"]}, ValueError, r"^classes must be distinct, and at least one, got"),
        ({"classes": []}, TypeError, r"^classes must be a list"),
        ({"classes": [1, "a"]}, TypeError, r"^classes must be a list of texts or of whole numbers, "),
        ({"about": [1]}, TypeError, r"^about must be a dict, got list"),
        ({"about": {"a": [print]}}, TypeError, r"^about\['a'\]\[0\] must be numbers, texts, and lists"),
        ({"about": {"a": {1: 2}}}, TypeError, r"^about\['a'\] must be"),
    ],
)  # fmt: skip
def test_arguments_that_are_wrong(
    arguments: dict[str, Any], error: type[Exception], message: str, tmp_path: Path
) -> None:
    given: dict[str, Any] = {"path": tmp_path / "m.safetensors", "model": nn.Linear(3, 2)} | arguments
    with pytest.raises(error, match=message):
        fastnn.save(given.pop("path"), given.pop("model"), **given)
    assert not [*tmp_path.iterdir()]


def test_arguments_of_load(path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"there is no file .*none.safetensors"):
        fastnn.load(path.with_name("none.safetensors"))
    with pytest.raises(TypeError, match=r"layers must be classes of layers, as \[MyLayer\], got \[ReLU"):
        fastnn.load(path, layers=[nn.ReLU()])  # type: ignore[list-item]
    with pytest.raises(TypeError, match=r"layers must be classes of layers, as \[MyLayer\], got <class"):
        fastnn.load(path, layers=nn.ReLU)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=r"model must be a layer of fastnn.nn, got dict"):
        fastnn.load(path, model={})  # type: ignore[arg-type]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_is_read_only(path: Path) -> None:
    before = path.read_bytes()
    path.parent.chmod(0o500)
    with pytest.raises(PermissionError, match=r"model.safetensors"):
        fastnn.save(path, network(1))
    path.parent.chmod(0o700)
    assert path.read_bytes() == before


def test_a_disk_that_is_full(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The file that was there stays, and the error names it."""
    before = path.read_bytes()
    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(OSError, match=r"No space left on device: '.*model.safetensors'"):
        fastnn.save(path, network(1))
    assert path.read_bytes() == before
    assert [one.name for one in path.parent.iterdir()] == [path.name]


def full(path: Path, content: bytes) -> int:
    return os.write(os.open("/dev/full", os.O_WRONLY), content)


def test_a_folder_that_there_is_not(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"no/model.safetensors"):
        fastnn.save(tmp_path / "no" / "model.safetensors", network())


def test_a_transformer_of_the_user_s_is_refused(tmp_path: Path) -> None:
    class Own(Flatten):
        pass

    with pytest.raises(TypeError, match="preprocessing must be of fastnn's own transformers"):
        fastnn.save(tmp_path / "m.safetensors", network(), preprocessing=Compose(Own()).fit(X))


class Doubled(nn.Module):
    """Its attribute is not its argument."""

    def __init__(self, factor: int) -> None:
        self.factor = 2 * factor

    def forward(self, x: Array) -> Array:
        return self.factor * x


def test_a_layer_that_changes_its_arguments_is_not_made_with_others(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    fastnn.save(path, nn.Sequential(Doubled(3)))
    with pytest.raises(ValueError, match=r"model.safetensors: .*Doubled has other attributes than the ar"):
        fastnn.load(path, layers=[Doubled])
    x = np.ones((2, 1), np.float32)
    np.testing.assert_array_equal(fastnn.load(path, model=nn.Sequential(Doubled(3))).predict(x), 6 * x)
