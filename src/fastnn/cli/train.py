"""Train a network and report how well it does on data that it never trains on.

Without options: scikit-learn's handwritten digits, a few seconds, about 98% accuracy. The output folder gets
weights.safetensors, the model with all that `fastnn predict` needs, curves.png, metrics.json, log.jsonl and
checkpoints. The same seed gives the same weights, to the last bit; so does a run that was interrupted, with
--resume. --ensemble trains several networks, each in a folder of its own, and writes them as one model.
"""

from __future__ import annotations

import argparse
import shlex
import time
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

import fastnn
from fastnn import nn, train
from fastnn._core.extras import require
from fastnn.cli.ensembles import train_ensemble
from fastnn.cli.launched import launched_ranks, together
from fastnn.cli.rules import ANY_LENGTH
from fastnn.cli.run_folder import begin_checkpoints, check_start, checkpoints_in, make_folder, remove_others
from fastnn.cli.train_arguments import add_arguments as add_arguments
from fastnn.cli.training import (
    check_device,
    describe_images,
    fit,
    make_model,
    prepared,
    read,
    silent,
    transform_of,
)
from fastnn.datasets import Source

SETTINGS = (  # of the options, those that decide the result
    *("data", "model", "optimizer", "lr", "momentum", "weight_decay", "schedule"),
    *("epochs", "batch_size", "patience", "seed", "target", "delimiter", "index", "header"),
    *("layout", "size", "mode", "preprocess", "augment", "init", "freeze"),
)


def run(args: argparse.Namespace) -> int:
    """Train, print and write the files; of several ranks, on all of them together."""
    ranks = launched_ranks()
    if args.ensemble and ranks.size > 1:
        raise ValueError(f"--ensemble is for one process, got {ranks.size} ranks: train members by --seed")
    with together(ranks):
        _run(args, ranks)
    return 0


def _run(args: argparse.Namespace, ranks: train.Ranks) -> None:
    for module in ("matplotlib.figure", "safetensors.numpy", "tqdm.auto"):
        require(module, "demo")  # what is missing is reported before the work, not after
    check_device(args.device)
    say = silent if args.quiet else print
    source = read(args, say)
    data = prepared(args, source, source.train, source.test)
    output = ranks.first(lambda: make_folder(args.output or Path("runs") / source.name))
    ranks.first(lambda: check_start(args, output))
    describe_images(data, say)
    say(f"{source.name}: {len(data.x_train)} training and {len(data.x_test)} held-out samples")
    written = "weights.safetensors, curves.png, metrics.json, log.jsonl and checkpoints"
    if args.ensemble:
        train_ensemble(args, data, output, partial(_train, ranks, source, data))
        written = "weights.safetensors, metrics.json and a folder for each member"
    else:
        _train(ranks, source, data, args, output)
    ranks.first(lambda: remove_others(args, output))
    print(f"wrote {written} to {output}")
    weights = shlex.quote(str(output / "weights.safetensors"))
    print(f"to predict: fastnn predict {weights} --data FILE --output predictions.csv")


def _train(
    ranks: train.Ranks, source: Source, data: train.Data, args: argparse.Namespace, output: Path
) -> None:
    """Train one network, print its held-out accuracy, and write its files into the folder."""
    say = silent if args.quiet else print
    design, model = make_model(args, data, say)
    transform = transform_of(args, data)
    say(str(model))
    if ranks.size > 1:
        model = nn.SyncBatchNorm.convert(model, ranks)
    ranks.first(lambda: begin_checkpoints(args, output))
    start = time.perf_counter()
    settings = {name: value for name, value in vars(args).items() if name in SETTINGS} | asdict(design)
    callbacks = [
        _Options(settings | {"data": source.name}),
        train.Preprocessing(data.preprocessing),
        train.JsonLog(output / "log.jsonl"),
    ]
    history = fit(args, model, data, transform, checkpoints_in(output), callbacks, ranks)
    seconds = time.perf_counter() - start
    if ranks.rank:
        return  # all have the same network, which the first one writes
    measured = train.evaluate(model, (data.x_test, data.y_test))
    print(f"held-out accuracy {measured['accuracy']:.2%} after {len(history)} epochs in {seconds:.1f} s")
    about = {
        "settings": settings,
        "data": _data(source, args),
        "metrics": measured,
        "history": _curves(history),
    }
    weights = output / "weights.safetensors"
    classes = np.array(source.classes)[data.classes] if source.classes else data.classes
    fastnn.save(weights, model, preprocessing=data.preprocessing, classes=classes, about=about)
    title = f"{source.name}: {measured['accuracy']:.1%} of held-out samples right"
    train.save_curves(output / "curves.png", history, title)
    sizes = [*data.x_train.shape[1:], *design.layers, len(classes)]
    metrics = {
        "fastnn": fastnn.__version__,
        "settings": {**settings, "sizes": sizes},
        **measured,
        "classes": classes.tolist(),
        "seconds": seconds,
        "epochs": history,
    }
    train.save_json(output / "metrics.json", metrics)


def _data(source: Source, args: argparse.Namespace) -> dict[str, Any]:
    """What `fastnn predict` needs to read files as this one."""
    columns = None if source.columns is None else asdict(source.columns)
    return {"name": source.name, "columns": columns, "size": args.size, "mode": args.mode}


def _curves(history: list[train.Record]) -> list[train.Record]:
    """The history without times, so that equal runs give equal files."""
    return [{name: value for name, value in record.items() if name != "seconds"} for record in history]


class _Options(train.Callback):
    """Keeps a run's options in its checkpoints, and refuses to resume it with other options."""

    def __init__(self, options: dict[str, Any]) -> None:
        self._options = options

    def state_dict(self) -> dict[str, Any]:
        """Return the options."""
        return self._options

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Compare the options; epochs may differ where the schedule does not depend on them."""
        for name, value in state.items():
            ours = self._options[name]
            if ours != value and not (name == "epochs" and self._options["schedule"] in ANY_LENGTH):
                option = "--" + name.replace("_", "-")
                raise ValueError(
                    f"{option} must be as when the run was started ({_as_text(value)}), got {_as_text(ours)}"
                )


def _as_text(value: object) -> str:
    if value is None:
        return "not given"
    return ",".join(map(str, value)) if isinstance(value, list) else str(value)
