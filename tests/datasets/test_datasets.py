"""The readers of data sets, on small files of every kind, and on the wrong ones."""

from __future__ import annotations

import gzip
import pickle
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fastnn import datasets
from fastnn._core.extras import way_to
from fastnn._core.typing import Array
from fastnn.datasets.pickles import read_pickle
from support.cases import each
from support.dataset_files import (
    FORMS,
    NUMBERS,
    PIXELS,
    TYPES,
    cifar_batch,
    draw,
    idx_bytes,
    make_cifar,
    make_mnist,
    python2_pickle,
    write,
)
from support.pages import run_page


def same(got: object, expected: Array) -> None:
    assert isinstance(got, np.ndarray)
    assert got.dtype == expected.dtype
    assert got.dtype.isnative
    assert got.flags.writeable
    np.testing.assert_array_equal(got, expected)


def test_the_examples_of_the_page_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    run_page("datasets.md")


# ---- IDX and MNIST -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("compress", [False, True])
@each("shape", [(), (5,), (0,), (2, 3, 4), (3, 0, 2)])
@each("dtype", TYPES)
def test_idx_of_every_dtype(dtype: str, shape: tuple[int, ...], compress: bool, tmp_path: Path) -> None:
    array = (draw().normal(0, 50, shape) if dtype[0] == "f" else draw().integers(-100, 100, shape)).astype(
        dtype
    )
    array = np.asarray(array)
    write(tmp_path / "file", idx_bytes(array), compress)
    same(datasets.idx(tmp_path / ("file" + ".gz" * compress)), array)
    same(datasets.idx(str(tmp_path / ("file" + ".gz" * compress))), array)


def test_idx_bytes_are_those_of_the_format() -> None:
    array = np.array([[1, -2]], np.int16)
    assert idx_bytes(array) == bytes.fromhex("00 00 0b 02 00000001 00000002 0001 fffe")


