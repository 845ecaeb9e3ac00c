"""`fastnn search` from end to end, `fastnn train --config`, and what they refuse."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fastnn import train
from fastnn.cli import config as cli_config
from fastnn.cli import main
from fastnn.cli.config import given_options, train_arguments, words
from fastnn.cli.models import Design
from fastnn.cli.train import SETTINGS
from fastnn.datasets import load
from support.cases import each

pytest.importorskip("optuna")
pytest.importorskip("safetensors")

from fastnn import search
from fastnn.cli import search_trials
from fastnn.cli import training as cli_training

Capture = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def without_pictures(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """They take longer than a search of small data; tests/search/test_search_parts.py draws them."""
    monkeypatch.setattr(search, "save_slices", lambda path, study, label: None)
    monkeypatch.setattr(search, "save_parallel_coordinates", lambda path, study, label: None)
    monkeypatch.setattr(train, "save_curves", lambda path, history, title: None)
    return iter([None])


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """60 samples of two classes, one of which a line tells from the other."""
    x = np.random.default_rng(0).standard_normal((60, 3)).round(3)
    np.savez(tmp_path / "data.npz", x=x, y=(x[:, 0] > 0).astype(int))
    return tmp_path / "data.npz"


def error_of(capsys: Capture, *arguments: object) -> str:
    capsys.readouterr()
    assert main([*map(str, arguments)]) == 2
    return capsys.readouterr().err


def test_from_coarse_to_fine_to_the_trained_network(data: Path, tmp_path: Path, capsys: Capture) -> None:
    output = tmp_path / "out put"
    line: list[object] = ["search", "--data", data, "--output", output, "--stages", "6x1", "3x2"]
    line += [
        "--range",
        "lr",
        "1e-3..1",
        "log",
        "--range",
        "batch-size",
        "4..16",
        "--range",
        "layers",
        "",
        "4,4",
    ]
    line += ["--activation", "tanh"]
    assert main([*map(str, line)]) == 0
    out, err = capsys.readouterr()
    assert "data: 39 training and 9 validation samples" in out
    assert "lr: 0.001 to 1 in log space\nbatch_size: whole numbers 4 to 16\nlayers: one of , 4,4\n" in out
    edge = r"fastnn search: warning: the best \w+, .* lies at the"
    assert all(re.match(edge, told) for told in err.splitlines())
    best = json.loads((output / "best.json").read_text())
    assert {**best, "lr": 1, "batch_size": 1, "layers": 1} == {
        "data": str(data),
        "activation": "tanh",
        "epochs": 2,
        "lr": 1,
        "batch_size": 1,
        "layers": 1,
    }
    assert sorted(path.name for path in output.iterdir()) == ["best.json", "search.log"]
    fine = search.open(output / "search.log", name="search-2", direction="maximize")
    assert len(fine.trials) == 3
    assert fine.ranges == search.open(output / "search.log", name="search-1", direction="maximize").narrowed()

    # The line that it prints trains the winner, as does the file, and options that are given win.
    trained = shlex.split(out.rpartition("to train it: ")[2])[1:]
    forms = trained, ["train", "--config", str(output / "best.json")]
    for form, more in ((forms[0], []), (forms[1], []), (forms[1], ["--epochs", "3"])):
        assert main([*form, "--output", str(tmp_path / "run"), *more]) == 0
        settings = json.loads((tmp_path / "run" / "metrics.json").read_text())["settings"]
        assert settings["epochs"] == (3 if more else 2)
        assert [settings[name] for name in ("lr", "batch_size")] == [best["lr"], best["batch_size"]]

    # The same command finds nothing left to do, other options are refused.
    before = (output / "best.json").read_text()
    assert main([*map(str, line)]) == 0
    assert (output / "best.json").read_text() == before
    assert len(search.open(output / "search.log", name="search-2", direction="maximize").trials) == 3
    message = "options must be as when the study 'search-1' was made, activation: tanh, got activation: relu"
    assert message in error_of(capsys, *line[:-1], "relu")


def test_the_held_out_samples_are_not_searched_on(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Any] = []

    def prepared(args: Any, source: Any, *sides: Any) -> train.Data:
        seen.extend(sides)
        return cli_training.prepared(args, source, *sides)

    monkeypatch.setattr(search_trials, "prepared", prepared)
    held_out = train.prepare(load(data).train)
    raw = held_out.preprocessing.inverse_transform(held_out.x_test)
    arguments = ["search", "--data", data, "--output", data.parent / "out", "--trials", "2", "--folds", "3"]
    assert main([*map(str, arguments), "--epochs", "1", "--metric", "loss", "--quiet"]) == 0
    assert len(seen) > 2 * 3 * 2  # trials, folds, sides
    for x, _ in seen:
        assert not any(np.isclose(x, row, atol=1e-5).all(axis=1).any() for row in raw)


def test_a_trial_goes_on_from_its_checkpoints(
    data: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a stop in the middle of a trial the results are those of a search that was not stopped."""
    line = ["search", "--data", data, "--range", "lr", "1e-2..1", "log", "--trials", 2, "--epochs", 4]

    def results(output: Path) -> list[Any]:
        study = search.open(output / "search.log", name="search-1", direction="maximize")
        return [(trial.params, trial.value, trial.intermediate_values) for trial in study.ranked]

    whole, stopped = data.parent / "whole", data.parent / "stopped"
    assert main([*map(str, line), "--output", str(whole)]) == 0
    epochs = 0

    def stop(self: train.JsonLog, trainer: train.Trainer) -> None:
        nonlocal epochs
        epochs += 1
        if epochs == 3:
            raise KeyboardInterrupt

    (stopped / "trials" / "search-1-0").mkdir(parents=True)
    (stopped / "trials" / "search-1-0" / "of another search").touch()
    with monkeypatch.context() as patch:
        patch.setattr(search.Pruning, "on_epoch_start", stop, raising=False)
        assert main([*map(str, line), "--output", str(stopped)]) == 130
    assert [path.name for path in (stopped / "trials").iterdir()] == ["search-1-0"]
    assert [path.name for path in (stopped / "trials" / "search-1-0").iterdir()] == ["fold-0"]
    begun: list[int] = []
    with monkeypatch.context() as patch:
        patch.setattr(search.Pruning, "on_epoch_start", lambda self, trainer: begun.append(trainer.epoch))
        assert main([*map(str, line), "--output", str(stopped)]) == 0
    assert begun == [3, 4, 1, 2, 3, 4]
    assert results(stopped) == results(whole)
    assert "the same command goes on" in capsys.readouterr().err


