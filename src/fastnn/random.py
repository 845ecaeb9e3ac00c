"""Where random numbers come from: a generator hands out keys, and a key gives every kernel its numbers.

The numbers of a call are a function of its key and the element's index alone (Philox4x32-10), so they are the
same for every thread count and instruction set, and backward draws again what forward drew instead of keeping
it. A key may say that the call has a part of a larger batch: its elements are counted from there on.
"""

from __future__ import annotations

import math
import operator
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np

from fastnn import _kernels
from fastnn._core.arrays import integer, is_whole


class Key(NamedTuple):
    """What one random call takes: the 64-bit seed, and the 64-bit offset of this call in its stream.

    row: the place, in a larger batch, of the first sample that the call gets, at least 0. What the call draws
    for its sample n is then what a call with the whole batch draws for sample row + n. A pair (seed, offset)
    is a key of row 0.
    """

    seed: int
    offset: int
    row: int = 0


#: What a call takes as its key.
KeyLike = Key | tuple[int, int] | tuple[int, int, int]


def as_key(key: KeyLike) -> Key:
    """`key` with its words checked."""
    try:
        given = key if type(key) is Key else Key(*key)
        seed, offset, row = map(operator.index, given)
    except TypeError:
        raise TypeError(
            f"key must be a fastnn.Key: integers seed, offset and, if it is not 0, row; got {key!r}"
        ) from None
    if not (0 <= seed < 2**64 and 0 <= offset < 2**64):
        raise ValueError(f"key must have seed and offset in [0, 2**64), got {key!r}")
    if not 0 <= row < 2**63:
        raise ValueError(f"key must have a row in [0, 2**63), got {key!r}")
    return given if given[0] is seed and given[1] is offset and given[2] is row else Key(seed, offset, row)


#: Of each thread that is within `rows_from`: the row of its keys.
_rows: dict[int, int] = {}


@contextmanager
def rows_from(first: int) -> Iterator[None]:
    """Within the context, keys that generators hand out have this row: calls have a part of a larger batch.

    first: the place, in the whole batch, of the first sample that is computed in the context. Layers draw for
    each sample what they would draw for it in the whole batch, if their generators are in the same state. It
    holds for the present thread alone; contexts may be nested, and the innermost one holds. Weights, and
    orders of samples, are drawn as everywhere.

        with fastnn.rows_from(64):
            y = model(batch[64:])

    Raises TypeError unless `first` is an integer, ValueError unless it is in [0, 2**63).
    """
    row = integer("first", first)
    if not 0 <= row < 2**63:
        raise ValueError(f"first must be in [0, 2**63), got {row}")
    thread = threading.get_ident()
    before = _rows.get(thread)
    _rows[thread] = row
    try:
        yield
    finally:
        if before is None:
            del _rows[thread]
        else:
            _rows[thread] = before


def keep_threshold(p: float) -> int:
    """What a 16-bit draw must be below for its element to be kept by a dropout of p."""
    return round((1 - p) * 65536)


def keep_scale(p: float) -> float:
    """What is kept is multiplied by this, so that the mean stays."""
    return 1 / (1 - p) if p < 1 else 0.0


