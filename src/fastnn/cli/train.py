"""Train a network and report how well it does on data that it never trains on.

Without options: scikit-learn's handwritten digits, a few seconds, about 98% accuracy. The output folder gets
weights.safetensors, the model with all that `fastnn predict` needs, curves.png, metrics.json, log.jsonl and
checkpoints. The same seed gives the same weights, to the last bit; so does a run that was interrupted, with
--resume.
"""

from __future__ import annotations

import argparse
import json
import math
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
from fastnn.cli.data_arguments import add_delimiter, add_forms_of_images
from fastnn.cli.models import ACTIVATIONS, IMAGE_NORMS, NETWORKS, Design
from fastnn.cli.rules import ANY_LENGTH, OPTIMIZERS, SCHEDULES, make_optimizer
from fastnn.datasets import Source, load
from fastnn.datasets.files import naming
from fastnn.preprocessing import LAYOUTS, Compose, Images

SETTINGS = (  # of the options, those that decide the result
    *("data", "model", "optimizer", "lr", "momentum", "weight_decay", "schedule"),
    *("epochs", "batch_size", "patience", "seed", "target", "delimiter", "index", "header"),
    *("layout", "size", "mode"),
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of `fastnn train`."""
    _add_model_arguments(parser.add_argument_group("the network"))
    _add_training_arguments(parser.add_argument_group("training"))
    _add_csv_arguments(parser.add_argument_group(".csv files (what was understood is printed)"))
    _add_image_arguments(parser.add_argument_group("images (what was understood is printed)"))
    add = parser.add_argument_group("files").add_argument
    add(
        "--data",
        default="digits",
        metavar="SOURCE",
        help="digits (the default), a .npz file (x and y), a .csv or .tsv file, a folder with a folder of PNG"
        " or JPEG images for each class, or with MNIST or CIFAR files",
    )
    add(
        "--output",
        type=Path,
        metavar="FOLDER",
        help="where the files go; an earlier run's are replaced (default: runs/digits, or runs/FILE)",
    )
    add("--quiet", action="store_true", help="print the result alone")
    start = parser.add_mutually_exclusive_group().add_argument
    start(
        "--resume",
        action="store_true",
        help="go on from the latest checkpoint in the output folder, with the same options; --epochs can be"
        " more where the schedule is none or plateau",
    )
    start(
        "--replace",
        action="store_true",
        help="start anew in the folder of a run that did not come to its end, and remove its checkpoints",
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
        help="cpu (the default), cuda, or cuda:1 for a GPU by its number, with the extra cuda",
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
    add_delimiter(group)


def _add_image_arguments(group: Any) -> None:
    add = group.add_argument
    add(
        "--layout",
        choices=LAYOUTS,
        help="where the channels of images are: nchw (samples, channels, height, width) or nhwc (samples,"
        " height, width, channels) (default: found out by the shape)",
    )
    add_forms_of_images(group, "all must have one")


def _column(text: str) -> str | int:
    return int(text) if text.removeprefix("-").isdecimal() else text


def run(args: argparse.Namespace) -> int:
    """Train, print and write the files."""
    for module in ("matplotlib.figure", "safetensors.numpy", "tqdm.auto"):
        require(module, "demo")  # what is missing is reported before the work, not after
    _check_device(args.device)
    fastnn.manual_seed(args.seed)
    network = NETWORKS[args.model]
    source = load(
        args.data,
        target=args.target,
        delimiter=args.delimiter,
        index=args.index,
        header=args.header,
        size=args.size,
        mode=args.mode,
    )
    say = _silent if args.quiet else print
    for line in source.about:
        say(line)
    if args.layout and (source.layout or not network.images):
        raise ValueError(f"--layout is for images of .npz files and a model of images, got {args.data}")
    layout = args.layout or (source.layout if network.images else None)
    with naming(args.data):
        data = train.prepare(source.train, source.test, images=network.images, layout=layout)
    layers = list(network.layers) if args.layers is None else args.layers
    design = Design(layers, args.activation, args.norm or network.norm, args.dropout)
    model = network.build(data.x_train.shape[1:], len(data.classes), design).to(args.device)

    output = args.output or Path("runs") / source.name
    try:
        output.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ValueError(f"--output: cannot make the folder {output}: {error.strerror}") from error
    checkpoints = _checkpoints(args, output)
    counts = f"{source.name}: {len(data.x_train)} training and {len(data.x_test)} held-out samples"
    for line in (*_images(data.preprocessing), counts, str(model)):
        say(line)
    start = time.perf_counter()
    settings = {name: value for name, value in vars(args).items() if name in SETTINGS} | asdict(design)
    callbacks = [_Options(settings | {"data": source.name}), train.JsonLog(output / "log.jsonl")]
    history = _fit(args, model, data, checkpoints, callbacks)
    seconds = time.perf_counter() - start
    measured = train.evaluate(model, (data.x_test, data.y_test))
    print(f"held-out accuracy {measured['accuracy']:.2%} after {len(history)} epochs in {seconds:.1f} s")
    classes = np.array(source.classes)[data.classes] if source.classes else data.classes
    about = {
        "settings": settings,
        "data": _data(source, args),
        "metrics": measured,
        "history": _curves(history),
    }
    weights = output / "weights.safetensors"
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
