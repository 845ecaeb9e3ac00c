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
from collections.abc import Callable
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

import fastnn
from fastnn import augment, nn, train
from fastnn._core.extras import require
from fastnn.cli.augment import augmentation
from fastnn.cli.ensembles import train_ensemble
from fastnn.cli.models import NETWORKS, Design
from fastnn.cli.rules import ANY_LENGTH, SCHEDULES, make_optimizer
from fastnn.cli.run_folder import check_start, checkpoints_of, make_folder, remove_others
from fastnn.cli.train_arguments import add_arguments as add_arguments
from fastnn.cli.transfer import prepare
from fastnn.datasets import Source, load
from fastnn.datasets.files import naming
from fastnn.preprocessing import Compose, Images

SETTINGS = (  # of the options, those that decide the result
    *("data", "model", "optimizer", "lr", "momentum", "weight_decay", "schedule"),
    *("epochs", "batch_size", "patience", "seed", "target", "delimiter", "index", "header"),
    *("layout", "size", "mode", "augment", "init", "freeze"),
)


def run(args: argparse.Namespace) -> int:
    """Train, print and write the files."""
    for module in ("matplotlib.figure", "safetensors.numpy", "tqdm.auto"):
        require(module, "demo")  # what is missing is reported before the work, not after
    _check_device(args.device)
    say = _silent if args.quiet else print
    source, data = _read(args, say)
    output = make_folder(args.output or Path("runs") / source.name)
    check_start(args, output)
    counts = f"{source.name}: {len(data.x_train)} training and {len(data.x_test)} held-out samples"
    for line in (*_images(data.preprocessing), counts):
        say(line)
    written = "weights.safetensors, curves.png, metrics.json, log.jsonl and checkpoints"
    if args.ensemble:
        train_ensemble(args, data, output, partial(_train, source, data))
        written = "weights.safetensors, metrics.json and a folder for each member"
    else:
        _train(source, data, args, output)
    remove_others(args, output)
    print(f"wrote {written} to {output}")
    weights = shlex.quote(str(output / "weights.safetensors"))
    print(f"to predict: fastnn predict {weights} --data FILE --output predictions.csv")
    return 0


def _train(source: Source, data: train.Data, args: argparse.Namespace, output: Path) -> None:
    """Train one network, print its held-out accuracy, and write its files into the folder."""
    fastnn.manual_seed(args.seed)
    network = NETWORKS[args.model]
    layers = list(network.layers) if args.layers is None else args.layers
    design = Design(layers, args.activation, args.norm or network.norm, args.dropout)
    model = network.build(data.x_train.shape[1:], len(data.classes), design).to(args.device)
    say = _silent if args.quiet else print
    prepare(args, model, say)
    transform = augmentation(args.augment, network.images, data.x_train.shape[1:], len(data.classes))
    say(str(model))
    checkpoints = checkpoints_of(args, output)
    start = time.perf_counter()
    settings = {name: value for name, value in vars(args).items() if name in SETTINGS} | asdict(design)
    callbacks = [_Options(settings | {"data": source.name}), train.JsonLog(output / "log.jsonl")]
    history = _fit(args, model, data, transform, checkpoints, callbacks)
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
        return source, train.prepare(source.train, source.test, images=images, layout=layout)


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


def _fit(
    args: argparse.Namespace,
    model: nn.Module,
    data: train.Data,
    transform: augment.Compose | None,
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
        transform=transform,
        callbacks=[*callbacks, *patience],
        progress=not args.quiet,
        checkpoints=checkpoints,
        resume=args.resume,
    )
