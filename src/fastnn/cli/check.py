"""Look at a network and its data before training: data, initial loss, gradients, learning rate, layers.

Data and network have the options of `fastnn train`, and the same seed gives the network that it trains. Each
finding has a judgement and says what to do. The output folder gets check.html, a page with pictures, and the
same as check.md and check.json. The exit status is 1 where there is a failure.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import fastnn
from fastnn.cli.run_folder import make_folder
from fastnn.cli.train_arguments import add_first_steps
from fastnn.cli.training import check_device, describe_images, make_model, optimizer_of, prepared, read


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of `fastnn check`."""
    add_first_steps(parser)
    parser.add_argument_group("files").add_argument(
        "--output",
        type=Path,
        metavar="FOLDER",
        help="where check.html, check.md and check.json go (default: runs/digits, or runs/FILE)",
    )


def run(args: argparse.Namespace) -> int:
    """Check, print and write the files."""
    check_device(args.device)
    source = read(args, print)
    data = prepared(args, source, source.train, source.test)
    output = make_folder(args.output or Path("runs") / source.name)
    describe_images(data, print)
    _, model = make_model(args, data, print)
    report = fastnn.check(
        model,
        (data.x_train, data.y_train),
        optimizer=optimizer_of(args, model),
        test=(data.x_test, data.y_test),
        batch_size=args.batch_size,
    )
    report.save(output)
    print(report)
    print(f"wrote check.html, check.md and check.json to {output}")
    return int(bool(report.failures))
