"""The C table, the functions, the reference and the docs say the same; and what `import fastnn` does."""

from __future__ import annotations

import inspect
import os
import re
import subprocess
import sys
from pathlib import Path
from types import FunctionType
from typing import Any

import pytest

import fastnn
import fastnn.functional as F
from fastnn import _kernels, nn, reference
from fastnn._core import machine
from fastnn.bench.cases import all_cases
from support.cases import each
from support.operations import CALLS, CHOICES

EMPTY = inspect.Parameter.empty
FUNCTIONS = [name for name in F.__all__ if isinstance(getattr(F, name), FunctionType)]
# The elementwise functions, which tests/support/operations.py and the table of benchmarks find by themselves.
ELEMENTWISE = [
    name
    for name in FUNCTIONS
    if getattr(F, name).__module__.rpartition(".")[2] in ("activation", "slope", "gated")
]
DOCS = Path(__file__).parents[2] / "docs" / "functions.md"


def _parameters(function: Any) -> dict[str, Any]:
    return {name: parameter.default for name, parameter in inspect.signature(function).parameters.items()}


# ---- one table ---------------------------------------------------------------------------------------------


@each("row", _kernels.activations())
def test_a_row_of_the_c_table_is_a_function_with_its_parameters(row: str) -> None:
    saves, parameters = _kernels.activations()[row]
    expected = {name: EMPTY if value is None else value for name, value in parameters.items()}
    name, choice = CHOICES.get(row, (row, {}))
    forward, backward = _parameters(getattr(F, name)), _parameters(getattr(F, f"{name}_backward"))
    for taken, first in ((forward, ["input"]), (backward, ["dy", saves])):
        assert list(taken)[: len(first)] == first
        assert taken.pop("out") is None
        taken.pop("inplace", None)
        rest = {name: default for name, default in taken.items() if name not in first}
        if name == "gelu":  # a choice between two rows, which have no parameters
            assert rest.pop("approximate") == "none"
            assert choice in ({}, {"approximate": "tanh"})
        assert rest == expected


@each("name", FUNCTIONS)
def test_the_reference_has_the_same_signature_without_where_results_go(name: str) -> None:
    ours = inspect.signature(getattr(F, name)).parameters
    theirs = inspect.signature(getattr(reference, name)).parameters
    assert list(theirs) == [parameter for parameter in ours if parameter not in ("inplace", "out", "like")]
    for parameter in theirs:
        assert ours[parameter].default == theirs[parameter].default, parameter
        assert ours[parameter].kind == theirs[parameter].kind, parameter
    if "out" in ours:
        assert (ours["out"].kind, list(ours)[-1]) == (inspect.Parameter.KEYWORD_ONLY, "out")


def test_the_reference_has_no_function_more() -> None:
    assert sorted(reference.__all__) == sorted(FUNCTIONS)


def test_every_module_exports_what_it_defines() -> None:
    for module in (F, reference):
        functions = {name for name, value in vars(module).items() if isinstance(value, FunctionType)}
        assert {name for name in functions if not name.startswith("__")} == set(FUNCTIONS)


def test_forward_and_backward_take_the_same_parameters() -> None:
    for name in ELEMENTWISE:
        if f"{name}_backward" in ELEMENTWISE and name != "maxout":  # whose parameters are in what it saves
            forward, backward = _parameters(getattr(F, name)), _parameters(getattr(F, f"{name}_backward"))
            forward.pop("inplace", None)
            assert list(forward.items())[1:] == list(backward.items())[2:], name


def test_every_function_is_tested_and_benchmarked() -> None:
    with_gradient = {name for name in ELEMENTWISE if f"{name}_backward" in ELEMENTWISE} - {"swish"}
    assert with_gradient == {call.name for call in CALLS}
    assert with_gradient <= {case.function for case in all_cases()}
    assert {
        name for row in _kernels.activations() for name, _ in [CHOICES.get(row, (row, {}))]
    } <= with_gradient


def test_swish_is_silu() -> None:
    assert F.swish is F.silu
    assert F.swish_backward is F.silu_backward


#: Layers whose function has another name, here without underscores, or that have none.
TWINS = {
    **{f"BatchNorm{d}d": "batchnorm" for d in (1, 2, 3)},
    **{f"InstanceNorm{d}d": "instancenorm" for d in (1, 2, 3)},
    "SyncBatchNorm": "batchnorm",
    "BCELoss": "binarycrossentropy",
    "BCEWithLogitsLoss": "binarycrossentropywithlogits",
    "CrossEntropyLoss": "crossentropy",
    "KLDivLoss": "kldiv",
    **dict.fromkeys(("Flatten", "Unflatten", "Linear", "Sequential", "Residual", "Module", "Activation"), ""),
    **dict.fromkeys(("ModuleList", "ModuleDict", "Parameter", "ParameterList", "ParameterDict"), ""),
}


