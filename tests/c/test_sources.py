"""What no C source may have: the same results and one place for the system, on every machine."""

from __future__ import annotations

import re
from pathlib import Path

from support.documents import ROOT

_COMMENT = re.compile(r"//[^\n]*|/\*.*?\*/", re.DOTALL)
_LONG_DOUBLE = re.compile(
    r"\blong\s+double\b|\b__float(80|128)\b|(?<![\w.])(\d+\.\d*|\.\d+|\d+(?=e))(e[+-]?\d+)?l\b", re.IGNORECASE
)
_SYSTEM_FILES = {Path("csrc/runtime", name) for name in ("system.h", "system_posix.c", "system_windows.c")}
_SYSTEM = re.compile(
    r"_WIN32|_WIN64|_MSC_VER|__linux|__APPLE__|__unix|\bpthread_"
    r"|<(pthread|sched|signal|semaphore|time|unistd|windows|sys/[a-z]+|mach/[a-z]+)\.h>"
)


def sources() -> dict[Path, str]:
    """The text of each file of the library, without comments."""
    paths = [*(ROOT / "csrc").rglob("*.[ch]"), *(ROOT / "src/fastnn/_binding").glob("*.h")]
    return {path.relative_to(ROOT): _COMMENT.sub("", path.read_text(encoding="utf-8")) for path in paths}


def long_doubles(text: str) -> list[str]:
    return [found[0] for found in _LONG_DOUBLE.finditer(text)]


def test_results_need_no_long_double() -> None:
    # It has 80 bits on x86-64 but for Windows, 128 on Linux' AArch64, and 64 elsewhere.
    code = "long double a = 1.0L / 3 + 2e5l; __float128 b = .5L; long c = 3L + 0x1e5L; double d = 1e5;"
    assert long_doubles(code) == ["long double", "1.0L", "2e5l", "__float128", ".5L"]
    assert {path: found for path, text in sources().items() if (found := long_doubles(text))} == {}


def test_the_operating_system_is_known_in_one_place() -> None:
    assert {path for path, text in sources().items() if _SYSTEM.search(text)} == _SYSTEM_FILES