@each(
    ("arguments", "message"),
    [
        ("--range", "argument --range: expected at least one argument"),
        ("--trials 0", "argument --trials: must be a whole number of at least 1, got '0'"),
        ("--folds 1", "argument --folds: must be a whole number of at least 2, got '1'"),
        ("--stages 20", "argument --stages: must be TRIALSxEPOCHS, as 20x3, got '20'"),
        ("--stages 0x3", "argument --stages: must be a whole number of at least 1, got '0'"),
        ("--metric auc", "argument --metric: invalid choice: 'auc'"),
        ("--lr x", "argument --lr: must be a number of at least 0, got 'x'"),
    ],
)
def test_bad_words_are_named(arguments: str, message: str, capsys: Capture) -> None:
    with pytest.raises(SystemExit):
        main(["search", *arguments.split()])
    assert f"fastnn search: error: {message}" in capsys.readouterr().err


@each(
    ("arguments", "message"),
    [
        ("--range lr", "--range lr: must be LOW..HIGH, LOW..HIGH log or several values, got ''"),
        ("--range lr 0.1", "--range lr: must be LOW..HIGH, LOW..HIGH log or several values, got '0.1'"),
        ("--range lr 1..0.1", "--range lr: uniform: low must be below high, both finite, got 1.0 and 0.1"),
        ("--range lr 0..1 log", "--range lr: loguniform: low must be above 0, got 0"),
        ("--range lr 0..1 sqrt", "--range lr: after LOW..HIGH there can be log, got 'sqrt'"),
        ("--range lr 0..1 --lr 1", "--range lr: the option must be given once, got two"),
        ("--range lr 0..1 --range lr 0..2", "--range lr: the option must be given once, got two"),
        ("--range lrr 0..1", "fastnn train has no option 'lrr' that says what is trained; did you mean lr?"),
        ("--range output a b", "fastnn train has no option 'output' that says what is trained"),
        ("--range size 8 16", "--range size: the data must be the same in all trials, which size changes"),
        ("--range dropout 0..1.5", "--range dropout: argument --dropout: must be a number from 0 to below 1"),
        ("--range batch-size 1.5..4", "--range batch-size: argument --batch-size: must be a whole number"),
        ("--range optimizer sgd sdg", "--range optimizer: argument --optimizer: invalid choice: 'sdg'"),
        ("--range optimizer sgd sgd", "--range optimizer: choice: options must be different"),
        ("--stages 2x3 --epochs 3", "--stages must be given instead of --trials and --epochs, got both"),
        ("--stages 2x3 --trials 3", "--stages must be given instead of --trials and --epochs, got both"),
        ("--folds 30", "--folds must be at most the samples of each class, got 30 for the"),
        ("--sampler grid --trials 3", "trials must be at least 4 for a grid of these ranges, got 3"),
        ("--optimizer adam --momentum 0.9 --trials 1", "--momentum: adam has no such option"),
        ("--storage /proc/none/search.log", "/proc/none/search.log"),
    ],
)  # fmt: skip
def test_what_cannot_be_searched_is_refused(
    arguments: str, message: str, data: Path, tmp_path: Path, capsys: Capture
) -> None:
    told = error_of(capsys, "search", "--data", data, *arguments.split(), "--output", tmp_path / "out")
    assert f"fastnn search: error: {message}" in told or (message.startswith("/proc") and message in told)


