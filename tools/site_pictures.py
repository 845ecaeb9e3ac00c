"""Draws the two pictures of the documentation's first page, docs/speed.svg and docs/chain.svg.

    python -m tools.site_pictures

The numbers are those of the machine that docs/benchmarks.md begins with, so this runs again when that page
changes; tests/docs compares them. Colours are those of the theme, light or dark, where a picture is part of a
page of the site.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import NamedTuple

DOCS = Path(__file__).parents[1] / "docs"

STYLE = """  <style>
    .picture { --ink-here: #1f2933; --soft-here: #66717c; --line-here: #b6bfc8; --bar-here: #0a7d91;
      font-family: Helvetica, Arial, sans-serif; font-size: 13px }
    @media (prefers-color-scheme: dark) {
      .picture { --ink-here: #ced6dd; --soft-here: #9ca4af; --line-here: #48566b; --bar-here: #3fb1c5 } }
    .picture text { fill: var(--pst-color-text-base, var(--ink-here)) }
    .picture .soft { fill: var(--pst-color-text-muted, var(--soft-here)); font-size: 12px }
    .picture .end { text-anchor: end }
    .picture .middle { text-anchor: middle }
    .picture .bar { fill: var(--pst-color-primary, var(--bar-here)) }
    .picture .below { fill: var(--pst-color-text-muted, var(--soft-here)) }
    .picture .line { stroke: var(--pst-color-border, var(--line-here)); fill: none }
    .picture .one { stroke: var(--pst-color-text-base, var(--ink-here)); fill: none }
    .picture .flow { stroke: var(--pst-color-primary, var(--bar-here)); stroke-width: 2; fill: none }
    .picture .tip { fill: var(--pst-color-primary, var(--bar-here)) }
  </style>
"""


class Row(NamedTuple):
    """A bar, and where its number stands: the page's section, the row's first cells, the column's title."""

    label: str
    section: str
    cells: tuple[str, ...]
    column: str


MEANS = "Layers, geometric means, 2 threads"
ACTIVATIONS = "Activations, forward, 2 threads"
GRADIENTS = "Activations, backward, 2 threads"
SIZES = "Layers, every size, 2 threads"
ROWS = [
    Row("dropout", MEANS, ("dropout", "forward"), "torch"),
    Row("batch norm, ReLU, dropout", MEANS, ("batch_norm_relu_dropout", "forward"), "torch"),
    Row("Mish", ACTIVATIONS, ("mish",), "131,072"),
    Row("tanh", ACTIVATIONS, ("tanh",), "131,072"),
    Row("a perceptron, one sample", "Training", ("mlp", "inference", "1x784", "2"), "torch"),
    Row("batch norm", MEANS, ("batch_norm", "forward"), "torch"),
    Row("training a small CNN", "Training", ("cnn", "step", "64x3x32x32", "2"), "torch"),
    Row("softmax", MEANS, ("softmax", "forward"), "torch"),
    Row("Adam (torch: fused)", "Training", ("adam_mlp", "step", "671754", "2"), "torch"),
    Row("training a perceptron", "Training", ("mlp_dropout", "step", "128x784", "2"), "torch"),
    Row("GELU", ACTIVATIONS, ("gelu",), "131,072"),
    Row("layer norm", MEANS, ("layer_norm", "forward"), "torch"),
    Row("sigmoid's gradient", GRADIENTS, ("sigmoid",), "131,072"),
]


def cell(page: str, row: Row) -> str:
    """The cell of the page's first section of this name."""
    section = page.partition(f"\n## {row.section}\n")[2].partition("\n## ")[0]
    table = [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in section.splitlines()
        if line[:1] == "|"
    ]
    column = table[0].index(row.column)
    found = next(cells for cells in table if tuple(cells[: len(row.cells)]) == row.cells)
    return found[column]


def number(text: str) -> float:
    """The ratio of a cell, `**0.86 (1.10)** 12%`."""
    return float(text.strip("*").split()[0])


def speed(page: str) -> str:
    """Bars of torch's time over fastnn's, on a logarithmic axis."""
    bars = sorted(((number(cell(page, row)), row.label) for row in ROWS), reverse=True)
    left, width, step = 190, 200, 24
    height = 44 + step * len(bars)

    def x(ratio: float) -> float:
        return left + width * math.log(ratio / 0.5) / math.log(64)

    lines = [
        f'<text class="soft" x="{x(1):.0f}" y="14" text-anchor="middle">as fast as torch</text>',
        *(
            f'<path class="line" d="M{x(tick):.1f} 22V{height - 20}"/>'
            f'<text class="soft middle" x="{x(tick):.1f}" y="{height - 4}">{tick}</text>'
            for tick in (2, 4, 8, 16, 32)
        ),
    ]
    for i, (ratio, label) in enumerate(bars):
        y = 28 + step * i
        start, end = sorted((x(1), x(ratio)))
        kind = "bar" if ratio >= 1 else "below"
        lines += [
            f'<text class="end" x="{left - 12}" y="{y + 13}">{label}</text>',
            f'<rect class="{kind}" x="{start:.1f}" y="{y + 2}" width="{end - start:.1f}" height="15"/>',
            f'<text x="{max(end, x(1)) + 6:.1f}" y="{y + 13}">{ratio:.2g}</text>',
        ]
    lines.append(f'<path class="one" d="M{x(1):.1f} 22V{height - 20}"/>')
    said = ", ".join(f"{label} {ratio:.2g}" for ratio, label in bars)
    return _svg(440, height, "torch's time divided by fastnn's, float32, two threads", said, lines)


def chain(page: str) -> str:
    """What three functions and one chain of them move: arrows from memory and to it."""
    shape = ("batch_norm_relu_dropout", "forward", "64x64x32x32")
    time = cell(page, Row("", SIZES, shape, "fastnn"))
    torchs = float(time.removesuffix(" ms")) * number(cell(page, Row("", SIZES, shape, "torch")))
    names = ("batch norm", "ReLU", "dropout")
    lines = ['<text x="8" y="20">one after the other: 6 arrays read or written</text>']
    lines += _memory(34, 440)
    for i, name in enumerate(names):
        x = 20 + 140 * i
        lines += [*_arrow(x + 30, 58, 94), *_arrow(x + 90, 94, 58), *_box(x, 94, 120, name)]
    lines += ['<text x="8" y="168">fused, as Sequential does it: 2 arrays</text>']
    lines += _memory(182, 440)
    lines += [*_arrow(50, 206, 242), *_arrow(390, 242, 206), *_box(20, 242, 400, "")]
    lines += [
        f'<text class="middle" x="{80 + 140 * i}" y="262">{name}</text>' for i, name in enumerate(names)
    ]
    lines += [f'<text class="soft middle" x="{150 + 140 * i}" y="262">→</text>' for i in range(2)]
    lines += [
        '<text class="soft middle" x="220" y="292">a piece goes through all while it is in the cache</text>'
    ]
    lines += [
        f'<text class="middle" x="220" y="318">64x64x32x32, forward: {time}; torch: {torchs:.0f} ms</text>'
    ]
    said = "Batch norm, ReLU and dropout in training read and write 6 arrays by themselves, and 2 as a chain."
    return _svg(440, 328, "Three functions, and one chain of them", said, lines)


def _memory(y: int, width: int) -> list[str]:
    return [
        f'<rect class="line" x="8" y="{y}" width="{width - 16}" height="22" rx="3"/>',
        f'<text class="soft middle" x="{width // 2}" y="{y + 15}">memory</text>',
    ]


def _arrow(x: int, start: int, end: int) -> list[str]:
    back = 6 if end < start else -6
    return [
        f'<path class="flow" d="M{x} {start}V{end + back}"/>',
        f'<path class="tip" d="M{x - 5} {end + back}h10L{x} {end}z"/>',
    ]


def _box(x: int, y: int, width: int, name: str) -> list[str]:
    return [
        f'<rect class="line" x="{x}" y="{y}" width="{width}" height="30" rx="4"/>',
        f'<text class="middle" x="{x + width // 2}" y="{y + 20}">{name}</text>',
    ]


def _svg(width: int, height: int, title: str, said: str, lines: list[str]) -> str:
    return (
        '<svg class="picture" xmlns="http://www.w3.org/2000/svg" role="img"'
        f' viewBox="0 0 {width} {height}">\n'
        f"  <title>{title}</title>\n  <desc>{said}</desc>\n{STYLE}"
        + "".join(f"  {line}\n" for line in lines)
        + "</svg>\n"
    )


def main() -> None:
    """Write both pictures."""
    for name, picture in pictures().items():
        (DOCS / name).write_text(picture)


def pictures() -> dict[str, str]:
    """The pictures by their files' names."""
    page = (DOCS / "benchmarks.md").read_text()
    return {"speed.svg": speed(page), "chain.svg": chain(page)}


if __name__ == "__main__":
    main()
