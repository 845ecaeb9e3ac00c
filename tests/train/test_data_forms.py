"""Data for fit and evaluate that are no arrays in memory: stored arrays, Datasets, streams of batches."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fastnn
from fastnn import augment, nn, optim, preprocessing, train
from fastnn.random import Key
from fastnn.train.batches import shuffled
from fastnn.train.prefetch import prefetched
from support.cases import each

RNG = np.random.default_rng(0)
X = RNG.standard_normal((90, 6)).astype(np.float32)
Y = (X[:, 0] > X[:, 1]).astype(np.int64)


class Stored:
    """Rows like h5py's: read one by one, by slices or increasing numbers; it counts what is read."""

    def __init__(self, array: np.ndarray[Any, Any]) -> None:
        self.array, self.shape, self.dtype, self.rows = array, array.shape, array.dtype, 0

    def __len__(self) -> int:
        return len(self.array)

    def __array__(self, *_: object, **__: object) -> np.ndarray[Any, Any]:
        raise AssertionError("loaded whole")

    def __getitem__(self, rows: Any) -> Any:
        if isinstance(rows, np.ndarray) and (np.diff(rows) <= 0).any():
            raise TypeError("Indexing elements must be in increasing order")
        read = self.array[rows]
        self.rows += len(read)
        return read


class Dataset:
    def __len__(self) -> int:
        return len(X)

    def __getitem__(self, index: int) -> tuple[Any, Any]:
        if not 0 <= index < len(X):
            raise IndexError(index)
        return X[index], Y[index]


class Stream:
    """Batches in the same order each time; `epochs` has what set_epoch was given."""

    def __init__(self, size: int = 16) -> None:
        self.size, self.epochs = size, list[int]()

    def __iter__(self) -> Iterator[Any]:
        for start in range(0, len(X), self.size):
            yield [X[start : start + self.size], Y[start : start + self.size]]


class WithEpochs(Stream):
    def set_epoch(self, epoch: int) -> None:
        self.epochs.append(epoch)


class Stateful(Stream):
    """A stream that goes on from where its state says."""

    position = 0

    def __iter__(self) -> Iterator[Any]:
        while self.position * self.size < len(X):
            rows = slice(self.position * self.size, (self.position + 1) * self.size)
            self.position += 1
            yield X[rows], Y[rows]
        self.position = 0

    def state_dict(self) -> dict[str, Any]:
        return {"position": self.position}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.position = state["position"]


def nothing() -> list[Any]:
    return []


def network() -> nn.Sequential:
    fastnn.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Dropout(0.2), nn.Linear(8, 2))


def trained(data: Any, **options: Any) -> tuple[list[Any], dict[str, Any]]:
    """The history without times, and the weights."""
    model = network()
    history = train.fit(model, data, epochs=2, **options)
    for record in history:
        del record["seconds"]
    return history, model.state_dict()


def assert_same(got: tuple[list[Any], dict[str, Any]], expected: tuple[list[Any], dict[str, Any]]) -> None:
    assert got[0] == expected[0]
    for name, value in expected[1].items():
        np.testing.assert_array_equal(got[1][name], value, err_msg=name)


@pytest.fixture
def memmap(tmp_path: Path) -> np.memmap[Any, Any]:
    np.save(tmp_path / "x.npy", X)
    return np.load(tmp_path / "x.npy", mmap_mode="r")  # type: ignore[no-any-return]


@each("options", [{}, {"shuffle_block": 20}, {"batch_size": 7, "accumulate": 2}, {"validation_split": 0.2}])
def test_rows_by_index_train_as_arrays_do(options: dict[str, Any], memmap: Any) -> None:
    expected = trained((X, Y), **options)
    for data in ((memmap, Y), (memmap.copy(), Y), (Stored(X), Y), (Stored(X), Stored(Y))):
        assert_same(trained(data, **options), expected)
    if "validation_split" not in options:  # which for arrays goes by their labels
        assert_same(trained(Dataset(), **options), expected)


