"""Which point of the ranges a trial tries. What it draws depends on the seed and its place alone.

So a search that was interrupted tries the same points afterwards, and workers do not repeat each other.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from optuna import Study
from optuna.pruners import BasePruner, HyperbandPruner, MedianPruner, NopPruner
from optuna.samplers import BaseSampler, RandomSampler, TPESampler
from optuna.trial import FrozenTrial, TrialState

from fastnn.search.ranges import Range, grid

#: What makes the sampler of one trial, from the ranges, the number of trials, its place and its seed.
SAMPLERS: dict[str, Callable[[Mapping[str, Range], int, int, int], BaseSampler]] = {
    "random": lambda ranges, trials, place, seed: RandomSampler(seed),
    "tpe": lambda ranges, trials, place, seed: TPESampler(seed=seed, constant_liar=True),
    "grid": lambda ranges, trials, place, seed: _Point(ranges, grid(ranges, trials)[place]),
}

PRUNERS: dict[str, Callable[[], BasePruner]] = {
    "none": NopPruner,
    "median": MedianPruner,
    "hyperband": HyperbandPruner,
}


class ByPlace(BaseSampler):
    """For each trial a new sampler, which `make` makes for its place; `begin`, called first, returns it."""

    def __init__(self, begin: Callable[[FrozenTrial], int], make: Callable[[int], BaseSampler]) -> None:
        self._begin, self._make = begin, make
        self._sampler: BaseSampler = RandomSampler(0)  # until the first trial

    def before_trial(self, study: Study, trial: FrozenTrial) -> None:
        """Make the trial's sampler."""
        self._sampler = self._make(self._begin(trial))
        self._sampler.before_trial(study, trial)

    def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> dict[str, Any]:
        """As the trial's sampler does."""
        return self._sampler.infer_relative_search_space(study, trial)

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, Any]
    ) -> dict[str, Any]:
        """As the trial's sampler does."""
        return self._sampler.sample_relative(study, trial, search_space)

    def sample_independent(
        self, study: Study, trial: FrozenTrial, param_name: str, param_distribution: Any
    ) -> Any:
        """As the trial's sampler does."""
        return self._sampler.sample_independent(study, trial, param_name, param_distribution)

    def after_trial(
        self, study: Study, trial: FrozenTrial, state: TrialState, values: Sequence[float] | None
    ) -> None:
        """As the trial's sampler does."""
        self._sampler.after_trial(study, trial, state, values)


class _Point(RandomSampler):
    """A sampler that always gives the same point."""

    def __init__(self, ranges: Mapping[str, Range], point: dict[str, Any]) -> None:
        super().__init__(0)
        self._ranges, self._point = dict(ranges), point

    def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> dict[str, Any]:
        """All ranges."""
        return self._ranges

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, Any]
    ) -> dict[str, Any]:
        """The point."""
        return self._point


def seed_at(seed: int, study: str, place: int) -> int:
    """A seed for the trial at this place of the study of this name, below 2**32."""
    return int(np.random.SeedSequence((seed, zlib.crc32(study.encode()), place)).generate_state(1)[0])
