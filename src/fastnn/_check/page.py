"""Tables and pictures as Markdown and as one page of HTML. It knows nothing of what is in them."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any, NamedTuple

COLUMNS = ("judgement", "subject", "measured", "what to do")
MOST_ROWS = 40  # of a table; JSON has all

STYLE = """
:root { color-scheme: light dark; --text: #222; --back: #fff; --line: #ddd; --soft: #666;
  --ok: #2f8f5b; --warning: #b37400; --failure: #c8324a; }
@media (prefers-color-scheme: dark) { :root { --text: #ddd; --back: #16181c; --line: #3a3d44; --soft: #999;
  --ok: #52b788; --warning: #e0a030; --failure: #f0647a; } }
body { font: 15px/1.5 system-ui, sans-serif; max-width: 62em; margin: 2em auto; padding: 0 1em;
  color: var(--text); background: var(--back); }
h1 { font-size: 1.5em; } h2 { font-size: 1.15em; margin: 2em 0 .4em; }
table { border-collapse: collapse; width: 100%; }
th, td { text-align: left; vertical-align: top; padding: .3em .8em .3em 0;
  border-bottom: 1px solid var(--line); }
th { color: var(--soft); font-weight: normal; }
.findings { table-layout: fixed; } .findings th:nth-child(1) { width: 6em; }
.findings th:nth-child(2) { width: 24%; } .findings th:nth-child(3) { width: 30%; }
.ok { color: var(--ok); } .warning { color: var(--warning); } .failure { color: var(--failure); }
.ok, .warning, .failure { font-weight: 600; }
img { max-width: 100%; margin-top: 1em; }
pre { white-space: pre-wrap; color: var(--soft); }
details { margin-top: .8em; color: var(--soft); font-size: .9em; overflow-x: auto; }
"""


class Section(NamedTuple):
    """A part of the page: its findings, in the columns above, the numbers behind them, and a picture."""

    title: str
    findings: list[list[str]]
    numbers: Sequence[Mapping[str, Any]]
    picture: bytes | None


def as_markdown(head: Sequence[str], sections: Sequence[Section]) -> str:
    """The page as Markdown; head: the paragraphs before the sections."""
    lines = ["# fastnn check", *[line for text in head for line in ("", text)]]
    for section in sections:
        lines += ["", f"## {section.title}", "", *_markdown_table(COLUMNS, section.findings)]
        if section.numbers:
            lines += ["", *_markdown_table(*_cells(section.numbers))]
    return "\n".join(lines)


def as_html(head: Sequence[str], sections: Sequence[Section], model: str) -> str:
    """The page as HTML, which needs no other file; model: what is shown of it."""
    body = ["<h1>fastnn check</h1>", *[f"<p>{escape(text)}</p>" for text in head]]
    body.append(f"<details><summary>the model</summary><pre>{escape(model)}</pre></details>")
    for section in sections:
        body += [f"<h2>{escape(section.title)}</h2>", _html_table(COLUMNS, section.findings)]
        if section.picture is not None:
            data = base64.b64encode(section.picture).decode()
            body.append(f'<img alt="{escape(section.title)}" src="data:image/png;base64,{data}">')
        if section.numbers:
            table = _html_table(*_cells(section.numbers))
            body.append(f"<details><summary>numbers</summary>{table}</details>")
    meta = '<meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">'
    top = f"<head>{meta}<title>fastnn check</title><style>{STYLE}</style></head>"
    return "\n".join(["<!doctype html>", '<html lang="en">', top, "<body>", *body, "</body>", "</html>"])


def _cells(rows: Sequence[Mapping[str, Any]]) -> tuple[list[str], list[list[str]]]:
    """The names and the texts of a table of numbers; histograms are for the picture and for JSON."""
    names = [name for name, value in rows[0].items() if not isinstance(value, list)]
    step = -(-len(rows) // MOST_ROWS)
    return names, [[_text(row[name]) for name in names] for row in rows[::step]]


def _text(value: Any) -> str:
    if value is None:
        return ""
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def _markdown_table(names: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    cells = [[cell.replace("|", "\\|").replace("\n", " ") for cell in row] for row in rows]
    return [f"| {' | '.join(row)} |" for row in (names, ["---"] * len(names), *cells)]


def _html_table(names: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    head = "".join(f"<th>{escape(name)}</th>" for name in names)
    body = "".join(f"<tr>{''.join(map(_html_cell, row))}</tr>" for row in rows)
    style = ' class="findings"' if names == COLUMNS else ""
    return f"<table{style}><tr>{head}</tr>{body}</table>"


def _html_cell(text: str) -> str:
    style = f' class="{text}"' if text in ("ok", "warning", "failure") else ""
    return f"<td{style}>{escape(text)}</td>"
