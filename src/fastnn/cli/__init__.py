"""The `fastnn` command. A sub-command is a module with `add_arguments(parser)` and `run(args) -> int`."""

from __future__ import annotations

import argparse
import contextlib
import errno
import importlib
import io
import os
import re
import shlex
import sys
from collections.abc import Iterator, Sequence
from typing import Any, TextIO

import fastnn
from fastnn._core.os_errors import naming_file

COMMANDS = {
    "info": "show what fastnn found on this machine and what it uses",
    "train": "train a small network on handwritten digits or on your own data",
    "search": "search for the options of fastnn train that give the best network",
    "check": "look at a network and its data before training: gradients, learning rate, layers, faults",
    "predict": "predict classes or values with a trained model, and write them as CSV",
    "evaluate": "measure a trained model on labelled data: accuracy, loss, what is taken for what",
    "show": "show what is in a trained model's file: the network, settings, results, curves",
    "cuda": "compile the kernels that a model takes on a GPU, before it runs",
    "bench": "compare fastnn's speed with NumPy's and with that of other libraries",
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; return 0, or 2 after an error that the user can mend, 130 after Ctrl-C."""
    parser = _parser()
    given = sys.argv[1:] if argv is None else argv
    name, args = parser.prog, argparse.Namespace()
    try:
        with contextlib.redirect_stdout(_Output(sys.stdout)) as output:
            try:
                args = parser.parse_args(given)
                if args.command is None:
                    parser.print_help()
                    return 0
                name = f"{parser.prog} {args.command}"
                if getattr(args, "config", None):
                    from fastnn.cli.config import read_config, words  # it loads the options of fastnn train

                    # The words of the command line come later, and so win.
                    args = parser.parse_args([given[0], *words(read_config(args.config)), *given[1:]])
                args.given = given[1:]
                return int(args.run(args))
            finally:
                output.finish()
    except BrokenPipeError:  # `fastnn info | head -1`: nobody reads on
        return 1
    except (ValueError, ImportError, OSError, MemoryError, FloatingPointError) as error:
        print(f"{name}: error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        again = [option for option in given if option not in ("--resume", "--replace")]
        way = f"; go on with: fastnn {shlex.join([*again, '--resume'])}" if "resume" in args else ""
        print(f"\n{name}: interrupted{way}", file=sys.stderr)
        return 130


class _Closed(io.TextIOBase):
    """What Python has no stream for, as after `>&-` in a shell: nothing can be written to it."""

    def write(self, text: str) -> int:
        raise OSError(errno.EBADF, os.strerror(errno.EBADF))


class _Output:
    """Standard output, whose errors name it. `finish` raises the first one again: argparse drops its own."""

    def __init__(self, stream: TextIO | None) -> None:
        self._stream = stream or _Closed()
        self._failure: OSError | None = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        """Write as the stream does."""
        with self._failing():
            return self._stream.write(text)

    def flush(self) -> None:
        """Flush as the stream does."""
        with self._failing():
            self._stream.flush()

    def finish(self) -> None:
        """Write what is left. Where that or anything before failed, nothing is written from now on."""
        with contextlib.suppress(OSError):
            self.flush()
        if self._failure is not None:
            if not isinstance(self._stream, _Closed):
                os.dup2(os.open(os.devnull, os.O_WRONLY), self._stream.fileno())
            raise self._failure

    @contextlib.contextmanager
    def _failing(self) -> Iterator[None]:
        try:
            with naming_file("standard output"):
                yield
        except OSError as error:
            self._failure = self._failure or error
            raise


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
        # In `--lr -1e-3` the number is no option either, so that its own check can say what is wrong.
        command._negative_number_matcher = re.compile(r"-\.?\d")
        module.add_arguments(command)
        command.set_defaults(run=module.run)
    return parser