IDX = idx_bytes(np.arange(6, dtype=np.int32).reshape(2, 3))
GZIPPED = gzip.compress(IDX, mtime=0)  # the time is in the bytes, and they are in a test's name


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "cut off: 0 bytes; an IDX file begins with 4"),
        (IDX[:3], "cut off: 3 bytes"),
        (IDX[:7], "cut off: 7 bytes; 2 sizes end at 12"),
        (IDX[:12], r"cut off: 12 bytes; int32 of shape \(2, 3\) takes 36"),
        (IDX[:-1], r"cut off: 35 bytes; int32 of shape \(2, 3\) takes 36"),
        (IDX + b"\0", "too long: 37 bytes"),
        (b"\1" + IDX[1:], "not an IDX file: it begins with 01 00 0c 02"),
        (b"\0\0\x0a" + IDX[3:], "not an IDX file: it begins with 00 00 0a 02"),
        (b"\0\0\x08\xff" + bytes(255 * 4), "dimension"),
        (b"\0\0\x08\x03" + bytes(4) + b"\xff" * 8, "."),
        (GZIPPED[:-9], "the gzipped file is cut off"),
        (GZIPPED[:5], "the gzipped file is cut off"),
        (GZIPPED[:-8] + bytes(8), "the gzipped file is damaged: CRC"),
        (GZIPPED + b"more", "the gzipped file is damaged: Not a gzipped file"),
        (gzip.compress(IDX[:-1], mtime=0), "cut off: 35 bytes"),
    ],
)  # fmt: skip
def test_idx_files_that_are_refused(content: bytes, message: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(content)
    with pytest.raises(ValueError, match=f"^{tmp_path / 'file'}: .*{message}"):
        datasets.idx(tmp_path / "file")


def test_missing_files_and_folders_in_their_place(tmp_path: Path) -> None:
    for reader in (datasets.idx, datasets.npz, datasets.csv):
        with pytest.raises(FileNotFoundError, match=f"{tmp_path / 'none'}: there is no such file"):
            reader(tmp_path / "none")
        with pytest.raises(ValueError, match=f"{tmp_path}: not a file"):
            reader(tmp_path)


@pytest.mark.parametrize("compress", [False, True])
@pytest.mark.parametrize("style", ["{}-{}-idx{}-ubyte", "{}-{}.idx{}-ubyte"])
@pytest.mark.parametrize("inside", ["", "raw"])
def test_mnist(style: str, inside: str, compress: bool, tmp_path: Path) -> None:
    arrays = make_mnist(tmp_path / inside, style, compress)
    for train, part in ((True, "train"), (False, "t10k")):
        images, labels = datasets.mnist(tmp_path, train)
        same(images, arrays[f"{part} images"])
        same(labels, arrays[f"{part} labels"])


@pytest.mark.parametrize(
    ("array", "file", "message"),
    [
        (np.zeros((7, 28), np.uint8), "train-images-idx3-ubyte", r"must be uint8 .* uint8 of \(7, 28\)"),
        (np.zeros((7, 28, 28), np.int16), "train-images-idx3-ubyte", r"got int16 of \(7, 28, 28\)"),
        (np.zeros((7, 27, 28), np.uint8), "train-images-idx3-ubyte", r"got uint8 of \(7, 27, 28\)"),
        (np.zeros(6, np.uint8), "train-labels-idx1-ubyte", r"must be uint8 of shape \(7,\), .* of \(6,\)"),
        (np.zeros(7, np.int32), "train-labels-idx1-ubyte", r"got int32 of \(7,\)"),
        (np.array([0, 9, 10, 0, 0, 11, 0], np.uint8), "train-labels-idx1-ubyte", "label 2 must be .* 10"),
    ],
)  # fmt: skip
def test_mnist_of_another_form(array: Array, file: str, message: str, tmp_path: Path) -> None:
    make_mnist(tmp_path)
    (tmp_path / file).write_bytes(idx_bytes(array))
    with pytest.raises(ValueError, match=f"{file}: .*{message}"):
        datasets.mnist(tmp_path)


def test_mnist_that_is_not_there(tmp_path: Path) -> None:
    make_mnist(tmp_path)
    (tmp_path / "t10k-labels-idx1-ubyte").unlink()
    datasets.mnist(tmp_path)
    names = "t10k-labels-idx1-ubyte or t10k-labels.idx1-ubyte, plain or with .gz"
    with pytest.raises(FileNotFoundError, match=f"{tmp_path}: there is no file {names}"):
        datasets.mnist(tmp_path, train=False)


# ---- CIFAR -------------------------------------------------------------------------------------------------


def joined(batches: list[dict[str, Any]], key: str) -> Array:
    values = np.concatenate([np.asarray(batch[key]) for batch in batches]).astype(np.uint8)
    return values.reshape(-1, 3, 32, 32) if key == "data" else values


@pytest.mark.parametrize("inside", ["", "cifar-10-batches-py"])
@pytest.mark.parametrize("form", FORMS)
def test_cifar10(form: str, inside: str, tmp_path: Path) -> None:
    batches = make_cifar(tmp_path / inside, "cifar-10", form)
    for train, part in ((True, batches[:-1]), (False, batches[-1:])):
        images, labels = datasets.cifar10(tmp_path, train)
        same(images, joined(part, "data"))
        same(labels, joined(part, "labels"))


@pytest.mark.parametrize("form", FORMS)
def test_cifar100(form: str, tmp_path: Path) -> None:
    train, test = make_cifar(tmp_path, "cifar-100", form)
    for coarse, key in ((True, "coarse_labels"), (False, "fine_labels")):
        images, labels = datasets.cifar100(tmp_path, coarse=coarse)
        same(images, joined([train], "data"))
        same(labels, joined([train], key))
        same(datasets.cifar100(tmp_path, False, coarse)[1], joined([test], key))


def test_cifar_batches_may_be_gzipped(tmp_path: Path) -> None:
    batches = make_cifar(tmp_path, "cifar-10", "python 2")
    for path in list(tmp_path.iterdir()):
        write(path, path.read_bytes(), compress=True)
        path.unlink()
    same(datasets.cifar10(tmp_path)[1], joined(batches[:-1], "labels"))


def test_python2_pickles_are_as_pickle_reads_them() -> None:
    batch = cifar_batch("cifar-100", 4, 0)
    got = pickle.loads(python2_pickle(batch), encoding="latin1")
    assert got.keys() == batch.keys()
    np.testing.assert_array_equal(got.pop("data"), batch.pop("data"))
    assert got == batch


@pytest.mark.parametrize("dtype", ["?", "i1", "<u2", ">i4", "u8", "f2", "<f4", ">f8"])
@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_arrays_in_pickles(dtype: str, order: Any, protocol: int) -> None:
    array = np.array(draw().integers(0, 2, (3, 4)), dtype, order=order)
    got = read_pickle(pickle.dumps({"a": array, "b": [1, None, "text", True]}, protocol))
    assert got["a"].dtype == array.dtype
    np.testing.assert_array_equal(got["a"], array)
    assert got["b"] == [1, None, "text", True]


class Evil:
    """What a harmful pickle looks like: reading it calls print."""

    def __reduce__(self) -> tuple[Any, ...]:
        return print, ("read",)


def changed(key: str, *value: Any) -> bytes:
    """A batch of CIFAR-10 pickled, with another value of the key, or without it."""
    batch = cifar_batch("cifar-10", 3, 0)
    del batch[key]
    return pickle.dumps(batch | dict.fromkeys([key][: len(value)], *value), protocol=2)


GOOD = python2_pickle(cifar_batch("cifar-10", 3, 0))
NESTED = b"\x80\x02}(" + b"]" + b"\x85" * 100_000 + b"K\x00u."


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "not a pickle of plain data and arrays, or a damaged one: pickle exhausted"),
        (GOOD[:-1], "not a pickle of plain data and arrays, or a damaged one"),
        (GOOD[:5000], "expected 9216 bytes in a string4, but only"),
        (GOOD + b"x", "1 bytes too many after the end"),
        (b"\0" * 40, "at position 0, opcode b'\\x00' unknown"),
        (pickle.dumps([1, 2]), "the pickle must be a dict, as CIFAR's batches are, got a list"),
        (pickle.dumps(Evil(), 2), "the pickle asks for __builtin__.print, which"),
        (pickle.dumps({"data": Evil()}, 4), "the pickle asks for builtins.print, which"),
        (b"\x80\x02cos\nsystem\nU\x02ls\x85R.", "the pickle asks for os.system, which"),
        (b"\x80\x02cnumpy\nload\nU\x02ls\x85R.", "the pickle asks for numpy.load, which"),
        (b"cos\nsystem\n(S'ls'\ntR.", "plain data does not need STRING"),
        (b"(S'ls'\nios\nsystem\n.", "plain data does not need"),
        (pickle.dumps({"data": 2.5}, 2), "plain data does not need BINFLOAT"),
        (NESTED, "more than 1000 tuples"),
        (b"\x80\x02]r\xff\xff\xff\x7f.", "value 2147483647 is to be remembered after 2"),
        (b"\x80\x02}(]K\x00u.", "damaged one: TypeError"),
        (b"\x80\x02R.", "damaged one"),
        (changed("data"), "the pickle has no key 'data'"),
        (changed("labels"), "the pickle has no key 'labels'"),
        (changed("data", 3), "'data' must be an array of uint8 and shape (N, 3072), got int"),
        (changed("data", np.zeros((3, 3071), np.uint8)), "got an array of uint8 and shape (3, 3071)"),
        (changed("data", np.zeros((3, 3072), np.int8)), "(N, 3072), got an array of int8"),
        (changed("data", np.array(["x"])), "an array must be of numbers, got dtype <U1"),
        (changed("data", np.array([{}])), "an array's shape, dtype and bytes are not where they should be"),
        (changed("labels", [1, 2]), "'labels' must be a list of 3 whole numbers, got a list of 2"),
        (changed("labels", [1, 2, "3"]), "'labels' must be a list of 3 whole numbers, got a list of 3"),
        (changed("labels", [1, 10, 2]), "label 1 must be 0 to 9, got 10"),
        (changed("labels", [1, 2, -1]), "label 2 must be 0 to 9, got -1"),
    ],
    ids=lambda value: value[:30] if isinstance(value, str) else "",
)  # fmt: skip
def test_pickles_that_are_refused(
    content: bytes, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    make_cifar(tmp_path, "cifar-10", "python 2")
    path = tmp_path / "data_batch_3"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=f"^{path}: .*{re.escape(message)}"):
        datasets.cifar10(tmp_path)
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("size", [0, 1, 3072, 3 * 3073 - 1, 3 * 3073 + 1])
def test_binary_batches_of_another_length(size: int, tmp_path: Path) -> None:
    make_cifar(tmp_path, "cifar-10", "binary")
    (tmp_path / "test_batch.bin").write_bytes(bytes(size))
    with pytest.raises(
        ValueError, match=f"test_batch.bin: the size must be a multiple of 3073, .*, got {size} bytes"
    ):
        datasets.cifar10(tmp_path, train=False)


