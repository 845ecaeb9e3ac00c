"""Every function within its limit on a slice of its arguments; and a measure that would notice if not."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from fastnn import _kernels
from fastnn._core.typing import Array
from tools.accuracy import campaign, columns, report, results, truth
from tools.accuracy.__main__ import main
from tools.accuracy.campaign import Task
from tools.accuracy.measure import Worst, errors, ulp

Single = np.float32


@pytest.mark.parametrize("task", campaign.tasks(), ids=lambda task: task.name)
def test_within_the_limit_on_every_instruction_set(task: Task) -> None:
    campaign.check_truth(task)
    result = campaign.quick(task)
    assert list(result.columns) == _kernels.available_isas()
    assert result.arguments > 10_000
    assert max(column.bound for column in result.columns.values()) <= task.row.limit(task.direction), result


@pytest.mark.parametrize(
    ("got", "exact", "expected"),
    [
        (1.0, 1.0, 0),
        (1 + 2**-23, 1.0, 1),
        (1.0, 1 + 2**-24, 0.5),
        (1.0, 1 - 2**-24, 1),  # below a power of two the unit is half as large
        (2.0**-149, 0.0, 1),
        (0.0, 2.0**-150, 0.5),
        (3 * 2.0**-149, 2.0**-130, 2**19 - 3),
        (np.inf, 1e39, 0),
        (-np.inf, 1.0, 2**151),
        (np.inf, float(np.finfo(Single).max), 1),
        (np.finfo(Single).max, 2.0**128, 0.5),
        (np.inf, np.inf, 0),
        (1.0, np.inf, np.inf),
        (np.nan, np.nan, 0),
        (np.nan, 1.0, np.inf),
        (1.0, np.nan, np.inf),
    ],
)
def test_error_in_ulp(got: float, exact: float, expected: float) -> None:
    wide = np.array([exact, 1.0])
    with np.errstate(all="ignore"):
        error = errors(np.array([got, 1.0], Single), wide, ulp(wide, np.dtype(Single)))
    assert error.tolist() == [expected, 0]


def test_worst_keeps_the_largest_error_and_counts_what_is_wrong() -> None:
    worst, got, exact = Worst(), np.array([1.0, 2.0, 3.0]), np.array([1.5, 2.5, 3.5])
    worst.add(np.array([1.0, 3.0, 2.0]), got, exact, lambda i: [10.0 + i])
    worst.add(np.array([np.inf, 2.5, np.inf]), got, exact, lambda i: [20.0 + i])
    assert worst == Worst(3.0, [11.0], 2.0, 2.5, wrong=2, wrong_inputs=[20.0])
    assert worst.bound == np.inf


def _off_by_a_little(dy: Array, saved: Array) -> Array:
    result: Array = np.tanh(saved) * saved.dtype.type(1 + 1e-6)
    return result


@pytest.fixture
def wrong_kernel(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: Callable[..., dict[str, columns.Call]] = lambda *_: {"wrong": _off_by_a_little}  # noqa: E731
    monkeypatch.setattr(columns, "fastnn_calls", calls)


@pytest.mark.usefixtures("wrong_kernel")
def test_a_wrong_kernel_is_noticed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["tanh", "--quick"]) == 1
    assert "OVER float32 forward tanh" in capsys.readouterr().out


def test_wrong_exact_values_are_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    exact = truth.exact
    monkeypatch.setattr(truth, "exact", lambda *args: exact(*args) * (1 + 1e-8))
    task = next(task for task in campaign.tasks(["tanh"]) if task.direction == "forward")
    with pytest.raises(RuntimeError, match="exact value"):
        campaign.check_truth(task)


def test_an_unknown_function_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["sigmoidal"]) == 2
    assert "unknown function 'sigmoidal'" in capsys.readouterr().err


def test_finished_rows_are_kept_and_make_the_page(tmp_path: Path) -> None:
    for task in campaign.tasks(["silu"]):
        results.save(tmp_path, task, campaign.quick(task, count=2**15, peers=True))
    selected = _kernels.isa()
    page = tmp_path / "page.md"
    assert main(["silu", "--results", str(tmp_path), "--output", str(page)]) == 0  # hours, were it to measure
    text = page.read_text()
    assert _kernels.isa() == selected
    assert [line for line in text.splitlines() if line.startswith("##")] == [
        f"## {dtype}, {title}: largest errors in ULP"
        for dtype in ("float32", "float64")
        for title in ("forward", "gradients")
    ]
    assert text.count("| silu ") == 8
    assert results.environment()["build"] in text
    for name in (*_kernels.available_isas(), "NumPy"):
        assert f"| {name} " in text


def test_a_row_over_its_limit_is_bold() -> None:
    task = campaign.tasks(["exp"])[0]
    bad = campaign.Column(Worst(2.001, [1.0]), Worst())
    page = report.render({task: campaign.Result(7, {"avx2": bad, "torch": bad})}, [results.environment()])
    assert "| **2.01** | 2.01" in page
