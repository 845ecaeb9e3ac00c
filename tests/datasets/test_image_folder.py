"""Folders of images: PNG and JPEG of every mode, and what is in folders besides them."""

from __future__ import annotations

import re
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fastnn import datasets
from fastnn._core.extras import way_to
from fastnn._core.typing import Array
from support.cases import each
from support.dataset_files import make_mnist

Image: Any = pytest.importorskip("PIL.Image")


def put(path: Path, pixels: Array | None = None, mode: str | None = None) -> Path:
    """Write an image, by default of a colour that its path decides."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if pixels is None:
        pixels = np.full((4, 5, 3), sum(path.name.encode()) % 256, np.uint8)
    image = Image.fromarray(pixels)
    (image if mode is None else image.convert(mode)).save(path)
    return path


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Two classes of three images each."""
    for name in ("dog", "cat"):
        for place in range(3):
            put(tmp_path / "data" / name / f"{place}.png")
    return tmp_path / "data"


def test_classes_are_folders(root: Path) -> None:
    x, y = datasets.folder(root)
    assert (x.shape, x.dtype.name) == ((6, 3, 4, 5), "uint8")
    assert y.tolist() == ["cat"] * 3 + ["dog"] * 3
    assert x[:3, 0, 0, 0].tolist() == [sum(f"{place}.png".encode()) % 256 for place in range(3)]
    source = datasets.load(root)
    np.testing.assert_array_equal(source.train[0], x)
    assert source.train[1].tolist() == [0, 0, 0, 1, 1, 1]
    assert (source.name, source.classes, source.test, source.layout) == ("data", ("cat", "dog"), None, "nchw")
    assert source.about == ("images: 6 of 3 x 4 x 5", "classes (2): cat, dog")


def test_what_else_is_in_the_folders(root: Path) -> None:
    expected = datasets.folder(root)[0]
    put(root / ".cache" / "a.png")
    put(root / "cat" / ".hidden.png")
    (root / "cat" / "notes.txt").write_text("no image")
    (root / "cat" / "loop").symlink_to(root)
    x, y = datasets.folder(root)
    assert len(x) == len(expected) + 3  # dog's once more, and not cat's again
    (root / "cat" / "loop").unlink()
    nested = put(root / "dog" / "more" / "deep" / "B.PNG")
    (root / "dog" / "linked.jpg").symlink_to(nested)
    x, y = datasets.folder(root)
    assert (len(x), y.tolist().count("dog")) == (8, 5)


RAMP = np.arange(20, dtype=np.uint8).reshape(4, 5) * 12


@each(
    ("mode", "channels", "ending"),
    [
        ("L", 1, "png"), ("LA", 2, "png"), ("RGB", 3, "png"), ("RGBA", 4, "png"), ("1", 1, "png"),
        ("P", 3, "png"), ("L", 1, "jpg"), ("RGB", 3, "JPEG"), ("CMYK", 3, "jpg"),
    ],
)  # fmt: skip
def test_modes(mode: str, channels: int, ending: str, tmp_path: Path) -> None:
    folder = tmp_path / f"{mode}{ending}"
    for name in ("a", "b"):
        put(folder / name / f"1.{ending}", RAMP, mode)
    x, _ = datasets.folder(folder)
    assert (x.shape, x.dtype.name) == ((2, channels, 4, 5), "uint8")
    if mode in ("L", "RGB", "P", "RGBA") and ending == "png":
        np.testing.assert_array_equal(x[0, 0], RAMP)
    assert datasets.folder(folder, mode="RGB")[0].shape == (2, 3, 4, 5)
    assert datasets.folder(folder, mode="L", size=(2, 7))[0].shape == (2, 1, 2, 7)


def test_a_palette_with_transparency(tmp_path: Path) -> None:
    image = Image.fromarray(RAMP).convert("P")
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        image.save(tmp_path / name / "1.png", transparency=0)
    x, _ = datasets.folder(tmp_path)
    assert x.shape == (2, 4, 4, 5)
    np.testing.assert_array_equal(x[0, 3] == 0, RAMP == 0)


