"""Studies: what a run leaves behind, what a killed worker does not, and what is refused."""

from __future__ import annotations

import math
import re
import subprocess
import sys
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fastnn
from fastnn import nn, train
from fastnn._core.extras import way_to
from support.cases import each
from support.killed_run import data

pytest.importorskip("optuna")

import optuna

from fastnn import search
from fastnn.search import workers
from support import search_worker
from support.pages import run_page
from support.search_worker import KILLED, RANGES, TRIALS, objective

Params = dict[str, Any]


@pytest.fixture(autouse=True)
def without_edges() -> Iterator[None]:
    """Warnings of edges are the subject of one test, which asks for them."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "the best", UserWarning)
        yield


def values(study: search.Study) -> list[tuple[Params, float | None]]:
    return [(trial.params, trial.value) for trial in study.ranked]


def run(study: search.Study, trials: int = TRIALS) -> search.Study:
    study.run(objective, RANGES, trials)
    return study


def states(study: search.Study) -> list[str]:
    return [trial.state.name for trial in study.trials]


# ---- repeatable --------------------------------------------------------------------------------------------


@each("sampler", ["random", "tpe", "grid"])
def test_equal_seeds_give_equal_trials(sampler: str) -> None:
    def made(seed: int, name: str = "search") -> list[tuple[Params, float | None]]:
        return values(run(search.open(name=name, sampler=sampler, seed=seed), 12))

    first = made(0)
    assert first == made(0)
    assert len(first) == (9 if sampler == "grid" else 12)
    assert [first == made(1), first == made(0, "another")] == [sampler == "grid"] * 2


def test_the_default_generator_is_seeded_for_each_trial() -> None:
    study = search.open(seed=7)
    key = fastnn.Generator(7).key()
    study.run(lambda params, trial: float(fastnn.random.default_generator().key() == key), RANGES, 2)
    assert [trial.value for trial in study.trials] == [1, 1]


@each("stop", [ZeroDivisionError, KeyboardInterrupt])
def test_a_search_that_was_stopped_goes_on(stop: type[BaseException], tmp_path: Path) -> None:
    def failing(params: Params, trial: Any) -> float:
        if trial.user_attrs["place"] == KILLED:
            raise stop
        return objective(params, trial)

    storage = tmp_path / f"{stop.__name__}.log"
    with pytest.raises(stop):
        search.open(storage).run(failing, RANGES, TRIALS)
    study = search.open(storage)
    assert states(study) == ["COMPLETE"] * KILLED + ["FAIL", "WAITING"]
    assert values(run(study)) == values(run(search.open()))
    assert study.trials[KILLED + 1].user_attrs["attempt"] == 2
    assert len(run(study).trials) == TRIALS + 1  # there is nothing left to do


def test_a_killed_worker_loses_its_trial_alone(tmp_path: Path) -> None:
    """The trial is run again at its place, and half a line at the end of the journal is removed."""
    storage = tmp_path / "search.log"
    worker = subprocess.Popen([sys.executable, search_worker.__file__, storage], stdout=subprocess.PIPE)
    assert worker.stdout is not None
    assert worker.stdout.readline() == b"now\n"
    study = search.open(storage)
    assert states(study) == ["COMPLETE"] * KILLED + ["RUNNING"]
    study._fail_lost_trials()
    assert states(study)[-1] == "RUNNING"  # it lives
    worker.kill()  # SIGKILL; the process stays in the list until it is waited for
    with storage.open("ab") as file:
        file.write(b'{"op_code":5,"wor')
    with pytest.warns(
        UserWarning, match="search.log: the last line was not complete and was removed, 17 bytes"
    ):
        run(study)
    worker.communicate()
    assert states(study) == ["COMPLETE"] * KILLED + ["FAIL"] + ["COMPLETE"] * (TRIALS - KILLED)
    assert values(study) == values(run(search.open()))


def test_a_worker_elsewhere_counts_as_dead_after_a_silence(monkeypatch: pytest.MonkeyPatch) -> None:
    study = search.open()
    trial = study.optuna.ask(RANGES)
    trial.set_user_attr("worker", {**workers.this_worker(), "machine": "another"})
    for alive, silence, state in (
        (0, 99.0, "RUNNING"),
        (0, 99.0, "RUNNING"),
        (1, -1.0, "RUNNING"),
        (1, -1.0, "FAIL"),
    ):
        trial.set_user_attr("alive", alive) if state == "RUNNING" else None
        monkeypatch.setattr(workers, "SILENCE", silence)
        study._fail_lost_trials()
        assert states(study)[0] == state
    assert states(study) == ["FAIL", "WAITING"]


def test_workers_give_signs_of_life(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workers, "INTERVAL", 0.001)
    study = search.open()

    def slow(params: Params, trial: Any) -> float:
        while study.trials[0].user_attrs.get("alive", 0) < 2:
            pass
        return 0.0

    study.run(slow, RANGES, 1)
    assert states(study) == ["COMPLETE"]


def test_a_trial_that_kills_its_workers_is_given_up() -> None:
    study = search.open()
    for _ in range(3):
        with pytest.raises(ZeroDivisionError):
            study.run(lambda params, trial: 1 / 0, RANGES, 1)
    study.run(objective, RANGES, 1)
    assert states(study) == ["FAIL"] * 3
    with pytest.raises(ValueError, match="none of 3 trials of 'search' came to its end"):
        study.best  # noqa: B018


def test_workers_share_the_trials(tmp_path: Path) -> None:
    """A second worker begins another trial, and waits for the first one's at the end."""
    storage, inner = tmp_path / "search.log", list[search.Study]()

    def outer(params: Params, trial: Any) -> float:
        if not inner:
            inner.append(search.open(storage))
            inner[0]._next(RANGES, TRIALS)
        return objective(params, trial)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("time.sleep", lambda seconds: inner[0].optuna.tell(1, 0.5))
        study = search.open(storage)
        study.run(outer, RANGES, TRIALS)
    assert states(study) == ["COMPLETE"] * TRIALS
    assert study.trials[1].value == 0.5


