"""Train a network and report how well it does on data that it never trains on.

Without options: scikit-learn's handwritten digits, a few seconds, about 98% accuracy. The output folder gets
curves.png, weights.safetensors, metrics.json, log.jsonl and checkpoints. The same seed gives the same
weights, to the last bit; so does a run that was interrupted, with --resume.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import fastnn
from fastnn import nn, train
from fastnn._core.extras import require
from fastnn.cli.models import ACTIVATIONS, IMAGE_NORMS, NETWORKS, Design
from fastnn.cli.rules import ANY_LENGTH, OPTIMIZERS, SCHEDULES, make_optimizer
from fastnn.datasets import load
from fastnn.datasets.files import naming

SETTINGS = (  # of the options, those that decide the result
    *("data", "model", "optimizer", "lr", "momentum", "weight_decay", "schedule"),
    *("epochs", "batch_size", "patience", "seed", "target", "delimiter", "index", "header"),
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of `fastnn train`."""
    _add_model_arguments(parser.add_argument_group("the network"))
    _add_training_arguments(parser.add_argument_group("training"))
    _add_csv_arguments(parser.add_argument_group(".csv files (what was understood is printed)"))
    add = parser.add_argument_group("files").add_argument
    add(
        "--data",
        default="digits",
        metavar="SOURCE",
        help="digits (the default), a .npz file (x and y), a .csv or .tsv file, a folder with MNIST or CIFAR"
        " files",
    )
    add(
        "--output",
        type=Path,
        metavar="FOLDER",
        help="where the files go; an earlier run's are replaced (default: runs/digits, or runs/FILE)",
    )
    add(
        "--resume",
        action="store_true",
        help="go on from the latest checkpoint in the output folder, with the same options; --epochs can be"
        " more where the schedule is none or plateau",
    )


def _add_model_arguments(group: Any) -> None:
    add = group.add_argument
    add("--model", choices=NETWORKS, default="mlp", help="cnn and resnet take images (default: %(default)s)")
    add(
        "--layers",
        type=_layers,
        nargs="+",
        action=_Joined,
        metavar="N",
        help="sizes of the hidden layers, as 64,32 or 64 32, '' for none; channels of the convolutions"
        " (default: 128; 32,64)",
    )
    add(
        "--activation",
        choices=sorted(ACTIVATIONS),
        default="relu",
        metavar="NAME",
        help="what follows each hidden layer (default: %(default)s); one of %(choices)s",
    )
    add(
        "--norm",
        choices=["none", *IMAGE_NORMS],
        help="what normalises each hidden layer before the activation (default: none; with images batch)",
    )
    add(
        "--dropout",
        type=_number(below=1.0),
        default=0.0,
        metavar="P",
        help="share of each hidden layer's outputs (with images: of the last one's) that a training step"
        " sets to 0 (default: %(default)s)",
    )


def _add_training_arguments(group: Any) -> None:
    add, number = group.add_argument, _number(below=math.inf)
    add(
        "--optimizer",
        choices=OPTIMIZERS,
        default="sgd",
        metavar="NAME",
        help="one of %(choices)s (default: sgd)",
    )
    add("--lr", type=number, metavar="X", help="learning rate (default: 0.05 for sgd, others have their own)")
    add(
        "--momentum",
        type=_number(below=1.0),
        metavar="X",
        help="how much of a step goes into the next (default: 0.9 for sgd)",
    )
    add(
        "--weight-decay",
        type=number,
        metavar="X",
        help="pull of the weights towards 0 (default: 0.001 for sgd, others have their own)",
    )
    add(
        "--schedule",
        choices=SCHEDULES,
        default="none",
        metavar="NAME",
        help="how the learning rate changes: one of %(choices)s (default: none)",
    )
    for option, default, text in (
        ("--epochs", 30, "passes through the training data"),
        ("--batch-size", 32, "samples in a step"),
    ):
        add(option, type=_whole(1), default=default, metavar="N", help=f"{text} (default: %(default)s)")
    add(
        "--patience",
        type=_whole(1),
        metavar="N",
        help="stop where the held-out loss has not been better for N epochs, and keep the best weights",
    )
    add(
        "--device",
        default="cpu",
        metavar="NAME",
        help="cpu (the default), cuda, or cuda:1 for a GPU by its number, with fastnn[cuda]",
    )
    add(
        "--seed",
        type=_whole(0),
        default=0,
        metavar="N",
        help="decides the first weights, the order of samples and what dropout drops (default: %(default)s)",
    )


def _add_csv_arguments(group: Any) -> None:
    add = group.add_argument
    add(
        "--target",
        type=_column,
        metavar="COLUMN",
        help="the labels: a name in the header, or a number, from 0, from the end if negative (default: what"
        " is called label, class, target or y, else the last one)",
    )
    add("--index", type=_column, metavar="COLUMN", help="a column to leave out, as an index of the rows")
    add("--no-index", dest="index", action="store_false", default=None, help="train on the first column too")
    add(
        "--header",
        action=argparse.BooleanOptionalAction,
        help="whether the first row has names (default: found out)",
    )
    add(
        "--delimiter",
        type=lambda text: {"tab": "\t", "\\t": "\t"}.get(text, text),
        metavar="CHARACTER",
        help="what is between cells, or 'tab' (default: comma, semicolon, tab or |, as in the first row)",
    )


