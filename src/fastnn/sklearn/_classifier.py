"""MLPClassifier: labels on top of what both estimators share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from sklearn.base import ClassifierMixin, _fit_context
from sklearn.metrics import accuracy_score
from sklearn.preprocessing import LabelBinarizer
from sklearn.utils.multiclass import type_of_target, unique_labels

import fastnn.functional as F
from fastnn._core.typing import Array
from fastnn.sklearn._base import BaseMLP
from fastnn.sklearn._outputs import OUTPUTS


@dataclass(eq=False, repr=False)
class MLPClassifier(ClassifierMixin, BaseMLP):  # type: ignore[misc]
    """A multi-layer perceptron for classes, trained by cross-entropy: scikit-learn's, on fastnn's layers.

    Parameters are scikit-learn's with its defaults, and three more. hidden_layer_sizes: units of each hidden
    layer. activation: what follows it; "identity", "logistic", "tanh", "relu" or any other activation of
    fastnn by its name, such as "gelu" or "silu". norm: "batch" or "layer", what normalises a hidden layer
    before its activation; None: nothing. dropout: share of a hidden layer's outputs that a training step sets
    to 0. solver: "adam" or "sgd"; "lbfgs" is not here. alpha: strength of the L2 penalty on the weights.
    batch_size; learning_rate ("constant", "invscaling", "adaptive"), learning_rate_init, power_t;
    max_iter, tol, n_iter_no_change, early_stopping, validation_fraction: when to stop; shuffle;
    random_state; verbose; warm_start; momentum, nesterovs_momentum for "sgd"; beta_1, beta_2, epsilon for
    "adam".

    y: labels (samples,), or for several labels at once a matrix of 0 and 1 (samples, labels). X is computed
    in its dtype, float32 or float64; anything else becomes float64. The first weights are scikit-learn's
    (Glorot and Bengio, 2010), from the same random numbers: with norm=None and dropout=0, an integer
    random_state gives the network that scikit-learn trains, up to rounding. random_state decides everything;
    fastnn's default generator is not touched.

    Attributes are scikit-learn's: classes_, loss_, best_loss_, loss_curve_, validation_scores_,
    best_validation_score_, t_, coefs_, intercepts_, n_features_in_, feature_names_in_, n_iter_, n_layers_,
    n_outputs_, out_activation_; and model_, the network as a fastnn.nn.Sequential.
    """

    @_fit_context(prefer_skip_nested_validation=True)  # type: ignore[untyped-decorator]
    def partial_fit(
        self,
        X: Any,  # noqa: N803
        y: Any,
        sample_weight: Any = None,
        classes: Any = None,
    ) -> Self:
        """Train for one pass through the samples; the first call needs all the classes. Returns self."""
        if not hasattr(self, "classes_"):
            if classes is None:
                raise ValueError("classes must be passed on the first call to partial_fit.")
            self._learn_labels(y if type_of_target(y).startswith("multilabel") else unique_labels(classes))
        elif classes is not None and not np.array_equal(self.classes_, unique_labels(classes)):
            raise ValueError(
                f"`classes={classes!r}` is not the same as on last call to partial_fit,"
                f" was: {self.classes_!r}"
            )
        return self._fit(X, y, sample_weight, incremental=True)

    def predict(self, X: Any) -> Array:  # noqa: N803
        """Return the most probable class of each sample; for several labels, a matrix of 0 and 1."""
        return self._labels(self._logits(X))

    def predict_proba(self, X: Any) -> Array:  # noqa: N803
        """Return the probability of each class, (samples, classes), in the order of classes_."""
        z = self._logits(X)
        p = OUTPUTS[self.out_activation_].function(z)
        return np.hstack([1 - p, p]) if self.n_outputs_ == 1 else p

    def predict_log_proba(self, X: Any) -> Array:  # noqa: N803
        """Return the logarithm of predict_proba, which keeps its digits where a probability is near 0."""
        z = self._logits(X)
        if self.out_activation_ == "softmax":
            return F.log_softmax(z, 1)
        return F.logsigmoid(np.hstack([-z, z]) if self.n_outputs_ == 1 else z)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_label = True
        return tags

    def _learn_labels(self, y: Any) -> None:
        self._label_binarizer = LabelBinarizer().fit(y)
        self.classes_ = self._label_binarizer.classes_

    def _labels(self, z: Array) -> Array:
        p = OUTPUTS[self.out_activation_].function(z)
        labels: Array = self._label_binarizer.inverse_transform(p[:, 0] if self.n_outputs_ == 1 else p)
        return labels

    def _validate(self, X: Any, y: Any, incremental: bool, reset: bool) -> tuple[Array, Array]:  # noqa: N803
        X, y = self._checked(X, y, reset)  # noqa: N806
        if not hasattr(self, "classes_") or not (self.warm_start or incremental):
            self._learn_labels(y)
        else:
            self._check_labels(unique_labels(y))
        indicators = self._label_binarizer.transform(y)
        if self._label_binarizer.y_type_ == "multiclass":
            return X, indicators.argmax(axis=1)
        return X, indicators.astype(X.dtype)

    def _check_labels(self, classes: Array) -> None:
        if self.warm_start and set(classes) != set(self.classes_):
            raise ValueError(
                "warm_start can only be used where `y` has the same classes as in the previous call to fit."
                f" Previously got {self.classes_}, `y` has {classes}"
            )
        if not set(classes) <= set(self.classes_):
            raise ValueError(
                "`y` has classes not in `self.classes_`. `self.classes_` has"
                f" {self.classes_}. 'y' has {classes}."
            )

    def _output_units(self, y: Array) -> tuple[int, str]:
        return (len(self.classes_), "softmax") if y.ndim == 1 else (y.shape[1], "logistic")

    def _stratify(self, y: Array) -> Array | None:
        return y if self.n_outputs_ == 1 else None  # as scikit-learn: two classes only

    def _held_out_score(self, z: Array, y: Array, weight: Array | None) -> float:
        if y.ndim == 1:
            return float(accuracy_score(y, z.argmax(axis=1), sample_weight=weight))
        right = self._label_binarizer.inverse_transform(y[:, 0] if self.n_outputs_ == 1 else y)
        return float(accuracy_score(right, self._labels(z), sample_weight=weight))
