"""PCA and Whiten: samples in the directions of the training samples' principal components."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from fastnn._core.arrays import apart, is_whole, write
from fastnn._core.products import matmul
from fastnn._core.typing import Array
from fastnn._kernels import real_number
from fastnn.datasets.labelled import parts
from fastnn.preprocessing.moments import RunningMean
from fastnn.preprocessing.scale import Scale, computing_dtype
from fastnn.preprocessing.standardize import check_statistics
from fastnn.preprocessing.transformer import Transformer, check_shape, target_for

METHODS = ("pca", "zca")


class Rotation(Transformer):
    """The base of transformers by the eigenvectors of the covariance matrix of all elements of a sample.

    The matrix is summed up in float64 while samples come, and its eigenvectors are found when they are first
    wanted.
    """

    state = ("shape", "mean", "components", "explained_variance", "total_variance", "n_samples_seen")
    mean_: Array
    n_samples_seen_: Array

    def __init__(self) -> None:
        self._scatter: Array | None = None  # the sum of products of differences from the mean; not saved
        self._eigen: tuple[Array, Array, Array] | None = None
        self._made: tuple[object, tuple[Array, Array]] | None = None

    def _count(self, variances: Array) -> int:
        """How many components are kept, of these variances, the largest first."""
        return len(variances)

    def _matrices(self) -> tuple[Array, Array]:
        """What centred rows are multiplied by, and the way back."""
        raise NotImplementedError(f"{type(self).__name__} does not define _matrices")

    def _result_shape(self) -> tuple[int, ...]:
        return (len(self.components_),)

    # ---- what is learnt ----

    @property
    def components_(self) -> Array:
        """The directions of largest variance, (components, features), the largest first, float64."""
        return self._found()[0]

    @property
    def explained_variance_(self) -> Array:
        """The variance along each component: it divides by the number of samples, not by one less."""
        return self._found()[1]

    @property
    def total_variance_(self) -> Array:
        """The sum of the variances of all features."""
        return self._found()[2]

    @property
    def explained_variance_ratio_(self) -> Array:
        """The share of each component in the total variance; 0 where there is no variance."""
        return self.explained_variance_ / (self.total_variance_ or 1.0)

    def _learn(self, x: Array) -> None:
        seen, features = int(getattr(self, "n_samples_seen_", 0)), math.prod(x.shape[1:])
        mean = RunningMean((0,), self.mean_ if seen else None, seen)
        scatter = self._scatter_so_far() if seen else np.zeros((features, features))
        for part, shift, weight in mean.take(x):
            rows = part.reshape(len(part), features)
            scatter = scatter + rows.T @ rows + np.outer(shift, shift) * weight
        self._eigen = None
        self.mean_, self._scatter, self.n_samples_seen_ = mean.mean, scatter, np.array(mean.count)

    def _scatter_so_far(self) -> Array:
        if self._scatter is not None:
            return self._scatter
        components, variances, _ = self._found()
        if len(components) < components.shape[1]:
            raise ValueError(
                f"{type(self).__name__}: partial_fit cannot go on from a state with {len(components)} of"
                f" {components.shape[1]} components: the others are not in it; call fit"
            )
        return (components.T * variances) @ components * int(self.n_samples_seen_)

    def _finish(self) -> None:
        self._found()

    def _forget(self) -> None:
        super()._forget()
        self._scatter = self._eigen = None

    def _take(self, state: Mapping[str, Array]) -> None:
        self.mean_, self.n_samples_seen_ = state["mean"], state["n_samples_seen"]
        self._eigen = state["components"], state["explained_variance"], state["total_variance"]

    def _check_state(self, state: Mapping[str, Array]) -> None:
        sizes = tuple(state["shape"].tolist())
        kept, features = len(np.atleast_1d(state["components"])), math.prod(sizes)
        shapes = {"components": (kept, features), "explained_variance": (kept,), "total_variance": ()}
        check_statistics(self, state, {"mean": sizes} | shapes)
        variances = [*state["explained_variance"], state["total_variance"]]
        if not 1 <= kept <= features or min(variances) < 0:
            raise ValueError(
                f"{type(self).__name__}: components must be 1 to {features}, and no variance negative"
            )

    def _found(self) -> tuple[Array, Array, Array]:
        """Components, their variances and the total, found now if samples came since the last time."""
        self._check_fitted()
        if self._eigen is None:
            assert self._scatter is not None
            variances, vectors = np.linalg.eigh(self._scatter / int(self.n_samples_seen_))
            variances, components = np.maximum(variances[::-1], 0.0), vectors.T[::-1]
            # An eigenvector's sign is arbitrary: the largest of its elements is made positive.
            largest = np.take_along_axis(components, np.abs(components).argmax(axis=1)[:, None], axis=1)
            kept = self._count(variances)
            self._eigen = (
                np.ascontiguousarray((components * np.where(largest < 0, -1.0, 1.0))[:kept]),
                variances[:kept].copy(),
                np.array(variances.sum()),
            )
        return self._eigen

    # ---- transforms ----

    def _transform(self, x: Array, out: Array | None) -> Array:
        target = target_for(x, out, self._result_shape())
        centre = Scale(self.mean_, np.ones_like(self.mean_))
        dtype = computing_dtype(x, target)
        matrix = self._both_matrices()[0].astype(dtype, copy=False)
        x = apart(x, target)
        for rows in parts(x):
            centred = centre.apply(x[rows], np.empty(x[rows].shape, dtype))
            place = target[rows]
            write(place, matmul(centred.reshape(len(centred), -1), matrix).reshape(place.shape))
        return target

    def _inverse(self, x: Array, out: Array | None) -> Array:
        check_shape(x, self._result_shape())
        target = target_for(x, out, self.sample_shape)
        matrix, x = self._both_matrices()[1], apart(x, target)
        for rows in parts(x):
            place = target[rows]
            made = x[rows].reshape(len(place), -1).astype(np.float64) @ matrix
            write(place, made.reshape(place.shape) + self.mean_)
        return target

    def _both_matrices(self) -> tuple[Array, Array]:
        found = self._found()
        if self._made is None or self._made[0] is not found:
            self._made = found, self._matrices()
        return self._made[1]


class PCA(Rotation):
    """Rows of the first principal components: (x - mean) @ components_.T, of shape (samples, components).

    n_components: how many; a float in (0, 1]: as many as explain this share of the variance; None: as many as
    there are samples or elements of a sample. Samples of any shape are taken as rows. Directions and shares
    are those of sklearn.decomposition.PCA, variances divide by the number of samples, not by one less.
    `fit` raises ValueError for more components than samples or elements. State that was saved has the
    components that are kept: `partial_fit` goes on from it only where these are all.
    """

    def __init__(self, n_components: float | None = None) -> None:
        super().__init__()
        number = isinstance(n_components, bool | int | np.integer)
        if n_components is not None and not (
            (is_whole(n_components) and n_components >= 1)
            or (not number and 0 < real_number("n_components", n_components) <= 1)
        ):
            raise ValueError(
                "n_components must be None, a whole number of at least 1 or a share of the variance in"
                f" (0, 1], got {n_components!r}"
            )
        self.n_components = n_components

    def _learn(self, x: Array) -> None:
        self._check_count(math.prod(x.shape[1:]), "elements of a sample")
        super()._learn(x)

    def _check_count(self, most: int, of: str) -> None:
        if is_whole(self.n_components) and self.n_components > most:
            raise ValueError(
                f"PCA: n_components must be at most {most}, the number of {of}, got {self.n_components}"
            )

    def _count(self, variances: Array) -> int:
        samples = int(self.n_samples_seen_)
        self._check_count(samples, "samples")
        most = min(samples, len(variances))
        if self.n_components is None or is_whole(self.n_components):
            return most if self.n_components is None else int(self.n_components)
        shares = np.cumsum(variances) / (variances.sum() or 1.0)
        return min(int(np.searchsorted(shares, self.n_components)) + 1, most)

    def _matrices(self) -> tuple[Array, Array]:
        return self.components_.T, self.components_


class Whiten(Rotation):
    """Samples whose elements are uncorrelated, with variance 1: centred, rotated, divided by the deviations.

    With the covariance matrix of the training samples V diag(s) V^T: method="pca": (x - mean) V / sqrt(s +
    eps), rows of shape (samples, elements), the largest variance first; method="zca": that times V^T, the
    whitened samples that are nearest to x, of its shape: images stay images. eps > 0, in the unit of x^2,
    keeps directions that are nearly constant from becoming noise; more of it smooths images (Krizhevsky,
    "Learning multiple layers of features from tiny images", 2009). s divides by the number of samples. The
    matrix has elements^2 numbers, and finding s and V takes time in proportion to elements^3.
    """

    def __init__(self, method: str = "zca", eps: float = 1e-5) -> None:
        super().__init__()
        if method not in METHODS:
            raise ValueError(f"method must be one of {', '.join(map(repr, METHODS))}, got {method!r}")
        if not 0 < real_number("eps", eps) < math.inf:
            raise ValueError(f"eps must be a finite number above 0, got {eps!r}")
        self.method, self.eps = method, eps

    def _result_shape(self) -> tuple[int, ...]:
        return self.sample_shape if self.method == "zca" else super()._result_shape()

    def _matrices(self) -> tuple[Array, Array]:
        vectors, deviations = self.components_, np.sqrt(self.explained_variance_ + self.eps)
        there, back = vectors.T / deviations, deviations[:, None] * vectors
        return (there @ vectors, vectors.T @ back) if self.method == "zca" else (there, back)

    def _check_state(self, state: Mapping[str, Array]) -> None:
        super()._check_state(state)
        if state["components"].shape[0] != state["components"].shape[1]:
            raise ValueError("Whiten: components must be all, got a part of them")
