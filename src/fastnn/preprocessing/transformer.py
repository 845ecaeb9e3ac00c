"""The base class of transformers, and how samples are checked and cut into parts. It knows no transformer."""

from __future__ import annotations

import contextlib
import inspect
import math
from collections.abc import Iterator, Mapping
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, DTypeLike

from fastnn import _kernels
from fastnn._core.arrays import as_array, check_out, write
from fastnn._core.stored import Stored, by_rows
from fastnn._core.typing import Array
from fastnn.datasets.labelled import check_numbers, parts


class Transformer:
    """The base of all transformers: x has shape (samples, ...), and `y` is taken and ignored.

    A transformer of your own keeps each argument of its constructor in an attribute of the same name, what
    `fit` finds in attributes whose names end in an underscore, as scikit-learn's do, and defines `_learn`,
    `_transform` and `_inverse`. `state` names those of its attributes, without the underscore, that are
    arrays: they are what is saved. An array is never changed in place, so that a call that fails can leave
    everything as it was. `moves_only` is True where nothing but the shape of a sample is learnt.
    """

    state: tuple[str, ...] = ("shape",)
    moves_only = False
    shape_: Array  # of a sample, as fit saw it

    def fit(self, x: ArrayLike, y: object = None) -> Self:
        """Forget what was learnt, learn from the samples `x`, and return the transformer.

        Errors are those of `partial_fit`; then nothing is forgotten.
        """
        with self._all_or_nothing():
            self._forget()
            self.partial_fit(x)
            self._finish()
        return self

    def partial_fit(self, x: ArrayLike, y: object = None) -> Self:
        """Learn from more samples, as if all had come in one array; return the transformer.

        A stored array, as np.memmap and those of h5py and zarr, is read in parts and never loaded whole.
        Raises ValueError for x without samples, for samples of another shape, and for what is not finite;
        then nothing is changed.
        """
        samples = self._samples(by_rows(x))
        if not math.prod(samples.shape):
            raise ValueError(f"x must have at least one sample and one feature, got shape {samples.shape}")
        with self._all_or_nothing():
            self._learn(samples)
            self.shape_ = np.array(samples.shape[1:], np.int64)
        return self

    def transform(self, x: ArrayLike, *, out: Array | None = None) -> Array:
        """Return the samples transformed, in `out` if it is given: an array of floats, maybe `x` itself.

        Without it the result is float64 for x of float64 and float32 for all others; a transformer that
        moves elements and computes nothing keeps the dtype, and may return a view. Raises ValueError for
        samples of another shape than those of `fit`, and where there was no `fit`.
        """
        return self._transform(self._fitted(x), out)

    def fit_transform(self, x: ArrayLike, y: object = None, *, out: Array | None = None) -> Array:
        """Return `fit(x).transform(x, out=out)`."""
        return self.fit(x).transform(x, out=out)

    def inverse_transform(self, x: ArrayLike, *, out: Array | None = None) -> Array:
        """Return the samples that `transform` made `x` of."""
        self._check_fitted()
        return self._inverse(self._samples(x, fitted=False), out)

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """Return the constructor's arguments by name."""
        return {name: getattr(self, name) for name in _arguments(type(self))}

    def set_params(self, **params: Any) -> Self:
        """Change arguments of the constructor; ValueError for one that it does not have.

        What was learnt with other arguments is forgotten: fit again then.
        """
        known = [*_arguments(type(self))]
        if unknown := params.keys() - {*known}:
            raise ValueError(f"{type(self).__name__}: parameters must be of {known}, got {sorted(unknown)}")
        type(self)(**self.get_params() | params)  # a bad one is reported here
        for name, value in params.items():
            setattr(self, name, value)
        if params:
            self._forget()
        return self

    def state_dict(self) -> dict[str, Array]:
        """Return copies of what `fit` has learnt, arrays by name."""
        self._check_fitted()
        return {name: np.array(getattr(self, f"{name}_"), order="C") for name in self.state}

    def load_state_dict(self, state: Mapping[str, Array]) -> None:
        """Take what `state_dict` returned; ValueError where it does not fit, and then nothing is changed."""
        if state.keys() != {*self.state}:
            raise ValueError(f"{type(self).__name__}: state must have {[*self.state]}, got {sorted(state)}")
        shape = np.asarray(state["shape"])
        if shape.ndim != 1 or shape.dtype.kind not in "iu" or (shape < 1).any():
            raise ValueError(f"{type(self).__name__}: shape must be a sample's, got {shape.tolist()}")
        arrays = {name: np.array(value) for name, value in state.items()}
        self._check_state(arrays)
        self._forget()
        self.shape_ = arrays.pop("shape")
        self._take(arrays)

    @property
    def sample_shape(self) -> tuple[int, ...]:
        """The shape of a sample, as `fit` saw it; ValueError where there was no `fit`."""
        self._check_fitted()
        return tuple(self.shape_.tolist())

    def _forget(self) -> None:
        for name in self.state:
            vars(self).pop(f"{name}_", None)

    def _learn(self, x: Array) -> None:
        """Learn from samples that were checked."""

    def _finish(self) -> None:
        """Find what needs all samples: `fit` has seen them."""

    def _transform(self, x: Array, out: Array | None) -> Array:
        raise NotImplementedError(f"{type(self).__name__} does not define _transform")

    def _inverse(self, x: Array, out: Array | None) -> Array:
        raise NotImplementedError(f"{type(self).__name__} has no inverse_transform")

    def _take(self, state: Mapping[str, Array]) -> None:
        """Take the arrays of a state that was checked, all but the shape."""
        for name, value in state.items():
            setattr(self, f"{name}_", value)

    def _check_state(self, state: Mapping[str, Array]) -> None:
        """ValueError for arrays that are no state of this transformer."""

    def _check_fitted(self) -> None:
        if not hasattr(self, "shape_"):
            name = type(self).__name__
            raise ValueError(f"{name} must be fitted first: call fit with the training samples")

    def _fitted(self, x: ArrayLike) -> Array:
        """`x` as an array of samples that `transform` takes."""
        self._check_fitted()
        return self._samples(x)

    def _samples(self, x: Any, fitted: bool = True) -> Array:
        """`x` as an array of samples of numbers; fitted: of the shape that fit saw, if it has seen any."""
        array: Any = x if isinstance(x, Stored) else as_array("x", x)
        check_numbers(array)
        if array.ndim < 2:
            raise ValueError(f"x must be (samples, features) or (samples, ...), got shape {array.shape}")
        if fitted and hasattr(self, "shape_"):
            check_shape(array, self.sample_shape)
        return array  # type: ignore[no-any-return]

    def _own(self) -> list[Transformer]:
        """The transformers whose attributes a call may change."""
        return [self]

    @contextlib.contextmanager
    def _all_or_nothing(self) -> Iterator[None]:
        """Leave all attributes as they were where the block fails."""
        before = [(each, dict(vars(each))) for each in self._own()]
        try:
            yield
        except BaseException:
            for each, attributes in before:
                vars(each).clear()
                vars(each).update(attributes)
            raise

    def __sklearn_clone__(self) -> Self:
        """Return an unfitted copy, for scikit-learn's clone."""
        return type(self)(**self.get_params(deep=False))

    def __sklearn_is_fitted__(self) -> bool:
        """Return whether there was a `fit`, for scikit-learn's check_is_fitted."""
        return hasattr(self, "shape_")

    def __sklearn_tags__(self) -> Any:
        """Return what scikit-learn, which alone calls this, wants to know of a step of its pipelines."""
        from sklearn.utils import Tags, TargetTags, TransformerTags

        return Tags(
            estimator_type=None,
            target_tags=TargetTags(required=False),
            transformer_tags=TransformerTags(),
        )

    def __repr__(self) -> str:
        defaults = _arguments(type(self))
        given = ", ".join(
            f"{name}={value!r}" for name, value in self.get_params().items() if value != defaults[name]
        )
        return f"{type(self).__name__}({given})"