@each("name", [name for name in nn.__all__ if isinstance(getattr(nn, name), type)])
def test_a_layer_has_a_function_of_torchs_name(name: str) -> None:
    twin = TWINS.get(name, name.lower())
    assert twin in {"", *(function.replace("_", "") for function in FUNCTIONS)}


# ---- docstrings and docs -----------------------------------------------------------------------------------


@each("name", FUNCTIONS)
def test_a_docstring_has_the_formula_and_the_errors(name: str) -> None:
    doc = inspect.getdoc(getattr(F, name)) or ""
    assert re.search(r"^(y|dx|da|dweight|loss|mask)(\[c\])? = ", doc, re.M), doc
    assert re.search(r"Raises|raises", doc), doc
    for parameter in inspect.signature(getattr(F, name)).parameters:
        assert parameter in doc or (parameter == "input" and " x" in doc), parameter


@each("name", [name for name in fastnn.__all__ if name != "__version__"])
def test_the_public_names_of_fastnn_have_docstrings(name: str) -> None:
    assert inspect.getdoc(getattr(fastnn, name))


@pytest.mark.skipif(not DOCS.exists(), reason="docs/functions.md is not here")
@each("name", FUNCTIONS)
def test_the_docs_name_the_function_with_its_parameters(name: str) -> None:
    text = DOCS.read_text()
    assert re.search(rf"\b{name}\b", text), f"{name} is missing in {DOCS.name}"
    call = re.search(rf"`{name}\(([^)]*)\)", text)
    if call and not name.endswith("_backward"):
        named = re.findall(r"\b([a-z_]+)\b(?==|,|$| *$)", call[1])
        taken = _parameters(getattr(F, name))
        assert set(named) <= {*taken, "None"}, call[0]


# ---- import ------------------------------------------------------------------------------------------------


def _python(code: str, **variables: str) -> subprocess.CompletedProcess[str]:
    environment = {key: value for key, value in os.environ.items() if not key.startswith("FASTNN_")}
    environment.update(variables)
    return subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False
    )


def _printed(code: str, **variables: str) -> str:
    done = _python(code, **variables)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_import_loads_nothing_but_numpy() -> None:
    code = """
import sys
import {0}
print(*sorted({{name.partition(".")[0] for name in sys.modules}}))
"""
    ours = set(_printed(code.format("fastnn, fastnn.functional")).split())
    numpy = set(_printed(code.format("numpy")).split())
    assert "fastnn" in ours
    more = {
        name for name in ours - numpy if not re.match("_?cython_", name)
    }  # which compiled modules make up
    assert more - {"fastnn"} <= set(sys.stdlib_module_names)


def test_import_leaves_the_heavy_parts_of_fastnn_out() -> None:
    code = """
import sys, numpy
before = set(sys.modules)
import fastnn
ours = {name.split(".")[1] for name in sys.modules if name.startswith("fastnn.")}
import fastnn.nn, fastnn.optim
print(*ours & {"nn", "optim", "functional", "bench", "cli", "train", "reference"})
print(*{"numpy.random", "json", "pickletools", "zipfile", "socket"} & (set(sys.modules) - before))
"""
    assert _printed(code) == ""  # neither these, nor those for files and numbers with the layers


@pytest.mark.parametrize("isa", _kernels.available_isas())
def test_an_instruction_set_by_name(isa: str) -> None:
    code = "import fastnn, fastnn.functional as F; print(fastnn.info()['isa'], F.relu([-1.0, 2.0]).tolist())"
    assert _printed(code, FASTNN_ISA=isa) == f"{isa} [0.0, 2.0]"


def test_without_a_name_the_best_instruction_set_is_used() -> None:
    code = "import fastnn; print(fastnn.info()['isa'])"
    for variables in ({}, {"FASTNN_ISA": ""}):
        assert _printed(code, **variables) == _kernels.available_isas()[0]


def test_an_instruction_set_that_is_not_here() -> None:
    done = _python("import fastnn", FASTNN_ISA="mmx")
    runs = ", ".join(_kernels.available_isas())
    message = f"ImportError: FASTNN_ISA='mmx' is not available here; this machine runs: {runs}"
    assert (done.returncode, done.stderr.strip().splitlines()[-1]) == (1, message)


def test_selecting_an_instruction_set() -> None:
    before = _kernels.isa()
    with pytest.raises(ValueError, match="'mmx' is not available here; this machine runs: "):
        _kernels.select_isa("mmx")
    assert _kernels.isa() == before
    _kernels.select_isa(None)
    assert _kernels.isa() == _kernels.available_isas()[0]
    _kernels.select_isa(before)


