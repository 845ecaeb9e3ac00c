"""How long kernels take to compile: a table of docs/gpu.md.

python -m tools.gpu.compile_times

Of each template the first, the middle and the last of its examples, for compute capability 9.0, without the
cache, one after the other in one process. A process's first kernel takes about a second more, to load the
compiler, which is left out. Processor time, so that other programs do not count.
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import fastnn
from fastnn._warm_up.building import templates
from tools.accuracy.report import markdown

CAPABILITY = (9, 0)
SLOW = 1.0  # seconds
PAGE = Path(__file__).resolve().parents[2] / "docs" / "gpu.md"
BEGIN, END = "<!-- table: python -m tools.gpu.compile_times -->\n", "<!-- end of the compile times -->"


def measured() -> dict[str, list[float]]:
    """The seconds of some kernels, by template."""
    found: dict[str, list[float]] = {}
    first = True
    for name, template in templates().items():
        keys = list(template.examples())
        for key in dict.fromkeys((keys[0], keys[len(keys) // 2], keys[-1])):
            if first:
                template._compiled(CAPABILITY, key, False)  # loads the compiler
                first = False
            start = time.process_time()
            template._compiled(CAPABILITY, key, False)
            found.setdefault(name, []).append(time.process_time() - start)
            print(f"{found[name][-1]:5.2f} s {name} {key!r}", file=sys.stderr, flush=True)
    return found


def text(found: Mapping[str, Sequence[float]]) -> str:
    """The median of all kernels, and a row for each template with slow ones, the slowest first."""
    every = [seconds for each in found.values() for seconds in each]
    slow = [(name, each) for name, each in found.items() if max(each) >= SLOW]
    table = [
        ["template", "kernels", "fastest", "slowest"],
        *(
            [name, str(len(each)), f"{min(each):.1f} s", f"{max(each):.1f} s"]
            for name, each in sorted(slow, key=lambda item: -max(item[1]))
        ),
    ]
    head = f"Of {len(every)} kernels, on one core ({fastnn.info()['cpu']}), half take less than"
    rest = f"{statistics.median(every):.1f} s; those that are not in the table take less than {SLOW:g} s:"
    return f"{head}\n{rest}\n\n{markdown(table)}"


def filled(page: str, new: str) -> str:
    """The page with this table in place of the one that it has."""
    before, _, rest = page.partition(BEGIN)
    _, _, after = rest.partition(END)
    return before + BEGIN + new + "\n" + END + after


if __name__ == "__main__":
    PAGE.write_text(filled(PAGE.read_text(encoding="utf-8"), text(measured())), encoding="utf-8")