def _column(text: str) -> str | int:
    return int(text) if text.removeprefix("-").isdecimal() else text


def run(args: argparse.Namespace) -> int:
    """Train, print and write the files."""
    for module in ("matplotlib.figure", "safetensors.numpy", "tqdm"):
        require(module, "demo")  # what is missing is reported before the work, not after
    _check_device(args.device)
    fastnn.manual_seed(args.seed)
    network = NETWORKS[args.model]
    source = load(
        args.data, target=args.target, delimiter=args.delimiter, index=args.index, header=args.header
    )
    for line in source.about:
        print(line)
    with naming(args.data):
        data = train.prepare(source.train, source.test, images=network.images)
    layers = list(network.layers) if args.layers is None else args.layers
    design = Design(layers, args.activation, args.norm or network.norm, args.dropout)
    model = network.build(data.x_train.shape[1:], len(data.classes), design).to(args.device)

    output = args.output or Path("runs") / source.name
    try:
        output.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ValueError(f"--output: cannot make the folder {output}: {error.strerror}") from error
    print(f"{source.name}: {len(data.x_train)} training and {len(data.x_test)} held-out samples")
    print(model)
    start = time.perf_counter()
    settings = {name: value for name, value in vars(args).items() if name in SETTINGS} | asdict(design)
    history = _fit(args, model, data, output, _Options(settings | {"data": source.name}))
    seconds = time.perf_counter() - start
    measured = train.evaluate(model, (data.x_test, data.y_test))
    print(f"held-out accuracy {measured['accuracy']:.2%} after {len(history)} epochs in {seconds:.1f} s")

    tensors = model.state_dict() | {"input.mean": data.mean, "input.std": data.std, "classes": data.classes}
    # One text: safetensors writes several in an order that differs from run to run.
    about = {"model": json.dumps({"model": args.model, **asdict(design)})}
    train.save_weights(output / "weights.safetensors", tensors, about)
    title = f"{source.name}: {measured['accuracy']:.1%} of held-out samples right"
    train.save_curves(output / "curves.png", history, title)
    sizes = [*data.x_train.shape[1:], *layers, len(data.classes)]
    metrics = {
        "fastnn": fastnn.__version__,
        "settings": {**settings, "sizes": sizes},
        **measured,
        "classes": source.classes or data.classes.tolist(),
        "seconds": seconds,
        "epochs": history,
    }
    train.save_json(output / "metrics.json", metrics)
    print(f"wrote weights.safetensors, curves.png, metrics.json, log.jsonl and checkpoints to {output}")
    return 0


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


def _fit(
    args: argparse.Namespace, model: nn.Module, data: train.Data, output: Path, options: _Options
) -> list[train.Record]:
    given = {name: getattr(args, name) for name in ("lr", "momentum", "weight_decay")}
    optimizer = make_optimizer(args.optimizer, model, given)
    steps = args.epochs * train.steps_per_epoch(len(data.x_train), args.batch_size)
    per, schedule = SCHEDULES[args.schedule]
    checkpoints = train.Checkpoints(output / "checkpoints")
    if not args.resume:
        checkpoints.clear()
    elif latest := checkpoints.latest():
        print(f"going on from {latest}")
    callbacks: list[train.Callback] = [options, train.JsonLog(output / "log.jsonl")]
    if args.patience:
        callbacks.append(train.EarlyStopping(args.patience))
    return train.fit(
        model,
        (data.x_train, data.y_train),
        validation=(data.x_test, data.y_test),
        optimizer=optimizer,
        scheduler=schedule(optimizer, args.epochs, steps),
        schedule_per=per,
        epochs=args.epochs,
        batch_size=args.batch_size,
        callbacks=callbacks,
        progress=True,
        checkpoints=checkpoints,
        resume=args.resume,
    )


def _layers(text: str) -> list[int]:
    sizes = text.strip().removesuffix(",")
    return [_whole(1)(size) for size in sizes.split(",")] if sizes else []


class _Joined(argparse.Action):
    """Makes one list of the lists of an option's words."""

    def __call__(self, parser: Any, namespace: Any, values: Any, option_string: str | None = None) -> None:
        setattr(namespace, self.dest, [size for sizes in values for size in sizes])


def _whole(minimum: int) -> Callable[[str], int]:
    def parse(text: str) -> int:
        if not (text.strip().isdecimal() and int(text) >= minimum):
            raise argparse.ArgumentTypeError(f"must be a whole number of at least {minimum}, got {text!r}")
        return int(text)

    return parse


def _number(below: float) -> Callable[[str], float]:
    def parse(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not 0 <= value < below:
            allowed = "of at least 0" if below == math.inf else f"from 0 to below {below:g}"
            raise argparse.ArgumentTypeError(f"must be a number {allowed}, got {text!r}")
        return value

    return parse
