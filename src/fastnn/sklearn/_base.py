"""The base of both estimators: scikit-learn's parameters, and training by its rules.

Training takes the same steps as scikit-learn's own estimators: first weights, order of samples, loss, penalty
and the rules for stopping, so that equal parameters and random_state give equal networks but for rounding.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass
from numbers import Integral, Real
from typing import Any, ClassVar, Self

import numpy as np
from sklearn.base import BaseEstimator, _fit_context
from sklearn.exceptions import NotFittedError
from sklearn.utils import check_random_state, column_or_1d
from sklearn.utils._param_validation import Interval, Options, StrOptions
from sklearn.utils.validation import _check_sample_weight, validate_data

from fastnn._core.arrays import check_whole
from fastnn._core.typing import Array
from fastnn.sklearn._network import ACTIVATIONS, NORMS, SOLVERS, Design, Network
from fastnn.sklearn._training import Samples, train

POSITIVE, NOT_NEGATIVE = Interval(Real, 0, None, closed="neither"), Interval(Real, 0, None, closed="left")
SHARE = Interval(Real, 0, 1, closed="left")
COUNT = Interval(Integral, 1, None, closed="left")


@dataclass(eq=False, repr=False)
class BaseMLP(BaseEstimator):  # type: ignore[misc]
    """The parameters of both estimators, with scikit-learn's names and defaults."""

    hidden_layer_sizes: Sequence[int] | int = (100,)
    activation: str = "relu"
    _: KW_ONLY
    norm: str | None = None
    dropout: float = 0.0
    solver: str = "adam"
    alpha: float = 0.0001
    batch_size: int | str = "auto"
    learning_rate: str = "constant"
    learning_rate_init: float = 0.001
    power_t: float = 0.5
    max_iter: int = 200
    shuffle: bool = True
    random_state: Any = None
    tol: float = 1e-4
    verbose: bool | int = False
    warm_start: bool = False
    momentum: float = 0.9
    nesterovs_momentum: bool = True
    early_stopping: bool = False
    validation_fraction: float = 0.1
    beta_1: float = 0.9
    beta_2: float = 0.999
    epsilon: float = 1e-8
    n_iter_no_change: float = 10

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        "hidden_layer_sizes": ["array-like", COUNT],
        "activation": [StrOptions(set(ACTIVATIONS))],
        "norm": [StrOptions(set(NORMS)), None],
        "dropout": [SHARE],
        "solver": [StrOptions(set(SOLVERS))],
        "alpha": [NOT_NEGATIVE],
        "batch_size": [StrOptions({"auto"}), COUNT],
        "learning_rate": [StrOptions({"constant", "invscaling", "adaptive"})],
        "learning_rate_init": [POSITIVE],
        "power_t": [NOT_NEGATIVE],
        "max_iter": [COUNT],
        "shuffle": ["boolean"],
        "random_state": ["random_state"],
        "tol": [NOT_NEGATIVE],
        "verbose": ["verbose"],
        "warm_start": ["boolean"],
        "momentum": [Interval(Real, 0, 1, closed="both")],
        "nesterovs_momentum": ["boolean"],
        "early_stopping": ["boolean"],
        "validation_fraction": [SHARE],
        "beta_1": [SHARE],
        "beta_2": [SHARE],
        "epsilon": [POSITIVE],
        "n_iter_no_change": [COUNT, Options(Real, {np.inf})],
    }

    @_fit_context(prefer_skip_nested_validation=True)  # type: ignore[untyped-decorator]
    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:  # noqa: N803
        """Train on X (samples, features) and y; sample_weight has a weight for each sample. Returns self."""
        return self._fit(X, y, sample_weight, incremental=False)

    @property
    def model_(self) -> Any:
        """The network, a fastnn.nn.Sequential in evaluation mode; its output is before `out_activation_`."""
        return self._fitted().model

    @property
    def coefs_(self) -> list[Array]:
        """The linear layers' weights, of shape (inputs, outputs): views, not copies."""
        return [layer.weight.data.T for layer in self._fitted().linear]

    @property
    def intercepts_(self) -> list[Array]:
        """The linear layers' biases: views, not copies."""
        return [layer.bias.data for layer in self._fitted().linear]  # type: ignore[union-attr]

    # ---- for the estimators to define ----------------------------------------------------------------------

    def _validate(self, X: Any, y: Any, incremental: bool, reset: bool) -> tuple[Array, Array]:  # noqa: N803
        """Return X, and y as the loss takes it, of shape (samples,) or (samples, outputs)."""
        raise NotImplementedError

    def _checked(self, X: Any, y: Any, reset: bool, **more: Any) -> tuple[Array, Array]:  # noqa: N803
        """Return X and y as arrays, X float32 or float64, and y of one column as a vector."""
        needed = 2 if self.norm == "batch" else 1  # a single sample has no variance
        more |= {"multi_output": True, "dtype": (np.float64, np.float32), "ensure_min_samples": needed}
        check_whole("X", X)
        check_whole("y", y)
        X, y = validate_data(self, X, y, reset=reset, **more)  # noqa: N806
        return X, column_or_1d(y, warn=True) if y.ndim == 2 and y.shape[1] == 1 else y

    def _output_units(self, y: Array) -> tuple[int, str]:
        """Return the number of outputs and the name of the output's function."""
        raise NotImplementedError

    def _stratify(self, y: Array) -> Array | None:
        """Return the classes that the held-out samples are to be balanced by; None: by nothing."""
        return None

    def _held_out_score(self, z: Array, y: Array, weight: Array | None) -> float:
        """Return the score that early stopping goes by, of the last layer's output."""
        raise NotImplementedError

    # ---- training ------------------------------------------------------------------------------------------

    def _fit(self, X: Any, y: Any, sample_weight: Any, incremental: bool) -> Self:  # noqa: N803
        if self.early_stopping and incremental:
            raise ValueError("partial_fit does not support early_stopping=True")
        first = not hasattr(self, "_network") or not (self.warm_start or incremental)
        X, y = self._validate(X, y, incremental, reset=first)  # noqa: N806
        check_whole("sample_weight", sample_weight)
        weight = None if sample_weight is None else _check_sample_weight(sample_weight, X, dtype=X.dtype)
        random = check_random_state(self.random_state)
        self._prepare(X, y, first, random)
        if not incremental or self._network.optimizer is None:
            self._network.optimize_by(self.solver, **self._optimizer_settings())
        X = X.astype(self._network.design.dtype, copy=False)  # noqa: N806
        train(self, Samples(X, y, weight), random, epochs=1 if incremental else self.max_iter)
        return self

    def _prepare(self, X: Array, y: Array, first: bool, random: np.random.RandomState) -> None:  # noqa: N803
        """Make a new network, or check that the present one has the same design."""
        sizes = self.hidden_layer_sizes
        hidden = tuple(int(size) for size in np.ravel(np.asarray(sizes, dtype=object)))
        if any(size < 1 for size in hidden):
            raise ValueError(f"hidden_layer_sizes must be > 0, got {sizes}.")
        outputs, out_activation = self._output_units(y)
        units = (X.shape[1], *hidden, outputs)
        dtype = X.dtype.name if first else self._network.design.dtype
        design = Design(units, self.activation, self.norm, float(self.dropout), dtype)
        if not first:
            if design != self._network.design:
                raise ValueError(f"the network must stay {self._network.design}, got {design}")
            return
        self._network: Network = Network(design)
        self._network.draw_weights(random)
        if self.dropout:
            self._network.generator.manual_seed(int(random.randint(2**31)))
        self.n_iter_, self.t_ = 0, 0
        self.n_outputs_, self.n_layers_, self.out_activation_ = outputs, len(units), out_activation
        self.loss_curve_: list[float] = []
        self._no_improvement = 0
        self._best = self._network.model.state_dict() if self.early_stopping else None
        self.validation_scores_: list[float] | None = [] if self.early_stopping else None
        self.best_validation_score_ = -np.inf if self.early_stopping else None
        self.best_loss_ = None if self.early_stopping else np.inf

    def _count_epoch(self, stagnant: bool) -> None:
        self._no_improvement = self._no_improvement + 1 if stagnant else 0

    def _optimizer_settings(self) -> dict[str, Any]:
        if self.solver == "adam":
            betas = (self.beta_1, self.beta_2)
            return {"lr": self.learning_rate_init, "betas": betas, "eps": self.epsilon}
        nesterov = self.nesterovs_momentum and self.momentum > 0
        return {"lr": self.learning_rate_init, "momentum": self.momentum, "nesterov": nesterov}

    # ---- prediction ----------------------------------------------------------------------------------------

    def _fitted(self) -> Network:
        try:
            return self._network
        except AttributeError:
            raise NotFittedError(
                f"This {type(self).__name__} instance is not fitted yet. Call 'fit' with appropriate"
                " arguments before using this estimator."
            ) from None

    def _logits(self, X: Any) -> Array:  # noqa: N803
        """Return the last layer's output for X, which is checked first."""
        network = self._fitted()
        check_whole("X", X)
        X = validate_data(self, X, dtype=network.design.dtype, reset=False)  # noqa: N806
        return network.predict(X)

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "_network")