def test_binary_labels_out_of_range(tmp_path: Path) -> None:
    make_cifar(tmp_path, "cifar-100", "binary")
    (tmp_path / "test.bin").write_bytes(bytes([0, 99]) + bytes(PIXELS) + bytes([20, 100]) + bytes(PIXELS))
    for coarse, message in (
        (True, "label 1 must be 0 to 19, got 20"),
        (False, "label 1 must be 0 to 99, got 100"),
    ):
        with pytest.raises(ValueError, match=f"test.bin: {message}"):
            datasets.cifar100(tmp_path, False, coarse)


def test_cifar_that_is_not_there(tmp_path: Path) -> None:
    make_cifar(tmp_path, "cifar-10", "binary")
    (tmp_path / "data_batch_4.bin").unlink()
    with pytest.raises(
        FileNotFoundError, match=r"no file data_batch_4 or data_batch_4\.bin, plain or with \.gz"
    ):
        datasets.cifar10(tmp_path)


# ---- .npz --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_npz_keeps_shape_and_dtype(save: Callable[..., None], tmp_path: Path) -> None:
    x, y = draw().normal(0, 1, (6, 2, 3)).astype(np.float32), np.array([3, 1, 3, 1, 1, 1], np.int8)
    save(tmp_path / "a.npz", x=x, y=y, more=np.arange(3))
    got_x, got_y = datasets.npz(tmp_path / "a.npz")
    same(got_x, x)
    same(got_y, y)


