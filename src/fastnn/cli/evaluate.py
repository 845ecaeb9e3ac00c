"""Measure a trained model on labelled data: accuracy, loss, precision and recall, confusion matrix.

MODEL is a file of `fastnn train` or fastnn.save. The data are read as for training; of data with a test part
it is this part. With --output the folder gets evaluation.json and confusion.png.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

import fastnn
from fastnn._core.extras import require
from fastnn._core.files import save_json
from fastnn._core.typing import Array
from fastnn.cli.model_files import add_data_arguments, read_data, say, writing
from fastnn.cli.run_folder import make_folder
from fastnn.datasets import Samples
from fastnn.datasets.csv_labels import make_labels
from fastnn.datasets.files import naming
from fastnn.datasets.labelled import check_labels
from fastnn.train.confusion import Confusion, save_confusion

MOST_SHOWN = 20  # classes whose matrix fits into a terminal


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of `fastnn evaluate`."""
    add_data_arguments(parser)
    parser.add_argument(
        "--output",
        type=Path,
        metavar="FOLDER",
        help="where evaluation.json and confusion.png go (default: nothing is written)",
    )


def run(args: argparse.Namespace) -> int:
    """Measure, print, and write the files."""
    if args.output is not None:
        require("matplotlib.figure", "demo")
        make_folder(args.output)
    predictor = fastnn.load(args.model)
    if predictor.classes is None:
        raise ValueError(f"{args.model}: evaluate is for models with classes, and the file has none")
    samples = read_data(predictor, args)
    with naming(args.data):
        labels = _labels(samples.y, predictor.classes, len(samples.x))
        outputs = predictor.outputs(samples.x)
    loss = _loss(predictor, outputs, labels)
    names = predictor.classes.tolist()
    predictions = _indices(predictor.classes_of(outputs), predictor.classes)
    found = Confusion(names, labels, predictions)
    numbers = f"samples {len(labels)}  accuracy {found.accuracy:.2%}"
    with writing("-") as file:
        print(numbers if loss is None else f"{numbers}  loss {loss:.4f}", file=file)
        print(*found.table(), sep="\n", file=file)
        matrix = found.matrix_lines() if len(names) <= MOST_SHOWN else found.most_confused(10)
        print(*matrix, sep="\n", file=file)
    _say_if_trained_on(predictor, samples, args.data)
    if args.output is not None:
        title = f"{found.accuracy:.1%} of {len(labels)} samples right"
        save_confusion(args.output / "confusion.png", found, title)
        save_json(args.output / "evaluation.json", {"samples": len(labels), "loss": loss, **found.numbers()})
        say(f"wrote evaluation.json and confusion.png to {args.output}")
    else:
        say("with --output FOLDER the confusion matrix is drawn into confusion.png")
    return 0


def _say_if_trained_on(predictor: fastnn.Predictor, samples: Samples, source: str) -> None:
    """Say so where the samples are those that `fastnn train` has split itself."""
    settings = predictor.about.get("settings")
    if isinstance(settings, dict) and settings.get("data") == source and not samples.is_test:
        say(f"the model was trained on four fifths of {source}; `fastnn show` has the held-out accuracy")


def _labels(y: Array | None, classes: Array, samples: int) -> Array:
    """The labels as indices of classes; ValueError where there are none, or one that is no class."""
    if y is None:
        raise ValueError("the data must have labels to evaluate, got none; `fastnn predict` needs none")
    if y.dtype.kind == "U" and classes.dtype.kind != "U":
        y = make_labels(y.tolist())
    check_labels(y, samples, "biuU")
    return _indices(y, classes)


def _indices(labels: Array, classes: Array) -> Array:
    """The place of each label among the classes; ValueError for one that is not there."""
    known = {name: place for place, name in enumerate(classes.tolist())}
    for place, label in enumerate(labels.tolist()):
        if label not in known:
            names = ", ".join(map(str, [*known][:10]))
            raise ValueError(f"labels must be of the classes {names}, got {label!r} for sample {place}")
    return np.array([known[label] for label in labels.tolist()])


def _loss(predictor: fastnn.Predictor, outputs: Array, labels: Array) -> float | None:
    """The mean cross-entropy, of the probabilities; None where each sample has many outputs."""
    if outputs.ndim > 2:
        return None
    p = predictor.probabilities_of(outputs.astype(np.float64))[np.arange(len(labels)), labels]
    return float(-np.log(np.maximum(p, np.finfo(p.dtype).tiny)).mean())
