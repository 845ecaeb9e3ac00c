"""The documentation says what is so: its examples run, its commands, signatures and links exist."""

from __future__ import annotations

import doctest
import inspect
import re
import shlex
from pathlib import Path
from types import FunctionType

import pytest

import fastnn.functional as F
from fastnn import cli, nn
from support.documents import ROOT, blocks

README = (ROOT / "README.md").read_text()
DOCS = ROOT / "docs"
PAGES = sorted([*ROOT.glob("*.md"), *DOCS.glob("*.md")])
# The pages whose examples stand alone; those of the others run with the tests of their subject.
ALONE = [
    ROOT / "README.md",
    *(
        DOCS / f"{name}.md"
        for name in ("chains", "functions", "index", "install", "layers", "random", "runtime")
    ),
    DOCS / "large-batches.md",
]
EXAMPLES = [
    pytest.param(code, id=f"{page.name}: {code.splitlines()[-1]}")
    for page in ALONE
    for code in blocks(page.read_text(), "python")
]
CI = ROOT / ".ci" / "run"

VENV = "python3 -m venv .venv && .venv/bin/pip install"
TRAIN_LINE = f"{VENV} '.[demo]' && .venv/bin/fastnn train"
TEST_LINE = f"{VENV} '.[test]' && .venv/bin/pytest"

FUNCTIONS = [name for name in F.__all__ if isinstance(getattr(F, name), FunctionType)]


def signature(name: str) -> str:
    """As the docs write it: without types."""
    plain = inspect.signature(getattr(F, name))
    parameters = [p.replace(annotation=p.empty) for p in plain.parameters.values()]
    return f"{name}{plain.replace(parameters=parameters, return_annotation=plain.empty)}"


@pytest.mark.parametrize("code", EXAMPLES)
def test_examples_run_and_show_what_they_say(
    code: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, threads: None
) -> None:
    monkeypatch.chdir(tmp_path)
    if "import torch" in code:
        pytest.importorskip("torch")
    if ">>>" not in code:
        exec(code, {"__name__": "example"})
        return
    report: list[str] = []
    example = doctest.DocTestParser().get_doctest(code, {}, "example", None, 0)
    failures = doctest.DocTestRunner().run(example, out=report.append)
    assert failures.attempted
    assert not failures.failed, "".join(report)


def test_the_guide_is_a_program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for package in ("sklearn", "matplotlib", "optuna", "safetensors"):
        pytest.importorskip(package)
    monkeypatch.chdir(tmp_path)
    program = "\n".join(blocks((DOCS / "guide.md").read_text(), "python"))
    exec(compile(program, "guide.md", "exec"), {"__name__": "guide"})


def test_set_up_is_one_line_each() -> None:
    shell = blocks(README, "sh")
    assert f"{TRAIN_LINE}\n" in shell
    assert f"{TEST_LINE}\n" in shell


@pytest.mark.skipif(not CI.exists(), reason="a source distribution has no .ci")
def test_ci_runs_the_test_line_of_the_readme() -> None:
    assert TEST_LINE in CI.read_text().splitlines()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_commands_have_the_options_that_are_shown(page: Path) -> None:
    lines = [
        shlex.split(line)
        for block in blocks(page.read_text(encoding="utf-8"), "sh")
        for line in block.splitlines()
    ]
    for words in lines:
        if "fastnn" in words:
            arguments = words[words.index("fastnn") + 1 :]
            assert cli._parser().parse_args(arguments).command, words
    if page.name == "README.md":
        assert sum("fastnn" in words for words in lines) > 3


@pytest.mark.parametrize("name", FUNCTIONS)
def test_functions_have_their_signatures_in_the_docs(name: str) -> None:
    assert f"`{signature(name)}`" in (DOCS / "functions.md").read_text()


def test_the_page_of_layers_names_them_all() -> None:
    text = (DOCS / "layers.md").read_text()
    for name in set(nn.__all__) - {"Activation", "Module"}:
        layer = getattr(nn, name)
        if isinstance(layer, type) and issubclass(layer, nn.Module):
            assert re.search(rf"`{name}[`(]", text), name


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_to_files(page: Path) -> None:
    for target in re.findall(r"\]\((?!https?://)([^)#]+)\)", page.read_text(encoding="utf-8")):
        picture_left_out = target.endswith(".png") and not CI.exists()  # of a source distribution
        assert (page.parent / target).exists() or picture_left_out, target
