"""Study: trials of one objective over one set of ranges, in a storage that several workers share.

A trial that did not come to its end, by a killed worker, Ctrl-C or an error, is failed and enqueued again.
The new one has the old one's *place*: the trials' places are 0, 1, ..., and that many trials count.
"""

from __future__ import annotations

import math
import os
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import optuna
from optuna.distributions import distribution_to_json, json_to_distribution
from optuna.exceptions import UpdateFinishedTrialError
from optuna.pruners import BasePruner
from optuna.samplers import BaseSampler
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState, create_trial

import fastnn
from fastnn._core.arrays import check_count, is_whole, real_number
from fastnn.search.progress import Progress
from fastnn.search.ranges import Range, as_text, checked, edge, grid, narrowed
from fastnn.search.samplers import PRUNERS, SAMPLERS, ByPlace, seed_at
from fastnn.search.storage import open_storage
from fastnn.search.workers import Silence, is_gone, signs_of_life, this_worker
from fastnn.train import Diverged

Objective = Callable[[dict[str, Any], optuna.Trial], float]

ATTEMPTS = 3  # how often a trial is begun: it may be what kills its workers, by its memory, say
PATIENCE = 0.2  # seconds between two looks at the trials of other workers


def open(  # noqa: A001
    storage: str | os.PathLike[str] | None = None,
    *,
    name: str = "search",
    direction: str = "minimize",
    sampler: str | BaseSampler = "random",
    pruner: str | BasePruner = "median",
    seed: int = 0,
) -> Study:
    """Open the study of this name in a storage, or make it where it is not there.

    storage: a journal file, which any number of processes may write to; the URL of a database, as
    sqlite:///search.db or postgresql://user@host/name; None: in memory. Studies of different names share one.
    direction: "minimize" or "maximize". sampler: "random", "tpe" (learns from the trials so far) or "grid".
    pruner: which trials Pruning ends: "median" (worse than the median of the others at the same epoch),
    "hyperband" or "none". Both can be any of Optuna's. seed: what samplers draw by; and fastnn.manual_seed is
    called with it before each trial, so that trials differ in their parameters alone.

    Raises ValueError naming an invalid argument, also for a study that was made with another direction, and
    OSError for a file that cannot be written to.
    """
    for argument, value, known in (
        ("direction", direction, ("minimize", "maximize")),
        ("sampler", sampler, (*SAMPLERS, BaseSampler)),
        ("pruner", pruner, (*PRUNERS, BasePruner)),
    ):
        names = [name for name in known if isinstance(name, str)]
        classes = tuple(kind for kind in known if isinstance(kind, type))
        if value not in names and not isinstance(value, classes):
            more = " or one of Optuna's" * bool(classes)
            raise ValueError(f"{argument} must be one of {', '.join(names)}{more}, got {value!r}")
    if not is_whole(seed) or not 0 <= seed < 2**32:
        raise ValueError(f"seed must be a whole number in [0, 2**32), got {seed!r}")
    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        study = optuna.create_study(
            storage=open_storage(storage),
            study_name=name,
            direction=StudyDirection[direction.upper()],
            load_if_exists=True,
        )
    finally:
        optuna.logging.set_verbosity(before)
    was = study.direction.name.lower()
    if was != direction:
        raise ValueError(f"direction must be {was}, as when the study {name!r} was made, got {direction}")
    study.pruner = PRUNERS[pruner]() if isinstance(pruner, str) else pruner
    return Study(study, sampler, int(seed))


