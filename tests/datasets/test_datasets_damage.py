"""Files cut off, changed at any byte, or made of noise: a reader raises ValueError, and nothing else."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fastnn import datasets
from support.dataset_files import FORMS, NUMBERS, PIXELS, idx_bytes, make_cifar, write

Reader = Callable[[Path], object]

READ = "read"
IDX = idx_bytes(np.arange(6, dtype=np.int32).reshape(2, 3))


def small_files(folder: Path) -> dict[Path, Reader]:
    """One small file of every kind, and what reads it."""
    x, y = np.arange(12, dtype=np.float32).reshape(6, 2), np.array([0, 1, 0, 1, 0, 1], np.int16)
    np.savez(folder / "stored.npz", x=x, y=y)
    np.savez_compressed(folder / "compressed.npz", x=x, y=y)
    (folder / "numbers.csv").write_text("a,b,y\n" + NUMBERS)
    write(folder / "numbers.csv", NUMBERS.encode(), compress=True)
    (folder / "idx").write_bytes(IDX)
    write(folder / "idx", IDX, compress=True)
    for form in FORMS:
        place = folder / form
        make_cifar(place, "cifar-100", form)
    readers: dict[Path, Reader] = {folder / f"{kind}.npz": datasets.npz for kind in ("stored", "compressed")}
    readers |= {folder / f"numbers.csv{ending}": datasets.csv for ending in ("", ".gz")}
    readers |= {folder / "idx": datasets.idx, folder / "idx.gz": datasets.idx}
    for form in FORMS:
        name = "test.bin" if form == "binary" else "test"
        readers[folder / form / name] = lambda path: datasets.cifar100(path.parent, train=False)
    return readers


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[Path, tuple[Reader, bytes]]:
    readers = small_files(tmp_path_factory.mktemp("files"))
    return {path: (reader, path.read_bytes()) for path, reader in readers.items()}


def outcome(path: Path, reader: Reader, content: bytes) -> str:
    """READ, or the message of a ValueError after the file's name. No other exception."""
    path.write_bytes(content)
    try:
        reader(path)
    except ValueError as error:
        return str(error).removeprefix(str(path))
    return READ


def test_every_beginning_is_refused(files: dict[Path, tuple[Reader, bytes]]) -> None:
    for path, (reader, content) in files.items():
        assert outcome(path, reader, content) == READ
        steps = {*range(0, len(content), max(1, len(content) // 60)), *range(len(content) - 12, len(content))}
        for end in steps:
            if (
                path.name == "numbers.csv"
                and content[:end].count(b"\n") >= 5
                and not content[:end].endswith(b",")
            ):
                continue  # a whole number less digits, or a row less, is a good CSV file
            if path.name == "test.bin" and end and end % (2 + PIXELS) == 0:
                continue  # whole images
            assert outcome(path, reader, content[:end]).startswith(":"), (path, end)


@settings(max_examples=300, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(st.data())
def test_damaged_files_raise_valueerror_or_are_read(
    files: dict[Path, tuple[Reader, bytes]], data: st.DataObject
) -> None:
    path, (reader, content) = data.draw(st.sampled_from(sorted(files.items(), key=lambda item: item[0])))
    damaged = bytearray(content)
    # Headers are at the beginning and the end: half of the changes go there.
    near = st.integers(0, min(300, len(content) - 1))
    places = st.one_of(near, near.map(lambda i: len(content) - 1 - i), st.integers(0, len(content) - 1))
    for place in data.draw(st.lists(places, min_size=1, max_size=3)):
        damaged[place] = data.draw(st.integers(0, 255))
    cut = data.draw(st.sampled_from([None, None, *range(-3, 0)]))
    content = bytes(damaged[:cut]) + data.draw(st.binary(max_size=2))
    assert outcome(path, reader, content).startswith((":", READ))


@settings(max_examples=200, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(
    st.binary(max_size=200),
    st.sampled_from([b"", b"\x80\x02", b"\x1f\x8b\x08", b"PK\x03\x04", b"\0\0\x08\x01"]),
)
def test_noise_raises_valueerror_or_is_read(
    files: dict[Path, tuple[Reader, bytes]], noise: bytes, head: bytes
) -> None:
    path, (reader, _) = sorted(files.items())[len(noise) % len(files)]
    assert outcome(path, reader, head + noise).startswith((":", READ))


def test_damage_costs_no_memory(tmp_path: Path) -> None:
    """A size in a file does not make a reader take that much memory before it looks at the length."""
    (tmp_path / "idx").write_bytes(b"\0\0\x0e\x01\x0f\xff\xff\xff")
    (tmp_path / "test").write_bytes(b"\x80\x02]r\xff\xff\xff\x0f.")
    tracemalloc.start()
    for read in (lambda: datasets.idx(tmp_path / "idx"), lambda: datasets.cifar100(tmp_path, train=False)):
        with pytest.raises(ValueError, match=r"cut off|remembered"):
            read()
    assert tracemalloc.get_traced_memory()[1] < 2**20
    tracemalloc.stop()
