"""Checkpoints: a run that was interrupted, or killed, ends with the bits of one that was not."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fastnn
from fastnn import nn, optim, train
from fastnn.train.state import pack, unpack
from support import killed_run
from support.cases import each
from support.forks import forked

pytest.importorskip("safetensors")

LAST = killed_run.EPOCHS * killed_run.STEPS_PER_EPOCH


class Interrupt(train.Callback):
    """Ctrl-C at a moment of a step."""

    def __init__(self, moment: str, step: int) -> None:
        self.step = step
        setattr(self, moment, self._look)

    def _look(self, trainer: train.Trainer) -> None:
        if trainer.step == self.step:
            raise KeyboardInterrupt


def without_seconds(value: Any) -> Any:
    """The value without times, and without the checksum, in which they are."""
    if isinstance(value, dict):
        return {k: without_seconds(item) for k, item in value.items() if k not in ("seconds", "sha256")}
    return [without_seconds(item) for item in value] if isinstance(value, list) else value


def end(folder: Path) -> tuple[Any, bytes, list[Any]]:
    """All that a run comes to: its last checkpoint, and its log."""
    path = train.Checkpoints(folder).latest()
    assert path is not None
    assert path.name == f"step-{LAST:08}.json"
    about = json.loads(path.read_text())
    lines = (folder / "log.jsonl").read_text().splitlines()
    tensors = (folder / about["tensors"]["file"]).read_bytes()
    return without_seconds(about), tensors, without_seconds([json.loads(line) for line in lines])


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, bytes, list[Any]]:
    """The end of a run without interruption."""
    folder = tmp_path_factory.mktemp("whole")
    killed_run.run(folder)
    return end(folder)


def test_the_run_has_all_that_matters(whole: tuple[Any, bytes, list[Any]]) -> None:
    state = whole[0]["state"]
    assert [record["epoch"] for record in state["history"]] == [1, 2, 3, 4]
    assert state["history"][-1]["val_accuracy"] > 0.8
    assert len(state["generators"]) == 2
    assert len(whole[2]) == LAST + killed_run.EPOCHS


@pytest.mark.parametrize(
    ("moment", "step"),
    [("on_step", 4), ("on_gradients", 6), ("on_step", 7), ("on_epoch_end", 7), ("on_epoch_start", 7),
     ("on_step", 9), ("on_step", 16), ("on_epoch_end", 21), ("on_step", 27), ("on_step", LAST),
     ("on_epoch_end", LAST), ("on_train_end", LAST)],
)  # fmt: skip
def test_a_resumed_run_ends_with_the_same_bits(
    moment: str, step: int, tmp_path: Path, whole: tuple[Any, bytes, list[Any]]
) -> None:
    with pytest.raises(KeyboardInterrupt):
        killed_run.run(tmp_path, callbacks=[Interrupt(moment, step)])
    killed_run.run(tmp_path, resume=True, seed=99)  # the generator's state is in the checkpoint, too
    assert end(tmp_path) == whole
    assert fastnn.random.default_generator().seed == 3


def test_a_run_can_be_resumed_again_and_again(tmp_path: Path, whole: tuple[Any, bytes, list[Any]]) -> None:
    for step in range(3, LAST, 4):
        with pytest.raises(KeyboardInterrupt):
            killed_run.run(tmp_path, resume=True, callbacks=[Interrupt("on_step", step)])
    killed_run.run(tmp_path, resume=True)
    assert end(tmp_path) == whole
    killed_run.run(tmp_path, resume=True)  # there is nothing left to do
    assert end(tmp_path) == whole


@pytest.mark.parametrize("moment", killed_run.MOMENTS)
def test_a_process_killed_while_it_writes_a_checkpoint(
    moment: str, tmp_path: Path, whole: tuple[Any, bytes, list[Any]]
) -> None:
    command = [sys.executable, killed_run.__file__, str(tmp_path), moment]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == "now\n"
        child.send_signal(signal.SIGKILL)
    assert child.returncode == -signal.SIGKILL
    checkpoints = train.Checkpoints(tmp_path)
    latest = checkpoints.latest()
    assert latest is not None
    # The fourth checkpoint is the one after step 9; it counts from the moment when its JSON file is there.
    step = checkpoints.load(latest)["step"]
    assert step == (9 if moment == "between removals" else 7)
    first = FirstStep()
    killed_run.run(tmp_path, resume=True, callbacks=[first])
    assert first.step == step + 1  # no work was lost but that since the checkpoint
    assert end(tmp_path) == whole
    named = {json.loads(path.read_text())["tensors"]["file"] for path in checkpoints.paths()}
    kept = {"log.jsonl", *named, *(path.name for path in checkpoints.paths())}
    assert {path.name for path in tmp_path.iterdir()} == kept


class FirstStep(train.Callback):
    step = 0

    def on_step(self, trainer: train.Trainer) -> None:
        self.step = self.step or trainer.step


# ---- the files ---------------------------------------------------------------------------------------------


def save_some(folder: Path, values: list[float], **options: Any) -> train.Checkpoints:
    checkpoints = train.Checkpoints(folder / "checkpoints", **options)
    for step, value in enumerate(values, 1):
        checkpoints.save(step, {"step": step, "weights": np.full(3, step)}, {"val_loss": value})
    return checkpoints


def test_the_last_ones_and_the_best_are_kept(tmp_path: Path) -> None:
    checkpoints = save_some(tmp_path, [5, 1, 3, 4, 2, 6], keep=2)
    assert [path.name for path in checkpoints.paths()] == [f"step-0000000{step}.json" for step in (2, 5, 6)]
    assert len(list(checkpoints.folder.iterdir())) == 6
    best, latest = checkpoints.best(), checkpoints.latest()
    assert best is not None
    assert latest is not None
    assert checkpoints.load(best)["weights"].tolist() == [2, 2, 2]
    assert checkpoints.load(latest)["step"] == 6
    checkpoints.clear()
    assert list(checkpoints.folder.iterdir()) == []
    assert checkpoints.latest() is checkpoints.best() is None


def test_more_accuracy_is_better(tmp_path: Path) -> None:
    checkpoints = train.Checkpoints(tmp_path, monitor="val_accuracy", keep=1)
    for step, value in enumerate([0.5, 0.9, 0.7], 1):
        checkpoints.save(step, {}, {"val_loss": step, "val_accuracy": value})
    assert [path.name for path in checkpoints.paths()] == ["step-00000002.json", "step-00000003.json"]
    with pytest.raises(ValueError, match="monitor must be one of loss, val_loss, got 'val_accuracy'"):
        checkpoints.save(4, {}, {"loss": 1.0, "val_loss": 2.0})


def test_a_checkpoint_of_the_same_step_replaces_the_first(tmp_path: Path) -> None:
    checkpoints = train.Checkpoints(tmp_path)
    checkpoints.save(7, {"a": np.zeros(2)})
    path = checkpoints.save(7, {"a": np.ones(2)})
    assert checkpoints.load(path)["a"].tolist() == [1, 1]
    assert len(list(tmp_path.iterdir())) == 2


@pytest.mark.parametrize("damage", ["cut off", "bit flipped", "gone"])
def test_damaged_arrays_are_reported(tmp_path: Path, damage: str) -> None:
    checkpoints = save_some(tmp_path, [1, 2])
    (tensors,) = checkpoints.folder.glob("step-00000002-*.safetensors")
    content = bytearray(tensors.read_bytes())
    if damage == "cut off":
        content.pop()
    content[-5] ^= 1
    tensors.unlink() if damage == "gone" else tensors.write_bytes(content)
    path = checkpoints.latest()
    assert path is not None
    way_back = r"remove step-00000002\.json to go on from the one before, step-00000001\.json"
    with pytest.raises(ValueError, match=rf"safetensors: the checkpoint is damaged, .*; {way_back}"):
        checkpoints.load(path)
    path.unlink()
    (path.parent / "step-best.json").write_text("a user's own")
    path = checkpoints.latest()
    assert path is not None
    assert checkpoints.load(path)["step"] == 1


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "damaged, it is no JSON; there is no whole checkpoint before it"),
        ("[]", "format must be 2, got 'list'"),
        ('{"format": 1}', "not this version's: its format must be 2, got 1"),
        ('{"format": 2}', "its content is not what its checksum was made of"),
    ],
)
def test_another_json_file_is_reported(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "step-00000001.json"
    path.write_text(text)
    with pytest.raises(ValueError, match=f"step-00000001.json: .*{message}"):
        train.Checkpoints(tmp_path).load(path)


@pytest.mark.parametrize("option", ["every_epochs", "every_steps", "keep"])
def test_numbers_below_one_are_refused(option: str, tmp_path: Path) -> None:
    options: dict[str, Any] = {option: 0}
    with pytest.raises(ValueError, match=f"{option} must be a whole number of at least 1, got 0"):
        train.Checkpoints(tmp_path, **options)


def test_every_so_many_epochs_and_the_last(tmp_path: Path) -> None:
    checkpoints = train.Checkpoints(tmp_path, every_epochs=3, keep=9)
    train.fit(killed_run.model(), killed_run.data(), epochs=7, batch_size=60, checkpoints=checkpoints)
    assert [checkpoints.load(path)["epoch"] for path in checkpoints.paths()] == [3, 6, 7]


# ---- damage, other files, other runs -----------------------------------------------------------------------


def saved_run(folder: Path) -> tuple[list[bytes], list[Path]]:
    """The states of a run's two checkpoints as bytes, and the files of the last one."""
    killed_run.run(folder)
    checkpoints = train.Checkpoints(folder)
    states = [as_bytes(checkpoints.load(path)) for path in checkpoints.paths()]
    last = checkpoints.paths()[-1]
    return states, [last, folder / json.loads(last.read_text())["tensors"]["file"]]


