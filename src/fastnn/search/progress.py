"""What a person sees of a search: a line for each trial of this worker, and on a terminal a bar."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

from optuna.trial import FrozenTrial, TrialState

from fastnn._core.extras import require

if TYPE_CHECKING:
    from fastnn.search.study import Study


class Progress:
    """Shows nothing unless `shown`. The bar is on stderr, and counts the trials of all workers."""

    def __init__(self, study: Study, total: int, *, shown: bool) -> None:
        self._study, self._total, self._shown = study, total, shown
        self._bar: Any = None

    def __enter__(self) -> Self:
        if self._shown:
            tqdm = require("tqdm.auto", "search").tqdm
            done = self._done()
            self._bar = tqdm(total=self._total, initial=done, unit="trial", leave=False, disable=None)
        return self

    def __exit__(self, *error: object) -> None:
        if self._bar is not None:
            self._bar.close()

    def show(self, trial: FrozenTrial) -> None:
        """Print the line of a trial that is over."""
        if self._bar is not None:
            ranked = self._study.ranked
            is_best = bool(ranked) and ranked[0].number == trial.number
            self._bar.write(line(trial) + "  best so far" * is_best)
            self._bar.update(self._done() - self._bar.n)

    def _done(self) -> int:
        return sum(trial.state in (TrialState.COMPLETE, TrialState.PRUNED) for trial in self._study.trials)


def line(trial: FrozenTrial) -> str:
    """Return a trial as a line of text."""
    note = trial.user_attrs.get("note", "").partition(":")[0]  # why it did not come to its end
    result = note or f"{trial.value:.4f}"
    return f"trial {trial.number:>3}  {result:>8}  {params_as_text(trial.params)}"


def params_as_text(params: dict[str, Any]) -> str:
    """Return values by name as text."""
    numbers = {name: f"{value:.4g}" if isinstance(value, float) else value for name, value in params.items()}
    return "  ".join(f"{name} {value}" for name, value in numbers.items())