@pytest.mark.parametrize("layout", ["C", "F"])
def test_npz_maps_x_into_memory(layout: Any, tmp_path: Path) -> None:
    x, y = np.asarray(np.arange(60).reshape(10, 3, 2), np.float32, order=layout), np.arange(10) % 2
    np.savez(tmp_path / "a.npz", x=x, y=y)
    got, labels = datasets.npz(tmp_path / "a.npz", mmap_mode="r")
    assert isinstance(got, np.memmap)
    np.testing.assert_array_equal(got, x)
    np.testing.assert_array_equal(labels, y)
    with pytest.raises(ValueError, match="read-only"):
        got[0] = 0
    np.savez_compressed(tmp_path / "b.npz", x=x, y=y)
    with pytest.raises(ValueError, match=r"b.npz: mmap_mode must be None, as x is compressed"):
        datasets.npz(tmp_path / "b.npz", mmap_mode="r")
    with pytest.raises(ValueError, match="mmap_mode must be None, 'r' or 'c', got 'w'"):
        datasets.npz(tmp_path / "a.npz", mmap_mode="w")  # type: ignore[arg-type]
    content = (tmp_path / "a.npz").read_bytes()
    (tmp_path / "c.npz").write_bytes(content.replace(b"(10, 3, 2)", b"(90, 3, 2)"))
    with pytest.raises(ValueError, match=r"c.npz: key 'x' cannot be mapped: an array of float32"):
        datasets.npz(tmp_path / "c.npz", mmap_mode="r")