def as_bytes(state: Any) -> bytes:
    tree, arrays = pack(state)
    return repr((tree, [(name, array.dtype.str, array.tobytes()) for name, array in arrays.items()])).encode()


def edit_number(content: bytes, rng: np.random.Generator) -> bytes:
    """The JSON with another number somewhere."""
    numbers = list(re.finditer(rb"(?<=[ \n])-?\d[\d.e-]*", content))
    place = numbers[rng.integers(len(numbers))]
    return content[: place.start()] + str(rng.integers(100)).encode() + content[place.end() :]


def damage(content: bytes, kind: str, rng: np.random.Generator) -> bytes:
    """The content of a file, damaged somewhere."""
    at = int(rng.integers(len(content)))
    if kind == "cut off":
        return content[:at]
    if kind == "number":
        return edit_number(content, rng)
    if kind == "zeros":  # a block that was never written
        return content[:at] + bytes(min(512, len(content) - at)) + content[at + 512 :]
    return content[:at] + bytes([content[at] ^ 1 << rng.integers(8)]) + content[at + 1 :]


def try_damages(folder: Path, count: int) -> dict[str, int]:
    """Damage a run's last checkpoint in many ways, each alone; return how often it was an error, or harmless.

    Harmless is what leaves the state as it was, such as another space in the JSON.
    """
    states, files = saved_run(folder)
    contents = [path.read_bytes() for path in files]
    checkpoints, rng, found = train.Checkpoints(folder), np.random.default_rng(0), {"error": 0, "harmless": 0}
    fastnn.manual_seed(1)
    trainer = killed_run.trainer()
    before = as_bytes(trainer.state_dict())
    named = rf"{folder}/step-.*: the checkpoint is damaged, .* to go on from the one before, step-"
    for index in range(count):
        which = int(rng.integers(len(files)))
        kinds = ["bit", "cut off", "zeros", *["number"] * (which == 0)]
        files[which].write_bytes(damage(contents[which], kinds[index % len(kinds)], rng))
        try:
            state = checkpoints.load(files[0])
        except ValueError as error:
            found["error"] += 1
            if not re.match(named, str(error)):
                raise
        else:
            assert as_bytes(state) == states[-1]
            found["harmless"] += 1
        files[which].write_bytes(contents[which])
    assert as_bytes(trainer.state_dict()) == before
    return found


