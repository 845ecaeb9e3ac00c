"""The documentation site: it builds without a warning, and has every public name, page and picture."""

from __future__ import annotations

import importlib
import inspect
import os
import pkgutil
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from urllib.parse import unquote, urldefrag

import pytest

import fastnn
from support.documents import ROOT
from support.pages import run_page
from tools import site_pictures

DOCS = ROOT / "docs"
# Programs: their options are their interface.
PROGRAMS = ("fastnn.bench", "fastnn.cli", "fastnn.cuda.")


def public_modules() -> Iterator[ModuleType]:
    """The modules that say what is public of them, and whose package does not say it for them."""
    yield fastnn
    for found in pkgutil.walk_packages(fastnn.__path__, "fastnn."):
        if "._" in found.name or found.name.startswith(PROGRAMS):
            continue
        module = importlib.import_module(found.name)
        parent = importlib.import_module(found.name.rpartition(".")[0])
        names = getattr(module, "__all__", [])
        if names and not all(getattr(parent, name, None) is getattr(module, name) for name in names):
            yield module


def public_names() -> set[str]:
    return {
        f"{module.__name__}.{name}"
        for module in public_modules()
        for name in module.__all__
        if not inspect.ismodule(getattr(module, name))
    }


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site, without the pictures of the gallery, whose scripts run in test_gallery.py."""
    for package in ("myst_parser", "numpydoc", "pydata_sphinx_theme", "sphinx_design", "sphinx_gallery"):
        pytest.importorskip(package)
    out = tmp_path_factory.mktemp("site")
    options = ["-q", "-W", "--keep-going", "-D", "plot_gallery=0", "-d", str(out / "doctrees")]
    place = os.pathsep.join([str(Path(fastnn.__path__[0]).parent), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(
        [sys.executable, "-m", "sphinx", *options, str(DOCS), str(out / "html")],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": place},
    )
    assert done.returncode == 0, done.stderr
    return out / "html"


def inventory(site: Path) -> set[str]:
    from sphinx.util.inventory import InventoryFile

    found = InventoryFile.loads((site / "objects.inv").read_bytes(), uri="")
    return {name for kind, names in found.data.items() if kind.startswith("py:") for name in names}


def test_the_reference_has_every_public_name(site: Path) -> None:
    assert len(public_names()) > 500
    assert public_names() <= inventory(site)


def test_public_things_have_docstrings() -> None:
    for name in public_names():
        module, _, last = name.rpartition(".")
        thing = getattr(importlib.import_module(module), last)
        assert not callable(thing) or inspect.getdoc(thing), name


def test_links_within_the_site_lead_somewhere(site: Path) -> None:
    pages = {page: page.read_text() for page in site.rglob("*.html") if "_static" not in page.parts}
    assert len(pages) > 100
    anchors = {page: set(re.findall(r'\bid="([^"]+)"', text)) for page, text in pages.items()}
    outside = set()
    for page, text in pages.items():
        for target in set(re.findall(r'(?:href|src)="([^"]+)"', text)):
            if re.match(r"\w+:", target):
                outside.add(urldefrag(target)[0])
                continue
            path, anchor = urldefrag(unquote(target.partition("?")[0] if "#" not in target else target))
            file = (page.parent / path).resolve() if path else page
            assert file.is_file(), (page.name, target)
            assert not anchor or file not in anchors or anchor in anchors[file], (page.name, target)
    print(*sorted(outside), sep="\n")  # of other places, which are not asked


def test_the_site_is_small(site: Path) -> None:
    sizes = [path.stat().st_size for path in site.rglob("*") if path.is_file()]
    assert sum(sizes) < 13.5e6  # 15 MB with the gallery's pictures


def test_pages_have_their_pictures_and_say_what_is_in_them() -> None:
    for page in DOCS.glob("*.md"):
        for said, picture in re.findall(r"!\[([^]]*)\]\(([^)]+)\)", page.read_text()):
            assert said, (page.name, picture)
            assert (DOCS / picture).is_file(), (page.name, picture)


@pytest.mark.parametrize("name", ["speed.svg", "chain.svg"])
def test_pictures_of_the_first_page_have_the_numbers_of_the_benchmarks(name: str) -> None:
    assert (DOCS / name).read_text() == site_pictures.pictures()[name]


def test_the_quick_start_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, threads: None) -> None:
    for package in ("sklearn", "safetensors"):
        pytest.importorskip(package)
    monkeypatch.chdir(tmp_path)
    run_page("quickstart.md")