def test_npz_with_a_test_part_as_keras_has_it(tmp_path: Path) -> None:
    arrays: dict[str, Any] = {
        "x_train": np.zeros((6, 4, 4), np.uint8),
        "y_train": np.array([3, 1, 3, 1, 1, 1], np.uint8),
    }
    arrays |= {"x_test": np.ones((2, 4, 4), np.uint8), "y_test": np.array([3, 3], np.uint8)}
    np.savez(tmp_path / "mnist.npz", **arrays)
    for train, part in ((True, "train"), (False, "test")):
        for got, name in zip(datasets.npz(tmp_path / "mnist.npz", train), "xy", strict=True):
            same(got, arrays[f"{name}_{part}"])
    source = datasets.load(tmp_path / "mnist.npz")
    assert source.test is not None
    same(source.train[1], arrays["y_train"])
    same(source.test[0], arrays["x_test"])
    for change, message in (
        ({"x_test": np.ones((2, 4, 5), np.uint8)}, r"x_train and x_test must have samples of one shape"),
        ({"y_test": np.array([1.5, 2])}, "y must be whole numbers"),
        ({"y_test": np.array([[1], [2]])}, r"y must have shape \(2,\)"),
    ):
        np.savez(tmp_path / "mnist.npz", **(arrays | change))
        with pytest.raises(ValueError, match=f"mnist.npz: {message}"):
            datasets.npz(tmp_path / "mnist.npz")
    np.savez(tmp_path / "mnist.npz", x=arrays["x_train"], y=arrays["y_train"])
    with pytest.raises(ValueError, match=r"mnist.npz: the file must have x_test and y_test for train=False"):
        datasets.npz(tmp_path / "mnist.npz", train=False)


# ---- CSV ---------------------------------------------------------------------------------------------------

X = np.array([[1, 2.5], [3, -0.4], [5, 6], [7, 8], [9, 10]])
Y = np.array([0, 1, 1, 0, 1])
ONE, TWO = X[:, :1], X[:, 1:]


def csv(path: Path, text: str, **options: Any) -> tuple[Array, Array]:
    (path / "file.csv").write_bytes(text.encode())
    return datasets.csv(path / "file.csv", **options)


@pytest.mark.parametrize(
    ("text", "options"),
    [
        (NUMBERS, {}),
        (NUMBERS.rstrip("\n"), {}),
        (NUMBERS.replace("\n", "\r\n"), {"target": 2, "header": False}),
        ("\ufeffa,b,kind\n" + NUMBERS, {}),
        ("a,b,kind\n\n" + NUMBERS.replace("\n", "\n\n"), {"target": "kind"}),
        ("1,2,3\n" + NUMBERS, {"header": True}),
        ("1,2,3\n" + NUMBERS, {"target": "3"}),
        (NUMBERS.replace(",", ";"), {"delimiter": ";", "target": -1}),
        (NUMBERS.replace(",", " , "), {}),
        ('"the first",b,c\n' + NUMBERS.replace("2.5", '"2.5"'), {}),
        ('"over\ntwo lines",b,c\n' + NUMBERS, {}),
    ],
)  # fmt: skip
def test_csv(text: str, options: dict[str, Any], tmp_path: Path) -> None:
    x, y = csv(tmp_path, text, **options)
    same(x, X)
    same(y, Y)