def test_a_number_of_threads_from_the_environment() -> None:
    code = "import fastnn; print(fastnn.get_num_threads(), fastnn.info()['threads_from'])"
    assert _printed(code, FASTNN_NUM_THREADS="3", OMP_NUM_THREADS="5") == "3 FASTNN_NUM_THREADS"
    assert _printed(code, FASTNN_NUM_THREADS="", OMP_NUM_THREADS=" 5, 2") == "5 OMP_NUM_THREADS"
    everything = f"{_kernels.usable_cpus()} usable CPUs"
    assert _printed(code, FASTNN_NUM_THREADS="", OMP_NUM_THREADS="0") == everything
    assert _printed(code, OMP_NUM_THREADS="", MPI_LOCALNRANKS="1") == everything
    shared = f"{max(1, _kernels.usable_cpus() // 2)} usable CPUs, of 2 ranks by MPI_LOCALNRANKS"
    assert _printed(code, OMP_NUM_THREADS="", MPI_LOCALNRANKS="2", SLURM_CPUS_ON_NODE="") == shared
    assert _printed(code, OMP_NUM_THREADS="3", MPI_LOCALNRANKS="2") == "3 OMP_NUM_THREADS"
    for wrong in ("0", "-1", "1025", "many", "1.5"):
        done = _python("import fastnn", FASTNN_NUM_THREADS=wrong)
        message = f"ImportError: FASTNN_NUM_THREADS must be a number in [1, 1024], got '{wrong}'"
        assert (done.returncode, done.stderr.strip().splitlines()[-1]) == (1, message)


@each(
    ("usable", "cpus", "ranks", "threads"),
    [
        *((16, "16", 4, 4), (16, "16", 3, 5), (2, "2", 8, 1)),  # ranks that are not bound share the CPUs
        *((4, "16", 4, 4), (1, "16", 16, 1), (3, "16", 4, 3)),  # each is bound to its own
        (8, "8", 4, 2),  # a job of 8 CPUs of a larger machine, as Slurm says
    ],
)
def test_ranks_of_mpi_share_the_cpus(
    usable: int, cpus: str, ranks: int, threads: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SLURM_CPUS_ON_NODE", cpus)
    assert machine._share(usable, ranks) == threads


def test_launchers_say_how_many_ranks_there_are(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value, ranks in (
        ("OMPI_COMM_WORLD_LOCAL_SIZE", "4", 4),
        ("SLURM_NTASKS_PER_NODE", "8", 8),
        ("SLURM_STEP_TASKS_PER_NODE", "2(x3),1", 2),
        ("MPI_LOCALNRANKS", "none", 1),
    ):
        with monkeypatch.context() as patch:
            patch.setenv(name, value)
            assert machine._ranks() == (ranks, name if ranks > 1 else "")


@each(
    ("text", "count"),
    [("4", 4), ("4,2", 4), (" 3 , 1 ", 3), ("+2", 2), ("007", 7), ("5000", 5000)]
    + [(text, None) for text in ("", " ", "0", "-1", "many", "1.5", "4,", "4,0", ",4", "4;2", "1_0", "0x4")],
)
def test_forms_of_omp_num_threads(text: str, count: int | None) -> None:
    assert machine._omp_threads(text) == count


# ---- the machine -------------------------------------------------------------------------------------------


def test_info() -> None:
    info = fastnn.info()
    names = "version isa available_isas threads threads_from cpu caches compiler cuda"
    assert list(info) == names.split()
    assert info["version"] == fastnn.__version__
    assert info["isa"] in info["available_isas"]
    assert info["threads"] == fastnn.get_num_threads()
    assert re.match(r"(gcc|clang) \d+\.", info["compiler"])
    assert info["cpu"]
    if Path("/sys/devices/system/cpu/cpu0/cache/index0").exists():
        assert "L1" in info["caches"]
        assert all(re.fullmatch(r"\d+[KM]", size) for size in info["caches"].values())


def test_setting_the_number_of_threads(threads: None) -> None:
    for count in (1, 3, 1024):
        fastnn.set_num_threads(count)
        assert fastnn.get_num_threads() == fastnn.info()["threads"] == count
    assert fastnn.info()["threads_from"] == "set_num_threads or threadpoolctl"
    for count in (0, -1, 1025):
        with pytest.raises(ValueError, match=rf"^num_threads must be in \[1, 1024\], got {count}"):
            fastnn.set_num_threads(count)
    wrong: Any
    for wrong in (1.0, "1", None):
        with pytest.raises(TypeError, match=rf"^num_threads must be an integer, got {type(wrong).__name__}"):
            fastnn.set_num_threads(wrong)
    assert fastnn.get_num_threads() == 1024


def test_an_unknown_kernel() -> None:
    with pytest.raises(LookupError, match="no kernel is called 'cube'"):
        _kernels.find_kernel("cube")
