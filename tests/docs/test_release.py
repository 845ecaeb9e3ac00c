"""What a release says of itself in several places is the same everywhere: name, version, changes."""

from __future__ import annotations

import importlib.metadata
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

import fastnn
from fastnn._core.extras import way_to
from fastnn._version import DISTRIBUTION
from support.documents import ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
CHANGELOG = (ROOT / "CHANGELOG.md").read_text()
RECIPE = ROOT / "recipe" / "recipe.yaml"
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))

# Of Keep a Changelog, in its order.
KINDS = ["Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"]
TEXTS = {".md", ".py", ".pyi", ".toml", ".yml", ".yaml", ".cff", ".c", ".h", ".pxi", ".pyx", ".txt"}


def test_the_name() -> None:
    assert PROJECT["name"] == DISTRIBUTION
    assert re.search(rf"^  name: {DISTRIBUTION}$", RECIPE.read_text(), re.M)
    assert way_to("cuda") == f'pip install "{DISTRIBUTION}[cuda]"'


def _texts() -> Iterator[tuple[Path, str]]:
    folders = ("src", "docs", "examples", "tools", "tests", "bench", ".github", "recipe")
    files = [path for folder in folders for path in (ROOT / folder).rglob("*")]
    for path in [*ROOT.glob("*.*"), *files]:
        if path.suffix in TEXTS:
            yield path, path.read_text()


def test_no_other_name_is_printed() -> None:
    """On PyPI, `fastnn` is another project: nothing may lead there."""
    installed = re.compile(r"install\s(?:-\S+ )*['\"]?(fastnn[\w-]*)")
    with_extras = re.compile(r"(?<![\w-])(fastnn[\w-]*)\[[a-z]+(?:,[a-z]+)*\](?=['\"`])")
    for path, text in _texts():
        names = {*installed.findall(text), *with_extras.findall(text)}
        assert names <= {DISTRIBUTION}, path


def test_extras_that_are_named_exist() -> None:
    extras = PROJECT["optional-dependencies"]
    for path, text in _texts():
        if path.suffix in (".md", ".toml"):
            named = re.findall(rf"(?:{DISTRIBUTION}|install (?:-e )?['\"]?\.)\[([a-z,]+)\]", text)
            assert {name for names in named for name in names.split(",")} <= {*extras}, path
    for path in (ROOT / "src").rglob("*.py"):
        named = re.findall(r"(?:way_to|require)\([^()]*[\"'](\w+)[\"']\)", path.read_text())
        assert {*named} <= {*extras}, path


def test_the_version() -> None:
    version = re.escape(fastnn.__version__)
    assert re.search(rf"^version: {version}$", (ROOT / "CITATION.cff").read_text(), re.M)
    assert re.search(rf"^  version: {version}$", RECIPE.read_text(), re.M)
    released = re.findall(r"^## \[(\d.*?)\]", CHANGELOG, re.M)
    assert released[:1] in ([], [fastnn.__version__])
    assert "version" in PROJECT["dynamic"]
    try:
        installed = importlib.metadata.version(DISTRIBUTION)
    except importlib.metadata.PackageNotFoundError:
        pytest.skip("the sources are used without an installation")
    assert installed == fastnn.__version__


def test_the_changelog_has_its_form() -> None:
    headings = re.findall(r"^##(?!#) (.*)$", CHANGELOG, re.M)
    assert headings[0] == "[Unreleased]"
    for heading in headings[1:]:
        assert re.fullmatch(r"\[\d+\.\d+\.\d+\] - \d{4}-\d\d-\d\d( \[YANKED\])?", heading)
    for section in re.split(r"^##(?!#) .*$", CHANGELOG, flags=re.M)[1:]:
        kinds = re.findall(r"^### (.*)$", section, re.M)
        assert kinds == [kind for kind in KINDS if kind in kinds]


@pytest.mark.skipif(not WORKFLOWS, reason="a source distribution has no workflows")
def test_actions_are_pinned_by_hash() -> None:
    for path in WORKFLOWS:
        used = re.findall(r"^ *(?:- )?uses: (.*)$", path.read_text(), re.M)
        for action in used:
            assert re.match(r"\./|[\w./-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+$", action), f"{path.name}: {action}"
        assert "permissions: {}\n" in path.read_text()
