"""The base class of random transforms of batches. It knows no transform."""

from __future__ import annotations

import inspect
from typing import Any

from numpy.typing import ArrayLike

from fastnn._core.typing import Array
from fastnn.preprocessing import Transformer
from fastnn.random import Key, given_or_next


class Transform:
    """The base of all transforms: `t(x)` returns x changed, `t(x, y)` returns (x, y).

    The parameters are drawn for each sample, and follow from the key and the sample's place in the batch
    alone. A transform of your own keeps each argument of its constructor in an attribute of the same name and
    defines `apply`.
    """

    def __call__(self, x: ArrayLike, y: Any = None, *, key: tuple[int, int] | None = None) -> Any:
        """Return the batch changed; key: what all draws follow from (None: the default generator's next)."""
        made = self.apply(x, y, given_or_next(key))
        return made[0] if y is None else made

    def apply(self, x: ArrayLike, y: Any, key: Key) -> tuple[Array, Any]:
        """Return (x, y) changed; y is None where there are no targets."""
        raise NotImplementedError(f"{type(self).__name__} does not define apply")

    def preprocessing(self) -> Transformer | None:
        """Return the steps that draw nothing, as one transformer: what validation and prediction need."""
        return None

    def get_params(self) -> dict[str, Any]:
        """Return the constructor's arguments by name."""
        return {name: getattr(self, name) for name in inspect.signature(type(self)).parameters}

    def __repr__(self) -> str:
        given = ", ".join(f"{name}={value!r}" for name, value in self.get_params().items())
        return f"{type(self).__name__}({given})"
