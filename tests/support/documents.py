"""The code blocks of a page of the documentation."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]


def blocks(text: str, language: str) -> list[str]:
    """The fenced blocks of code in this language."""
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.M | re.S)
