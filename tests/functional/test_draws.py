"""The stream of random draws: the published table of bits, and a slice of what a battery of tests looks at.

docs/random.md has the scheme, the table and the result of the whole battery (tools/battery.py).
"""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats

from fastnn import Key, _kernels
from fastnn._core.typing import Array
from fastnn.reference.philox import philox4x32
from support.cases import each

PAGE = Path(__file__).parents[2] / "docs" / "random.md"
N = 1 << 21  # draws


# ---- the published bits ------------------------------------------------------------------------------------


def published() -> list[tuple[int, int, int, int, bytes]]:
    """The rows of the page's table: seed, offset, first, threshold, bits."""
    rows = re.findall(
        r"^\| (\d+) \| (\d+) \| (\d+) \| [\d.]+ \| (\d+) \| `([0-9a-f]+)` \|$", PAGE.read_text(), re.M
    )
    return [(int(s), int(o), int(f), int(t), bytes.fromhex(b)) for s, o, f, t, b in rows]


def test_the_page_has_a_table() -> None:
    assert len(published()) >= 10


@each("row", published())
def test_published_bits(row: tuple[int, int, int, int, bytes], isa: str) -> None:
    seed, offset, first, threshold, expected = row
    count = 8 * len(expected)
    packed, mask = np.empty(len(expected), np.uint8), np.empty(count, np.bool_)
    for out in (packed, mask):
        _kernels.dropout_mask(out, count, (seed, offset), threshold, first)
    assert packed.tobytes() == expected
    assert np.packbits(mask, bitorder="little").tobytes() == expected


@each("row", published())
def test_published_bits_are_the_definitions(row: tuple[int, int, int, int, bytes]) -> None:
    """Element by element, from the reference's blocks."""
    seed, offset, first, threshold, expected = row
    low = 2**32 - 1
    for i in range(8 * len(expected)):
        block, draw = divmod(first + i, 8)
        words = philox4x32([block & low, block >> 32, offset & low, offset >> 32], [seed & low, seed >> 32])
        value = int(words[draw // 2]) >> 16 * (draw % 2) & 0xFFFF
        assert (value < threshold) == bool(expected[i // 8] >> i % 8 & 1), i


# ---- statistics --------------------------------------------------------------------------------------------

Draws = NDArray[np.uint16]


@cache
def stream(name: str) -> Draws:
    """N draws along the index, the offset or the seed: what one call, one model, many runs use."""
    if name in ("index", "far index"):
        return _kernels.draw_blocks(Key(1, 0), 0 if name == "index" else 2**33, N // 8)
    keys = [Key(7, k) if name == "offset" else Key(k, 7) for k in range(N // 512)]
    return np.concatenate([_kernels.draw_blocks(key, 3, 64) for key in keys])


STREAMS = pytest.mark.parametrize("draws", ["index", "far index", "offset", "seed"], indirect=True)


@pytest.fixture
def draws(request: pytest.FixtureRequest) -> Draws:
    return stream(request.param)


def check_chi_square(counts: Array, expected: float) -> None:
    """Neither too uneven nor too even. The draws are the same in every run, so chance has no part in it."""
    statistic = float(((counts - expected) ** 2 / expected).sum())
    p = stats.chi2.sf(statistic, counts.size - 1)
    assert 1e-4 < p < 1 - 1e-4, f"chi-square {statistic:.1f} of {counts.size} cells, p = {p:.2g}"


def check_pairs(a: Draws, b: Draws) -> None:
    """The upper, and the lower, six bits of the two are independent."""
    for x, y in ((a >> 10, b >> 10), (a & 63, b & 63)):
        cells = np.bincount((x.astype(np.int64) << 6 | y).reshape(-1), minlength=4096)
        check_chi_square(cells, a.size / 4096)


@STREAMS
def test_every_place_in_a_block_is_even(draws: Draws) -> None:
    for place in range(8):
        part = draws[place::8]
        check_chi_square(np.bincount(part >> 6, minlength=1024), part.size / 1024)
        check_chi_square(np.bincount(part & 1023, minlength=1024), part.size / 1024)


@STREAMS
def test_every_bit_is_even(draws: Draws) -> None:
    for bit in range(16):
        ones = int((draws >> bit & 1).sum(dtype=np.int64))
        assert abs(ones - draws.size / 2) < 4 * np.sqrt(draws.size) / 2, bit


@STREAMS
@each("lag", [1, 2, 3, 4, 5, 6, 7, 8, 16, 64, 256, 512])
def test_pairs_at_a_distance(draws: Draws, lag: int) -> None:
    """Neighbours, blocks, and with 512 the same element of the next offset or seed."""
    check_pairs(draws[:-lag], draws[lag:])


@STREAMS
@each("lag", [1, 8, 512])
def test_no_serial_correlation(draws: Draws, lag: int) -> None:
    centred = draws.astype(np.float64) - 32767.5
    r = float((centred[:-lag] * centred[lag:]).mean()) / ((2.0**32 - 1) / 12)
    assert abs(r) * np.sqrt(draws.size - lag) < 4


@pytest.mark.parametrize("p", [2**-10, 0.1, 0.5, 0.9])
def test_as_many_are_kept_as_should_be(p: float) -> None:
    threshold = round((1 - p) * 65536)
    for key in (Key(1, 0), Key(1, 1), Key(2, 0)):
        mask = np.empty(8 * N, np.bool_)
        _kernels.dropout_mask(mask, mask.size, key, threshold)
        keep = threshold / 65536
        assert abs(mask.sum() - keep * mask.size) < 4 * np.sqrt(mask.size * keep * (1 - keep))


def test_runs_of_dropped_elements_are_geometric() -> None:
    mask = np.empty(N, np.bool_)
    _kernels.dropout_mask(mask, N, Key(5, 5), 32768)
    lengths = np.diff(np.flatnonzero(mask)) - 1
    counts = np.bincount(np.minimum(lengths, 12), minlength=13)
    expected = lengths.size * np.array([*(0.5 ** np.arange(1, 13)), 0.5**12])
    p = stats.chisquare(counts, expected).pvalue
    assert 1e-4 < p < 1 - 1e-4
