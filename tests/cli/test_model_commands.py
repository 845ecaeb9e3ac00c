"""`fastnn predict`, `evaluate` and `show`: from files to predictions, and what is refused."""

from __future__ import annotations

import contextlib
import csv
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import fastnn
from fastnn import datasets, nn, train
from fastnn.cli import main
from fastnn.preprocessing import Standardize
from support.cases import each

pytest.importorskip("safetensors")
pytest.importorskip("matplotlib")

Capture = pytest.CaptureFixture[str]


DRAW = train.save_curves


def fastnn_(*arguments: object) -> None:
    assert main([*map(str, arguments)]) == 0


def error_of(capsys: Capture, *arguments: object) -> str:
    capsys.readouterr()
    assert main([*map(str, arguments)]) == 2
    return capsys.readouterr().err


def flowers(path: Path, columns: str = "length,width,kind", samples: int = 60) -> Path:
    """A CSV file of two kinds that are easy to tell apart."""
    cells = {"id": "{i}", "length": "{a:.2f}", "width": "{b:.2f}", "kind": "{kind}", "other": "x"}
    template = ",".join(cells[name] for name in columns.split(","))
    rows = [
        template.format(i=i, a=1 + i % 2 * 5 + i / 100, b=i % 7, kind=("lily", "rose")[i % 2])
        for i in range(samples)
    ]
    path.write_text("\n".join([columns, *rows]) + "\n", encoding="utf-8")
    return path


