"""The fuzzer finds nothing in a slice of its cases; and it would notice each kind of fault."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fastnn.functional as F
from fastnn import _kernels
from fastnn._core.typing import Array
from tools.fuzz import files, functions, targets
from tools.fuzz.arrays import Draw
from tools.fuzz.campaign import Job
from tools.fuzz.case import Case
from tools.fuzz.files import FileCase, Kind
from tools.fuzz.judge import judge
from tools.fuzz.parameters import NoRecipeError
from tools.fuzz.simplify import simplified

pytest.importorskip("safetensors")


def test_a_slice_finds_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    if (
        "avx2" in _kernels.available_isas()
    ):  # then the cases are the same calls on all machines, and the campaign's
        monkeypatch.setenv("FASTNN_ISA", "avx2")
    items = list(Job(seed=1).run(0, 4000))
    found = [item for item in items if not isinstance(item, int)]
    assert not found, "\n".join(f"{i['number']} {i['target']}: {i['kind']}: {i['text']}" for i in found)


def case(name: str, source: str, **arguments: Any) -> Case:
    return Case(name, source, arguments, {"input", "out"}, {"out"} & arguments.keys())


def strided() -> Array:
    return np.repeat(np.arange(6, dtype="f"), 2)[::2]


def test_a_good_call_is_no_fault() -> None:
    good = case("F.relu", "result = F.relu(input)", input=strided())
    good.reference = good.source
    assert judge(good) is None


def wrong(kind: str) -> Any:
    """A relu with this fault."""

    def relu(input: Array, out: Array | None = None) -> Any:
        plain = input.flags.c_contiguous
        if kind == "wrote elsewhere":
            input[...] = 1
        if kind == "raises KeyError":
            raise KeyError("input")
        if kind == "an error that names no argument":
            raise ValueError("wrong")
        if kind == "a refused call wrote":
            input[0] = 1
            raise ValueError("input must be another")
        if kind == "refused for its memory" and not plain:
            raise ValueError("input must be plain")
        if kind == "differs from contiguous (values)" and not plain:
            return np.maximum(input, 0) + 1
        if kind == "differs from contiguous (form)" and not plain:
            return np.maximum(input, 0).astype("d")
        if kind == "the result is a view":
            return input
        return np.maximum(input, 0) * np.float32(1.001 if kind == "differs from the reference" else 1)

    return relu


KINDS = (
    *("wrote elsewhere", "raises KeyError", "an error that names no argument", "a refused call wrote"),
    *("refused for its memory", "differs from contiguous (values)", "differs from contiguous (form)"),
    *("the result is a view", "differs from the reference", "not refused"),
)


def test_each_kind_of_fault_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    for kind in KINDS:
        with monkeypatch.context() as patch:
            patch.setattr(F, "relu", wrong(kind))
            bad = case("F.relu", "result = F.relu(input)", input=strided())
            bad.reference, bad.tolerance = bad.source, 16.0
            bad.must_refuse = "out is no array" * (kind == "not refused")
            fault = judge(bad)
            assert fault is not None, kind
            assert fault.kind == kind


def test_rounding_of_an_ill_conditioned_result_is_no_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    source = "result = F.linear(input=input, weight=weight)"
    cancelling = np.array([[1e8, 1.0, -1e8]]), np.ones((1, 3))
    names = ("input", "weight")
    good = case("F.linear", source, **dict(zip(names, cancelling, strict=True)))
    good.reference, good.tolerance = source, 1.0
    for off, kind in ((1e-8, None), (1e-6, "differs from the reference")):
        got = np.array([[1.0 + off]])
        monkeypatch.setattr(F, "linear", lambda got=got, **_: got)
        assert getattr(judge(good), "kind", None) == kind


def test_what_follows_from_an_overflow_is_not_compared() -> None:
    good = case(
        "F.exp", "y = F.exp(input)\nresult = [y, F.exp_backward(dy, y)]", input=np.full(1, 90, np.float16)
    )
    good.arguments["dy"] = np.zeros(1, np.float16)
    good.reference, good.tolerance = good.source, 16.0
    assert judge(good) is None  # 0 times infinity


def test_a_case_is_the_same_again_and_its_program_runs() -> None:
    for number in range(60):
        made = targets.case(1, number)
        assert made.code() == targets.case(1, number).code()
        if isinstance(made, Case):
            compile(made.code(), "case", "exec")


def test_a_shorter_program_has_the_same_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(F, "relu", wrong("differs from contiguous (values)"))
    bad = case("F.relu", "result = F.relu(input, out=None, other=other)", input=strided(), other=None)
    bad.source = "result = F.relu(input)"
    fault = judge(bad)
    assert fault is not None
    assert not simplified(bad, fault).arguments["input"].flags.c_contiguous


def has_recipe(number: int) -> bool:
    try:
        functions.case_of(Draw(1, number), "relu")
    except NoRecipeError:
        return False
    return True


def test_a_function_without_a_recipe_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def new(input: Array, colour: str) -> Array:
        return input

    new.__module__ = "fastnn.functional.activation"
    monkeypatch.setattr(F, "relu", new)
    number = next(n for n in range(50) if not has_recipe(n))
    with pytest.raises(NoRecipeError, match="no recipe for relu: its parameter colour"):
        functions.case_of(Draw(1, number), "relu")
    new.__module__ = "fastnn.functional.new_file"
    with pytest.raises(NoRecipeError, match="no recipe for relu: the shapes of its file, new_file"):
        functions.case_of(Draw(1, 0), "relu")


def test_a_crash_is_a_result_and_the_next_case_runs(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    program = tmp_path / "child.py"
    program.write_text(
        "import os, sys\n"
        "for number in range(int(sys.argv[3]), int(sys.argv[4])):\n"
        "    print([number, number], flush=True)\n"
        "    if number == 1:\n"
        "        print('x.c:1: runtime error: index 64 out of bounds', file=sys.stderr, flush=True)\n"
        "        os.abort()\n"
    )
    run: Any = subprocess.Popen
    monkeypatch.setattr(
        subprocess, "Popen", lambda command, **options: run([command[0], program, *command[3:]], **options)
    )
    items = list(Job(seed=1).run(0, 3))
    assert [item for item in items if isinstance(item, int)] == [0, 1, 2]
    (found,) = [item for item in items if isinstance(item, dict)]
    assert found["number"] == 1
    assert found["kind"] == "kills the process: index 64 out of bounds"


def write_whole(folder: Path) -> None:
    (folder / "file.bin").write_bytes(b"whole")


def read_as(kind: str) -> Any:
    """A reader with this fault for a file that is not whole."""

    def read(folder: Path) -> Any:
        content = (folder / "file.bin").read_bytes()
        if content == b"whole":
            return content
        if kind == "raises KeyError":
            raise KeyError("a")
        if kind == "an error that names no file":
            raise ValueError("damaged")
        if kind == "a model is half loaded":
            raise files.HalfLoadedError("a: damaged")
        return b"other"

    return read


def test_faults_of_readers_are_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    kinds = ("a damaged file is read as another", "raises KeyError", "an error that names no file")
    for expected in (*kinds, "a model is half loaded"):
        kind = Kind(write_whole, read_as(expected), lambda folder: [folder / "file.bin"], True)
        monkeypatch.setitem(files.KINDS, expected, kind)
        fault = FileCase(expected, "file.bin", b"wh", "cut off").judge()
        assert fault is not None, expected
        assert fault.kind == expected
