"""What a check has found, as records, and the forms in which they are printed. It knows nothing of models."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from fastnn._check.page import Section, as_html, as_markdown
from fastnn._core.files import replacing
from fastnn._version import __version__
from fastnn.train.log import finite

Judgement = Literal["ok", "warning", "failure"]

#: The parts of a check, in the order in which they are printed, and their titles.
PARTS = {
    "data": "Data",
    "loss": "Initial loss",
    "gradients": "Gradients",
    "overfit": "Overfitting a few samples",
    "learning rate": "Learning rate",
    "layers": "Layers",
}


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at: of which part, what was measured, the judgement, and what to do.

    part: "data", "loss", "gradients", "overfit", "learning rate" or "layers"; numbers: what was measured, by
    name.
    """

    part: str
    subject: str
    measured: str
    judgement: Judgement = "ok"
    advice: str = ""
    numbers: Mapping[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        advice = f"\n         -> {self.advice}" if self.advice else ""
        return f"{self.judgement:7}  {self.subject}: {self.measured}{advice}"


@dataclass(frozen=True)
class Report:
    """What `fastnn.check` returns. `str(report)` has short lines for each finding; a notebook shows the page.

    findings: the records, in order. tables: a list of rows, dicts, for a part: of "gradients" and "layers"
    the layers, of "learning rate" the steps of the range test, of "overfit" what was tried. pictures: a PNG
    file for a part, none without matplotlib. about: model, loss, optimizer, samples, seconds, and notes about
    the check itself.
    """

    findings: Sequence[Finding]
    tables: Mapping[str, Sequence[Mapping[str, Any]]]
    pictures: Mapping[str, bytes]
    about: Mapping[str, Any]

    def __str__(self) -> str:
        return "\n".join([*map(str, self.findings), *self.about["notes"], self.summary])

    @property
    def failures(self) -> list[Finding]:
        """The findings that are failures."""
        return [finding for finding in self.findings if finding.judgement == "failure"]

    @property
    def warnings(self) -> list[Finding]:
        """The findings that are warnings."""
        return [finding for finding in self.findings if finding.judgement == "warning"]

    @property
    def summary(self) -> str:
        """How many failures and warnings there are."""
        counts = ((len(self.failures), "failure"), (len(self.warnings), "warning"))
        return ", ".join(f"{n or 'no'} {name}{'s' * (n != 1)}" for n, name in counts)

    def by_part(self) -> list[tuple[str, str, list[Finding]]]:
        """(part, title, its findings), in order, of the parts that were reached."""
        found = {part: [f for f in self.findings if f.part == part] for part in PARTS}
        return [(part, PARTS[part], findings) for part, findings in found.items() if findings]

    def to_dict(self) -> dict[str, Any]:
        """Return everything but the pictures, as JSON can hold it; None for numbers that are not finite."""
        findings = [{**vars(finding), "numbers": dict(finding.numbers)} for finding in self.findings]
        tables = {part: [dict(row) for row in rows] for part, rows in self.tables.items()}
        found: dict[str, Any] = finite(
            {"fastnn": __version__, "about": dict(self.about), "findings": findings, "tables": tables}
        )
        return found

    def to_markdown(self) -> str:
        """Return the report as Markdown, without the pictures."""
        return as_markdown(self._head(), self._sections())

    def to_html(self) -> str:
        """Return the report as one page of HTML, with the pictures in it."""
        return as_html(self._head(), self._sections(), self.about["model"])

    def save(self, folder: str | Path) -> None:
        """Write check.html, check.md and check.json into a folder, each whole or not at all."""
        Path(folder).mkdir(parents=True, exist_ok=True)
        texts = {
            "html": self.to_html(),
            "md": self.to_markdown(),
            "json": json.dumps(self.to_dict(), indent=1),
        }
        for kind, text in texts.items():
            with replacing(Path(folder) / f"check.{kind}") as temporary:
                temporary.write_text(text + "\n", encoding="utf-8")

    def _repr_html_(self) -> str:
        return self.to_html()

    def _head(self) -> list[str]:
        about = self.about
        used = f"{about['samples']} samples; loss {about['loss']}; {about['optimizer']}"
        return [self.summary, f"{used}; {about['seconds']:.1f} s", *about["notes"]]

    def _sections(self) -> list[Section]:
        return [
            Section(
                title,
                [[f.judgement, f.subject, f.measured, f.advice] for f in findings],
                self.tables.get(part, []),
                self.pictures.get(part),
            )
            for part, title, findings in self.by_part()
        ]
