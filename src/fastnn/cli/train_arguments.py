"""The options of `fastnn train`, which other commands share in part, and how their texts are read."""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

from fastnn.cli import transfer
from fastnn.cli.augment import add_augment
from fastnn.cli.data_arguments import add_delimiter, add_forms_of_images
from fastnn.cli.models import ACTIVATIONS, IMAGE_NORMS, NETWORKS
from fastnn.cli.rules import OPTIMIZERS, SCHEDULES
from fastnn.preprocessing import LAYOUTS
from fastnn.train.data import PREPROCESS


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of `fastnn train`."""
    add_settings(parser).add_argument(
        "--ensemble",
        type=whole(2),
        default=0,
        metavar="N",
        help="train N networks with seeds made of --seed, and predict by the mean of their probabilities",
    )
    files = parser.add_argument_group("files")
    add = files.add_argument
    add_config(add)
    add(
        "--output",
        type=Path,
        metavar="FOLDER",
        help="where the files go; an earlier run's are replaced (default: runs/digits, or runs/FILE)",
    )
    add("--quiet", action="store_true", help="print the result alone")
    start = files.add_mutually_exclusive_group().add_argument
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


def add_settings(parser: argparse.ArgumentParser) -> Any:
    """Add those that say what is trained on what, and how: all that a search may vary.

    Returns the group of those on training.
    """
    training = add_first_steps(parser)
    _add_run_arguments(training)
    return training


def add_first_steps(parser: argparse.ArgumentParser) -> Any:
    """Add those of the first steps of training: data, network, optimizer. Returns what add_settings does."""
    parser.add_argument(
        "--data",
        default="digits",
        metavar="SOURCE",
        help="digits (the default), a .npz file (x and y), a .csv or .tsv file, a folder with a folder of PNG"
        " or JPEG images for each class, or with MNIST or CIFAR files",
    )
    _add_model_arguments(parser.add_argument_group("the network"))
    transfer.add_arguments(parser.add_argument_group("transfer learning"))
    training = parser.add_argument_group("training")
    _add_optimizer_arguments(training)
    _add_csv_arguments(parser.add_argument_group(".csv files (what was understood is printed)"))
    _add_image_arguments(parser.add_argument_group("images (what was understood is printed)"))
    return training


def add_config(add: Callable[..., Any]) -> None:
    """Add the file of options, which cli/config.py reads."""
    add(
        "--config",
        type=Path,
        metavar="FILE.json",
        help='options by name, as {"lr": 0.1, "layers": [64, 32]}, which fastnn search writes (best.json);'
        " those given here as well win over the file's",
    )


def _add_model_arguments(group: Any) -> None:
    add = group.add_argument
    add(
        "--model",
        choices=NETWORKS,
        default="mlp",
        metavar="NAME",
        help="one of %(choices)s (default: %(default)s); all but mlp take images; those behind resnet are"
        " torchvision's, for images of 3 channels, without the options below",
    )
    add(
        "--layers",
        nargs="+",
        action=_Layers,
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


def _add_optimizer_arguments(group: Any) -> None:
    add, number = group.add_argument, _number(below=math.inf)
    add(
        "--preprocess",
        choices=PREPROCESS,
        default="standardize",
        metavar="NAME",
        help="what is done to the samples first, by statistics of the training data, to each feature or to"
        " each channel of images: one of %(choices)s (default: %(default)s)",
    )
    add(
        "--optimizer",
        choices=OPTIMIZERS,
        default="sgd",
        metavar="NAME",
        help="one of %(choices)s (default: sgd)",
    )
    add(
        "--lr",
        type=number,
        metavar="X",
        help="learning rate (default: for sgd 0.02, with images 0.01; others have their own)",
    )
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
        "--batch-size",
        type=whole(1),
        default=32,
        metavar="N",
        help="samples in a step (default: %(default)s)",
    )
    add(
        "--device",
        default="cpu",
        metavar="NAME",
        help="cpu (the default), cuda, or cuda:1 for a GPU by its number, with the extra cuda",
    )
    add(
        "--seed",
        type=whole(0),
        default=0,
        metavar="N",
        help="decides the first weights, the order of samples and what dropout drops (default: %(default)s)",
    )


def _add_run_arguments(group: Any) -> None:
    add = group.add_argument
    add(
        "--schedule",
        choices=SCHEDULES,
        default="none",
        metavar="NAME",
        help="how the learning rate changes: one of %(choices)s (default: none)",
    )
    add(
        "--epochs",
        type=whole(1),
        default=30,
        metavar="N",
        help="passes through the training data (default: %(default)s)",
    )
    add_augment(group)
    add(
        "--patience",
        type=whole(1),
        metavar="N",
        help="stop where the held-out loss has not been better for N epochs, and keep the best weights",
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


class _Layers(argparse.Action):
    """Makes one list of sizes of an option's words, each of which may be several: 64,32."""

    def __call__(self, parser: Any, namespace: Any, values: Any, option_string: str | None = None) -> None:
        texts = [word.strip().removesuffix(",") for word in values]
        try:
            sizes = [whole(1)(size) for text in texts if text for size in text.split(",")]
        except argparse.ArgumentTypeError as error:
            raise argparse.ArgumentError(self, str(error)) from None
        setattr(namespace, self.dest, sizes)


def whole(minimum: int) -> Callable[[str], int]:
    """Return what reads an option that is a whole number of at least this."""

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
