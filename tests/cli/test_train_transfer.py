"""`fastnn train --init --freeze`: weights of another run, whose classes may differ."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from fastnn._core.weight_files import read_weights
from fastnn.cli import main
from support.cases import each

pytest.importorskip("safetensors")
pytest.importorskip("matplotlib")

Capture = pytest.CaptureFixture[str]


def data(folder: Path, classes: int) -> str:
    draw = np.random.default_rng(classes)
    y = np.arange(60) % classes
    path = folder / f"{classes}.npz"
    np.savez(path, x=draw.standard_normal((60, 4)) + y[:, None], y=y)
    return str(path)


def run(folder: Path, classes: int, name: str, *options: str) -> int:
    shared = ("--layers", "6,5", "--norm", "batch", "--epochs", "2", "--output", str(folder / name))
    return main(["train", "--data", data(folder, classes), *shared, *options])


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The weights of a run with three classes."""
    folder = tmp_path_factory.mktemp("source")
    assert run(folder, 3, "run") == 0
    return folder / "run" / "weights.safetensors"


@each(
    ("classes", "freeze", "told", "changed"),
    [
        (3, [], ["loaded: 16 of 16 arrays of the model"], {"0", "1", "3", "4", "6"}),
        (2, ["--freeze"], ["loaded: 14 of 16", "the last layer is new", "frozen: 87 of 99 weights"], {"6"}),
        (2, ["--freeze", "3"], ["kept: 6.weight, of shape (2, 5), as"], {"3", "4", "6"}),
    ],
)  # fmt: skip
def test_weights_of_another_run(
    classes: int, freeze: list[str], told: list[str], changed: set[str], source: Path, tmp_path: Path,
    capsys: Capture,
) -> None:  # fmt: skip
    capsys.readouterr()
    assert run(tmp_path, classes, f"{classes}{freeze}", "--init", str(source), *freeze) == 0
    out = capsys.readouterr().out
    assert all(line in out for line in told)
    got = read_weights(tmp_path / f"{classes}{freeze}" / "weights.safetensors")
    old = read_weights(source)
    assert {name[0] for name in got if not np.array_equal(got[name], old[name])} == changed


def test_a_run_goes_on_with_the_same_options(source: Path, tmp_path: Path, capsys: Capture) -> None:
    init = ("--init", str(source))
    assert run(tmp_path, 2, "run", *init, "--freeze") == 0
    for options, message in (
        ((*init, "--freeze", "3"), "--freeze must be as when the run was started"),
        (("--freeze",), "--init must be as when the run was started"),
    ):
        assert run(tmp_path, 2, "run", *options, "--resume") == 2
        assert message in capsys.readouterr().err


@each(
    ("options", "message"),
    [
        ("--init nowhere.pth", "--init: state_dict: there is no file nowhere.pth"),
        ("--freeze 9", "--freeze: until must be the name of a layer, as one of 0, 1, 2, 3, 4, 5, 6, got '9'"),
        ("--init SOURCE --layers 7,5", "--init: SOURCE: state_dict['0.weight'] must have the shape of"),
        ("--model resnet18", "--norm and --dropout must not be given with --model resnet18, which"),
    ],
)  # fmt: skip
def test_what_is_refused(options: str, message: str, source: Path, tmp_path: Path, capsys: Capture) -> None:
    shape = (10, 2, 2, 1) if "resnet" in options else (10, 4)
    np.savez(tmp_path / "x.npz", x=np.ones(shape), y=np.arange(10) % 2)
    given = [*options.replace("SOURCE", str(source)).split()]
    layers = [] if "--layers" in given else ["--layers", "6,5"]
    shared = ["--data", str(tmp_path / "x.npz"), "--norm", "batch", "--output", str(tmp_path / "run")]
    assert main(["train", *shared, *layers, *given]) == 2
    assert message.replace("SOURCE", str(source)) in capsys.readouterr().err


def test_networks_of_torchvision_take_three_channels(tmp_path: Path, capsys: Capture) -> None:
    np.savez(tmp_path / "x.npz", x=np.ones((10, 1, 8, 8)), y=np.arange(10) % 2)
    options = ["--data", str(tmp_path / "x.npz"), "--model", "vgg11", "--output", str(tmp_path / "run")]
    assert main(["train", *options]) == 2
    assert "--model vgg11 takes images of 3 channels, got 1; --mode RGB" in capsys.readouterr().err
