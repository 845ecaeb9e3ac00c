"""Runs the examples of a page of the documentation; a block goes on where the last one ended."""

from __future__ import annotations

import doctest

from support.documents import ROOT, blocks


def run_page(name: str) -> None:
    code = "\n".join(blocks((ROOT / "docs" / name).read_text(), "python"))
    report: list[str] = []
    example = doctest.DocTestParser().get_doctest(code, {}, name, None, 0)
    result = doctest.DocTestRunner().run(example, out=report.append)
    assert result.attempted
    assert not result.failed, "".join(report)
