"""Train a network and report how well it does on data that it never trains on.

Without options: scikit-learn's handwritten digits, a few seconds, about 98% accuracy. The output folder gets
weights.safetensors, the model with all that `fastnn predict` needs, curves.png, metrics.json, log.jsonl and
checkpoints. The same seed gives the same weights, to the last bit; so does a run that was interrupted, with
--resume.
"""

from __future__ import annotations

import argparse
import json
import shlex
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

import fastnn
from fastnn import nn, train
from fastnn._core.extras import require
from fastnn.cli.models import NETWORKS, Design
from fastnn.cli.rules import ANY_LENGTH, SCHEDULES, make_optimizer
from fastnn.cli.train_arguments import add_arguments as add_arguments
from fastnn.datasets import Source, load
from fastnn.datasets.files import naming
from fastnn.preprocessing import Compose, Images

SETTINGS = (  # of the options, those that decide the result
    *("data", "model", "optimizer", "lr", "momentum", "weight_decay", "schedule"),
    *("epochs", "batch_size", "patience", "seed", "target", "delimiter", "index", "header"),
    *("layout", "size", "mode", "preprocess"),
)


def run(args: argparse.Namespace) -> int:
    """Train, print and write the files."""
    for module in ("matplotlib.figure", "safetensors.numpy", "tqdm.auto"):
        require(module, "demo")  # what is missing is reported before the work, not after
    _check_device(args.device)
    fastnn.manual_seed(args.seed)
    say = _silent if args.quiet else print
    network = NETWORKS[args.model]
    source, data = _read(args, say)
    layers = list(network.layers) if args.layers is None else args.layers
    design = Design(layers, args.activation, args.norm or network.norm, args.dropout)
    model = network.build(data.x_train.shape[1:], len(data.classes), design).to(args.device)
    output = _folder(args.output or Path("runs") / source.name)
    checkpoints = _checkpoints(args, output)
    counts = f"{source.name}: {len(data.x_train)} training and {len(data.x_test)} held-out samples"
    for line in (*_images(data.preprocessing), counts, str(model)):
        say(line)
    start = time.perf_counter()
    settings = {name: value for name, value in vars(args).items() if name in SETTINGS} | asdict(design)
    callbacks = [
        _Options(settings | {"data": source.name}),
        train.Preprocessing(data.preprocessing),
        train.JsonLog(output / "log.jsonl"),
    ]
    history = _fit(args, model, data, checkpoints, callbacks)
    seconds = time.perf_counter() - start
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
    sizes = [*data.x_train.shape[1:], *layers, len(classes)]
    metrics = {
        "fastnn": fastnn.__version__,
        "settings": {**settings, "sizes": sizes},
        **measured,
        "classes": classes.tolist(),
        "seconds": seconds,
        "epochs": history,
    }
    train.save_json(output / "metrics.json", metrics)
    print(f"wrote weights.safetensors, curves.png, metrics.json, log.jsonl and checkpoints to {output}")
    print(f"to predict: fastnn predict {shlex.quote(str(weights))} --data FILE --output predictions.csv")
    return 0


def _read(args: argparse.Namespace, say: Callable[[str], None]) -> tuple[Source, train.Data]:
    """The data as they are and as the model takes them; says how they were understood."""
    source = load(
        args.data,
        target=args.target,
        delimiter=args.delimiter,
        index=args.index,
        header=args.header,
        size=args.size,
        mode=args.mode,
    )
    for line in source.about:
        say(line)
    images = NETWORKS[args.model].images
    if args.layout and (source.layout or not images):
        raise ValueError(f"--layout is for images of .npz files and a model of images, got {args.data}")
    layout = args.layout or (source.layout if images else None)
    with naming(args.data):
        return source, train.prepare(
            source.train, source.test, images=images, layout=layout, preprocess=args.preprocess
        )


def _folder(path: Path) -> Path:
    """The output folder, made where it is not there."""
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ValueError(f"--output: cannot make the folder {path}: {error.strerror}") from error
    return path


def _images(preprocessing: Compose) -> list[str]:
    """A line that says how images were understood; none for rows."""
    form = preprocessing.steps[0]
    if not isinstance(form, Images):
        return []
    channels, height, width = form.image_shape
    where = " (the channels last in the data)" if form.channels_last_ else ""
    return [f"images: {channels} channel{'s' * (channels > 1)} of {height} x {width}{where}"]


def _data(source: Source, args: argparse.Namespace) -> dict[str, Any]:
    """What `fastnn predict` needs to read files as this one."""
    columns = None if source.columns is None else asdict(source.columns)
    return {"name": source.name, "columns": columns, "size": args.size, "mode": args.mode}


def _curves(history: list[train.Record]) -> list[train.Record]:
    """The history without times, so that equal runs give equal files."""
    return [{name: value for name, value in record.items() if name != "seconds"} for record in history]


def _check_device(name: str) -> None:
    """Raise ValueError or ImportError for a device that is not there."""
    try:
        nn.Module().to(name)
    except (ValueError, RuntimeError) as error:
        raise ValueError(f"--{error}") from error


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


def _silent(*values: object) -> None:
    """What `print` is with --quiet."""


def _checkpoints(args: argparse.Namespace, output: Path) -> train.Checkpoints:
    """The folder of the checkpoints, without those of an earlier run unless it is resumed.

    Raises ValueError where such a run did not come to its end, and no option says what to do.
    """
    checkpoints = train.Checkpoints(output / "checkpoints")
    latest = checkpoints.latest()
    if args.resume:
        if latest:
            print(f"going on from {latest}")
        return checkpoints
    if latest and not args.replace and not _is_result_of(output / "metrics.json", latest):
        raise ValueError(
            f"{output} holds the checkpoints of a run that did not come to its end, the latest {latest.name}:"
            " --resume goes on with it, --replace removes them and starts anew"
        )
    checkpoints.clear()
    return checkpoints


def _is_result_of(metrics: Path, checkpoint: Path) -> bool:
    """Whether a run wrote this file at its end, after this last checkpoint."""
    try:
        step = json.loads(metrics.read_text(encoding="utf-8"))["epochs"][-1]["step"]
    except (OSError, ValueError, LookupError, TypeError):
        return False
    return checkpoint.stem == f"step-{step:08}"


def _fit(
    args: argparse.Namespace,
    model: nn.Module,
    data: train.Data,
    checkpoints: train.Checkpoints,
    callbacks: list[train.Callback],
) -> list[train.Record]:
    given = {name: getattr(args, name) for name in ("lr", "momentum", "weight_decay")}
    optimizer = make_optimizer(args.optimizer, model, given)
    steps = args.epochs * train.steps_per_epoch(len(data.x_train), args.batch_size)
    per, schedule = SCHEDULES[args.schedule]
    patience = [train.EarlyStopping(args.patience)] if args.patience else []
    return train.fit(
        model,
        (data.x_train, data.y_train),
        validation=(data.x_test, data.y_test),
        optimizer=optimizer,
        scheduler=schedule(optimizer, args.epochs, steps),
        schedule_per=per,
        epochs=args.epochs,
        batch_size=args.batch_size,
        callbacks=[*callbacks, *patience],
        progress=not args.quiet,
        checkpoints=checkpoints,
        resume=args.resume,
    )
