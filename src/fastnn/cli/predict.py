"""Predict with a trained model: the class of each sample, or the model's outputs where it has no classes.

MODEL is a file of `fastnn train` or fastnn.save. The data are read as for training, with or without labels,
and get the preprocessing that training had. The CSV file has a line for each sample: its file's name or its
row, from 0, the prediction, and with --probabilities the probability of each class.
"""

from __future__ import annotations

import argparse
import csv
from collections.abc import Iterator
from typing import Any

import numpy as np

import fastnn
from fastnn._core.typing import Array
from fastnn.cli.model_files import add_data_arguments, read_data, say, writing
from fastnn.datasets.files import naming


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of `fastnn predict`."""
    add_data_arguments(parser)
    parser.add_argument(
        "--output",
        default="-",
        metavar="FILE",
        help="the CSV file; - is standard output (the default), and an earlier file is replaced",
    )
    parser.add_argument("--probabilities", action="store_true", help="a column for each class's probability")


def run(args: argparse.Namespace) -> int:
    """Predict and write the file."""
    predictor = fastnn.load(args.model)
    samples = read_data(predictor, args)
    with naming(args.data):
        outputs = predictor.outputs(samples.x)
    columns = _columns(predictor.classes_of(outputs))
    if args.probabilities:
        probabilities = predictor.probabilities_of(outputs)
        columns |= {f"p({name})": p for name, p in zip(_names(predictor), probabilities.T, strict=True)}
    name = "file" if isinstance(samples.names[0], str) else "row"
    with writing(args.output) as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow([name, *columns])
        writer.writerows(_rows(samples.names, columns))
    if args.output != "-":
        say(f"wrote {len(outputs)} predictions to {args.output}")
    return 0


def _names(predictor: fastnn.Predictor) -> list[Any]:
    return [] if predictor.classes is None else predictor.classes.tolist()


def _columns(predicted: Array) -> dict[str, Array]:
    """The prediction as columns: one, or one for each output of a model without classes."""
    flat = predicted.reshape(len(predicted), -1)
    if flat.shape[1] == 1:
        return {"prediction": flat[:, 0]}
    return {f"output {place}": column for place, column in enumerate(flat.T)}


def _rows(names: Any, columns: dict[str, Array]) -> Iterator[list[Any]]:
    for name, *values in zip(names, *columns.values(), strict=True):
        yield [name, *(_text(value) for value in values)]


def _text(value: Any) -> str:
    """A value, floats with the fewest digits that give it back."""
    return np.format_float_positional(value, trim="-") if isinstance(value, np.floating) else str(value)