def sixteen_bits(path: Path) -> None:
    put(path, RAMP.astype(np.uint16) * 256)


def other_size(path: Path) -> None:
    put(path, np.zeros((4, 6, 3), np.uint8))


def other_mode(path: Path) -> None:
    put(path, RAMP)


def cut(path: Path) -> None:
    put(path, np.random.default_rng(0).integers(0, 255, (40, 50, 3)).astype(np.uint8))
    path.write_bytes(path.read_bytes()[:300])


def text(path: Path) -> None:
    path.write_text("no image", encoding="utf-8")


def empty(path: Path) -> None:
    path.write_bytes(b"")


def gif(path: Path) -> None:
    Image.fromarray(RAMP).save(path, format="GIF")


def link_to_nothing(path: Path) -> None:
    path.symlink_to("nothing.png")


@each(
    ("make", "message"),
    [
        (sixteen_bits, "images must have 8 bits for each channel, got 16; convert them first"),
        (
            other_size,
            "images must be of one mode and size, RGB, 5 x 4 as 0.png, got RGB, 6 x 4; mode",
        ),
        (other_mode, "images must be of one mode and size, RGB, 5 x 4 as 0.png, got L, 5 x 4; mode"),
        (cut, "not a whole PNG or JPEG image: "),
        (text, "not a whole PNG or JPEG image: cannot identify"),
        (empty, "not a whole PNG or JPEG image: cannot identify"),
        (gif, "not a whole PNG or JPEG image: cannot identify"),
        (link_to_nothing, "there is no such file, or a link leads to none"),
    ],
)
def test_the_first_odd_file_is_named(make: Callable[[Path], None], message: str, tmp_path: Path) -> None:
    root = tmp_path / make.__name__
    for name in ("cat/0.png", "cat/1.png", "dog/0.png"):
        put(root / name)
    make(root / "cat" / "odd.png")
    make(root / "dog" / "1.png")
    with pytest.raises((ValueError, FileNotFoundError), match=re.escape(f"{root}/cat/odd.png: {message}")):
        datasets.folder(root)


def test_one_file_of_every_bit_pattern_is_an_error_or_an_image(tmp_path: Path) -> None:
    draw = np.random.default_rng(0)
    for ending in ("png", "jpg"):
        path = put(tmp_path / "a" / f"1.{ending}", draw.integers(0, 255, (9, 9, 3)).astype(np.uint8))
        content = path.read_bytes()
        for place in draw.integers(0, len(content), 150):
            path.write_bytes(content[:place] + bytes([draw.integers(256)]) + content[place + 1 :])
            try:
                datasets.folder(tmp_path)
            except ValueError as error:
                assert str(path) in str(error)  # noqa: PT017
        path.unlink()


def without_classes(root: Path) -> None:
    for name in ("cat", "dog"):
        shutil.rmtree(root / name)


@each(
    ("change", "message"),
    [
        (lambda root: shutil.rmtree(root), "data: there is no such folder"),
        (without_classes, "data: no folders of PNG or JPEG"),
        (lambda root: (root / "emu").mkdir(), "emu: a class must have PNG or JPEG images, got none"),
        (lambda root: put(root / "a.png"), "a.png: images must be in a folder for each class, got one"),
    ],
)
def test_folders_that_are_no_classes(change: Callable[[Path], object], message: str, tmp_path: Path) -> None:
    root = tmp_path / f"{abs(hash(message))}" / "data"
    for name in ("cat", "dog"):
        put(root / name / "0.png")
    change(root)
    with pytest.raises((ValueError, FileNotFoundError), match=re.escape(message)):
        datasets.folder(root)


