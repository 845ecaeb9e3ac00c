"""Compose: transformers one after another, as one. It knows no other transformer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike

from fastnn._core.typing import Array
from fastnn.preprocessing.transformer import Transformer


class Compose(Transformer):
    """Transformers one after another: each is fitted to what the one before it makes of the samples."""

    def __init__(self, *steps: Transformer) -> None:
        for step in steps:
            if not isinstance(step, Transformer):
                raise TypeError(
                    f"steps must be transformers of fastnn.preprocessing, got {type(step).__name__}"
                )
        if not steps:
            raise ValueError("steps must be at least one transformer, got none")
        self.steps = steps

    def partial_fit(self, x: ArrayLike, y: object = None) -> Self:
        """Learn from more samples; ValueError where a step cannot."""
        for place, step in enumerate(self.steps):
            step.partial_fit(x)
            if place + 1 < len(self.steps):
                x = step.transform(x)
        return self

    def transform(self, x: ArrayLike, *, out: Array | None = None) -> Array:
        """Return what the last step returns; errors are the steps' own."""
        for step in self.steps[:-1]:
            x = step.transform(x)
        return self.steps[-1].transform(x, out=out)

    def inverse_transform(self, x: ArrayLike, *, out: Array | None = None) -> Array:
        """Go the way back."""
        for step in self.steps[:0:-1]:
            x = step.inverse_transform(x)
        return self.steps[0].inverse_transform(x, out=out)

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """Return the steps."""
        return {"steps": self.steps}

    def set_params(self, **params: Any) -> Self:
        """Raise ValueError for anything but the same steps: set the parameters of a step itself."""
        if params.keys() - {"steps"} or params.get("steps", self.steps) != self.steps:
            raise ValueError("Compose: set_params is for its steps, one by one")
        return self

    def state_dict(self) -> dict[str, Array]:
        """Return the states of all steps, their names begun by the step's number."""
        return {
            f"{place}.{name}": value
            for place, step in enumerate(self.steps)
            for name, value in step.state_dict().items()
        }

    def load_state_dict(self, state: Mapping[str, Array]) -> None:
        """Take what `state_dict` returned; ValueError where it does not fit."""
        own: list[dict[str, Array]] = [{} for _ in self.steps]
        for name, value in state.items():
            place, _, rest = name.partition(".")
            if not (place.isdecimal() and int(place) < len(own)):
                raise ValueError(f"Compose: state must be of {len(own)} steps, got {name!r}")
            own[int(place)][rest] = np.asarray(value)
        for step, part in zip(self.steps, own, strict=True):
            step.load_state_dict(part)

    @property
    def sample_shape(self) -> tuple[int, ...]:
        """The shape of a sample, as the first step saw it."""
        return self.steps[0].sample_shape

    def _fitted(self, x: ArrayLike) -> Array:
        return self.steps[0]._fitted(x)

    def _forget(self) -> None:
        for step in self.steps:
            step._forget()

    def __repr__(self) -> str:
        return f"Compose({', '.join(map(repr, self.steps))})"