def test_damaged_checkpoints_are_errors_or_harmless(tmp_path: Path) -> None:
    found = try_damages(tmp_path, 60)
    assert found["error"] > 50


def test_a_state_that_does_not_fit_changes_nothing(tmp_path: Path) -> None:
    killed_run.run(tmp_path)
    path = train.Checkpoints(tmp_path).latest()
    assert path is not None
    trainer = killed_run.trainer()
    before = as_bytes(trainer.state_dict())
    for part, key, value in (
        ("optimizer", "param_groups", []),
        ("scheduler", "last_epoch", None),
        ("watch", "first", None),
        ("model", "0.weight", np.zeros(3)),
    ):
        state = train.Checkpoints(tmp_path).load(path)
        state[part] = {name: item for name, item in state[part].items() if name != key}
        if value is not None:
            state[part][key] = value
        with pytest.raises((ValueError, KeyError)):
            trainer.load_state_dict(state)
        assert as_bytes(trainer.state_dict()) == before, part
    del state["generators"]
    with pytest.raises(ValueError, match=r"state must have what state_dict.* without 'generators'"):
        trainer.load_state_dict(state)


def test_a_damaged_checkpoint_does_not_end_a_healthy_run(tmp_path: Path) -> None:
    checkpoints = save_some(tmp_path, [5, 1, 3], keep=2)
    damaged = checkpoints.folder / "step-00000002.json"  # the best one
    damaged.write_text(damaged.read_text().replace("{", "", 1))
    for step, value in ((4, 4), (5, 6)):
        checkpoints.save(step, {"step": step}, {"val_loss": value})
    assert [int(path.stem[5:]) for path in checkpoints.paths()] == [2, 3, 4, 5]
    best = checkpoints.best()
    assert best is not None
    assert best.name == "step-00000003.json"
    assert len(list(checkpoints.folder.glob("step-00000002-*.safetensors"))) == 1  # it may be mended
    checkpoints.clear()
    assert list(checkpoints.folder.iterdir()) == []