@each("test", ["test", "val"])
def test_folders_for_training_and_testing(test: str, tmp_path: Path) -> None:
    root = tmp_path / test
    for name in ("train/cat/0.png", "train/cat/1.png", "train/dog/2.png", f"{test}/dog/3.png"):
        put(root / name)
    (x, y), (x_test, y_test) = (datasets.folder(root, train) for train in (True, False))
    assert (len(x), y.tolist(), len(x_test), y_test.tolist()) == (3, ["cat", "cat", "dog"], 1, ["dog"])
    source = datasets.load(root)
    assert source.test is not None
    assert (source.train[1].tolist(), source.test[1].tolist()) == ([0, 0, 1], [1])
    samples = datasets.samples(root)
    assert samples.y is not None
    assert (samples.names, samples.y.tolist(), samples.is_test) == ((f"{test}/dog/3.png",), ["dog"], True)
    put(root / test / "emu" / "4.png")
    with pytest.raises(ValueError, match=f"{test}: classes must be those of .*train, got emu"):
        datasets.load(root)


def test_a_class_may_be_called_train(tmp_path: Path) -> None:
    for name in ("train/0.png", "plane/1.png", "test/2.png"):
        put(tmp_path / name)
    assert datasets.folder(tmp_path)[1].tolist() == ["plane", "test", "train"]
    with pytest.raises(FileNotFoundError, match="there are no folders train and test"):
        datasets.folder(tmp_path, train=False)


@each(
    ("options", "message"),
    [
        ({"size": 0}, "size must be a number of pixels, or (height, width), got 0"),
        ({"size": (1, 2, 3)}, "size must be a number of pixels, or (height, width), got (1, 2, 3)"),
        ({"mode": "HSV"}, "mode must be one of L, LA, RGB, RGBA, got 'HSV'"),
    ],
)
def test_options_that_are_wrong(options: dict[str, Any], message: str, root: Path) -> None:
    for read in (datasets.folder, datasets.load):
        with pytest.raises(ValueError, match=re.escape(message)):
            read(root, **options)
    with pytest.raises(ValueError, match="size and mode are for folders of images, got digits"):
        datasets.load("digits", size=3)


def test_a_folder_of_several_kinds(root: Path) -> None:
    (root / "data_batch_1").write_bytes(b"")
    assert len(datasets.folder(root)[0]) == 6
    with pytest.raises(FileNotFoundError, match="data_batch_2"):  # CIFAR-10's files come first
        datasets.load(root)


def test_without_pillow(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "PIL", None)
    monkeypatch.setitem(sys.modules, "PIL.Image", None)
    with pytest.raises(ImportError, match=re.escape(f"PIL is not installed: {way_to('images')}")):
        datasets.folder(root)


# ---- samples without labels --------------------------------------------------------------------------------


@each(
    ("arrays", "labels", "is_test"),
    [
        ({"x": 1}, None, False),
        ({"x": 1, "y": 2}, 2, False),
        ({"x_test": 1}, None, True),
        ({"x_train": 5, "y_train": 6, "x_test": 1, "y_test": 2}, 2, True),
    ],
)
def test_npz_files(arrays: dict[str, int], labels: int | None, is_test: bool, tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", **{name: np.full((3, 2), value) for name, value in arrays.items()})  # type: ignore[arg-type]
    found = datasets.samples(tmp_path / "a.npz")
    assert (found.x == 1).all()
    assert (None if found.y is None else int(found.y[0, 0])) == labels
    assert ([*found.names], found.is_test) == ([0, 1, 2], is_test)


def test_folders_of_mnist(tmp_path: Path) -> None:
    arrays = make_mnist(tmp_path)
    found = datasets.samples(tmp_path)
    np.testing.assert_array_equal(found.x, arrays["t10k images"])
    assert found.y is not None
    np.testing.assert_array_equal(found.y, arrays["t10k labels"])
    assert (found.is_test, found.about) == (True, ("MNIST: the images for testing",))


def test_a_flat_folder(tmp_path: Path) -> None:
    for name in ("b.png", "a.jpg", ".c.png"):
        put(tmp_path / name)
    found = datasets.samples(tmp_path)
    assert (found.names, found.y, found.x.shape) == (("a.jpg", "b.png"), None, (2, 3, 4, 5))
    with pytest.raises(ValueError, match="columns must be given for a CSV file"):
        datasets.samples(tmp_path / "a.csv")
