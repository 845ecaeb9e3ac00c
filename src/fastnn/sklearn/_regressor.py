"""MLPRegressor: numbers on top of what both estimators share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Self

from sklearn.base import RegressorMixin, _fit_context
from sklearn.metrics import r2_score
from sklearn.utils._param_validation import StrOptions

from fastnn._core.typing import Array
from fastnn.sklearn._base import BaseMLP
from fastnn.sklearn._outputs import OUTPUTS


@dataclass(eq=False, repr=False)
class MLPRegressor(RegressorMixin, BaseMLP):  # type: ignore[misc]
    """A multi-layer perceptron for numbers: scikit-learn's, on fastnn's layers.

    Parameters and attributes are those of MLPClassifier, without classes_, and loss: "squared_error", half
    the squared error, or "poisson", half the Poisson deviance of y >= 0, where the network gives the
    logarithm of the mean. y: numbers, (samples,) or (samples, outputs).
    """

    loss: str = "squared_error"

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        **BaseMLP._parameter_constraints,
        "loss": [StrOptions({"squared_error", "poisson"})],
    }

    @_fit_context(prefer_skip_nested_validation=True)  # type: ignore[untyped-decorator]
    def partial_fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:  # noqa: N803
        """Train for one pass through the samples. Returns self."""
        return self._fit(X, y, sample_weight, incremental=True)

    def predict(self, X: Any) -> Array:  # noqa: N803
        """Return the values, (samples,) or (samples, outputs)."""
        return self._values(self._logits(X))

    def _values(self, z: Array) -> Array:
        values = OUTPUTS[self.out_activation_].function(z)
        return values[:, 0] if self.n_outputs_ == 1 else values

    def _validate(self, X: Any, y: Any, incremental: bool, reset: bool) -> tuple[Array, Array]:  # noqa: N803
        X, y = self._checked(X, y, reset, y_numeric=True)  # noqa: N806
        if self.loss == "poisson" and (y < 0).any():
            raise ValueError("Some value(s) of y are negative; loss='poisson' takes y >= 0.")
        return X, y.reshape(len(y), -1).astype(X.dtype, copy=False)

    def _output_units(self, y: Array) -> tuple[int, str]:
        return y.shape[1], "exp" if self.loss == "poisson" else "identity"

    def _held_out_score(self, z: Array, y: Array, weight: Array | None) -> float:
        values = OUTPUTS[self.out_activation_].function(z)
        return float(r2_score(y, values, sample_weight=weight))