def pictures(folder: Path, classes: bool = True) -> Path:
    """Images of two colours, in a folder for each colour, or all in one."""
    image = pytest.importorskip("PIL.Image")
    for place in range(24):
        name = ("blue", "red")[place % 2]
        pixels = np.full((6, 5, 3), place, np.uint8)
        pixels[..., 0 if name == "red" else 2] = 200
        target = folder / name if classes else folder
        target.mkdir(parents=True, exist_ok=True)
        image.fromarray(pixels).save(target / f"{place:02}.png")
    return folder


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a CSV file and the run of a model on it."""
    folder = tmp_path_factory.mktemp("flowers")
    data = flowers(folder / "flowers.csv")
    fastnn_("train", "--data", data, "--epochs", 12, "--layers", "", "--output", folder / "run")
    return folder


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return [*csv.DictReader(file)]


def test_three_lines_in_the_shell(trained: Path, tmp_path: Path, capsys: Capture) -> None:
    model, out = trained / "run" / "weights.safetensors", tmp_path / "predictions.csv"
    new = flowers(tmp_path / "new.csv", "length,width")
    fastnn_("predict", model, "--data", new, "--output", out, "--probabilities")
    got = rows(out)
    assert [row["row"] for row in got] == [*map(str, range(60))]
    assert [row["prediction"] for row in got] == ["lily", "rose"] * 30
    p = np.array([[float(row["p(lily)"]), float(row["p(rose)"])] for row in got], np.float32)
    np.testing.assert_array_equal(
        p, fastnn.load(model).predict_proba(datasets.csv(flowers(tmp_path / "a.csv"))[0])
    )
    told = capsys.readouterr()
    assert told.out == ""
    assert told.err.splitlines() == [
        "rows: 60; left out: the row of names",
        "features: 2; label: none",
        f"wrote 60 predictions to {out}",
    ]


@each(
    ("columns", "header", "told"),
    [
        ("length,width,kind", True, "label: column 'kind'"),
        ("kind,width,id,length", True, "left out: the row of names, id"),
        ("width,length", True, "label: none"),
        ("length,width,kind", False, "label: column 'kind'"),
        ("length,width", False, "label: none"),
    ],
)
def test_columns_in_any_order(
    columns: str, header: bool, told: str, trained: Path, tmp_path: Path, capsys: Capture
) -> None:
    data = flowers(tmp_path / "new.csv", columns)
    if not header:
        data.write_text(data.read_text().partition("\n")[2])
    fastnn_(
        "predict", trained / "run" / "weights.safetensors", "--data", data, "--output", tmp_path / "p.csv"
    )
    assert [row["prediction"] for row in rows(tmp_path / "p.csv")] == ["lily", "rose"] * 30
    assert told in capsys.readouterr().err


@each(
    ("text", "message"),
    [
        ("length,height\n1,2\n", "new.csv:1: the header must have the names of the training file's columns"),
        ("length,length,width\n1,1,2\n", "new.csv:1: the header must have each column once, got 'length'"),
        ("1\n2\n", "new.csv:1: a row must have 2 features, or the 3 columns of the"),
        ("length,width\n1,2\n1,2,3\n", "new.csv:3: 3 cells; the first row has 2"),
        ("width,length\n1,x\n", "new.csv:2: column 'length' must be a finite number, got 'x'"),
        ("1,2\n1,nan\n", "new.csv:2: column 'width' must be a finite number, got 'nan'"),
        ("length,width\n", "new.csv: no rows"),
        ("", "new.csv: no rows"),
    ],
)  # fmt: skip
def test_csv_files_that_do_not_fit(
    text: str, message: str, trained: Path, tmp_path: Path, capsys: Capture
) -> None:
    (tmp_path / "new.csv").write_text(text)
    model, out = trained / "run" / "weights.safetensors", tmp_path / "p.csv"
    assert message in error_of(capsys, "predict", model, "--data", tmp_path / "new.csv", "--output", out)
    assert not out.exists()


def test_evaluate(trained: Path, tmp_path: Path, capsys: Capture) -> None:
    model = trained / "run" / "weights.safetensors"
    data = flowers(tmp_path / "new.csv", "length,width,kind")
    data.write_text(data.read_text().replace("2.0,lily", "2.0,rose").replace("0,lily", "0,rose", 3))
    y = datasets.csv(data)[1]
    (tmp_path / "file").touch()
    message = f"--output: cannot make the folder {tmp_path / 'file'}: File exists"
    assert message in error_of(capsys, "evaluate", model, "--data", data, "--output", tmp_path / "file")
    fastnn_("evaluate", model, "--data", data, "--output", tmp_path / "out")
    found = json.loads((tmp_path / "out" / "evaluation.json").read_text())
    predicted = fastnn.load(model).predict(datasets.csv(data)[0])
    assert found["accuracy"] == np.mean(predicted == y) < 1
    assert found["confusion"] == [
        [int(np.sum((y == label) & (predicted == taken))) for taken in ("lily", "rose")]
        for label in ("lily", "rose")
    ]
    out = capsys.readouterr().out
    assert out.startswith(f"samples 60  accuracy {found['accuracy']:.2%}  loss ")
    lily = [np.mean(y[predicted == "lily"] == "lily"), np.mean(predicted[y == "lily"] == "lily")]
    assert [found["precision"][0], found["recall"][0]] == lily
    assert (tmp_path / "out" / "confusion.png").read_bytes().startswith(b"\x89PNG")
    fastnn_("evaluate", model, "--data", trained / "flowers.csv")
    assert "was trained on four fifths of" in capsys.readouterr().err
    by_hand = fastnn.load(model)
    about = {"settings": 3, "data": {"columns": {"names": 3}}, "history": ["no epoch"]}
    fastnn.save(tmp_path / "m.safetensors", by_hand.model, classes=["lily", "rose"], about=about)
    message = "m.safetensors: about['data'] must be as fastnn train writes it"
    assert message in error_of(capsys, "evaluate", tmp_path / "m.safetensors", "--data", data)
    fastnn_("show", tmp_path / "m.safetensors")


def test_the_loss_is_of_probabilities(tmp_path: Path, capsys: Capture) -> None:
    np.savez(tmp_path / "x.npz", x=np.eye(2, dtype=np.float32), y=np.array([0, 1]))
    losses = set()
    for last in ([], [nn.Softmax(1)], [nn.LogSoftmax(1)]):
        fastnn.manual_seed(0)
        model = nn.Sequential(nn.Linear(2, 2), *last)
        saved = fastnn.preprocessing.Flatten().fit(np.eye(2))
        fastnn.save(tmp_path / "m.safetensors", model, preprocessing=saved, classes=[0, 1])
        fastnn_("evaluate", tmp_path / "m.safetensors", "--data", tmp_path / "x.npz")
        losses.add(capsys.readouterr().out.splitlines()[0])
    assert len(losses) == 1, losses


def test_evaluate_needs_labels_of_the_model(trained: Path, tmp_path: Path, capsys: Capture) -> None:
    model = trained / "run" / "weights.safetensors"
    new = flowers(tmp_path / "new.csv", "length,width")
    assert "the data must have labels to evaluate, got none" in error_of(
        capsys, "evaluate", model, "--data", new
    )
    flowers(new).write_text(new.read_text().replace("rose", "iris"))
    message = "new.csv: labels must be of the classes lily, rose, got 'iris' for sample 1"
    assert message in error_of(capsys, "evaluate", model, "--data", new)


def test_show(trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> None:
    monkeypatch.setattr(train, "save_curves", DRAW)
    fastnn_("show", trained / "run" / "weights.safetensors", "--curves", tmp_path / "curves.png")
    out, err = capsys.readouterr()
    for line in (
        "  0: Linear  (1, 2)                 6\n\nparameters: 6 (6 trained), 24 bytes",
        "classes: lily, rose (2)",
    ):
        assert line in out
    assert "input: samples of shape (2,), through Compose(Flatten(), Standardize())" in out
    assert "  optimizer: sgd\n" in out
    assert out.rstrip().splitlines()[-1].startswith("epoch 12/12  loss ")
    assert out.count("\nepoch ") == 12
    assert (tmp_path / "curves.png").read_bytes().startswith(b"\x89PNG")
    assert "to predict: fastnn predict " in err
    fastnn.save(tmp_path / "m.safetensors", nn.Linear(2, 1), about={"note": "by hand"})
    fastnn_("show", tmp_path / "m.safetensors")
    shown = "Linear(in_features=2, out_features=1, bias=True)\nparameters: 3\nclasses: none\nnote: by hand\n"
    assert shown in capsys.readouterr().out
    for history in (3, ["a"], [{"epoch": "a"}, {"epoch": 1, "loss": None}]):
        fastnn.save(tmp_path / "m.safetensors", nn.Linear(2, 1), about={"history": history})
        fastnn_("show", tmp_path / "m.safetensors")
    message = error_of(capsys, "show", tmp_path / "m.safetensors", "--curves", tmp_path / "c.png")
    assert "the file must have a history to draw" in message


def test_folders_of_images(tmp_path: Path, capsys: Capture) -> None:
    data = pictures(tmp_path / "pictures")
    options = ["--model", "cnn", "--layers", "4", "--epochs", "8", "--output", tmp_path / "run"]
    fastnn_("train", "--data", data, *options)
    out = capsys.readouterr().out
    assert "images: 24 of 3 x 6 x 5\nclasses (2): blue, red\nimages: 3 channels of 6 x 5\n" in out
    model = tmp_path / "run" / "weights.safetensors"
    assert out.splitlines()[-1] == f"to predict: fastnn predict {model} --data FILE --output predictions.csv"
    fastnn_("predict", model, "--data", pictures(tmp_path / "flat", classes=False))
    out, err = capsys.readouterr()
    assert out == "file,prediction\n" + "".join(f"{i:02}.png,{('blue', 'red')[i % 2]}\n" for i in range(24))
    assert "labels: none" in err
    fastnn_("evaluate", model, "--data", data)
    assert "accuracy 100.00%" in capsys.readouterr().out
    np.savez(tmp_path / "last.npz", x=np.zeros((2, 7, 5, 3), np.uint8))
    message = "last.npz: x must have samples of shape (3, 6, 5), as in training, got (7, 5, 3)"
    assert message in error_of(capsys, "predict", model, "--data", tmp_path / "last.npz")


def test_images_that_training_scaled_are_scaled_to_predict(tmp_path: Path, capsys: Capture) -> None:
    image = pytest.importorskip("PIL.Image")
    data = pictures(tmp_path / "pictures")
    image.open(data / "red" / "01.png").convert("RGBA").resize((50, 40)).save(data / "red" / "odd.png")
    options = ["--model", "cnn", "--layers", "4", "--epochs", "1", "--output", tmp_path / "run"]
    message = error_of(capsys, "train", "--data", data, *options)
    assert "odd.png: images must be of one mode and size, RGB, 5 x 6 as 00.png, got RGBA, 50 x 40" in message
    fastnn_("train", "--data", data, *options, "--size", "8x4", "--mode", "RGB")
    fastnn_(
        "predict", tmp_path / "run" / "weights.safetensors", "--data", data, "--output", tmp_path / "p.csv"
    )
    assert len(rows(tmp_path / "p.csv")) == 25
    plain = ["--output", tmp_path / "plain"]
    (data / "red" / "odd.png").rename(tmp_path / "odd.png")
    fastnn_("train", "--data", data, *options[:-2], *plain)
    (tmp_path / "odd.png").rename(data / "red" / "odd.png")
    command = ["predict", tmp_path / "plain" / "weights.safetensors", "--data", data, "--output", "/dev/null"]
    assert "mode (--mode) converts them, size (--size) scales them" in error_of(capsys, *command)
    fastnn_(*command, "--size", "6x5", "--mode", "RGB")
    flowers(tmp_path / "new.csv")
    command[3] = tmp_path / "new.csv"
    assert "new.csv: the data must be images, as in training, got a file of rows" in error_of(
        capsys, *command
    )
    assert fastnn.load(tmp_path / "run" / "weights.safetensors").preprocessing.sample_shape == (3, 8, 4)  # type: ignore[union-attr]


@each(
    ("layout", "told"),
    [(None, "3 channels of 12 x 12 (the channels last in the data)"), ("nchw", "12 channels of 12 x 3")],
)
def test_images_with_the_channels_last(
    layout: str | None, told: str, tmp_path: Path, capsys: Capture
) -> None:
    x = np.random.default_rng(0).integers(0, 255, (60, 12, 12, 3)).astype(np.uint8)
    np.savez(tmp_path / "last.npz", x=x, y=np.arange(60) % 2)
    options = [
        "--model",
        "cnn",
        "--layers",
        "4",
        "--norm",
        "none",
        "--epochs",
        "1",
        "--output",
        tmp_path / "run",
    ]
    if layout:
        options += ["--layout", layout]
    fastnn_("train", "--data", tmp_path / "last.npz", *options)
    assert f"images: {told}\n" in capsys.readouterr().out
    fastnn_("predict", tmp_path / "run" / "weights.safetensors", "--data", tmp_path / "last.npz")
    assert len(capsys.readouterr().out.splitlines()) == 61


def test_a_model_without_classes(tmp_path: Path, capsys: Capture) -> None:
    x = np.random.default_rng(0).normal(0, 1, (3, 2)).astype(np.float32)
    np.savez(tmp_path / "x.npz", x=x)
    for outputs, header in ((1, "row,prediction"), (2, "row,output 0,output 1")):
        model = nn.Linear(2, outputs)
        fastnn.save(tmp_path / "m.safetensors", model, preprocessing=Standardize().fit(x))
        fastnn_("predict", tmp_path / "m.safetensors", "--data", tmp_path / "x.npz")
        lines = capsys.readouterr().out.splitlines()
        assert lines[0] == header
        got = np.array([line.split(",")[1:] for line in lines[1:]], np.float32)
        np.testing.assert_array_equal(got, fastnn.load(tmp_path / "m.safetensors").predict(x))
    command = ["predict", tmp_path / "m.safetensors", "--data", tmp_path / "x.npz", "--probabilities"]
    assert "probabilities are of models with classes" in error_of(capsys, *command)
    assert "evaluate is for models with classes" in error_of(capsys, "evaluate", *command[1:-1])


@each(
    ("arguments", "message"),
    [
        (["predict", "none.safetensors", "--data", "digits"], "path: there is no file none.safetensors"),
        (["predict", "MODEL", "--data", "none.csv"], "none.csv: there is no such file"),
        (["predict", "MODEL", "--data", "none"], "none: there is no such file or folder"),
        (["predict", "MODEL", "--data", "text.txt"], "text.txt: not a .npz, .csv or .tsv file, and"),
        (["predict", "MODEL", "--data", "."], "and no images (.png, .jpg)"),
        (["predict", "MODEL", "--data", "new.csv", "--output", "no/p.csv"], "No such file or directory: 'no"),
        (["predict", "MODEL", "--data", "new.csv", "--output", "."], "Is a directory: '.'"),
        (["predict", "MODEL", "--data", "new.csv", "--output", "/dev/full"], "No space left on device: '/d"),
        (["predict", "text.txt", "--data", "new.csv"], "path must end in .safetensors, got text.txt"),
    ],
)  # fmt: skip
def test_files_that_are_wrong(
    arguments: list[str],
    message: str,
    trained: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: Capture,
) -> None:
    monkeypatch.chdir(tmp_path)
    flowers(tmp_path / "new.csv")
    (tmp_path / "text.txt").write_text("text")
    model = str(trained / "run" / "weights.safetensors")
    command = [model if one == "MODEL" else one for one in arguments]
    found = error_of(capsys, *command).splitlines()[-1]
    assert found.startswith("fastnn predict: error: ")
    assert message in found
    assert Path("/dev/full").is_char_device()
    assert {one.name for one in tmp_path.iterdir()} == {"new.csv", "text.txt"}


def test_standard_output_that_is_full_is_named(trained: Path) -> None:
    command = [
        "predict",
        str(trained / "run" / "weights.safetensors"),
        "--data",
        str(trained / "flowers.csv"),
    ]
    with open("/dev/full", "w", encoding="utf-8") as full:
        done = subprocess.run([sys.executable, "-m", "fastnn", *command], stdout=full, stderr=subprocess.PIPE)
    assert done.returncode == 2
    assert done.stderr.endswith(b"No space left on device: 'standard output'\n")


def test_standard_output_that_is_closed_is_named(capsys: Capture) -> None:
    with contextlib.redirect_stdout(None):  # as `fastnn info >&-` starts Python
        assert main(["info"]) == 2
    assert "Bad file descriptor: 'standard output'" in capsys.readouterr().err
