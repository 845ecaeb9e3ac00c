"""Generator, Key and manual_seed; Philox in C against Random123's known answers."""

from __future__ import annotations

import threading
from itertools import pairwise
from typing import Any

import numpy as np
import pytest

import fastnn
from fastnn import Generator, Key, _kernels
from fastnn.random import default_generator
from fastnn.reference.philox import philox4x32, random_draws

# counter, key, result: philox4x32-10 in Random123's kat_vectors
KNOWN_ANSWERS = [
    ("00000000 00000000 00000000 00000000", "00000000 00000000", "6627e8d5 e169c58d bc57ac4c 9b00dbd8"),
    ("ffffffff ffffffff ffffffff ffffffff", "ffffffff ffffffff", "408f276d 41c83b0e a20bc7c6 6d5451fd"),
    ("243f6a88 85a308d3 13198a2e 03707344", "a4093822 299f31d0", "d16cfe09 94fdcceb 5001e420 24126ea1"),
]


def _words(text: str) -> list[int]:
    return [int(word, 16) for word in text.split()]


@pytest.mark.parametrize(("counter", "key", "result"), KNOWN_ANSWERS)
def test_philox_known_answers(counter: str, key: str, result: str, isa: str) -> None:
    assert list(_kernels.philox4x32(_words(counter), _words(key))) == _words(result)


def test_philox_is_the_references(isa: str) -> None:
    rng = np.random.default_rng(0)
    counters, keys = rng.integers(2**32, size=(50, 4)), rng.integers(2**32, size=(50, 2))
    words = [_kernels.philox4x32(c, k) for c, k in zip(counters.tolist(), keys.tolist(), strict=True)]
    np.testing.assert_array_equal(words, philox4x32(counters, keys))


@pytest.mark.parametrize("blocks", [0, 1, 3, 31, 32, 33, 127, 128, 129, 1000])
def test_draws_of_many_blocks_are_the_references(blocks: int, isa: str) -> None:
    expected = random_draws(8 * (blocks + 5), 2**63 + 1, 2**35)
    np.testing.assert_array_equal(_kernels.draw_blocks((2**63 + 1, 2**35), 0, blocks), expected[: 8 * blocks])
    np.testing.assert_array_equal(_kernels.draw_blocks((2**63 + 1, 2**35), 5, blocks), expected[40:])


def test_keys_count_up_from_the_seed() -> None:
    generator = Generator(5)
    keys = [generator.key() for _ in range(3)]
    assert keys == [Key(5, 0), Key(5, 1), Key(5, 2)]
    assert all(type(key) is Key for key in keys)
    assert repr(generator) == "Generator(seed=5, offset=3)"


def test_manual_seed_starts_again() -> None:
    generator = Generator()
    assert generator.key() == Key(0, 0)
    assert generator.manual_seed(9) is generator
    assert (generator.seed, generator.key()) == (9, Key(9, 0))
    assert fastnn.manual_seed(13) is default_generator()
    assert default_generator().key() == Key(13, 0)
    fastnn.manual_seed(13)
    assert default_generator().key() == Key(13, 0)


@pytest.mark.parametrize("seed", [0, 2**64 - 1, np.int64(7), np.uint64(2**64 - 1)])
def test_seeds(seed: Any) -> None:
    assert Generator(seed).key() == Key(int(seed), 0)
    assert type(Generator(seed).seed) is int


@pytest.mark.parametrize("seed", [-1, 2**64, np.int64(-1)])
def test_a_seed_out_of_range(seed: Any) -> None:
    generator = Generator(3)
    with pytest.raises(ValueError, match=rf"^seed must be in \[0, 2\*\*64\), got {seed}"):
        generator.manual_seed(seed)
    assert generator.key() == Key(3, 0)