@pytest.mark.parametrize(("target", "column"), [(0, 0), (-3, 0), (1, 1), ("b", 1), ("kind", 2), (None, 2)])
def test_csv_target_columns(target: str | int | None, column: int, tmp_path: Path) -> None:
    rows = [[1, 10, 7], [2, 20, 7], [1, 20, 8], [2, 10, 8], [1, 10, 8]]
    text = "a, b ,kind\n" + "".join(f"{a},{b},{c}\n" for a, b, c in rows)
    x, y = csv(tmp_path, text, target=target)
    same(x, np.delete(np.array(rows, float), column, axis=1))
    same(y, np.array(rows)[:, column])


@pytest.mark.parametrize("name", ["label", "Label", "class", "target", "y"])
def test_csv_label_by_its_usual_name(name: str, tmp_path: Path) -> None:
    same(csv(tmp_path, f"{name},pixel0\n0,1\n1,3\n1,5\n0,7\n1,9\n")[0], ONE)


def test_csv_labels_that_are_texts(tmp_path: Path) -> None:
    text = NUMBERS.replace(",0\n", ",cat\n").replace(",1\n", ", a dog\n")
    x, y = csv(tmp_path, text)
    same(x, X)
    same(y, np.array(["cat", "a dog", "a dog", "cat", "a dog"]))
    source = datasets.load(tmp_path / "file.csv")
    assert source.classes == ("a dog", "cat")
    np.testing.assert_array_equal(source.train[1], 1 - Y)
    assert csv(tmp_path, NUMBERS.replace(",0\n", ",1.0\n"))[1].tolist() == ["1.0", "1", "1", "1.0", "1"]
    assert csv(tmp_path, NUMBERS.replace(",0\n", f",{2**70}\n"))[1][0] == str(2**70)


def test_csv_gzipped(tmp_path: Path) -> None:
    (tmp_path / "file.csv.gz").write_bytes(gzip.compress(NUMBERS.encode()))
    same(datasets.csv(tmp_path / "file.csv.gz")[0], X)
    same(datasets.load(tmp_path / "file.csv.gz").train[0], X)


