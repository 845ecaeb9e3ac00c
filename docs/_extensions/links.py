"""Links: those of a code host that lead elsewhere in the site, and code that is a public name."""

from __future__ import annotations

import re
from typing import Any

from api_pages import PAGES, public_objects
from docutils import nodes
from sphinx.addnodes import pending_xref
from sphinx.application import Sphinx
from sphinx.ext.autodoc.mock import mock
from sphinx.transforms import SphinxTransform

#: The module whose names stand on a page without it.
MODULES = {
    "functions": "fastnn.functional",
    "layers": "fastnn.nn",
    "optim": "fastnn.optim",
    "schedules": "fastnn.optim.lr_scheduler",
    "init": "fastnn.init",
    "training": "fastnn.train",
    "augmentation": "fastnn.augment",
    "preprocessing": "fastnn.preprocessing",
    "datasets": "fastnn.datasets",
    "models": "fastnn.models",
    "ensembles": "fastnn.ensemble",
    "hyperparameters": "fastnn.search",
    "sklearn": "fastnn.sklearn",
}
#: What texts and examples call modules.
SHORT = {"F": "fastnn.functional", "lr_scheduler": "fastnn.optim.lr_scheduler"}
#: What has no links in it.
NO_LINKS = (nodes.reference, pending_xref, nodes.title)
NAME = re.compile(r"[A-Za-z_][\w.]*")


def links_of_the_site(app: Sphinx, docname: str, content: list[str]) -> None:
    """Rewrite links of a page: the gallery is in the site, most other files of the repository are not."""
    text = re.sub(r"\]\(gallery/(plot_\w+)\.py\)", r"](auto_gallery/\1.rst)", content[0])
    text = re.sub(r"\]\(gallery\)", "](auto_gallery/index.rst)", text)
    text = re.sub(r"\]\(\.\./(CHANGELOG|CONTRIBUTING)\.md", lambda match: f"]({match[1].lower()}.md", text)
    content[0] = re.sub(r"\[([^][]*)\]\((?:\.\./[^)]*|\.)\)", r"\1", text)


class NamesAreLinks(SphinxTransform):
    """Code that is the name of something public, with or without arguments, leads to the reference."""

    default_priority = 400

    def apply(self, **kwargs: Any) -> None:
        """Wrap the code of one page."""
        public = self.env.fastnn_names
        module = MODULES.get(self.env.docname, "fastnn")
        for code in list(self.document.findall(nodes.literal)):
            if any(isinstance(parent, NO_LINKS) for parent in _parents(code)):
                continue
            target = _full_name(code.astext(), module, public)
            if target:
                link = pending_xref("", refdomain="py", reftype="obj", reftarget=target, refexplicit=True)
                link["refdoc"] = self.env.docname
                code.replace_self(link)
                link += code


class TypesAreLinks(SphinxTransform):
    """Types in signatures lead to the one public name that ends like them, which Sphinx is slow to find."""

    default_priority = 400

    def apply(self, **kwargs: Any) -> None:
        """Give the types of one page their full names."""
        public = self.env.fastnn_names
        ends: dict[str, str | None] = {}
        for name in public:
            end = name.rpartition(".")[2]
            ends[end] = None if end in ends else name
        for link in self.document.findall(pending_xref):
            if link.get("refdomain") == "py" and "refspecific" in link:
                del link["refspecific"]  # by its presence, Sphinx tries the end of every name that it has
                target = link["reftarget"]
                link["reftarget"] = _full_name(target, "fastnn", public) or ends.get(target) or target


def remember_names(app: Sphinx) -> None:
    """Keep the public names for the pages."""
    with mock(app.config.autodoc_mock_imports):
        app.env.fastnn_names = {*PAGES, *public_objects()}


def _full_name(text: str, module: str, public: set[str]) -> str | None:
    match = NAME.match(text)
    if match is None or text[match.end() :][:1] not in ("", "(", "["):
        return None
    name = match[0]
    first, dot, rest = name.partition(".")
    for full in (name, f"{module}.{name}", f"fastnn.{name}", f"{SHORT.get(first, first)}{dot}{rest}"):
        if full in public and (full == name or full not in PAGES):  # `sklearn` is an extra, too
            return full
    return None


def _parents(node: nodes.Node) -> list[nodes.Node]:
    parents = []
    while node.parent is not None:
        node = node.parent
        parents.append(node)
    return parents
