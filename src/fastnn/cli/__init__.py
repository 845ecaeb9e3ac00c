"""The `fastnn` command. A sub-command is a module with `add_arguments(parser)` and `run(args) -> int`."""

from __future__ import annotations

import argparse
import importlib
import os
import shlex
import sys
from collections.abc import Sequence

import fastnn

COMMANDS = {
    "info": "show what fastnn found on this machine and what it uses",
    "train": "train a small network on handwritten digits or on your own data",
    "predict": "predict classes or values with a trained model, and write them as CSV",
    "evaluate": "measure a trained model on labelled data: accuracy, loss, what is taken for what",
    "show": "show what is in a trained model's file: the network, settings, results, curves",
    "bench": "compare fastnn's speed with NumPy's and with that of other libraries",
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; return 0, or 2 after an error that the user can mend, 130 after Ctrl-C."""
    parser = _parser()
    given = sys.argv[1:] if argv is None else argv
    args = parser.parse_args(given)
    if args.command is None:
        parser.print_help()
        return 0
    try:
        return int(args.run(args))
    except BrokenPipeError:  # `fastnn info | head -1`: nobody reads on
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except (ValueError, ImportError, OSError, MemoryError, FloatingPointError) as error:
        print(f"fastnn {args.command}: error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        again = [option for option in given if option not in ("--resume", "--replace")]
        way = f"; go on with: fastnn {shlex.join([*again, '--resume'])}" if "resume" in args else ""
        print(f"\nfastnn {args.command}: interrupted{way}", file=sys.stderr)
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="fastnn",
        description="Neural-network layers for NumPy arrays, at the speed of the hardware.",
        epilog="`fastnn train` is a good first command; `fastnn COMMAND --help` shows a command's options.",
    )
    parser.add_argument("--version", action="version", version=f"fastnn {fastnn.__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", title="commands")
    for name, summary in COMMANDS.items():
        module = importlib.import_module(f"fastnn.cli.{name}")
        command = commands.add_parser(
            name,
            help=summary,
            description=module.__doc__,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        module.add_arguments(command)
        command.set_defaults(run=module.run)
    return parser
