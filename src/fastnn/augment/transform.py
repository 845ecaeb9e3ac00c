"""The base classes of random transforms of batches. It knows no transform."""

from __future__ import annotations

import inspect
from typing import Any

from numpy.typing import ArrayLike

from fastnn._core.arrays import as_array
from fastnn._core.typing import Array
from fastnn.augment.images import as_images
from fastnn.preprocessing import Transformer
from fastnn.random import Key, KeyLike, given_or_next


class Transform:
    """The base of all transforms: `t(x)` returns x changed, `t(x, y)` returns (x, y).

    Parameters are drawn for each sample, and follow from the key and the sample's place in the batch alone.
    The key's row is the place of the first sample that is given, so a part of a batch becomes what it does
    within the batch: t(x[a:b], key=Key(seed, offset, row=a)) is t(x, key=Key(seed, offset))[a:b]. What was
    given is never written to. A transform of your own keeps each argument of its constructor in an attribute
    of the same name, and defines `apply`.
    """

    #: Whether samples are mixed with others of the batch, so that a part of a batch is not enough.
    mixes_samples: bool = False

    def __call__(self, x: ArrayLike, y: Any = None, *, key: KeyLike | None = None) -> Any:
        """Return the batch changed; key: what all draws follow from (None: the default generator's next).

        Raises ValueError for a key of another row than 0 if samples are mixed.
        """
        made = self.apply(as_array("x", x), y, given_or_next(key))
        return made[0] if y is None else made

    def apply(self, x: Array, y: Any, key: Key) -> tuple[Array, Any]:
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


class ImageTransform(Transform):
    """The base of those that change images alone, x of (N, C, H, W), and leave y as it is."""

    def apply(self, x: Array, y: Any, key: Key) -> tuple[Array, Any]:
        """Return the images changed, and y."""
        return self._changed(as_images(x), key), y

    def _changed(self, x: Array, key: Key) -> Array:
        raise NotImplementedError(f"{type(self).__name__} does not define _changed")