class Study:
    """What `open` returns. `optuna`: Optuna's study, for all that it can do besides."""

    def __init__(self, study: optuna.Study, sampler: str | BaseSampler, seed: int) -> None:
        self.optuna, self.seed = study, seed
        self._sampler, self._silence = sampler, Silence()

    def run(
        self, objective: Objective, ranges: Mapping[str, Range], trials: int, *, progress: bool = False
    ) -> None:
        """Run the objective until the study has `trials` trials, those of earlier and other workers included.

        objective: a function (params, trial) -> number; params has a value for each range by name, trial is
        Optuna's, for `Pruning` or trial.report. Diverged, NaN and infinities make a pruned trial. Any other
        error ends the search; the trial is enqueued again, for the next run.
        ranges: by name, made by uniform, loguniform, integers and choice. With sampler="grid" there may be
        fewer trials, as many as the grid has points.
        progress: print a line for each trial, and show a bar on a terminal (tqdm, in the extra `search`).

        At its end it waits for the trials of other workers, warns of best values at the edge of their range,
        and returns. Raises ValueError for other ranges than those that the study has, and what `objective`
        raises.
        """
        wanted = checked(ranges)
        check_count("trials", trials)
        total = len(grid(wanted, trials)) if self._sampler == "grid" else int(trials)
        self.keep("ranges", {name: distribution_to_json(value) for name, value in wanted.items()})
        self.optuna.sampler = ByPlace(self._begin, lambda place: self._sampler_at(place, wanted, trials))
        with Progress(total, self._done(), shown=progress) as shown:
            while (trial := self._next(wanted, total)) is not None:
                self._run_trial(objective, trial)
                best = self.ranked[:1]
                is_best = bool(best) and best[0].number == trial.number
                shown.show(self.trials[trial.number], self._done(), is_best=is_best)
        for line in self.edges():
            warnings.warn(line, stacklevel=2)

    # ---- results -------------------------------------------------------------------------------------------

    @property
    def trials(self) -> list[FrozenTrial]:
        """All trials, as Optuna has them: number, params, value, state, user_attrs."""
        return self.optuna.get_trials(deepcopy=False)

    @property
    def ranges(self) -> dict[str, Range]:
        """The ranges of the first run."""
        kept = self.optuna.user_attrs.get("ranges", {})
        return {name: json_to_distribution(text) for name, text in kept.items()}  # type: ignore[misc]

    @property
    def ranked(self) -> list[FrozenTrial]:
        """The trials that came to their end, the best first."""
        sign = 1 if self.optuna.direction.name == "MINIMIZE" else -1
        done = [trial for trial in self.trials if trial.state == TrialState.COMPLETE]
        return sorted(done, key=lambda trial: sign * float(trial.value or 0))

    @property
    def best(self) -> FrozenTrial:
        """The best trial that came to its end. Raises ValueError where there is none."""
        ranked = self.ranked
        if not ranked:
            notes = [trial.user_attrs["note"] for trial in self.trials if "note" in trial.user_attrs]
            last = f"; the last one: {notes[-1]}" if notes else ""
            raise ValueError(
                f"none of {len(self.trials)} trials of {self.optuna.study_name!r} came to its end{last}"
            )
        return ranked[0]

    def narrowed(self, share: float = 0.2) -> dict[str, Range]:
        """Return ranges around the best `share` of the trials, two at least, for a search that goes finer.

        A number's range goes from the lowest to the highest of their values, and a tenth of the old range
        further, but not beyond it; in log space where it is logarithmic. Of options those stay that occur.
        Raises ValueError for a share outside (0, 1], and where no trial came to its end.
        """
        if not 0 < real_number("share", share) <= 1:
            raise ValueError(f"share must be in (0, 1], got {share}")
        best = [self.best, *self.ranked[1 : max(2, math.ceil(share * self._done()))]]
        return {
            name: narrowed(wide, [trial.params[name] for trial in best]) for name, wide in self.ranges.items()
        }

    def edges(self) -> list[str]:
        """Return a sentence for each best value that lies at an edge of its range: better may be beyond."""
        ranked, found = self.ranked, []
        for name, wide in self.ranges.items() if ranked else ():
            value = ranked[0].params[name]
            if end := edge(wide, value):
                found.append(
                    f"the best {name}, {value:.4g}, lies at the {end} end of its range ({as_text(wide)}):"
                    " better ones may lie beyond"
                )
        return found

    def keep(self, name: str, value: Any) -> None:
        """Keep what all workers must agree on, of JSON's types; ValueError where the study has another."""
        kept = self.optuna.user_attrs
        if name not in kept:
            self.optuna.set_user_attr(name, value)
        elif kept[name] != value:
            ours, theirs = _difference(value, kept[name])
            raise ValueError(
                f"{name} must be as when the study {self.optuna.study_name!r} was made, {theirs}, got {ours};"
                " another study needs another name or storage"
            )

    # ---- trials --------------------------------------------------------------------------------------------

    def _next(self, ranges: dict[str, Range], total: int) -> optuna.Trial | None:
        """Return the next trial; None where all are done, also those of other workers."""
        while True:
            self._fail_lost_trials()
            states = {trial.state for trial in self.trials}
            if TrialState.WAITING in states or len(set(_places(self.trials))) < total:
                trial = self.optuna.ask(ranges)  # type: ignore[arg-type]
                trial.set_user_attr("place", _places(self.trials)[trial.number])
                return trial
            if TrialState.RUNNING not in states:
                return None
            time.sleep(PATIENCE)

    def _run_trial(self, objective: Objective, trial: optuna.Trial) -> None:
        fastnn.manual_seed(self.seed)
        try:
            with signs_of_life(lambda count: trial.set_user_attr("alive", count)):
                value = real_number("objective", objective(dict(trial.params), trial))
            if not math.isfinite(value):
                raise optuna.TrialPruned(f"the objective returned {value}")
        except (optuna.TrialPruned, Diverged) as error:
            kind = "diverged" if isinstance(error, Diverged) else "pruned"
            trial.set_user_attr("note", f"{kind}: {error}")
            self.optuna.tell(trial, state=TrialState.PRUNED)
        except BaseException:
            self._fail(trial)
            raise
        else:
            self.optuna.tell(trial, value)

    def _done(self) -> int:
        """How many trials have a result, pruned ones included."""
        return sum(trial.state in (TrialState.COMPLETE, TrialState.PRUNED) for trial in self.trials)

    def _begin(self, trial: FrozenTrial) -> int:
        """Say who runs a new trial, which a kill must not leave without; return its place."""
        self.optuna._storage.set_trial_user_attr(trial._trial_id, "worker", this_worker())
        return _places(self.trials)[trial.number]

    def _sampler_at(self, place: int, ranges: dict[str, Range], trials: int) -> BaseSampler:
        if isinstance(self._sampler, BaseSampler):
            return self._sampler
        seed = seed_at(self.seed, self.optuna.study_name, place)
        return SAMPLERS[self._sampler](ranges, trials, place, seed)

    def _fail_lost_trials(self) -> None:
        """Fail the running trials whose workers are dead, and enqueue them again."""
        for trial in self.trials:
            if trial.state != TrialState.RUNNING:
                continue
            worker = trial.user_attrs.get("worker")  # None: it is about to write that, or was killed before
            gone = None if worker is None else is_gone(worker)
            if gone or (gone is None and self._silence.lasts(trial.number, trial.user_attrs.get("alive"))):
                self._fail(trial)

    def _fail(self, trial: optuna.Trial | FrozenTrial) -> None:
        try:
            self.optuna.tell(trial.number, state=TrialState.FAIL)
        except (ValueError, UpdateFinishedTrialError):
            return  # another worker was quicker
        attempt = trial.user_attrs.get("attempt", 1) + 1
        if attempt > ATTEMPTS:
            return
        place = _places(self.trials)[trial.number]
        whole = trial.params.keys() == self.ranges.keys()  # else it is drawn again, to the same values
        self.optuna.add_trial(
            create_trial(
                state=TrialState.WAITING,
                params=trial.params if whole else {},
                distributions=trial.distributions if whole else {},
                user_attrs={"place": place, "attempt": attempt},
            )
        )


def _places(trials: Sequence[FrozenTrial]) -> list[int]:
    """The place of each trial: that of its first attempt for one that was enqueued again, else the next."""
    places: list[int] = []
    count = 0
    for trial in trials:
        again = "attempt" in trial.user_attrs
        places.append(trial.user_attrs["place"] if again else count)
        count += not again
    return places


def _difference(ours: Any, theirs: Any) -> tuple[str, str]:
    """The first part in which two values differ, as texts."""
    if isinstance(ours, dict) and isinstance(theirs, dict):
        for name in sorted(ours.keys() | theirs.keys()):
            if ours.get(name) != theirs.get(name):
                return tuple(f"{name}: {_text(each.get(name))}" for each in (ours, theirs))  # type: ignore[return-value]
    return _text(ours), _text(theirs)


def _text(value: Any) -> str:
    if value is None:
        return "none"
    try:
        return as_text(json_to_distribution(value))  # type: ignore[arg-type]
    except (ValueError, TypeError, KeyError):
        return str(value)