def check_shape(x: Array, expected: tuple[int, ...]) -> None:
    """ValueError unless x has samples of this shape."""
    if x.shape[1:] != expected:
        single = "; x[None] makes a batch of a single sample" if x.shape == expected else ""
        raise ValueError(
            f"x must have samples of shape {expected}, as in training, got {x.shape[1:]}{single}"
        )


def transformed(transformer: Transformer, x: Array, dtype: DTypeLike) -> Array:
    """Return `transformer.transform(x)` in a new array of this dtype."""
    transformer._fitted(by_rows(x))
    out = _kernels.empty((len(x), *transformer.transform(x[:1]).shape[1:]), dtype)
    for rows in parts(x):
        transformer.transform(x[rows], out=out[rows])
    return out


def delivered(x: Array, out: Array | None) -> Array:
    """`x`, or a copy of it in `out` if that is given."""
    if out is None:
        return x
    write(checked_out(out, x.shape), x)
    return out


def checked_out(out: object, shape: tuple[int, ...]) -> Array:
    """`out`, if it is an array of floats of this shape."""
    dtype = out.dtype.newbyteorder("=") if isinstance(out, np.ndarray) else np.dtype(np.float32)
    return check_out(out, shape, dtype if dtype.kind == "f" else np.dtype(np.float32))


def target_for(x: Array, out: Array | None, shape: tuple[int, ...] | None = None) -> Array:
    """Where the result for samples x is written: `out`, or a new array. shape: the samples' of the result."""
    shape = x.shape if shape is None else (len(x), *shape)
    if out is None:
        return _kernels.empty(shape, np.float64 if x.dtype.name == "float64" else np.float32)
    return checked_out(out, shape)


def _arguments(cls: type) -> dict[str, Any]:
    """The constructor's arguments, with their defaults."""
    return {name: each.default for name, each in inspect.signature(cls).parameters.items() if name != "self"}
