"""A worker of a search for the tests to kill: `search_worker.py STORAGE` stops within a trial."""

from __future__ import annotations

import signal
import sys
from typing import Any

from fastnn import search

RANGES: dict[str, Any] = {"x": search.uniform(0, 1), "lr": search.loguniform(1e-4, 1)}
KILLED, TRIALS = 2, 6  # the place of the trial that is killed; of how many


def objective(params: dict[str, Any], trial: Any) -> float:
    """Return a number that depends on all parameters."""
    return float(params["x"] * params["lr"])


def _hang(params: dict[str, Any], trial: Any) -> float:
    if trial.user_attrs["place"] == KILLED:
        print("now", flush=True)
        signal.pause()
    return objective(params, trial)


if __name__ == "__main__":
    search.open(sys.argv[1]).run(_hang, RANGES, TRIALS)