# ---- trials that do not come to their end ------------------------------------------------------------------


def diverging(params: Params, trial: Any) -> float:
    x, y = data()
    train.fit(nn.Sequential(nn.Linear(8, 2), nn.Exp(), nn.Exp()), (1e3 * x, y), epochs=1)
    return 0.0


@each(
    ("function", "note"),
    [
        (lambda params, trial: math.nan, "pruned: the objective returned nan"),
        (lambda params, trial: -math.inf, "pruned: the objective returned -inf"),
        (diverging, "diverged: the loss became "),
    ],
)
def test_values_that_are_none(
    function: Callable[..., float], note: str, capsys: pytest.CaptureFixture[str]
) -> None:
    study = search.open()
    study.run(function, RANGES, 1, progress=True)
    assert states(study) == ["PRUNED"]
    assert study.trials[0].user_attrs["note"].startswith(note)
    out, err = capsys.readouterr()
    assert f"trial   0  {note.partition(':')[0]:>8}  x 0." in out
    assert err == ""
    with pytest.raises(
        ValueError, match=f"none of 1 trials of 'search' came to its end; the last one: {note}"
    ):
        study.narrowed()


def test_pruning(tmp_path: Path) -> None:
    """The median of two good trials ends a bad one after its first epoch; so it does after a resume."""
    study = search.open(pruner=optuna.pruners.MedianPruner(n_startup_trials=2))

    def fitted(params: Params, trial: Any) -> float:
        model = nn.Linear(8, 2)
        number = trial.number
        parts: Params = {"epochs": 2, "validation": data(), "checkpoints": tmp_path / str(min(number, 2))}
        optimizer = fastnn.optim.SGD(model.parameters(), lr=0.1 if number < 2 else 1e-6)
        pruning = search.Pruning(trial)
        record = train.fit(
            model, data(), optimizer=optimizer, callbacks=[pruning], resume=number == 3, **parts
        )[-1]
        return float(record["val_loss"])

    study.run(fitted, RANGES, 3)
    assert states(study) == ["COMPLETE", "COMPLETE", "PRUNED"]
    assert [len(trial.intermediate_values) for trial in study.trials] == [2, 2, 1]
    assert study.trials[2].user_attrs["note"] == "pruned: after epoch 1"


@each(
    ("arguments", "message"),
    [
        (
            {"monitor": "val_accuracy"},
            "monitor must be for a study that would minimize, got 'val_accuracy': more",
        ),
        ({"monitor": "val_roc"}, "mode must be 'min' or 'max' for monitor='val_roc'"),
        (
            {"monitor": "val_roc", "mode": "min"},
            "monitor must be one of epoch, step, lr, loss, .*, got 'val_roc'",
        ),
    ],
)
def test_pruning_by_what_is_not_there(arguments: Params, message: str) -> None:
    def fitted(params: Params, trial: Any) -> float:
        train.fit(nn.Linear(8, 2), data(), epochs=1, callbacks=[search.Pruning(trial, **arguments)])
        return 0.0

    with pytest.raises(ValueError, match=message):
        search.open().run(fitted, RANGES, 1)


# ---- coarse to fine ----------------------------------------------------------------------------------------


def test_narrowed_around_the_best_fifth() -> None:
    ranges: dict[str, search.Range] = {
        "lr": search.loguniform(1e-4, 1),
        "units": search.integers(1, 100),
        "kind": search.choice(["good", "bad"]),
    }
    study = search.open(direction="maximize")
    study.run(
        lambda params, trial: -abs(math.log10(params["lr"]) + 2) - 9 * (params["kind"] == "bad"), ranges, 50
    )
    fine: Any = study.narrowed()
    best = study.ranked[:10]
    assert fine["kind"].choices == ("good",)
    rates = np.log10([trial.params["lr"] for trial in best])
    np.testing.assert_allclose(
        np.log10([fine["lr"].low, fine["lr"].high]), [rates.min() - 0.4, rates.max() + 0.4]
    )
    units = [trial.params["units"] for trial in best]
    assert (fine["units"].low, fine["units"].high) == (
        max(1, math.floor(min(units) - 9.9)),
        min(100, math.ceil(max(units) + 9.9)),
    )
    finer = search.open(name="fine", direction="maximize")
    finer.run(lambda params, trial: params["lr"], fine, 3)
    with pytest.raises(ValueError, match=r"share must be in \(0, 1\], got 0"):
        study.narrowed(0)


