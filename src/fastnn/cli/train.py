"""Train a small network and report how well it does on a fifth of the data, which it never trains on.

Without options: scikit-learn's handwritten digits, a few seconds, about 98% accuracy. The output folder gets
curves.png, weights.safetensors and metrics.json. The same seed gives the same weights, to the last bit.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from itertools import pairwise
from pathlib import Path

import fastnn
from fastnn import nn, optim, train
from fastnn._extras import require

# An activation whose parameters have no defaults cannot be chosen by name, and these two do not train.
ACTIVATIONS = {
    name: layer for name, layer in nn.ACTIVATIONS.items() if name not in ("threshold", "square", "exp")
}
NORMS: dict[str, Callable[[int], nn.Module]] = {"batch": nn.BatchNorm1d, "layer": nn.LayerNorm}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of `fastnn train`."""
    add = parser.add_argument
    add(
        "--data",
        type=Path,
        metavar="FILE.npz",
        help="your own data: x, numbers (samples, features), and y, whole-number labels (samples,)",
    )
    add(
        "--layers",
        type=_layers,
        default=[128],
        metavar="N,N,...",
        help="sizes of the hidden layers, '' for none (default: 128)",
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
        choices=["none", *NORMS],
        default="none",
        help="what normalises each hidden layer before the activation (default: %(default)s)",
    )
    add(
        "--dropout",
        type=_number(below=1.0),
        default=0.0,
        metavar="P",
        help="share of each hidden layer's outputs that a training step sets to 0 (default: %(default)s)",
    )
    add(
        "--lr",
        type=_number(below=math.inf),
        default=0.05,
        metavar="X",
        help="learning rate (default: %(default)s)",
    )
    add(
        "--momentum",
        type=_number(below=1.0),
        default=0.9,
        metavar="X",
        help="how much of a step goes into the next (default: %(default)s)",
    )
    add(
        "--weight-decay",
        type=_number(below=math.inf),
        default=0.001,
        metavar="X",
        help="pull of the weights towards 0 (default: %(default)s)",
    )
    add(
        "--epochs",
        type=_whole(1),
        default=30,
        metavar="N",
        help="passes through the training data (default: %(default)s)",
    )
    add(
        "--batch-size",
        type=_whole(1),
        default=32,
        metavar="N",
        help="samples in a step (default: %(default)s)",
    )
    add(
        "--seed",
        type=_whole(0),
        default=0,
        metavar="N",
        help="decides the first weights and the order of samples (default: %(default)s)",
    )
    add(
        "--output",
        type=Path,
        metavar="FOLDER",
        help="where the files go; an earlier run's are replaced (default: runs/digits, or runs/FILE)",
    )


def run(args: argparse.Namespace) -> int:
    """Train, print and write the files."""
    for module in ("matplotlib.figure", "safetensors.numpy", "threadpoolctl", "tqdm"):
        require(module, "demo")  # what is missing is reported before the work, not after
    fastnn.manual_seed(args.seed)
    x, y = train.load_npz(args.data) if args.data else train.digits()
    data = train.prepare(x, y)
    sizes = [data.x_train.shape[1], *args.layers, len(data.classes)]
    model = _model(sizes, ACTIVATIONS[args.activation], NORMS.get(args.norm), args.dropout)
    optimizer = optim.SGD(model.parameters(), args.lr, momentum=args.momentum, weight_decay=args.weight_decay)

    name = args.data.stem if args.data else "digits"
    output = args.output or Path("runs") / name
    output.mkdir(parents=True, exist_ok=True)
    print(f"{name}: {len(data.x_train)} training and {len(data.x_test)} held-out samples")
    print(model)
    start = time.perf_counter()
    history = _fit(model, optimizer, data, args.epochs, args.batch_size)
    seconds = time.perf_counter() - start
    accuracy = history[-1].test_accuracy
    print(f"held-out accuracy {accuracy:.2%} after {args.epochs} epochs in {seconds:.1f} s")

    tensors = model.state_dict() | {"input.mean": data.mean, "input.std": data.std, "classes": data.classes}
    # One text: safetensors writes several in an order that differs from run to run.
    about = {"model": json.dumps({"activation": args.activation, "norm": args.norm})}
    train.save_weights(output / "weights.safetensors", tensors, about)
    train.save_curves(output / "curves.png", history, f"{name}: {accuracy:.1%} of held-out samples right")
    metrics = {
        "fastnn": fastnn.__version__,
        "settings": {**_settings(args), "sizes": sizes},
        "accuracy": accuracy,
        "loss": history[-1].test_loss,
        "seconds": seconds,
        "epochs": [asdict(epoch) for epoch in history],
    }
    train.save_json(output / "metrics.json", metrics)
    print(f"wrote weights.safetensors, curves.png and metrics.json to {output}")
    return 0


def _settings(args: argparse.Namespace) -> dict[str, object]:
    model, training = ("activation", "norm", "dropout"), ("lr", "momentum", "weight_decay", "epochs")
    names = (*model, *training, "batch_size", "seed")
    return {"data": str(args.data or "digits")} | {name: getattr(args, name) for name in names}


def _model(
    sizes: Sequence[int],
    activation: type[nn.Activation],
    norm: Callable[[int], nn.Module] | None,
    dropout: float,
) -> nn.Sequential:
    layers: list[nn.Module] = []
    for inputs, outputs in pairwise(sizes[:-1]):
        layers.append(nn.Linear(inputs, outputs))
        if norm is not None:
            layers.append(norm(outputs))
        layers.append(activation())
        if dropout:
            layers.append(nn.Dropout(dropout))
    return nn.Sequential(*layers, nn.Linear(sizes[-2], sizes[-1]))


def _fit(
    model: nn.Module, optimizer: optim.Optimizer, data: train.Data, epochs: int, batch_size: int
) -> list[train.Epoch]:
    steps = epochs * train.steps_per_epoch(len(data.x_train), batch_size)
    # A BLAS rounds differently on another number of threads; with one, a seed's weights do not depend on it.
    one_thread = require("threadpoolctl", "demo").threadpool_limits(limits=1, user_api="blas")
    with one_thread, require("tqdm", "demo").tqdm(total=steps, unit="step", leave=False) as bar:

        def show(epoch: train.Epoch) -> None:
            bar.write(
                f"epoch {epoch.epoch:>{len(str(epochs))}}/{epochs}"
                f"  loss {epoch.loss:.4f}  accuracy {epoch.accuracy:7.2%}"
                f"  held out: loss {epoch.test_loss:.4f}  accuracy {epoch.test_accuracy:7.2%}"
            )

        return train.fit(
            model, optimizer, data, epochs=epochs, batch_size=batch_size, on_batch=bar.update, on_epoch=show
        )


def _layers(text: str) -> list[int]:
    return [_whole(1)(size) for size in text.split(",")] if text.strip() else []


def _whole(minimum: int) -> Callable[[str], int]:
    def parse(text: str) -> int:
        if not (text.strip().isdecimal() and int(text) >= minimum):
            raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of at least {minimum}")
        return int(text)

    return parse


def _number(below: float) -> Callable[[str], float]:
    def parse(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not 0 <= value < below:
            raise argparse.ArgumentTypeError(f"{text!r} is not a number from 0 to below {below}")
        return value

    return parse