def test_samples_are_shuffled_in_blocks() -> None:
    order = shuffled(25, Key(1, 2), 10)
    assert sorted(order.tolist()) == list(range(25))
    blocks = [set(part.tolist()) for part in np.split(order, np.flatnonzero(np.diff(order // 10)) + 1)]
    assert sorted(map(min, blocks)) == [0, 10, 20]
    assert len(blocks) == 3
    assert order.tolist() != sorted(order.tolist())


def test_a_block_is_read_once() -> None:
    x = Stored(X)
    train.fit(network(), (x, Y), epochs=1, batch_size=8, shuffle_block=30)
    assert x.rows == len(X)


def test_streams_train_in_their_order() -> None:
    history, weights = trained(Stream())
    for data in (lambda: iter(Stream()), WithEpochs(), Stateful(), [*map(tuple, Stream())]):
        assert_same(trained(data), (history, weights))
    assert history[0]["step"] == 6
    assert "accuracy" in history[0]
    stream = WithEpochs()
    trained(stream)
    assert stream.epochs == [0, 1]


def test_accumulated_batches_of_a_stream_weigh_by_their_samples() -> None:
    whole, model = network(), network()
    whole.eval()  # no dropout
    for one, data, accumulate in ((whole, [(X, Y)], 1), (model, [(X[:70], Y[:70]), (X[70:], Y[70:])], 2)):
        one[2].p = 0.0
        train.fit(one, data, epochs=1, accumulate=accumulate, optimizer=optim.SGD(one.parameters(), lr=1.0))
    np.testing.assert_allclose(model[0].weight.data, whole[0].weight.data, atol=1e-6)


def test_validation_and_evaluate_take_every_form() -> None:
    model = network()
    expected = train.evaluate(model, (X, Y))
    forms: list[Any] = [(Stored(X), Y), Dataset(), Stream(), lambda: iter(Stream())]
    for data in forms:
        assert train.evaluate(model, data) == pytest.approx(expected)
    records = [train.fit(network(), (X, Y), validation=data, epochs=1)[0] for data in [(X, Y), *forms]]
    for record in records[1:]:
        assert record["val_loss"] == pytest.approx(records[0]["val_loss"])


@each(
    ("kind", "step"),  # of two epochs of six
    [(kind, step) for kind in (WithEpochs, Stateful, Stream) for step in (6, 9)],
)
def test_a_stream_is_resumed_within_an_epoch(kind: type[Stream], step: int, tmp_path: Path) -> None:
    class Stop(train.Callback):
        def on_step_end(self, trainer: train.Trainer) -> None:
            if trainer.step == step:
                trainer.stop("enough")

    def run(folder: str, *callbacks: train.Callback, resume: bool = False) -> Any:
        saver = train.Checkpoints(tmp_path / kind.__name__ / str(step) / folder, every_steps=1)
        return trained(kind(), checkpoints=saver, callbacks=callbacks, resume=resume)

    whole = run("whole")
    run("parts", Stop())
    if kind is Stream:
        with pytest.warns(UserWarning, match=r"data: a Stream has no state_dict\(\) to go on from within"):
            assert_same(run("parts", resume=True), whole)
    else:
        assert_same(run("parts", resume=True), whole)


def test_bytes_go_through_the_transform_batch_by_batch() -> None:
    images = RNG.integers(0, 256, (60, 1, 4, 4), np.uint8)
    labels = (images.mean((1, 2, 3)) > 127).astype(np.int64)
    scale = preprocessing.Standardize("channel").fit(images)

    def fit(data: Any, **options: Any) -> dict[str, Any]:
        fastnn.manual_seed(0)
        model = nn.Sequential(nn.Flatten(), nn.Linear(16, 2))
        train.fit(model, data, epochs=2, **options)
        return model.state_dict()

    expected = fit((scale.transform(images), labels), validation=(scale.transform(images), labels))
    for x in (images, Stored(images)):
        options = {"transform": scale, "validation": (images, labels)}
        got = fit((x, labels), **options)
        np.testing.assert_array_equal(got["1.weight"], expected["1.weight"])
    flips = augment.Compose([augment.RandomHorizontalFlip(), scale])
    flipped = [fit((x, labels), transform=flips)["1.weight"] for x in (images, Stored(images))]
    np.testing.assert_array_equal(*flipped)


@each(
    ("data", "error", "message"),
    [
        ([X, Y], TypeError, r"data must be \(x, y\), a tuple of .*; got a list of 2 \(ndarray, ndarray\)"),
        (iter([(X, Y)]), TypeError, "data must be .*; got a list_iterator, which can be iterated once only"),
        ({"x": X, "y": Y}, TypeError, "data must be .*; got a dict"),
        ("digits", TypeError, "data must be .*; got a str"),
        (X, TypeError, "data must be .*; got a ndarray"),
        (3, TypeError, "data must be .*; got a int"),
        (
            lambda: [{"image": X}],
            TypeError,
            r"data must give batches \(x, y\), got a dict with the keys image",
        ),
        (lambda: [(X, Y[:3])], ValueError, "data: batch 0 must be x and y with a row for each sample, got"),
        (nothing, ValueError, "data must give a batch at least in each epoch, got none from a function"),
        ((Stored(X), Y[:3]), ValueError, "data must be x and y with a row for each sample, got shapes"),
    ],
)
def test_other_forms_are_errors(data: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        train.fit(network(), data)
    if not callable(data) and not isinstance(data, Iterator):
        with pytest.raises(error, match=message.replace("data", "validation")):
            train.fit(network(), (X, Y), validation=data)


@each(
    ("options", "message"),
    [
        ({"batch_size": 8}, "batch_size must be None where data are batches already, got 8"),
        ({"shuffle_block": 8}, "shuffle_block must be None where data are batches already, got 8"),
        ({"validation_split": 0.2}, "validation_split must be None where data are batches"),
        ({"class_weight": "balanced"}, "class_weight must go with targets that are labels"),
    ],
)
def test_options_of_rows_are_errors_for_streams(options: dict[str, Any], message: str) -> None:
    with pytest.raises((ValueError, TypeError), match=message):
        train.fit(network(), Stream(), **options)


def test_a_dataset_of_other_samples_is_an_error() -> None:
    class Named(Dataset):
        def __getitem__(self, index: int) -> Any:
            return {"x": X[index]}

    class Ragged(Dataset):
        def __getitem__(self, index: int) -> Any:
            return X[index, : 1 + index % 2], Y[index]

    with pytest.raises(TypeError, match=r"data\[\d+\] must be a sample \(x, y\), got a dict with the keys x"):
        train.fit(network(), Named())
    with pytest.raises(ValueError, match="data: x must have one shape for all samples of a batch, got"):
        train.fit(network(), Ragged())


def test_what_is_not_finite_is_found_in_every_form() -> None:
    x = X.copy()
    x[41, 2] = np.nan
    rows = r"data: x must be finite, got NaN or infinities in 1 of 90 rows, the first at x\[41, 2\]"
    for data, message in (
        ((Stored(x), Y), rows),
        (lambda: [(x, Y)], "data: x must be finite, got 1 NaN and 0 infinite of 540 in a batch"),
    ):
        with pytest.raises(train.Diverged, match=message):
            train.fit(network(), data, epochs=1)


def test_errors_of_the_reading_thread_are_raised_and_it_ends() -> None:
    def broken() -> Iterator[Any]:
        yield X, Y
        raise OSError("the disk is gone")

    with pytest.raises(OSError, match="the disk is gone"):
        train.fit(network(), broken, epochs=1)
    endless = prefetched(iter(int, 1))
    assert next(endless) == 0
    endless.close()
    assert not [t for t in threading.enumerate() if t.name == "fastnn prefetch"]


def test_batches_are_read_ahead_but_for_streams_with_a_state() -> None:
    seen: list[str] = []

    class Slow(Stream):
        def __iter__(self) -> Iterator[Any]:
            for batch in super().__iter__():
                seen.append(threading.current_thread().name)
                yield batch

    class SlowStateful(Slow, Stateful):
        pass

    train.fit(network(), Slow(), epochs=1)
    assert {*seen} == {"fastnn prefetch"}
    seen.clear()
    train.fit(network(), SlowStateful(), epochs=1)
    assert {*seen} == {threading.current_thread().name}


def test_a_stream_without_a_length_has_a_bar_and_curves(tmp_path: Path) -> None:
    curves = train.Curves(tmp_path / "curves.png")
    train.fit(network(), Stream(), epochs=2, progress=True, callbacks=[curves])
    assert (tmp_path / "curves.png").exists()


def test_statistics_of_a_stored_array_are_read_in_parts() -> None:
    for make in (
        lambda: preprocessing.Standardize(),
        lambda: preprocessing.Compose(preprocessing.Flatten(), preprocessing.Whiten("pca")),
    ):
        whole, stored = make().fit(X), make().fit(Stored(X))
        np.testing.assert_array_equal(stored.transform(X), whole.transform(X))


def test_raw_data_stay_where_they_are() -> None:
    images = RNG.integers(0, 256, (50, 4, 4), np.uint8)
    labels = np.arange(50) % 2
    expected = train.prepare((images, labels))
    for x in (images, Stored(images)):
        raw = train.prepare((x, labels), raw=True)  # type: ignore[arg-type]
        assert raw.x_train.dtype == np.uint8
        assert len(raw.x_train) == 40
        got = raw.preprocessing.transform(raw.x_train[np.arange(40)])
        np.testing.assert_array_equal(got, expected.x_train)
        np.testing.assert_array_equal(raw.y_test, expected.y_test)
        fastnn.manual_seed(0)
        history = train.fit(
            nn.Sequential(nn.Linear(16, 2)),
            (raw.x_train, raw.y_train),
            validation=(raw.x_test, raw.y_test),
            transform=raw.preprocessing,
            epochs=1,
        )
        fastnn.manual_seed(0)
        plain = train.fit(
            nn.Sequential(nn.Linear(16, 2)),
            (expected.x_train, expected.y_train),
            validation=(expected.x_test, expected.y_test),
            epochs=1,
        )
        assert history[0]["val_loss"] == plain[0]["val_loss"]
