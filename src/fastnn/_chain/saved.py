"""What a chain's forward saves for its backward, and what backward returns."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from fastnn._core.typing import Array
from fastnn.random import Key
from fastnn.stages import Head, Stage


class Saved(NamedTuple):
    """What backward needs: the input, not to be changed before, and a few numbers for each channel."""

    head: Head | None
    stages: tuple[Stage, ...]
    input: Array | None  # None: y was written over it
    mean: NDArray[np.float64] | None  # of each channel: the batch's or the running one
    mean_low: NDArray[np.float64] | None  # what was lost when the mean was rounded to one float64
    rstd: NDArray[np.float64] | None  # 1 / sqrt(variance + eps)
    weight: Array | None
    bias: Array | None
    residual: Array | None  # only where an activation comes after it
    key: Key | None
    elsewhere: int = 0  # how many elements of a channel other processes have, of a batch that is theirs too


class Gradients(NamedTuple):
    """The gradients of a chain; None for what it does not have."""

    input: Array
    weight: Array | None = None
    bias: Array | None = None
    residual: Array | None = None


def check_saved(saved: object) -> None:
    """An error unless it is what forward saved, with its input."""
    if not isinstance(saved, Saved):
        raise TypeError(f"saved must be what forward returned beside y, got {type(saved).__name__}")
    if saved.input is None:
        raise ValueError("saved must have forward's input, got one that y was written over (out=)")
