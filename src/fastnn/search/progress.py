"""What a person sees of a search: a line for each trial of this worker, and on a terminal a bar."""

from __future__ import annotations

from typing import Any, Self

from optuna.trial import FrozenTrial

from fastnn._core.extras import require


class Progress:
    """Shows nothing unless `shown`. The bar is on stderr, and counts the finished trials of all workers."""

    def __init__(self, total: int, done: int, *, shown: bool) -> None:
        self._bar: Any = None
        if shown:
            tqdm = require("tqdm.auto", "search").tqdm
            self._bar = tqdm(total=total, initial=done, unit="trial", leave=False, disable=None)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        if self._bar is not None:
            self._bar.close()

    def show(self, trial: FrozenTrial, done: int, *, is_best: bool) -> None:
        """Print the line of a trial that is over, and move the bar to `done`."""
        if self._bar is not None:
            self._bar.write(line(trial) + "  best so far" * is_best)
            self._bar.update(done - self._bar.n)


def line(trial: FrozenTrial) -> str:
    """Return a trial as a line of text."""
    note = trial.user_attrs.get("note", "").partition(":")[0]  # why it did not come to its end
    result = note or f"{trial.value:.4f}"
    return f"trial {trial.number:>3}  {result:>8}  {params_as_text(trial.params)}"


def params_as_text(params: dict[str, Any]) -> str:
    """Return values by name as text."""
    numbers = {name: f"{value:.4g}" if isinstance(value, float) else value for name, value in params.items()}
    return "  ".join(f"{name} {value}" for name, value in numbers.items())
