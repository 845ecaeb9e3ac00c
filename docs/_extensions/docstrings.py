"""Docstrings of the reference, through numpydoc.

fastnn's docstrings are prose: `name: what it is` at the beginning of a line or a sentence describes a
parameter, words in single backticks are code, and nothing else is markup. Here they become numpydoc's
sections, with the types of the signature, and numpydoc makes reStructuredText of them. It is called as a
library: as an extension it would do so twice for each object, and compile its template each time.
"""

from __future__ import annotations

import inspect
import re
from typing import Any

from numpydoc.docscrape_sphinx import SphinxDocString
from sphinx.application import Sphinx

TEMPLATE = SphinxDocString("").template
NAMES = r"\*{0,2}[A-Za-z_]\w*"
#: The begin of a parameter's description, `weight, bias: `.
ENTRY = re.compile(rf"(?:^|(?<=[.;]\s))({NAMES}(?:(?:,\s| and\s){NAMES})*):\s", re.MULTILINE)
#: A sentence that ends such a description.
AFTER = re.compile(r"(?<=[.;]\s)(?=Returns? |Raises )")
CODE = re.compile(r"(`+[^`]+`+)")


def process(app: Sphinx, what: str, name: str, obj: Any, options: Any, lines: list[str]) -> None:
    """Rewrite one docstring in place; Sphinx calls this for each."""
    if name.startswith("fastnn"):
        text = sections("\n".join(lines), types_of(obj))
        lines[:] = [*str(SphinxDocString(text, {"template": TEMPLATE})).rstrip().splitlines(), ""]


def types_of(obj: Any) -> dict[str, str]:
    """The parameters of a function or class, with their types as they are written."""
    try:
        parameters = inspect.signature(obj).parameters.values()
    except (TypeError, ValueError):
        return {}
    return {p.name: p.annotation if isinstance(p.annotation, str) else "" for p in parameters}


def sections(text: str, types: dict[str, str]) -> str:
    """A docstring with the section Parameters, and Notes for what comes after the first description."""
    before, described, after = [], [], []
    for paragraph in re.split(r"\n\s*\n", text.strip("\n")):
        if re.match(r"\s", paragraph):
            (after if described else before).append(_block(paragraph))
            continue
        for part in _parts(paragraph, types):
            if isinstance(part, tuple):
                described.append(part)
            elif part:
                (after if described else before).append(prose(part))
    result = "\n\n".join(before)
    if described:
        result += "\n\nParameters\n----------\n"
        for names, description in described:
            kind = types[names[0].lstrip("*")]
            escaped = ", ".join(name.replace("*", "\\*") for name in names)
            result += f"{escaped} : {kind}\n" if kind else f"{escaped}\n"
            result += "".join(f"    {line}\n" for line in prose(description).splitlines())
    if after:
        result += "\n\nNotes\n-----\n" + "\n\n".join(after)
    return result


def _parts(paragraph: str, types: dict[str, str]) -> list[str | tuple[list[str], str]]:
    """A paragraph as prose, and pairs of parameters' names and what is said of them."""
    entries = []
    for match in ENTRY.finditer(paragraph):
        names = re.split(r",\s| and\s", match[1])
        if all(name.lstrip("*") in types for name in names):
            entries.append((match, names))
    if not entries:
        return [paragraph]
    parts: list[str | tuple[list[str], str]] = [paragraph[: entries[0][0].start()].strip()]
    ends = [match.start() for match, _ in entries[1:]] + [len(paragraph)]
    for (match, names), end in zip(entries, ends, strict=True):
        description, *rest = AFTER.split(paragraph[match.end() : end].strip())
        parts += [(names, description.strip()), "".join(rest).strip()]
    return parts


def _block(paragraph: str) -> str:
    """Indented lines are code."""
    return ".. code-block:: python\n\n" + "\n".join(f"    {line}" for line in paragraph.splitlines())


def prose(text: str) -> str:
    """Single backticks as code, and signs that are markup in reStructuredText as themselves."""
    parts = CODE.split(text)
    for i, part in enumerate(parts):
        if i % 2:
            parts[i] = f"``{' '.join(part.strip('`').split())}``"
        else:
            parts[i] = re.sub(r"(?<=\w)_(?!\w)", r"\\_", re.sub(r"([\\*|])", r"\\\1", part))
    prose = "".join(parts)
    return prose if prose.startswith("- ") else re.sub(r"^([+-])(?= )", r"\\\1", prose, flags=re.MULTILINE)
