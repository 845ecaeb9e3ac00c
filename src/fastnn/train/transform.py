"""What happens to a batch on its way to the model: `transform=` of fit.

It knows nothing of models, nor of where the rows come from.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from fastnn.augment import Transform
from fastnn.random import Key
from fastnn.train.nested import Nested, leaves, length


def check_transform(transform: object) -> None:
    """TypeError for what is no transform."""
    if transform is None:
        return
    if isinstance(transform, type) or not callable(transform):
        got = f"the class {transform.__name__}" if isinstance(transform, type) else repr(transform)
        raise TypeError(f"transform must be one of fastnn.augment or a function (x, y) -> (x, y), got {got}")


def transformed_batch(transform: Any, x: Nested, y: Nested, key: Key) -> tuple[Nested, Nested]:
    """What `transform` makes of a batch; `key` is what the draws of fastnn.augment's follow from.

    Raises TypeError unless that is (x, y), and for one of fastnn.augment with a model of several inputs;
    ValueError for another number of samples.
    """
    if isinstance(transform, Transform) and isinstance(x, tuple):
        raise TypeError(
            "transform must be a function (x, y) -> (x, y) for a model of several inputs: those of"
            f" fastnn.augment change one array of images, got {type(transform).__name__} and {len(x)} inputs"
        )
    made = transform(x, y, key=key) if isinstance(transform, Transform) else transform(x, y)
    if not isinstance(made, tuple) or len(made) != 2:
        raise TypeError(f"transform must return (x, y), got {type(made).__name__}")
    samples, shapes = length(y), [getattr(array, "shape", None) for array in leaves(made)]
    if any(not shape or shape[0] != samples for shape in shapes):
        raise ValueError(
            f"transform must return arrays of as many samples as it got, {samples}, got shapes"
            f" {', '.join(map(str, shapes))}"
        )
    return made


def validation_of(transform: Any) -> Callable[[Nested], Nested]:
    """What the inputs of a validation batch go through: the steps of `transform` that draw nothing."""
    fixed = transform.preprocessing() if isinstance(transform, Transform) else None
    return (lambda x: x) if fixed is None else fixed.transform


def described(transform: Any) -> str:
    """What a checkpoint says of it, the same in each process: a resumed run must have an equal one."""
    if transform is None or isinstance(transform, Transform):
        return repr(transform)
    return str(getattr(transform, "__qualname__", type(transform).__qualname__))