@pytest.mark.parametrize("seed", [1.0, "1", None, True, [1]])
def test_a_seed_that_is_no_integer(seed: Any) -> None:
    for call in (Generator, fastnn.manual_seed):
        with pytest.raises(TypeError, match=rf"^seed must be an integer, got {type(seed).__name__}"):
            call(seed)


def test_a_generator_goes_on_from_a_state() -> None:
    generator = Generator(seed=5)
    generator.key()
    state = generator.get_state()
    assert state == Key(5, 1)
    after = [generator.key(), generator.key()]
    assert [key.offset for key in after] == [1, 2]
    other = Generator(seed=8).set_state((5, 1))
    assert [other.key(), other.key()] == after
    assert generator.set_state(state).numpy().random() == Generator(0).set_state(state).numpy().random()
    with pytest.raises(TypeError, match=r"key must be a fastnn\.Key"):
        generator.set_state(5)  # type: ignore[arg-type]


def test_threads_never_share_a_key() -> None:
    generator = Generator(1)
    keys: list[Key] = []

    def draw() -> None:
        keys.extend([generator.key() for _ in range(2000)])

    threads = [threading.Thread(target=draw) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(key.offset for key in keys) == list(range(8000))


def test_numpy_generators_are_repeatable_and_differ() -> None:
    generator = Generator(4)
    first, second = (generator.numpy().standard_normal(8) for _ in range(2))
    assert (first != second).all()
    np.testing.assert_array_equal(first, Generator(4).numpy().standard_normal(8))
    assert (Generator(5).numpy().standard_normal(8) != first).all()
    assert generator.key() == Key(4, 2)


def test_numpy_generators_of_large_offsets_differ() -> None:
    starts = [
        Generator(4).set_state((4, 2**63 + offset)).numpy().random() for offset in (0, 1, 2, 1024, 2**63 - 1)
    ]
    starts += [Generator(4).set_state((4, 2**63 - 1)).numpy().random(), Generator(4).numpy().random()]
    assert len(set(starts)) == len(starts)


# ---- spawn -------------------------------------------------------------------------------------------------


def test_children_follow_from_the_state_alone() -> None:
    parent = Generator(7)
    children = parent.spawn(3)
    assert [child.get_state() for child in children] == [child.get_state() for child in Generator(7).spawn(3)]
    assert parent.get_state() == Key(7, 3)
    assert parent.spawn(0) == []
    fourth = parent.spawn(1)[0].seed
    assert fourth == Generator(7).spawn(4)[3].seed == Generator(7).set_state((7, 3)).spawn(1)[0].seed
    offset = 2**64 - 1
    (last, first) = Generator(9).set_state((9, offset)).spawn(2)
    assert first.seed == Generator(9).spawn(1)[0].seed
    words = philox4x32(np.array([[2**32 - 1] * 4]), np.array([[9, 0]]))[0]
    assert last.get_state() == Key(int(words[0]) | int(words[1]) << 32, 0)


def test_no_two_generators_of_a_tree_share_a_seed() -> None:
    parent = Generator(0)
    tree = [parent]
    for child in parent.spawn(50) + Generator(1).spawn(50):
        tree += [child, *child.spawn(20)]
    assert len({generator.seed for generator in tree}) == len(tree) == 2101
    x = np.ones(4096, np.float32)
    masks = [fastnn.functional.dropout(x, key=generator.key()) > 0 for generator in tree[:40]]
    agreement = [(a == b).mean() for a, b in pairwise(masks)]
    assert 0.45 < min(agreement) <= max(agreement) < 0.55


def test_a_number_of_children_that_cannot_be() -> None:
    generator = Generator(3)
    wrong: Any
    for wrong in (1.0, "1", None):
        with pytest.raises(TypeError, match=f"^n_children must be an integer, got {type(wrong).__name__}"):
            generator.spawn(wrong)
    with pytest.raises(ValueError, match=r"^n_children must be at least 0, got -1"):
        generator.spawn(-1)
    assert generator.get_state() == Key(3, 0)
