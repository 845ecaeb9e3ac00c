"""What `fastnn predict`, `evaluate` and `show` have in common: the model's file, the data, the output."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import fastnn
from fastnn import datasets
from fastnn._core.files import replacing
from fastnn.cli.data_arguments import add_delimiter, add_forms_of_images
from fastnn.datasets.csv_columns import Columns


def add_model_argument(parser: argparse.ArgumentParser) -> None:
    """Add the file of the model."""
    parser.add_argument("model", metavar="MODEL", help="the file, as runs/digits/weights.safetensors")


def add_data_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the file of the model and the options of data."""
    add_model_argument(parser)
    parser.add_argument(
        "--data",
        required=True,
        metavar="SOURCE",
        help="digits, a .npz file (x, or x_test), a .csv or .tsv file with or without the labels, a folder of"
        " images or of folders of images, or with MNIST or CIFAR files, of which the test part is taken",
    )
    add_delimiter(parser)
    add_forms_of_images(parser, "as in training")


def read_data(predictor: fastnn.Predictor, args: argparse.Namespace) -> datasets.Samples:
    """Read the data as the model's training file was read; say how they were understood."""
    data = predictor.about.get("data")
    known: dict[str, Any] = data if isinstance(data, dict) else {}
    try:
        columns = _columns(known.get("columns"), predictor)
    except (LookupError, TypeError, ValueError):
        raise ValueError(f"{args.model}: about['data'] must be as fastnn train writes it") from None
    if columns is None and args.data.lower().removesuffix(".gz").endswith((".csv", ".tsv")):
        raise ValueError(f"{args.data}: the data must be images, as in training, got a file of rows")
    size = args.size or known.get("size")
    samples = datasets.samples(
        args.data,
        columns=columns,
        delimiter=args.delimiter,
        size=None if size is None else tuple(size),
        mode=args.mode or known.get("mode"),
    )
    for line in samples.about:
        say(line)
    return samples


def _columns(known: Any, predictor: fastnn.Predictor) -> Columns | None:
    """The columns of the training file; where it was none, the features and a label behind them."""
    if isinstance(known, dict):
        names = None if known["names"] is None else tuple(known["names"])
        places = [*known["features"], known["target"], known["index"]]
        if any(type(place) is not int for place in places if place is not None):
            raise TypeError("places of columns must be whole numbers")
        return Columns(tuple(known["features"]), known["target"], known["index"], names)
    if predictor.preprocessing is None or len(shape := predictor.preprocessing.sample_shape) != 1:
        return None
    return Columns(tuple(range(shape[0])), shape[0])


def say(line: str) -> None:
    """Print a line for a person: not to standard output, which can be the result."""
    print(line, file=sys.stderr)


@contextmanager
def writing(output: str) -> Iterator[IO[str]]:
    """Yield the file to write to, "-" for standard output; it is whole, or not there. An OSError names it."""
    if output != "-":
        with replacing(Path(output)) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
            yield file
        return
    yield sys.stdout  # fastnn.cli names it in errors
    sys.stdout.flush()
