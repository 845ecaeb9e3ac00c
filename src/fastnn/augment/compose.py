"""Compose: transforms one after another, as one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from fastnn import preprocessing
from fastnn._core.typing import Array
from fastnn.augment.images import as_images
from fastnn.augment.moves import Move, View
from fastnn.augment.transform import Transform
from fastnn.preprocessing import Transformer
from fastnn.random import Key, child_key


class Compose(Transform):
    """Transforms one after another, each with a stream of draws of its own.

    transforms: a list of those of fastnn.augment, and of fitted transformers of fastnn.preprocessing, which
    draw nothing: `preprocessing()` has these alone. Flips and a crop that follow each other are done in one
    pass over memory.
    """

    def __init__(self, transforms: Sequence[Transform | Transformer]) -> None:
        if not isinstance(transforms, Sequence) or not transforms:
            raise TypeError(
                f"Compose: transforms must be a list of at least one transform, got {transforms!r}"
            )
        for step in transforms:
            if not isinstance(step, Transform | Transformer):
                got = f"the class {step.__name__}" if isinstance(step, type) else repr(step)
                raise TypeError(
                    f"Compose: transforms must be of fastnn.augment or fastnn.preprocessing, got {got}"
                )
        self.transforms = [*transforms]

    def apply(self, x: Array, y: Any, key: Key) -> tuple[Array, Any]:
        """Return what the last transform returns."""
        first = child_key(key, 0)
        view: View | None = None  # moves that are still to be done
        for number, step in enumerate(self.transforms):
            if isinstance(step, Move) and type(step).apply is Move.apply:  # a subclass may have its own
                view = step.move(view or View.of(as_images(x)), first._replace(offset=number))
                continue
            x, view = view.images() if view else x, None
            if isinstance(step, Transform):
                x, y = step.apply(x, y, first._replace(offset=number))
            else:
                x = step.transform(x)
        return (view.images() if view else x), y

    @property
    def mixes_samples(self) -> bool:  # type: ignore[override]
        """Whether any of the transforms does."""
        return any(isinstance(step, Transform) and step.mixes_samples for step in self.transforms)

    def preprocessing(self) -> Transformer | None:
        """Return the transformers of fastnn.preprocessing as one; None if there is none."""
        steps = [step.preprocessing() if isinstance(step, Transform) else step for step in self.transforms]
        found = [step for step in steps if step is not None]
        return preprocessing.Compose(*found) if found else None
