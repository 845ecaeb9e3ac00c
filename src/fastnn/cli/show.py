"""Show what is in a trained model's file: the network, input, classes, settings, results and curves.

MODEL is a file of `fastnn train` or fastnn.save.
"""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

import fastnn
from fastnn import nn, train
from fastnn._core.extras import require
from fastnn.cli.model_files import add_model_argument, say, writing

MOST_EPOCHS = 12  # lines of the curves as text
MOST_CLASSES = 12


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of `fastnn show`."""
    add_model_argument(parser)
    parser.add_argument(
        "--curves", type=Path, metavar="FILE", help="draw loss and metrics by epoch into this PNG file"
    )


def run(args: argparse.Namespace) -> int:
    """Print what is in the file, and draw the curves."""
    if args.curves is not None:
        require("matplotlib.figure", "demo")
    predictor = fastnn.load(args.model)
    history = _history(predictor.about.get("history"))
    if args.curves is not None and not history:
        raise ValueError(f"{args.model}: the file must have a history to draw, which fastnn train saves")
    with writing("-") as file:
        print(*_description(predictor, history), sep="\n", file=file)
    if args.curves is not None:
        train.save_curves(args.curves, history, Path(args.model).name)
        say(f"wrote {args.curves}")
    say(f"to predict: fastnn predict {shlex.quote(args.model)} --data FILE --output predictions.csv")
    return 0


def _history(saved: Any) -> list[train.Record]:
    """The epochs as fastnn train saves them; `about` of others can have anything by that name."""
    records = saved if isinstance(saved, list) else []
    return [one for one in records if isinstance(one, dict) and "epoch" in one and _numbers(one.values())]


def _numbers(values: Iterable[Any]) -> bool:
    return all(isinstance(value, int | float) for value in values)


def _description(predictor: fastnn.Predictor, history: list[train.Record]) -> list[str]:
    lines = [_network(predictor)]
    if predictor.preprocessing is not None:
        shape = predictor.preprocessing.sample_shape
        lines.append(f"input: samples of shape {shape}, through {predictor.preprocessing}")
    lines.append(f"classes: {_classes(predictor)}")
    for name, value in predictor.about.items():
        if name != "history":
            lines += _lines(name, value)
    return lines + _curves(history)


def _network(predictor: fastnn.Predictor) -> str:
    """The layers with the shapes of their results, where the preprocessing says what they are given."""
    model, preprocessing = predictor.model, predictor.preprocessing
    if preprocessing is None:
        return f"{model}\nparameters: {model.num_parameters():,}"
    sample = preprocessing.transform(np.zeros((1, *preprocessing.sample_shape), np.float32))
    return nn.summary(model, sample.shape)


def _classes(predictor: fastnn.Predictor) -> str:
    if predictor.classes is None:
        return "none"
    names = [str(name) for name in predictor.classes]
    rest = f", ... {names[-1]}" if len(names) > MOST_CLASSES else ""
    return f"{', '.join(names[:MOST_CLASSES])}{rest} ({len(names)})"


def _lines(name: str, value: Any) -> list[str]:
    """An entry of `about`: a line, or one for each entry of a dict; what was not given is left out."""
    if not isinstance(value, dict):
        return [f"{name}: {_text(value)}"]
    return [f"{name}:", *(f"  {key}: {_text(item)}" for key, item in value.items() if item is not None)]


def _text(value: Any) -> str:
    text = f"{value:.6g}" if isinstance(value, float) else str(value)
    return text if len(text) <= 100 else f"{text[:97]}..."


def _curves(history: list[train.Record]) -> list[str]:
    """The epochs' lines; of many some, the last one among them."""
    step = max(1, -(-len(history) // MOST_EPOCHS))
    shown = [*history[:-1][::step], *history[-1:]]
    return [train.progress.line(record, len(history)) for record in shown]
