"""Checks of losses against the reference, for the CPU's functions and their twins."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from fastnn._core.typing import Array

Shape = tuple[int, ...]


REDUCTIONS = ("mean", "sum", "none")


def draws(*shape: int, seed: int = 0) -> Array:
    return np.random.default_rng(seed + sum(shape)).normal(scale=3, size=shape)


def labels_for(shape: Shape, ignored: int | None = None) -> Array:
    rng = np.random.default_rng(sum(shape))
    labels = rng.integers(shape[1], size=(shape[0], *shape[2:]))
    if ignored is not None:
        labels[rng.random(labels.shape) < 0.3] = ignored
    return labels


def probabilities_for(shape: Shape) -> Array:
    p = np.random.default_rng(1).random(shape)
    normalised: Array = p / p.sum(axis=1, keepdims=True)
    return normalised


def class_weight(shape: Shape) -> Array:
    return np.random.default_rng(2).random(shape[1]) + 0.25


# What a call takes beside the input, by the name of the case: (function, shape -> (target, parameters)).
Arguments = tuple[Array, dict[str, Any]]


CASES: dict[str, tuple[str, Callable[[Shape], Arguments]]] = {
    "labels": ("cross_entropy", lambda s: (labels_for(s), {})),
    "weight": ("cross_entropy", lambda s: (labels_for(s), {"weight": class_weight(s)})),
    "ignored": ("cross_entropy", lambda s: (labels_for(s, -100), {})),
    "ignored_class": ("cross_entropy", lambda s: (labels_for(s), {"ignore_index": 0})),
    "smoothing": ("cross_entropy", lambda s: (labels_for(s), {"label_smoothing": 0.2})),
    "all_smooth": ("cross_entropy", lambda s: (labels_for(s), {"label_smoothing": 1.0})),
    "everything": (
        "cross_entropy",
        lambda s: (
            labels_for(s, 255),
            {"weight": class_weight(s), "ignore_index": 255, "label_smoothing": 0.125},
        ),
    ),
    "probabilities": ("cross_entropy", lambda s: (probabilities_for(s), {})),
    "soft_everything": (
        "cross_entropy",
        lambda s: (probabilities_for(s), {"weight": class_weight(s), "label_smoothing": 0.125}),
    ),
    "hinge": ("hinge_loss", lambda s: (labels_for(s), {})),
    "hinge_margin": ("hinge_loss", lambda s: (labels_for(s), {"margin": 0.3})),
    "hinge_negative": ("hinge_loss", lambda s: (labels_for(s), {"margin": -0.3})),
    "bce": ("binary_cross_entropy_with_logits", lambda s: (probabilities_for(s), {})),
    "bce_weights": (
        "binary_cross_entropy_with_logits",
        lambda s: (
            (draws(*s) > 0).astype(float),
            {"weight": class_weight((1, s[-1])), "pos_weight": class_weight((1, s[-1]))},
        ),
    ),
    "mse": ("mse_loss", lambda s: (draws(*s, seed=1), {})),
    "l1": ("l1_loss", lambda s: (draws(*s, seed=1), {})),
    "smooth_l1": ("smooth_l1_loss", lambda s: (draws(*s, seed=1), {"beta": 2.5})),
    "smooth_l1_sharp": ("smooth_l1_loss", lambda s: (draws(*s, seed=1), {"beta": 0.0})),
    "huber": ("huber_loss", lambda s: (draws(*s, seed=1), {"delta": 2.5})),
    "kl_div": ("kl_div", lambda s: (probabilities_for(s), {})),
    "kl_div_of_log": ("kl_div", lambda s: (np.log(probabilities_for(s)), {"log_target": True})),
    "probable": ("binary_cross_entropy", lambda s: (probabilities_for(s), {})),
    "probable_weights": (
        "binary_cross_entropy",
        lambda s: ((draws(*s) > 0).astype(float), {"weight": class_weight((1, s[-1]))}),
    ),
    "nll": ("nll_loss", lambda s: (labels_for(s), {})),
    "nll_everything": (
        "nll_loss",
        lambda s: (labels_for(s, 255), {"weight": class_weight(s), "ignore_index": 255}),
    ),
}


def input_for(case: str, shape: Shape) -> Array:
    """The input of a case: any numbers, or probabilities."""
    x = draws(*shape)
    return 1 / (1 + np.exp(-x / 3)) if case.startswith("probable") else x


TOLERANCE = {np.dtype(np.float32): 2e-6, np.dtype(np.float64): 4e-15}


def cast(arguments: Arguments, dtype: Any) -> Arguments:
    """Floats in this dtype; labels stay."""
    target, params = arguments
    params = {k: v.astype(dtype) if isinstance(v, np.ndarray) else v for k, v in params.items()}
    return target if target.dtype.kind in "iu" else target.astype(dtype), params


def check(got: tuple[Any, Array], exact: tuple[Any, Array], rtol: float) -> None:
    """The loss, measured by itself and 1; the gradient by its largest element, or 1 / the number of them."""
    (loss, dx), (loss_exact, dx_exact) = got, exact
    np.testing.assert_allclose(loss, loss_exact, rtol=rtol, atol=rtol)
    largest = np.abs(np.nan_to_num(dx_exact.astype(np.float64))).max(initial=1 / max(dx.size, 1))
    np.testing.assert_allclose(dx, dx_exact.astype(np.float64), rtol=0, atol=rtol * largest)
