"""Prepare the kernels for GPUs.

`fastnn cuda warm-up MODEL` compiles those that a model's training and predictions take, before it runs.
"""

from __future__ import annotations

import argparse
import re
import time
from typing import TYPE_CHECKING, Any

import numpy as np

import fastnn
from fastnn import nn, optim
from fastnn._core.extras import require
from fastnn.cli.rules import OPTIMIZERS, make_optimizer
from fastnn.cli.train_arguments import whole

if TYPE_CHECKING:
    from fastnn._core.typing import Array

WARM_UP = """Compile the kernels that a model takes on a GPU, so that its first steps compile nothing.

They are compiled by several processes into the cache that the first step reads: ~/.cache/fastnn, or
$FASTNN_CACHE_DIR. With --capability no GPU is needed. The model runs once on arrays of zeros, without
launching anything, as in `fastnn train`: with its loss and its optimizer, and for predictions.
"""
DTYPES = ("float32", "float64", "float16", "bfloat16")
OPTIONS = ("lr", "momentum", "weight_decay")  # of an optimizer, in a file's settings


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the one sub-command and its options."""
    commands = parser.add_subparsers(dest="action", metavar="ACTION", title="actions", required=True)
    command = commands.add_parser(
        "warm-up",
        help="compile the kernels that a model takes on a GPU, before it runs",
        description=WARM_UP,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = command.add_argument
    what = command.add_mutually_exclusive_group(required=True).add_argument
    what("model", nargs="?", metavar="MODEL", help="a file of `fastnn train` or fastnn.save")
    what(
        "--all",
        action="store_true",
        help="the kernels that fastnn's tests compile: each function in each dtype, for some lengths of rows;"
        " many minutes",
    )
    add(
        "--shape",
        type=_shape,
        metavar="CxHxW",
        help="of a sample that the model takes (default: that of the file's preprocessing)",
    )
    add(
        "--batch-size",
        type=whole(1),
        metavar="N",
        help="samples in a step (default: the file's, else 32)",
    )
    add(
        "--optimizer",
        choices=OPTIMIZERS,
        metavar="NAME",
        help="one of %(choices)s (default: the file's, else adam)",
    )
    add("--dtype", choices=DTYPES, help="of samples and weights (default: the weights')")
    add(
        "--capability",
        type=_capability,
        metavar="X.Y",
        help="the GPU's compute capability, as 9.0 (default: that of this machine's first GPU)",
    )
    add("--jobs", type=whole(1), metavar="N", help="processes (default: one for each CPU)")
    add("--fast-math", action="store_true", help="as with fastnn.cuda.fast_math(True)")
    add("--quiet", action="store_true", help="without the bar")


def run(args: argparse.Namespace) -> int:
    """Compile the kernels and say how many there were."""
    require("numba.cuda.extending", "cuda")
    require("cuda.core", "cuda")
    from fastnn._warm_up.warm_up import warm_up
    from fastnn.cuda._runtime import cache, launch, status

    if args.capability is None and isinstance(found := status.find_gpu(), str):
        raise ValueError(f"--capability must be given, as 9.0, where there is no GPU ({found})")
    given: dict[str, Any] = {} if args.all else _training(args)
    start = time.perf_counter()
    with launch.fast_math(args.fast_math):
        done = warm_up(**given, capability=args.capability, jobs=args.jobs, progress=not args.quiet)
    seconds, kept = time.perf_counter() - start, done.kernels - done.compiled
    print(f"compiled {done.compiled} kernels in {seconds:.1f} s, {kept} were in {cache.folder()} before")
    return 0


def _training(args: argparse.Namespace) -> dict[str, Any]:
    """The arguments of warm_up for the model in the file."""
    predictor = fastnn.load(args.model)
    model, settings = predictor.model, predictor.about.get("settings")
    known: dict[str, Any] = settings if isinstance(settings, dict) else {}
    shape = args.shape or _sample_shape(args.model, predictor)
    x = np.zeros((args.batch_size or known.get("batch_size") or 32, *shape), _dtype_of(model))
    loss, y = _loss(predictor, x, model(x[:1]))
    if args.dtype is not None:
        dtype = require("ml_dtypes", "cuda").bfloat16 if args.dtype == "bfloat16" else args.dtype
        x, y = x.astype(dtype), y if y.dtype == np.int64 else y.astype(dtype)
        for parameter in model.parameters():
            parameter.data = parameter.data.astype(dtype)
    optimizer = _optimizer(args, model, known)
    return {"model": model.train(), "data": (x, y), "loss": loss, "optimizer": optimizer}


def _dtype_of(model: nn.Module) -> Any:
    """The dtype of the weights."""
    return next((parameter.dtype for parameter in model.parameters()), np.dtype(np.float32))


def _sample_shape(name: str, predictor: fastnn.Predictor) -> tuple[int, ...]:
    """The shape of a sample behind the preprocessing."""
    if predictor.preprocessing is None:
        raise ValueError(f"--shape must be given, as {name} does not tell the shape of a sample")
    samples = np.zeros((1, *predictor.preprocessing.sample_shape), np.float32)
    shape: tuple[int, ...] = predictor.preprocessing.transform(samples).shape[1:]
    return shape


def _loss(predictor: fastnn.Predictor, x: Array, output: Array) -> tuple[str, Array]:
    """The loss that suits the model's outputs, and targets for it."""
    if predictor.classes is not None and output.shape[1:] not in ((), (1,)):
        return "cross_entropy", np.zeros(len(x), np.int64)
    loss = "mse_loss" if predictor.classes is None else "binary_cross_entropy_with_logits"
    return loss, np.zeros((len(x), *output.shape[1:]), output.dtype)


def _optimizer(args: argparse.Namespace, model: nn.Module, known: dict[str, Any]) -> optim.Optimizer:
    name = args.optimizer or known.get("optimizer") or "adam"
    options = {option: known.get(option) for option in OPTIONS} if args.optimizer is None else {}
    return make_optimizer(name, model, options)


def _shape(text: str) -> tuple[int, ...]:
    if not re.fullmatch(r"[1-9]\d*(x[1-9]\d*)*", text):
        raise argparse.ArgumentTypeError(f"must be numbers with x between them, as 3x32x32, got {text!r}")
    return tuple(map(int, text.split("x")))


def _capability(text: str) -> tuple[int, int]:
    found = re.fullmatch(r"(\d+)\.(\d)", text)
    if found is None:
        raise argparse.ArgumentTypeError(f"must be two numbers, as 9.0, got {text!r}")
    return int(found[1]), int(found[2])
