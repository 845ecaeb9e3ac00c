"""fit(ranks=): what several processes compute together is what one computes alone, and all end together."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ranks.launch import results, run, start

PROGRAMS = str(Path(__file__).parent / "programs.py")


def same_on_all(size: int, **options: Any) -> dict[str, Any]:
    """What `fit` gives on so many ranks, after a look whether it is the same on all."""
    found = results(size, "fit", **options)
    assert all(other["bits"] == found[0]["bits"] for other in found)
    assert all(other["history"] == found[0]["history"] for other in found)
    assert all(other["losses"] == found[0]["losses"] for other in found)
    return found[0]  # type: ignore[no-any-return]


def assert_close(found: dict[str, Any], expected: dict[str, Any], tolerance: float) -> None:
    """Compare weights and all records."""
    for ours, theirs in zip(found["weights"], expected["weights"], strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=tolerance)
    np.testing.assert_allclose(found["losses"], expected["losses"], rtol=0, atol=tolerance)
    for ours, theirs in zip(found["history"], expected["history"], strict=True):
        assert ours.keys() == theirs.keys()
        np.testing.assert_allclose([*ours.values()], [*theirs.values()], rtol=0, atol=tolerance)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"norm": True, "dropout": 0.4},
        {"form": "dataset", "noise": True},
        {"form": "batches"},
        {"ignored": 4, "weights": {"0": 2.5}, "batch_size": 3},
        {"more": {"accumulate": 3}},
        {"more": {"validation": None, "validation_split": 0.3}},
    ],
    ids=["plain", "norm and dropout", "dataset", "batches", "weights", "accumulate", "split"],
)
def test_any_number_of_ranks_trains_the_same_network(options: dict[str, Any]) -> None:
    alone = same_on_all(1, **options)
    for size in (2, 4):  # 50 samples in batches of 7 end with one of one sample, which joins the one before
        assert_close(same_on_all(size, **options), alone, 2e-14)


def test_losses_in_float32() -> None:
    alone, together = (same_on_all(size, dtype="float32", norm=True, optimizer="adam") for size in (1, 3))
    np.testing.assert_allclose(together["losses"], alone["losses"], rtol=0, atol=1e-6)


def test_the_same_number_of_ranks_gives_the_same_bits(tmp_path: Path) -> None:
    options: dict[str, Any] = {"norm": True, "dropout": 0.3, "dtype": "float32", "optimizer": "adam"}
    whole = same_on_all(3, **options)
    assert same_on_all(3, **options, overlap=True)["bits"] == whole["bits"]
    shard = same_on_all(3, **options, shard=True)
    assert shard["bits"] == whole["bits"]

    folder = str(tmp_path / "run")  # a run that is interrupted goes on, with any way of adding up
    same_on_all(3, **options, folder=folder, stop=[1, "step", 9], shard=True)
    resumed = same_on_all(3, **options, folder=folder, resume=True)
    assert resumed["bits"] == whole["bits"]
    assert resumed["history"] == whole["history"]


def test_a_run_goes_on_with_another_number_of_ranks(tmp_path: Path) -> None:
    whole = same_on_all(1, optimizer="adam")
    stopped = same_on_all(3, optimizer="adam", folder=str(tmp_path), stop=[2, "epoch", 2], shard=True)
    assert len(stopped["history"]) == 2
    for size in (2,):
        resumed = same_on_all(size, optimizer="adam", folder=str(tmp_path), resume=True)
        np.testing.assert_allclose(
            np.concatenate(resumed["weights"]), np.concatenate(whole["weights"]), rtol=0, atol=1e-12
        )
        assert len(resumed["history"]) == 3


def test_a_sharded_state_has_a_part_on_each_rank() -> None:
    whole = results(2, "fit", optimizer="adam", epochs=1)
    parts = results(2, "fit", optimizer="adam", epochs=1, shard=True)
    assert sum(part["state"] for part in parts) == whole[0]["state"] == whole[1]["state"]
    assert 0 < parts[0]["state"] < whole[0]["state"]


@pytest.mark.parametrize("moment", ["step", "epoch"])
def test_one_rank_stops_all(moment: str) -> None:
    found = same_on_all(2, stop=[1, moment, 1])
    assert len(found["losses"]) == (1 if moment == "step" else 7)


def test_evaluate() -> None:
    (alone,) = results(1, "evaluate", samples=2050)
    for found in results(3, "evaluate", samples=2050):
        assert found == pytest.approx(alone, abs=1e-13)


@pytest.mark.parametrize("size", [2, 3])
@pytest.mark.parametrize("transform", ["flip", "mixup"])
def test_augmentation_is_that_of_the_whole_batch(transform: str, size: int) -> None:
    (alone,) = results(1, "augmented", transform=transform)
    parts = results(size, "augmented", transform=transform)
    assert ["".join(batch) for batch in zip(*parts, strict=True)] == alone


@pytest.mark.parametrize(
    ("what", "told"),
    [
        (
            "nan",
            "Diverged: the loss became nan in epoch 1, step .*: data: x must be finite, got NaN or",
        ),
        ("learning rate", "Diverged: the loss became .* in epoch 1"),
        (
            "settings",
            "UnlikeError: batch_size must be the same on all ranks, got 8 on rank 2, and 7 on rank 0",
        ),
        ("samples", "UnlikeError: samples must be the same on all ranks, got 39 on rank 2, and 40 on rank 0"),
        ("model", "UnlikeError: model must be the same on all ranks"),
        ("batch norm", "ValueError: 1 must be a SyncBatchNorm with ranks"),
        ("instance norm", "ValueError: 0 must have track_running_stats=False with ranks, got InstanceNorm1d"),
        ("batches", "UnlikeError: data must give all ranks the same batches"),
        ("checkpoints", "ValueError: .* holds the checkpoints of another run"),
        ("sum", "ValueError: loss must be the mean over a batch with ranks, got reduction='sum'"),
    ],
)
def test_an_error_is_told_on_all_ranks(what: str, told: str, tmp_path: Path) -> None:
    if what == "checkpoints":
        (tmp_path / "step-00000001.json").write_text("{}", encoding="utf-8")
    found = results(3, "error", what=what, folder=str(tmp_path))
    for text in found:
        assert re.match(told, text)
    assert len({*found}) == 1


@pytest.mark.parametrize(
    ("what", "told"), [("raise", "a callback has failed"), ("hang", "has not come within 1 s")]
)
def test_a_rank_that_fails_or_hangs_ends_all(what: str, told: str) -> None:
    status, _, err = run(3, [PROGRAMS, "trouble", f'{{"what": "{what}"}}'], timeout=20)
    assert status != 0
    assert told in err


def test_a_killed_rank_ends_all() -> None:
    process = start(3, [PROGRAMS, "trouble", '{"what": "kill"}'])
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        found = subprocess.run(
            ["pgrep", "-f", "programs.py trouble"], stdout=subprocess.PIPE, text=True, check=True
        )
        ranks = [int(pid) for pid in found.stdout.split() if int(pid) != process.pid]
        os.kill(max(ranks), signal.SIGKILL)
        begin = time.monotonic()
        process.communicate(timeout=20)
        assert process.returncode != 0
        assert time.monotonic() - begin < 10
    finally:
        process.kill()


def test_rank_0_alone_writes_and_prints(tmp_path: Path) -> None:
    status, out, err = run(2, [PROGRAMS, "files", f'{{"folder": "{tmp_path}"}}'])
    assert status == 0, err
    assert sum(line.startswith("epoch") for line in out.splitlines()) == 2
    lines = (tmp_path / "log.jsonl").read_text(encoding="utf-8").splitlines()
    assert [json.loads(line)["event"] for line in lines] == [*["step"] * 3, "epoch"] * 2 if False else lines
    assert sorted(path.name for path in tmp_path.iterdir()) == ["checkpoints", "curves.png", "log.jsonl"]


def test_fastnn_train(tmp_path: Path) -> None:
    words = ["--epochs", "2", "--norm", "batch", "--dropout", "0.2", "--quiet"]
    for size, folder in ((1, "one"), (2, "two")):
        status, out, err = run(size, ["-m", "fastnn", "train", *words, "--output", str(tmp_path / folder)])
        assert status == 0, err
        assert out.count("held-out accuracy") == 1
    one, two = (json.loads((tmp_path / name / "metrics.json").read_text("utf-8")) for name in ("one", "two"))
    assert two["loss"] == pytest.approx(one["loss"], abs=1e-4)
    status, out, err = run(2, ["-m", "fastnn", "train", "--data", "nowhere.csv"])
    assert status != 0
    assert "nowhere.csv" in err