@each(("best", "text"), [(1e-3, "lower end"), (1.0, "upper end"), (0.03, "")])
def test_best_values_at_an_edge_are_told(best: float, text: str) -> None:
    study = search.open(sampler="grid")
    ranges = {"lr": search.loguniform(1e-3, 1)}
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        study.run(lambda params, trial: abs(math.log(params["lr"] / best)), ranges, 9)
    line = f"the best lr, {best:.4g}, lies at the {text} of its range (0.001 to 1 in log space): better ones"
    assert [str(warning.message) for warning in told] == [f"{line} may lie beyond"] * bool(text)


# ---- what is refused ---------------------------------------------------------------------------------------


@each(
    ("arguments", "message"),
    [
        ({"direction": "max"}, "direction must be one of minimize, maximize, got 'max'"),
        ({"sampler": "bayes"}, "sampler must be one of random, tpe, grid or one of Optuna's, got 'bayes'"),
        ({"pruner": None}, "pruner must be one of none, median, hyperband or one of Optuna's, got None"),
        ({"seed": -1}, r"seed must be a whole number in \[0, 2\*\*32\), got -1"),
    ],
)
def test_arguments_of_open(arguments: Params, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        search.open(**arguments)


@each(
    ("ranges", "trials", "message"),
    [
        (RANGES, 0, "trials must be a whole number of at least 1, got 0"),
        (RANGES, 2.5, "trials must be a whole number of at least 1, got 2.5"),
        ({}, 1, "ranges must have at least one range, got none"),
        ([], 1, "ranges must be a dict of ranges by name, got list"),
        ({"lr": (0, 1)}, 1, r"ranges\['lr'\] must be uniform\(\), .*, got \(0, 1\)"),
    ],
)
def test_arguments_of_run(ranges: Any, trials: Any, message: str) -> None:
    with pytest.raises((ValueError, TypeError), match=message):
        search.open().run(objective, ranges, trials)


def test_a_grid_needs_trials() -> None:
    with pytest.raises(ValueError, match="trials must be at least 4 for a grid of these ranges, got 3"):
        search.open(sampler="grid").run(objective, RANGES, 3)


@each("value", [None, "0.1", [1.0]])
def test_an_objective_that_returns_no_number(value: Any) -> None:
    with pytest.raises(TypeError, match="objective must"):
        search.open().run(lambda params, trial: value, RANGES, 1)


def test_another_study_of_the_same_name_is_refused(tmp_path: Path) -> None:
    storage = tmp_path / "search.log"
    run(search.open(storage), 1)
    with pytest.raises(
        ValueError, match="direction must be minimize, as when the study 'search' was made, got max"
    ):
        search.open(storage, direction="maximize")
    message = "ranges must be as when the study 'search' was made, x: 0 to 1, got x: 0 to 2"
    with pytest.raises(ValueError, match=message):
        search.open(storage).run(objective, {**RANGES, "x": search.uniform(0, 2)}, 2)
    assert len(search.open(storage).trials) == 1
    run(search.open(storage, name="other"), 1)


def test_storages_that_cannot_be_used(tmp_path: Path) -> None:
    other = tmp_path / "notes.txt"
    for text in ("notes", "notes\n"):
        other.write_text(text)
        with pytest.raises(ValueError, match=r"storage must be a journal, got .*notes\.txt, which is"):
            search.open(other)
        assert other.read_text() == text
    with pytest.raises(FileNotFoundError, match=re.escape(str(tmp_path / "none" / "search.log"))):
        search.open(tmp_path / "none" / "search.log")
    with pytest.raises(IsADirectoryError, match=re.escape(str(tmp_path))):
        search.open(tmp_path)
    with pytest.raises(ValueError, match=r"storage: cannot use sqlite:////proc/none.db: .*unable to open"):
        search.open("sqlite:////proc/none.db")


def test_a_database(tmp_path: Path) -> None:
    study = search.open(f"sqlite:///{tmp_path / 'search.db'}")
    assert values(run(study, 2)) == values(run(search.open(), 2))


def test_the_missing_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.startswith("fastnn.search")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(ImportError, match=re.escape(f"optuna is not installed: {way_to('search')}")):
        import fastnn.search  # noqa: F401


def test_the_examples_of_the_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("save_slices", "save_parallel_coordinates"):  # test_search_parts.py draws them
        monkeypatch.setattr(search, name, lambda path, study, label: None)
    run_page("hyperparameters.md")
