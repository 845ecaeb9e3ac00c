"""`fastnn train --ensemble`: members, the file of all of them, and runs that are interrupted."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

import numpy as np
import pytest

import fastnn
from fastnn import train
from fastnn.cli import main
from fastnn.cli.ensembles import member_seeds

pytest.importorskip("safetensors")
pytest.importorskip("matplotlib")

Capture = pytest.CaptureFixture[str]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file of three classes in a plane, which lie over each other."""
    rng = np.random.default_rng(0)
    y = np.arange(150) % 3
    x = rng.standard_normal((150, 2), np.float32) + 2 * np.eye(3, 2, dtype=np.float32)[y]
    path = tmp_path_factory.mktemp("data") / "plane.npz"
    np.savez(path, x=x, y=y)
    return path


def options(data: Path, output: Path, *more: object) -> list[str]:
    common = ["train", "--data", data, "--epochs", 2, "--layers", 4, "--dropout", 0.2, "--output", output]
    return [str(option) for option in (*common, *more)]


@pytest.fixture(scope="module")
def whole(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of an ensemble that was trained without an interruption."""
    output = tmp_path_factory.mktemp("whole")
    assert main(options(data, output, "--ensemble", 2, "--seed", 5)) == 0
    return output


def contents(folder: Path) -> bytes:
    return (folder / "weights.safetensors").read_bytes()


def test_members_are_runs_of_their_own(data: Path, whole: Path, tmp_path: Path) -> None:
    seeds = member_seeds(5, 2)
    assert seeds == member_seeds(5, 3)[:2]
    assert len({*seeds, *member_seeds(6, 2)}) == 4
    assert main(options(data, tmp_path, "--seed", seeds[1])) == 0
    assert contents(tmp_path) == contents(whole / "member-2")
    members = [fastnn.load(whole / name / "weights.safetensors") for name in ("member-1", "member-2")]
    x = np.load(data)["x"]
    mean = np.mean([member.predict_proba(x) for member in members], axis=0)
    found = fastnn.load(whole / "weights.safetensors")
    np.testing.assert_allclose(found.predict_proba(x), mean, rtol=1e-5)
    metrics = json.loads((whole / "metrics.json").read_text())
    assert metrics["accuracy"] == found.about["metrics"]["accuracy"]
    assert metrics["members"] == found.about["members"]
    assert [member["seed"] for member in metrics["members"].values()] == seeds
    assert (found.about["settings"]["seed"], found.about["settings"]["ensemble"]) == (5, 2)


def test_the_other_commands_take_it(data: Path, whole: Path, tmp_path: Path, capsys: Capture) -> None:
    model = str(whole / "weights.safetensors")
    assert main(["show", model]) == 0
    assert "models: ModuleList" in capsys.readouterr().out
    assert main(["evaluate", model, "--data", str(data)]) == 0
    assert "samples 150  accuracy" in capsys.readouterr().out
    output = tmp_path / "predictions.csv"
    assert main(["predict", model, "--data", str(data), "--output", str(output), "--probabilities"]) == 0
    assert output.read_text().startswith("row,prediction,p(0),p(1),p(2)\n")


def test_an_interrupted_ensemble_goes_on(
    data: Path, whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    def interrupt(log: train.JsonLog, trainer: train.Trainer) -> None:
        if fastnn.random.default_generator().seed == member_seeds(5, 2)[1] and trainer.epoch == 2:
            raise KeyboardInterrupt

    given = options(data, tmp_path, "--ensemble", 2, "--seed", 5, "--quiet")
    with monkeypatch.context() as patch:
        patch.setattr(train.JsonLog, "on_epoch_end", interrupt)
        assert main(given) == 130
    way = capsys.readouterr().err.split("go on with: fastnn ")[1]
    finished = contents(tmp_path / "member-1")
    for again in (given, options(data, tmp_path)):
        assert main(again) == 2
        assert "did not come to its end, the latest step-0" in capsys.readouterr().err
    assert main(options(data, tmp_path, "--resume")) == 2
    assert "--ensemble must be at least 2 with --resume, got none" in capsys.readouterr().err
    assert main([*shlex.split(way), "--lr", "0.5"]) == 2
    assert "--lr must be as when the run was started" in capsys.readouterr().err
    assert main(shlex.split(way)) == 0
    assert contents(tmp_path / "member-1") == finished
    assert contents(tmp_path) == contents(whole)
    assert main([*given, "--ensemble", "3", "--resume"]) == 0  # one more
    assert contents(tmp_path / "member-2") == contents(whole / "member-2")
    assert main([*given, "--resume"]) == 2
    assert "--ensemble must be at least 3 with --resume, got 2" in capsys.readouterr().err
    other = [*given, "--lr", "0.01"]  # the run has ended, so the next one takes its place
    with monkeypatch.context() as patch:
        patch.setattr(train.JsonLog, "on_epoch_end", interrupt)
        assert main(other) == 130
    assert main([*other, "--resume"]) == 0
    assert main(options(data, tmp_path)) == 0
    assert not [*tmp_path.glob("member-*/checkpoints/*")]
    assert main([*given, "--resume"]) == 2
    assert "holds the checkpoints of one network: --resume without --ensemble" in capsys.readouterr().err
