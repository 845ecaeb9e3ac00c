"""Transfer learning of `fastnn train`: the options --init and --freeze."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any

from fastnn import models, nn

HEAD = ""  # what --freeze is without the name of a layer


def add_arguments(group: Any) -> None:
    """Add the options."""
    add = group.add_argument
    add(
        "--init",
        metavar="FILE",
        help="first weights, of a file of `fastnn train` with the same network, or of PyTorch (.safetensors,"
        " .pt, .pth); for other classes the last layer stays new",
    )
    add(
        "--freeze",
        nargs="?",
        const=HEAD,
        metavar="LAYER",
        help="train the last layer alone, or LAYER and those behind it, named as `fastnn show` shows them",
    )


def prepare(args: argparse.Namespace, model: nn.Module, say: Callable[[str], None]) -> None:
    """Load the first weights and freeze layers, as the options say."""
    if args.init is not None:
        try:
            report = models.load_pretrained(model, args.init)
        except (ValueError, OSError) as error:
            raise ValueError(f"--init: {error}") from None
        for line in str(report).splitlines():
            say(f"{args.init}: {line}")
        if report.mismatched or report.missing_keys:
            say("the last layer is new, as the file has none of its shape")
    if args.freeze is not None:
        try:
            models.freeze(model, None if args.freeze == HEAD else args.freeze)
        except ValueError as error:
            raise ValueError(f"--freeze: {error}") from None
        trained, total = model.num_parameters(trainable=True), model.num_parameters()
        say(f"frozen: {total - trained:,} of {total:,} weights")