def test_too_few_samples_to_measure_on_are_refused(tmp_path: Path, capsys: Capture) -> None:
    np.savez(tmp_path / "few.npz", x=np.ones((5, 2)), y=[0, 1, 0, 1, 0])
    told = error_of(capsys, "search", "--data", tmp_path / "few.npz", "--output", tmp_path / "out")
    assert "--data must have more samples: of 4 for training none can be held out" in told


# ---- options as data ---------------------------------------------------------------------------------------


@each(
    ("content", "message"),
    [
        ("{", "not a JSON file: "),
        ("[1]", "must have an object of options by name, got list"),
        ('{"lrr": 1}', "fastnn train has no option 'lrr' that says what is trained; did you mean lr?"),
        ('{"output": "x"}', "fastnn train has no option 'output'"),
        ('{"lr": {"low": 1}}', "lr must be a text, a number, a boolean or a list of them, got {'low': 1}"),
        ('{"augment": ["flip", "crop"]}', "augment must be one value, got the list ['flip', 'crop']"),
        ('{"lr": true}', "argument --lr: must be a number of at least 0, got 'True'"),
        ('{"epochs": 1.5}', "argument --epochs: must be a whole number of at least 1, got '1.5'"),
        ('{"layers": [64, "x"]}', "argument --layers: must be a whole number of at least 1, got 'x'"),
        (None, "No such file or directory"),
    ],
)
def test_files_that_are_no_configuration(
    content: str | None, message: str, tmp_path: Path, capsys: Capture
) -> None:
    path = tmp_path / ("none.json" if content is None else "config.json")
    if content is not None:
        path.write_text(content)
    for name in ("train", "search"):
        told = error_of(capsys, name, "--config", path, "--output", tmp_path / "out")
        assert f"fastnn {name}: error: " in told
        assert message in told
        assert str(path) in told
    assert not (tmp_path / "out").exists()


@each(
    ("given", "options"),
    [
        ("--lr 0.1 --batch-size=8", {"lr": 0.1, "batch_size": 8}),
        ("--lr 1e-3 --target 007", {"lr": "1e-3", "target": "007"}),
        ("--layers 64,32 --layers 16 8", {"layers": [16, 8]}),
        ("--header --no-index", {"header": True, "index": False}),
        ("--no-header --index id", {"header": False, "index": "id"}),
        ("--size 8x6 --trials 3 --range lr 0..1 --quiet", {"size": "8x6"}),
    ],
)
def test_options_are_data_and_back(given: str, options: dict[str, Any]) -> None:
    assert given_options(given.split()) == options
    again = train_arguments(options)
    assert given_options(words(options)) == options
    for name in options:
        assert getattr(again, name) == getattr(train_arguments(given_options(words(options))), name)
    assert train_arguments({"freeze": True}).freeze == train_arguments({"freeze": ""}).freeze == ""
    assert train_arguments({"freeze": False}).freeze is None
    assert train_arguments({"layers": []}).layers == []
    assert train_arguments({"header": None}).header is None


def test_a_run_is_resumed_with_all_settings_but_the_device() -> None:
    assert {*cli_config._actions()} - {"device"} == {*SETTINGS, *Design.__dataclass_fields__}