def test_files_of_others_stay(tmp_path: Path) -> None:
    checkpoints = save_some(tmp_path, [5, 1, 3], keep=1)
    names = ("step-final.safetensors", "step-00000002.safetensors", f"step-00000009-{'ab' * 8}.safetensors",
             "step-1.json", "step-best.json", ".fastnn-mine", "notes.txt")  # fmt: skip
    for name in names:
        (checkpoints.folder / name).write_text("a user's own")
    (checkpoints.folder / ".fastnn-cache").mkdir()
    arrays = next(checkpoints.folder.glob("step-00000003-*.safetensors"))
    stray = arrays.with_name(arrays.name.replace("step-00000003", "step-00000001"))
    stray.write_bytes(
        arrays.read_bytes()
    )  # as a process leaves it that is killed before it writes the JSON file
    checkpoints.save(4, {}, {"val_loss": 9.0})
    assert not stray.exists()
    checkpoints.clear()
    assert {path.name for path in checkpoints.folder.iterdir()} == {*names, ".fastnn-cache"}


def test_one_run_at_a_time(tmp_path: Path) -> None:
    first, second = train.Checkpoints(tmp_path), train.Checkpoints(tmp_path)
    words = f"no other run writes to, got {tmp_path}, which process {os.getpid()} on .* has"
    with first.locked():
        first.save(1, {})
        for call in (lambda: second.save(2, {}), second.clear, lambda: killed_run.run(tmp_path, resume=True)):
            with pytest.raises(ValueError, match=words):
                call()
        assert second.load(tmp_path / "step-00000001.json") == {}  # reading needs no lock
        child = forked()  # it outlives the run
    try:
        second.save(2, {})
        (tmp_path / ".fastnn-lock").write_text("process 1 on a machine that was switched off")
        second.save(3, {})
        assert not (tmp_path / ".fastnn-lock").exists()
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)


class Stop(train.Callback):
    """Stops a run, as a limit of time does."""

    def __init__(self, moment: str, step: int) -> None:
        self.step = step
        setattr(self, moment, self._look)

    def _look(self, trainer: train.Trainer) -> None:
        if trainer.step == self.step:
            trainer.stop("no time left")


@each(("moment", "step"), [("on_epoch_end", 14), ("on_step", 4)])
def test_a_run_that_was_stopped_goes_on(
    moment: str, step: int, tmp_path_factory: pytest.TempPathFactory, whole: tuple[Any, bytes, list[Any]]
) -> None:
    folder = tmp_path_factory.mktemp("stopped")
    killed_run.run(folder, callbacks=[Stop(moment, step)])
    latest = train.Checkpoints(folder).latest()
    assert latest is not None
    assert latest.name == f"step-{step:08}.json"
    killed_run.run(folder, resume=True)
    assert end(folder) == whole


def test_early_stopping_stops_a_resumed_run_again(tmp_path: Path) -> None:
    def fit(patience: int, resume: bool) -> int:
        stopping = train.EarlyStopping(patience, "loss", min_delta=9.0)
        options: dict[str, Any] = {"batch_size": 60, "callbacks": [stopping], "checkpoints": tmp_path}
        return len(train.fit(killed_run.model(), killed_run.data(), epochs=9, resume=resume, **options))

    assert [fit(2, False), fit(2, True), fit(4, True)] == [3, 3, 5]


def test_an_interrupted_step_has_no_state() -> None:
    class Save(train.Callback):
        def on_train_end(self, trainer: train.Trainer) -> None:
            with pytest.raises(RuntimeError, match=r"between two steps, .* within the step after step"):
                trainer.state_dict()

    for moment in ("on_gradients", "on_step"):
        with pytest.raises(KeyboardInterrupt):
            train.fit(killed_run.model(), killed_run.data(), callbacks=[Interrupt(moment, 2), Save()])


