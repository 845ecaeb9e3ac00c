"""The trials of `fastnn search`: on which samples, and what one of them does."""

from __future__ import annotations

import argparse
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from fastnn import train
from fastnn.cli.config import Options, train_arguments
from fastnn.cli.training import fit, make_model, prepared, silent, transform_of
from fastnn.datasets import Source
from fastnn.train.data import HELD_OUT_EVERY, Samples, held_out_rows

if TYPE_CHECKING:
    from optuna import Trial

    from fastnn.search import Range


def training_samples(source: Source) -> Samples:
    """The samples that `fastnn train` trains on: without those that it holds out."""
    x, y = source.train
    if source.test is None:
        kept = ~held_out_rows(y, Fraction(1, HELD_OUT_EVERY))
        x, y = x[kept], y[kept]
    return x, y


def splits_of(y: Any, folds: int | None) -> list[tuple[Any, Any]]:
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


def rehearse(options: Options, ranges: Mapping[str, Range], source: Source, samples: Samples) -> None:
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


@dataclass
class Objective:
    """What a trial does: train with its options on each split, and return the mean of the metric."""

    metric: str
    source: Source
    samples: Samples
    splits: list[tuple[Any, Any]]
    options: Options
    folder: Path  # for the checkpoints of trials that are not over

    def __call__(self, params: dict[str, Any], trial: Trial) -> float:
        """Train, and remove the checkpoints unless the trial can go on from them."""
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