@pytest.mark.parametrize(
    ("text", "options", "message"),
    [
        ("", {}, ": no rows"),
        ("\n\n", {}, ": no rows"),
        ("a,b\n", {}, ": no rows below the row of names"),
        ("1\n2\n", {}, ":1: a row must be a label and at least one number, got columns [0] of"),
        (NUMBERS.replace("6", "six"), {}, ":3: column 2 must be a number, got 'six'"),
        ("a,b,y\n" + NUMBERS.replace("6", ""), {}, ":4: column 'b' must be a number, got ''"),
        ("y,a,b\n" + NUMBERS.replace("8", "?"), {}, ":5: column 'a' must be a number, got '?'"),
        (NUMBERS.replace("8", "nan"), {}, ":4: column 2 must be finite in float32, got nan"),
        (NUMBERS.replace("8", "-inf"), {}, ":4: column 2 must be finite in float32, got -inf"),
        ("\n\n" + NUMBERS.replace("8", "1e39"), {}, ":6: column 2 must be finite in float32, got 1e+39"),
        (NUMBERS.replace("8,0", "8"), {}, ":4: 2 cells; the first row has 3"),
        (NUMBERS.replace("8,0", "8,0,"), {}, ":4: 4 cells; the first row has 3"),
        (NUMBERS.replace("8,0", "8, "), {}, ":4: the label, column 3, is missing, got ''"),
        (NUMBERS, {"target": "k"}, ":1: target must name one column, got 'k'; the header has ['1', "),
        (NUMBERS, {"target": "k", "header": False}, ":1: target must name one column, got 'k'; there is no"),
        ("a,a,b\n" + NUMBERS, {"target": "a"}, ":1: target must name one column, got 'a'"),
        (NUMBERS, {"target": 3}, ":1: target must be one of 3 columns, got 3"),
        (NUMBERS, {"target": -4}, ":1: target must be one of 3 columns, got -4"),
        (NUMBERS.replace("1\n", "0\n"), {}, ": y must be of at least 2 classes, got 0 only"),
        ("1,2,0\n3,4,1\n", {}, ": x and y must be at least 5 samples, got 2"),
        (NUMBERS.replace("8", '"8'), {}, ":5: unexpected end of data"),
        (NUMBERS + "x" * 200_000, {}, ":6: field larger than field limit"),
    ],
)  # fmt: skip
def test_csv_files_that_are_refused(text: str, options: dict[str, Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=f"^{tmp_path / 'file.csv'}{re.escape(message)}"):
        csv(tmp_path, text, **options)


def test_csv_that_is_no_text(tmp_path: Path) -> None:
    (tmp_path / "file.csv").write_bytes(NUMBERS.encode() + b"1,2,\xff\n")
    with pytest.raises(ValueError, match=r"file\.csv:6: not UTF-8 text"):
        datasets.csv(tmp_path / "file.csv")


# ---- by name -----------------------------------------------------------------------------------------------


def test_load_digits() -> None:
    pytest.importorskip("sklearn")
    source = datasets.load("digits")
    assert (source.name, source.test, source.classes) == ("digits", None, ())
    assert source.train[0].shape == (1797, 64)
    np.testing.assert_array_equal(source.train[1], datasets.digits()[1])


def test_digits_need_an_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sklearn.datasets", None)
    monkeypatch.setitem(sys.modules, "sklearn", None)
    with pytest.raises(ImportError, match=re.escape(f"sklearn is not installed: {way_to('demo')}")):
        datasets.digits()


def test_load_files(tmp_path: Path) -> None:
    np.savez(tmp_path / "Mine.npz", x=X, y=Y)
    csv(tmp_path, NUMBERS)
    for name, path in (("mine", tmp_path / "Mine.npz"), ("file", str(tmp_path / "file.csv"))):
        source = datasets.load(path)
        assert (source.name, source.test, source.classes) == (name, None, ())
        same(source.train[0], X)
        same(source.train[1], Y)


def test_load_folders(tmp_path: Path) -> None:
    arrays = make_mnist(tmp_path / "Fashion" / "raw")
    for folder in ("Fashion", "Fashion/raw"):
        source = datasets.load(tmp_path / folder)
        assert (source.name, source.classes) == ("Fashion", ())
        assert source.test is not None
        same(source.train[0], arrays["train images"])
        same(source.test[1], arrays["t10k labels"])
    for kind in ("cifar-10", "cifar-100"):
        batches = make_cifar(tmp_path / kind, kind, "python 2")
        source = datasets.load(tmp_path / kind)
        assert source.name == kind
        assert source.test is not None
        same(source.test[0], joined(batches[-1:], "data"))
        same(source.train[1], joined(batches[:-1], "labels" if kind == "cifar-10" else "fine_labels"))


def test_load_what_it_does_not_know(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="none: there is no such file or folder"):
        datasets.load(tmp_path / "none")
    (tmp_path / "table.txt").write_text(NUMBERS)
    with pytest.raises(ValueError, match=r"table.txt: not a .npz, .csv or .tsv file, and not a folder"):
        datasets.load(tmp_path / "table.txt")
    (tmp_path / "train").mkdir()  # a folder of that name is no CIFAR-100
    with pytest.raises(FileNotFoundError, match=r"no files of MNIST .*CIFAR-10 .*CIFAR-100"):
        datasets.load(tmp_path)
    make_mnist(tmp_path / "two")
    make_cifar(tmp_path / "two", "cifar-10", "binary")
    with pytest.raises(
        ValueError, match="two: a folder must have the files of one data set, got MNIST and CIFAR-10"
    ):
        datasets.load(tmp_path / "two")
