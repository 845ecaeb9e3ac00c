"""Search for the options of `fastnn train` that give the best network, and say how to train it.

Without options: learning rate and weight decay, 20 trials at random. Each --range names an option of `fastnn
train` and what it may be; every other option of `fastnn train` is passed on to all trials. A trial is
measured on samples held out of the training data; those that `fastnn train` holds out are not looked at. The
same command goes on where it was stopped, and in a second terminal it is a second worker. The output folder
gets best.json, for `fastnn train --config`, slices.png, parallel.png and search.log.
"""

from __future__ import annotations

import argparse
import contextlib
import shlex
import shutil
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from fastnn import train
from fastnn._core.extras import require
from fastnn.cli.config import Options, given_options, read_config, train_arguments, words
from fastnn.cli.run_folder import make_folder
from fastnn.cli.search_ranges import read_ranges
from fastnn.cli.train_arguments import add_config, add_settings, whole
from fastnn.cli.training import check_device, fit, make_model, prepared, read, silent, transform_of
from fastnn.datasets import Source
from fastnn.train.data import HELD_OUT_EVERY, Samples, held_out_rows

if TYPE_CHECKING:
    from optuna import Trial

    from fastnn.search import Range, Study

TRIALS = 20
METRICS = {"accuracy": "maximize", "loss": "minimize"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of `fastnn search`, and those of `fastnn train` that say what is trained."""
    add = parser.add_argument_group("the search").add_argument
    add(
        "--range",
        dest="ranges",
        action="append",
        nargs="+",
        metavar=("OPTION LOW..HIGH [log]", "| OPTION VALUE VALUE"),
        help="what an option of fastnn train may be: --range lr 1e-4..1e-1 log, --range dropout 0..0.5,"
        " --range batch-size 16..256 log, --range layers 64 128,64, --range optimizer sgd adamw (default: lr"
        " 1e-4..1 log and weight-decay 1e-6..1e-2 log)",
    )
    add("--trials", type=whole(1), metavar="N", help=f"how many trials, of all workers (default: {TRIALS})")
    add(
        "--stages",
        type=_stage,
        nargs="+",
        metavar="TRIALSxEPOCHS",
        help="coarse to fine, as 20x3 10x30: 20 trials of 3 epochs, then 10 of 30 epochs in ranges that are"
        " narrowed around the best fifth; instead of --trials and --epochs",
    )
    add(
        "--folds",
        type=whole(2),
        metavar="K",
        help="cross-validation: train each trial K times (default: once)",
    )
    add("--metric", choices=METRICS, default="accuracy", help="what is best (default: %(default)s)")
    add(
        "--sampler",
        choices=("random", "tpe", "grid"),
        default="random",
        help="how points are chosen; tpe learns from the trials so far (default: %(default)s)",
    )
    add(
        "--pruner",
        choices=("median", "hyperband", "none"),
        default="median",
        help="which trials end early; median: those worse than half of the others (default: %(default)s)",
    )
    add(
        "--storage",
        metavar="FILE|URL",
        help="a journal file, or a database as sqlite:///search.db or postgresql://user@host/name, the same"
        " for all workers (default: search.log in the output folder)",
    )
    add("--study", default="search", metavar="NAME", help="its name in the storage (default: %(default)s)")
    add(
        "--output",
        type=Path,
        metavar="FOLDER",
        help="where the files go (default: runs/digits-search, or runs/FILE-search)",
    )
    add("--quiet", action="store_true", help="print the result alone")
    add_config(add)
    add_settings(parser)


def run(args: argparse.Namespace) -> int:
    """Search, print and write the files."""
    require("optuna", "search")
    for module in ("matplotlib.figure", "safetensors.numpy", "tqdm.auto"):
        require(module, "search")
    from fastnn import search

    typed = given_options(args.given)
    ranges = read_ranges(args.ranges, typed)
    options = (read_config(args.config) if args.config else {}) | typed
    options = {name: value for name, value in options.items() if name not in ranges}
    stages = _stages(args, typed)
    check_device(args.device)
    say = silent if args.quiet else print
    source = read(args, say)
    samples = _training_samples(source)
    splits = _splits(samples[1], args.folds)
    _rehearse(options, ranges, source, samples)
    output = make_folder(args.output or Path("runs") / f"{source.name}-search")
    storage = args.storage or output / "search.log"
    trained, measured = (len(rows) for rows in splits[0])
    times = "" if args.folds is None else f", {args.folds} times in each trial"
    say(f"{source.name}: {trained} training and {measured} validation samples{times}")
    with _plain_warnings(), _telling_how_to_go_on():
        for number, (trials, epochs) in enumerate(stages, 1):
            study = search.open(
                storage,
                name=f"{args.study}-{number}",
                direction=METRICS[args.metric],
                sampler=args.sampler,
                pruner=args.pruner,
                seed=args.seed,
            )
            options |= epochs
            study.keep("options", options | {"folds": args.folds, "metric": args.metric})
            for name, wide in ranges.items():
                say(f"{name}: {search.as_text(wide)}")
            objective = _Objective(args.metric, source, samples, splits, options, output / "trials")
            study.run(objective, ranges, trials, progress=not args.quiet)
            ranges = study.narrowed()
    with contextlib.suppress(OSError):  # another worker's checkpoints are in it, or it is gone
        (output / "trials").rmdir()
    _finish(study, options, args.metric, output)
    return 0


def _rehearse(options: Options, ranges: Mapping[str, Range], source: Source, samples: Samples) -> None:
    """Make what a trial needs, at the ends of each range, on a few samples: errors come before the work."""
    from fastnn.search import ends

    few = _part(samples, slice(0, 2 * HELD_OUT_EVERY))
    first = {name: ends(wide)[0] for name, wide in ranges.items()}
    for name, wide in ranges.items():
        for value in ends(wide):
            args = train_arguments(options | first | {name: value})
            args.quiet = True
            data = prepared(args, source, few, few)
            _, model = make_model(args, data, silent)
            with tempfile.TemporaryDirectory() as folder:
                fit(args, model, data, transform_of(args, data), train.Checkpoints(folder), [_Stop()])


class _Stop(train.Callback):
    """Ends training before the first step."""

    def on_train_start(self, trainer: train.Trainer) -> None:
        """End it."""
        trainer.stop("rehearsal")


def _finish(study: Study, options: Options, metric: str, output: Path) -> None:
    from fastnn import search

    best = study.best
    found = options | best.params
    label = f"validation {metric}"
    train.save_json(output / "best.json", found)
    search.save_slices(output / "slices.png", study, label=label)
    search.save_parallel_coordinates(output / "parallel.png", study, label=label)
    print(
        f"best of {len(study.trials)} trials: {label} {best.value:.4f}  {search.params_as_text(best.params)}"
    )
    print(f"wrote best.json, slices.png and parallel.png to {output}")
    print(f"to train it: {shlex.join(['fastnn', 'train', *words(found)])}")


@dataclass
class _Objective:
    """What a trial does: train with its options on each split, and return the mean of the metric."""

    metric: str
    source: Source
    samples: Samples
    splits: list[tuple[Any, Any]]
    options: Options
    folder: Path  # for the checkpoints of trials that are not over

    def __call__(self, params: dict[str, Any], trial: Trial) -> float:
        args = train_arguments(self.options | params)
        args.quiet, args.resume = True, "attempt" in trial.user_attrs
        folder = self.folder / f"{trial.study.study_name}-{trial.user_attrs['place']}"
        if not args.resume:  # what is there is another search's
            shutil.rmtree(folder, ignore_errors=True)
        try:
            value = self._mean(args, trial, folder)
        except (KeyboardInterrupt, SystemExit, MemoryError, OSError):  # the next attempt goes on from it
            raise
        except Exception:
            shutil.rmtree(folder, ignore_errors=True)
            raise
        shutil.rmtree(folder, ignore_errors=True)
        return value

    def _mean(self, args: argparse.Namespace, trial: Trial, folder: Path) -> float:
        import optuna

        values: list[float] = []
        for number, rows in enumerate(self.splits):
            data = prepared(args, self.source, *(_part(self.samples, side) for side in rows))
            checkpoints = train.Checkpoints(folder / f"fold-{number}")
            values.append(self._measure(args, data, checkpoints, trial))
            if len(self.splits) > 1:
                trial.report(float(np.mean(values)), number)
                if trial.should_prune():
                    raise optuna.TrialPruned(f"after fold {number + 1}")
        return float(np.mean(values))

    def _measure(
        self, args: argparse.Namespace, data: train.Data, checkpoints: train.Checkpoints, trial: Trial
    ) -> float:
        from fastnn.search import Pruning

        _, model = make_model(args, data, silent)
        pruning = [Pruning(trial, f"val_{self.metric}")] if len(self.splits) == 1 else []
        fit(args, model, data, transform_of(args, data), checkpoints, [*pruning])
        return train.evaluate(model, (data.x_test, data.y_test))[self.metric]


def _part(samples: Samples, rows: Any) -> Samples:
    x, y = samples
    return x[rows], y[rows]


def _training_samples(source: Source) -> Samples:
    """The samples that `fastnn train` trains on: without those that it holds out."""
    x, y = source.train
    if source.test is None:
        kept = ~held_out_rows(y, Fraction(1, HELD_OUT_EVERY))
        x, y = x[kept], y[kept]
    return x, y


def _splits(y: Any, folds: int | None) -> list[tuple[Any, Any]]:
    """The rows to train on and those to measure on: once, or for each fold."""
    from fastnn.search import stratified_k_fold

    if folds is None:
        held_out = held_out_rows(y, Fraction(1, HELD_OUT_EVERY))
        if not held_out.any():
            raise ValueError(f"--data must have more samples: of {len(y)} for training none can be held out")
        return [(np.flatnonzero(~held_out), np.flatnonzero(held_out))]
    try:
        return [*stratified_k_fold(y, folds)]
    except ValueError as error:
        raise ValueError(f"--{error}") from None


def _stages(args: argparse.Namespace, typed: Options) -> list[tuple[int, Options]]:
    """The number of trials of each stage, and the options that it adds."""
    if args.stages is None:
        return [(args.trials or TRIALS, {})]
    if args.trials is not None or "epochs" in typed:
        raise ValueError("--stages must be given instead of --trials and --epochs, got both")
    return [(trials, {"epochs": epochs}) for trials, epochs in args.stages]


def _stage(text: str) -> tuple[int, int]:
    trials, separator, epochs = text.partition("x")
    if not separator:
        raise argparse.ArgumentTypeError(f"must be TRIALSxEPOCHS, as 20x3, got {text!r}")
    return whole(1)(trials), whole(1)(epochs)


@contextlib.contextmanager
def _telling_how_to_go_on() -> Iterator[None]:
    try:
        yield
    except KeyboardInterrupt:
        print("\nfastnn search: the same command goes on with the search", file=sys.stderr)
        raise


@contextlib.contextmanager
def _plain_warnings() -> Iterator[None]:
    """Within the context, warnings are lines on stderr without their place in the source."""

    def show(message: Warning | str, *place: object) -> None:
        print(f"fastnn search: warning: {message}", file=sys.stderr)

    with warnings.catch_warnings():
        warnings.simplefilter("always", UserWarning)
        shown: Callable[..., None] = show
        warnings.showwarning = shown
        yield
