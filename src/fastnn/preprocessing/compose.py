"""Compose: transformers one after another, as one. It knows no other transformer."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike

from fastnn._core.arrays import apart
from fastnn._core.stored import by_rows
from fastnn._core.typing import Array
from fastnn.datasets.labelled import parts
from fastnn.preprocessing.transformer import Transformer, target_for


class Compose(Transformer):
    """Transformers one after another: each is fitted to what the one before it makes of the samples.

    Memory is needed for the result and for a part of what lies between. Images and a step that centres or
    scales after it are one pass over memory. The parameters of a step have its number before their names, as
    "1__per" in `set_params`.
    """

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
        """Learn from more samples; ValueError where a step cannot.

        It cannot where a step before the last one that computes would change what it computes: then the
        statistics of those after it would not be those of the whole. Fit these one after another.
        """
        learning = [step for step in self.steps if not step.moves_only]
        if learning[1:] and learning[0].__sklearn_is_fitted__():
            raise ValueError(
                f"Compose: partial_fit must be of one step that learns, got {learning}: what the later ones"
                " have learnt depends on the first one, which would change; call fit"
            )
        samples = self.steps[0]._samples(by_rows(x))
        with self._all_or_nothing():
            for place, step in enumerate(self.steps):
                if not math.prod(samples.shape):
                    step.partial_fit(samples)  # which says what is wrong
                for rows in parts(samples):
                    made = samples[rows]
                    for earlier in self.steps[:place]:
                        made = earlier.transform(made)
                    step.partial_fit(made)
        return self

    def _transform(self, x: Array, out: Array | None) -> Array:
        if sum(not step.moves_only for step in self.steps) < 2:
            return self._in_one_go(x, out)
        target = target_for(x, out, self._in_one_go(x[:1], None).shape[1:])
        x = apart(x, target)
        for rows in parts(x):
            self._in_one_go(x[rows], target[rows])
        return target

    def _in_one_go(self, x: Array, out: Array | None) -> Array:
        for step in self.steps[:-1]:
            x = step.transform(x)
        return self.steps[-1].transform(x, out=out)

    def inverse_transform(self, x: ArrayLike, *, out: Array | None = None) -> Array:
        """Go the way back."""
        for step in self.steps[:0:-1]:
            x = step.inverse_transform(x)
        return self.steps[0].inverse_transform(x, out=out)

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """Return the steps; deep: and their parameters."""
        own: dict[str, Any] = {"steps": self.steps}
        for place, step in enumerate(self.steps if deep else ()):
            own |= {f"{place}__{name}": value for name, value in step.get_params().items()}
        return own

    def set_params(self, **params: Any) -> Self:
        """Change parameters of steps; ValueError for one that there is not, and then nothing is changed."""
        if unknown := params.keys() - self.get_params().keys():
            raise ValueError(f"Compose: parameters must be of {[*self.get_params()]}, got {sorted(unknown)}")
        with self._all_or_nothing():
            self.steps = Compose(*params.pop("steps", self.steps)).steps
            for name, value in params.items():
                place, _, rest = name.partition("__")
                self.steps[int(place)].set_params(**{rest: value})
            if params:
                self._forget()  # what a step has learnt depends on those before it
        return self

    def __sklearn_clone__(self) -> Self:
        """Return an unfitted Compose of unfitted copies of the steps."""
        return type(self)(*(step.__sklearn_clone__() for step in self.steps))

    def state_dict(self) -> dict[str, Array]:
        """Return the states of all steps, their names begun by the step's number."""
        return {
            f"{place}.{name}": value
            for place, step in enumerate(self.steps)
            for name, value in step.state_dict().items()
        }

    def load_state_dict(self, state: Mapping[str, Array]) -> None:
        """Take what `state_dict` returned; ValueError where it does not fit, and then nothing is changed."""
        own: list[dict[str, Array]] = [{} for _ in self.steps]
        for name, value in state.items():
            place, _, rest = name.partition(".")
            if not (place.isdecimal() and int(place) < len(own)):
                raise ValueError(f"Compose: state must be of {len(own)} steps, got {name!r}")
            own[int(place)][rest] = np.asarray(value)
        with self._all_or_nothing():
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

    def _finish(self) -> None:
        for step in self.steps:
            step._finish()

    def _own(self) -> list[Transformer]:
        return [self, *(each for step in self.steps for each in step._own())]

    def __sklearn_is_fitted__(self) -> bool:
        """Return whether all steps are fitted."""
        return all(step.__sklearn_is_fitted__() for step in self.steps)

    def __repr__(self) -> str:
        return f"Compose({', '.join(map(repr, self.steps))})"
