"""The parts of a training run that the options ask for: data, network, optimizer, fit.

`fastnn train`, `fastnn check` and `fastnn search` share them.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable

import fastnn
from fastnn import augment, nn, optim, train
from fastnn._core.ranks import ALONE
from fastnn.cli import transfer
from fastnn.cli.augment import augmentation
from fastnn.cli.models import NETWORKS, Design
from fastnn.cli.rules import SCHEDULES, make_optimizer
from fastnn.datasets import Source, load
from fastnn.datasets.files import naming
from fastnn.preprocessing import Images
from fastnn.train.data import Samples

READING = ("target", "delimiter", "index", "header", "size", "mode")  # how the data's files are read

Say = Callable[[str], None]


def silent(text: str) -> None:
    """What `say` is with --quiet."""


def check_device(name: str) -> None:
    """Raise ValueError or ImportError for a device that is not there."""
    try:
        nn.Module().to(name)
    except (ValueError, RuntimeError) as error:
        raise ValueError(f"--{error}") from error


def read(args: argparse.Namespace, say: Say) -> Source:
    """Return the data as they are; say how they were understood."""
    source = load(args.data, **{name: getattr(args, name) for name in READING})
    for line in source.about:
        say(line)
    images = NETWORKS[args.model].images
    if args.layout and (source.layout or not images):
        raise ValueError(f"--layout is for images of .npz files and a model of images, got {args.data}")
    return source


def prepared(
    args: argparse.Namespace, source: Source, training: Samples, held_out: Samples | None
) -> train.Data:
    """Return these samples of the data as the model takes them; without `held_out`, a fifth is held out."""
    images = NETWORKS[args.model].images
    layout = args.layout or (source.layout if images else None)
    with naming(args.data):
        return train.prepare(training, held_out, images=images, layout=layout, preprocess=args.preprocess)


def describe_images(data: train.Data, say: Say) -> None:
    """Say how images were understood; nothing of rows."""
    form = data.preprocessing.steps[0]
    if isinstance(form, Images):
        channels, height, width = form.image_shape
        where = " (the channels last in the data)" if form.channels_last_ else ""
        say(f"images: {channels} channel{'s' * (channels > 1)} of {height} x {width}{where}")


def make_model(args: argparse.Namespace, data: train.Data, say: Say) -> tuple[Design, nn.Module]:
    """Return the network with its first weights, and what it was made by."""
    fastnn.manual_seed(args.seed)
    network = NETWORKS[args.model]
    layers = list(network.layers) if args.layers is None else args.layers
    design = Design(layers, args.activation, args.norm or network.norm, args.dropout)
    model = network.build(data.x_train.shape[1:], len(data.classes), design).to(args.device)
    transfer.prepare(args, model, say)
    return design, model


def optimizer_of(args: argparse.Namespace, model: nn.Module) -> optim.Optimizer:
    """Return the optimizer with the options that were given."""
    given = {name: getattr(args, name) for name in ("lr", "momentum", "weight_decay")}
    if args.optimizer == "sgd" and args.lr is None:
        given["lr"] = NETWORKS[args.model].lr
    return make_optimizer(args.optimizer, model, given)


def transform_of(args: argparse.Namespace, data: train.Data) -> augment.Compose | None:
    """Return what changes training batches; ValueError for a model that takes no images."""
    if args.augment and not NETWORKS[args.model].images:
        raise ValueError("--augment is for a model of images, as --model cnn")
    return augmentation(args.augment, data.x_train.shape[1:], len(data.classes))


def fit(
    args: argparse.Namespace,
    model: nn.Module,
    data: train.Data,
    transform: augment.Compose | None,
    checkpoints: train.Checkpoints,
    callbacks: list[train.Callback],
    ranks: train.Ranks = ALONE,
) -> list[train.Record]:
    """Train the model with the optimizer, schedule and patience that the options ask for."""
    optimizer = optimizer_of(args, model)
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
        ranks=ranks,
    )