class Generator:
    """Hands out keys: the first has offset 0, the next 1, and so on. Safe to share between threads.

    Raises ValueError unless 0 <= seed < 2**64, TypeError unless it is an integer.
    """

    def __init__(self, seed: int = 0) -> None:
        self._lock = threading.Lock()
        self.manual_seed(seed)

    def __repr__(self) -> str:
        return f"Generator(seed={self.seed}, offset={self._offset})"

    def manual_seed(self, seed: int) -> Generator:
        """Starts again, with this seed; returns itself."""
        if not is_whole(seed):
            raise TypeError(f"seed must be an integer, got {type(seed).__name__}")
        if not 0 <= seed < 2**64:
            raise ValueError(f"seed must be in [0, 2**64), got {seed}")
        with self._lock:
            self.seed = int(seed)
            self._offset = 0
        return self

    def get_state(self) -> Key:
        """The key that the next call will take: all that there is to remember of a generator."""
        with self._lock:
            return Key(self.seed, self._offset)

    def set_state(self, state: KeyLike) -> Generator:
        """Goes on from a state that `get_state` returned; returns itself. A key's row is no part of it."""
        seed, offset, _ = as_key(state)
        with self._lock:
            self.seed, self._offset = seed, offset
        return self

    def __getstate__(self) -> Key:
        return self.get_state()

    def __setstate__(self, state: Key) -> None:
        self.__init__()  # type: ignore[misc]
        self.set_state(state)

    def key(self) -> Key:
        """The next key; within `rows_from` it has that row."""
        row = _rows.get(threading.get_ident(), 0) if _rows else 0
        with self._lock:
            key = Key(self.seed, self._offset, row)
            self._offset = (self._offset + 1) % 2**64
        if watch is not None:
            watch(self, key)
        return key

    def take(self, count: int) -> Key:
        """The next key, of row 0 in any case; those after it, `count` together, are taken with it."""
        with self._lock:
            key = Key(self.seed, self._offset)
            self._offset = (self._offset + count) % 2**64
        return key

    def spawn(self, n_children: int) -> list[Generator]:
        """Generators whose numbers have nothing to do with each other's or this one's: for processes, say.

        They follow from this generator's state, of which they take the next `n_children` offsets; so the
        same state gives the same children, and further calls give further ones. The child of an offset has
        the first 64 bits of Philox4x32-10 for this seed and the counter (2^64 - 1, offset) as its seed, and
        starts with offset 0. No draw has that counter: it would be of element 2^67 of an array. Children,
        their children and this generator share draws only where two of their seeds are equal by chance,
        about n^2 / 2^65 for n generators; with NumPy's `Generator.spawn` it is as unlikely.

        Raises TypeError unless `n_children` is an integer, ValueError if it is negative.
        """
        count = integer("n_children", n_children)
        if count < 0:
            raise ValueError(f"n_children must be at least 0, got {count}")
        seed, first, _ = self.take(count)
        return [Generator(_child_seed(seed, (first + child) % 2**64)) for child in range(count)]

    def numpy(self) -> np.random.Generator:
        """A NumPy generator for one use (weight initialisation, say), from the next key."""
        seed, offset, _ = self.key()
        counter = np.array([0, 0, offset, 0], np.uint64)  # NumPy would round a list with 2^63 to float64
        return np.random.Generator(np.random.Philox(key=seed, counter=counter))


class Zeros(Generator):
    """Gives layers zeros in the place of what they draw: for weights that are about to be written over.

    elements: how many the array of a call has at most.
    """

    def __init__(self, elements: int = 2**48) -> None:
        super().__init__()
        self._elements = elements

    def numpy(self) -> Any:
        """Return what draws."""
        return self

    def uniform(self, low: float, high: float, size: Any) -> Any:
        """Return zeros; ValueError for more than there may be."""
        return self.standard_normal(size)

    def standard_normal(self, size: Any) -> Any:
        """Return zeros; ValueError for more than there may be."""
        if math.prod(np.atleast_1d(np.array(size, object))) > self._elements:
            raise ValueError(f"weights of shape {size} are more than the file has")
        return np.zeros(size)


def _child_seed(seed: int, offset: int) -> int:
    """The seed of the generator that takes this key of its parent."""
    block = 2**64 - 1
    counter, key = (word for pair in (block, offset) for word in _halves(pair)), _halves(seed)
    low, high, *_ = _kernels.philox4x32(tuple(counter), key)
    return int(high) << 32 | int(low)


def child_key(key: KeyLike, number: int) -> Key:
    """Key `number` of the generator that `spawn` makes of this key: a stream of its own, without state.

    It has the key's row.
    """
    seed, offset, row = as_key(key)
    return Key(_child_seed(seed, offset), number, row)


def row_in_stream(key: Key, samples: int, each: int) -> int:
    """The number of the first draw of a call for `samples` samples, for each of which `each` are drawn.

    Raises ValueError where they do not end before draw 2**63.
    """
    return _kernels.first_draw(key.row, samples, each) if key.row else 0


def _halves(number: int) -> tuple[int, int]:
    """The low and the high word of 64 bits."""
    return number & 0xFFFFFFFF, number >> 32


#: Told of each key that is handed out: by it, the capture of a CUDA graph finds the keys of the graph.
watch: Callable[[Generator, Key], None] | None = None

_default = Generator()


def default_generator() -> Generator:
    """The generator that is used where none is given; fastnn.manual_seed seeds it."""
    return _default


def given_or_default(generator: Generator | None) -> Generator:
    """`generator`, or the default one for None; TypeError for anything else, such as a seed."""
    if generator is None:
        return _default
    if not isinstance(generator, Generator):
        raise TypeError(f"generator must be a fastnn.Generator, got {type(generator).__name__}")
    return generator


def given_or_next(key: KeyLike | None) -> Key:
    """The key of a random call: `key` with its words checked; for None the default generator's next."""
    return _default.key() if key is None else as_key(key)


def manual_seed(seed: int) -> Generator:
    """Seeds the default generator and returns it: what follows is repeatable, for any number of threads."""
    return _default.manual_seed(seed)