# ---- what does not fit -------------------------------------------------------------------------------------


def test_checkpoints_of_another_run_are_not_touched(tmp_path: Path) -> None:
    killed_run.run(tmp_path)
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    with pytest.raises(
        ValueError, match=f"holds the checkpoints of another run, the latest step-{LAST:08}.json"
    ):
        killed_run.run(tmp_path)
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_resume_needs_a_folder() -> None:
    with pytest.raises(
        ValueError, match="checkpoints must be the folder to go on from with resume=True, got None"
    ):
        train.fit(killed_run.model(), killed_run.data(), resume=True)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"batch_size": 16}, "batch_size must be 60, as in the checkpoint, got 16"),
        ({"accumulate": 2}, "accumulate must be 1, as in the checkpoint, got 2"),
        ({"optimizer": "SGD"}, "optimizer must be Adam, as in the checkpoint, got SGD"),
        (
            {"callbacks": [train.EarlyStopping(2)]},
            r"callbacks must be \[\], as in the checkpoint, got \['0 EarlyStopping'\]",
        ),
        ({"model": nn.Sequential(nn.Linear(8, 3))}, "generators must be 2, as in the checkpoint, got 1"),
        (
            {"data": (np.zeros((9, 8), np.float32), np.zeros(9, int))},
            "samples must be 103, as in the checkpoint, got 9",
        ),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_another_run_is_not_resumed(change: dict[str, Any], message: str, tmp_path: Path) -> None:
    arguments: dict[str, Any] = {"model": killed_run.model(), "data": killed_run.data(), "batch_size": 60}
    train.fit(**arguments, epochs=1, checkpoints=tmp_path)
    arguments |= {"model": killed_run.model()} | change
    if "optimizer" in change:
        arguments["optimizer"] = optim.SGD(arguments["model"].parameters(), lr=0.1)
    with pytest.raises(ValueError, match=f"step-00000002.json: {message}"):
        train.fit(**arguments, epochs=2, checkpoints=tmp_path, resume=True)


# ---- states ------------------------------------------------------------------------------------------------


STATE = {
    "numbers": [1, -2.5, True, None, "text", 2**63],
    "infinite": [float("inf"), -float("inf")],
    "tuple": (1, (2.0, "x")),
    "keys": {0: {"a": np.arange(3)}, 7: {}},
    "dollar": {"$array": "no array"},
    "dotted": {"a.b": np.zeros(2), "a": {"b": np.ones(2)}},
    "scalars": [np.float32(0.1), np.float64(0.1), np.int16(3), np.bool_(True)],
    "arrays": [np.zeros((0, 3)), np.array(5.0), np.ones((2, 3)).T, np.array([1, 2], np.float16)],
}


def test_states_come_back_as_they_were(tmp_path: Path) -> None:
    checkpoints = train.Checkpoints(tmp_path)
    for back in (unpack(*pack(STATE)), checkpoints.load(checkpoints.save(1, STATE))):
        assert repr(back) == repr(STATE)  # NumPy's scalars and arrays have their types in it
        assert back["arrays"][3].dtype == np.float16
        assert back["arrays"][2].flags.writeable
        assert [type(key) for key in back["keys"]] == [int, int]


def test_what_cannot_be_saved_is_named() -> None:
    with pytest.raises(TypeError, match=r"scheduler\.functions\.1 must be a number, .*, got function"):
        pack({"scheduler": {"functions": [None, lambda: 0]}})


def test_a_full_disk(tmp_path: Path) -> None:
    """The error names the file, nothing unfinished stays, and the checkpoints from before are whole."""
    checkpoints = train.Checkpoints(tmp_path)
    small, large = {"weight": np.zeros(10)}, {"weight": np.zeros(10_000)}
    checkpoints.save(1, small)
    before = {path.name for path in tmp_path.iterdir()}
    resource = pytest.importorskip("resource")  # Windows has none
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, limits[1]))  # Python ignores the signal of it
    try:
        with pytest.raises(OSError, match=r"too large: '.*step-00000002-\w+\.safetensors'"):
            checkpoints.save(2, large)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert {path.name for path in tmp_path.iterdir()} == before
    np.testing.assert_array_equal(checkpoints.load(tmp_path / "step-00000001.json")["weight"], np.zeros(10))
