"""Writes the sources of the API reference: docs/api, which git ignores, a page for each module in api.md.

What a page shows is the module's `__all__`. A module of many names has a page for each file that defines
some of them. tests/docs/test_site.py compares the built site with the package.
"""

from __future__ import annotations

import importlib
import inspect
import re
import sys
from collections.abc import Iterable
from pathlib import Path
from types import GenericAlias, ModuleType
from typing import Any

from docstrings import prose
from sphinx.application import Sphinx
from sphinx.ext.autodoc.mock import mock

#: The public modules, in the order of the reference.
PAGES = re.findall(r"^api/(\S+)$", (Path(__file__).parents[1] / "api.md").read_text(), re.MULTILINE)

#: What is neither a class nor a function has no docstring.
DATA = {
    "fastnn.__version__": "The version of fastnn that is installed.",
    "fastnn.nn.ACTIVATIONS": "The layers of activations whose result has the input's shape, by function.",
    "fastnn.train.Record": "An epoch's numbers by name: epoch, step, lr, loss, metrics, val\\_..., seconds.",
    "fastnn.search.Range": "What a hyperparameter is drawn from: one of Optuna's distributions.",
    "fastnn.preprocessing.LAYOUTS": "The orders of the axes of images that ``Images`` takes.",
}

#: The end of a summary: of a sentence, or of a formula before what explains it.
SUMMARY = re.compile(r"(?<=\.)\s|[;:]\s|\n\n")

#: Methods that scikit-learn gives to estimators.
REQUEST = re.compile(r"set_\w+_request")

#: A module with more names than this has several pages.
LONG = 60


def names_of(module: ModuleType) -> list[str]:
    """What a module makes public, without the modules in it, which have pages of their own."""
    return [name for name in module.__all__ if not inspect.ismodule(getattr(module, name))]


def public_objects() -> dict[str, Any]:
    """Every public object by its full name. A name that is defined by another public module comes twice."""
    modules = [importlib.import_module(page) for page in PAGES]
    return {
        f"{module.__name__}.{name}": getattr(module, name) for module in modules for name in names_of(module)
    }


def write_pages(app: Sphinx) -> None:
    """Write the pages; those that did not change are left alone, so that Sphinx does not read them again."""
    folder = Path(app.srcdir, "api")
    folder.mkdir(exist_ok=True)
    with mock(app.config.autodoc_mock_imports):
        public = {id(thing) for thing in public_objects().values()}
        texts = {name: text for page in PAGES for name, text in _module_pages(page, public).items()}
    for path in folder.glob("*.rst"):
        if path.name not in texts:
            path.unlink()
    for name, text in texts.items():
        path = folder / name
        if not path.exists() or path.read_text() != text:
            path.write_text(text)


def _module_pages(page: str, public: set[int]) -> dict[str, str]:
    module = importlib.import_module(page)
    names = names_of(module)

    def entries(members: Iterable[str]) -> str:
        return "".join(_entry(module, name, public) for name in members)

    head = f"{_title(page)}\n.. automodule:: {page}\n   :no-members:\n\n.. currentmodule:: {page}\n\n"
    if len(names) <= LONG:
        return {f"{page}.rst": head + _table(module, names) + entries(names)}
    groups = _groups(module, names)
    own, pages = "", {}
    for file, (title, members) in groups.items():
        if file == "":  # what has no file to be named after stands on the module's own page
            own += entries(members)
            continue
        body = f"{_title(title)}\n.. currentmodule:: {page}\n\n{_table(module, members)}{entries(members)}"
        pages[f"{page}.{file}.rst"] = body
        head += f".. rubric:: {title}\n\n{_table(module, members)}"
    toctree = ".. toctree::\n   :hidden:\n\n" + "".join(f"   {Path(name).stem}\n" for name in pages)
    return {f"{page}.rst": f"{head}{own}\n{toctree}", **pages}


def _groups(module: ModuleType, names: Iterable[str]) -> dict[str, tuple[str, list[str]]]:
    """Names by the file that defines them, with the first words of the file's docstring as their title."""
    groups: dict[str, tuple[str, list[str]]] = {}
    for name in names:
        home = getattr(getattr(module, name), "__module__", "")
        title = (sys.modules[home].__doc__ or "") if home else ""
        title = re.split(r"[.:;]\s|\.$| in plain NumPy| as layers", title)[0]
        groups.setdefault(home.rpartition(".")[2].lstrip("_"), (title, []))[1].append(name)
    return dict(sorted(groups.items(), key=lambda group: group[1][0].lower()))


def _title(text: str) -> str:
    return f"{text}\n{'=' * len(text)}\n"


def _table(module: ModuleType, names: list[str]) -> str:
    """Names with the first sentence of what is said of each."""
    if len(names) < 2:
        return ""
    rows = ""
    for name in names:
        summary = SUMMARY.split((inspect.getdoc(getattr(module, name)) or "").strip())[0]
        full = f"{module.__name__}.{name}"
        text = DATA.get(full) or prose(" ".join(summary.split()))
        rows += f"   * - :py:obj:`{name} <{full}>`\n     - {text}\n"
    return f".. list-table::\n   :class: names\n   :widths: auto\n\n{rows}\n"


def _entry(module: ModuleType, name: str, public: set[int]) -> str:
    thing = getattr(module, name)
    if inspect.isroutine(thing):
        return f".. autofunction:: {name}\n\n"
    if not isinstance(thing, type) or isinstance(thing, GenericAlias):
        return f".. py:data:: {name}\n\n   {DATA[f'{module.__name__}.{name}']}\n\n"
    options = "   :members:\n   :show-inheritance:\n"
    if name != "Module":  # what a layer's repr() shows, in each of them, and what scikit-learn adds
        hidden = ["extra_repr", *(member for member in dir(thing) if REQUEST.fullmatch(member))]
        options += f"   :exclude-members: {', '.join(hidden)}\n"
    if any(base.__module__.startswith("fastnn.") and id(base) not in public for base in thing.__mro__[1:]):
        # Bases that are not public themselves: what comes of them is shown here.
        stop = [base.__name__ for base in thing.__mro__[1:] if _is_foreign(base) or id(base) in public]
        options += f"   :inherited-members: {', '.join(stop)}\n"
    return f".. autoclass:: {name}\n{options}\n"


def _is_foreign(base: type) -> bool:
    return not base.__module__.startswith("fastnn.")
