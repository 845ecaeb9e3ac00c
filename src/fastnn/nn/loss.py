"""The losses as layers: `loss = criterion(input, target)`, then `dinput = criterion.backward()`.

Values and gradients are fastnn.functional's; this file adds no mathematics.
"""

from __future__ import annotations

from threading import get_ident
from typing import Any, ClassVar

from numpy.typing import ArrayLike

import fastnn.functional as F
from fastnn._core.arrays import as_array
from fastnn._core.dlpack import is_on_gpu
from fastnn._core.inference import THREADS
from fastnn._core.typing import Array
from fastnn.functional.loss import REDUCTIONS
from fastnn.nn.module import NOT_KEPT, Module


class Loss(Module):
    """What all losses share. One of your own defines `compute`, which returns the loss and its gradient.

    A forward hook gets (module, input, target, loss), a backward hook (module, dinput).
    """

    _reductions: ClassVar[tuple[str, ...]] = REDUCTIONS

    def __init__(self, reduction: str = "mean") -> None:
        if not (isinstance(reduction, str) and reduction in self._reductions):
            name, allowed = type(self).__name__, ", ".join(map(repr, self._reductions))
            raise ValueError(f"{name}: reduction must be one of {allowed}, got {reduction!r}")
        self.reduction = reduction

    def compute(self, input: ArrayLike, target: ArrayLike) -> tuple[Any, Array]:
        """Return (loss, dinput)."""
        raise NotImplementedError(f"{type(self).__name__} does not define compute")

    def forward(self, input: ArrayLike, target: ArrayLike) -> Any:
        """Return the loss: a float, or with reduction="none" an array."""
        self._saved = None  # where compute raises, the gradient of an earlier call must not stay
        loss, self._saved = self.compute(input, target)
        return loss

    def backward(self) -> Array:  # type: ignore[override]
        """Return the gradient for the input of the last call; with reduction="none", that of the losses' sum.

        Each call serves one backward pass. Raises RuntimeError where there was none, or it was used.
        """
        dinput: Array = self._take_saved()
        return dinput

    def __call__(self, input: ArrayLike, target: ArrayLike) -> Any:  # type: ignore[override]
        """Return `forward(input, target)`; in fastnn.inference() the gradient is not kept."""
        loss = self.forward(input, target)
        if THREADS and get_ident() in THREADS:
            self._saved = NOT_KEPT
        return loss


def _array(weight: ArrayLike | None) -> Array | None:
    return weight if weight is None or is_on_gpu(weight) else as_array("weight", weight)  # type: ignore[return-value]


class CrossEntropyLoss(Loss):
    """F.cross_entropy: softmax along axis 1 and its cross-entropy with labels or probabilities.

    Arguments, shapes and errors are the function's; `weight` is a buffer.
    """

    def __init__(
        self,
        weight: ArrayLike | None = None,
        ignore_index: int = -100,
        reduction: str = "mean",
        label_smoothing: float = 0.0,
    ) -> None:
        super().__init__(reduction)
        self.weight: Array | None
        self.register_buffer("weight", _array(weight))
        self.ignore_index, self.label_smoothing = ignore_index, label_smoothing

    def compute(self, input: ArrayLike, target: ArrayLike) -> tuple[Any, Array]:
        """Return F.cross_entropy of both."""
        return F.cross_entropy(
            input, target, self.weight, self.ignore_index, self.reduction, self.label_smoothing
        )


class NLLLoss(Loss):
    """F.nll_loss: the negative log-likelihood of labels, of log-probabilities along axis 1.

    Arguments, shapes and errors are the function's; `weight` is a buffer. With LogSoftmax before it, it is
    CrossEntropyLoss, which needs one pass for both.
    """

    def __init__(
        self, weight: ArrayLike | None = None, ignore_index: int = -100, reduction: str = "mean"
    ) -> None:
        super().__init__(reduction)
        self.weight: Array | None
        self.register_buffer("weight", _array(weight))
        self.ignore_index = ignore_index

    def compute(self, input: ArrayLike, target: ArrayLike) -> tuple[Any, Array]:
        """Return F.nll_loss of both."""
        return F.nll_loss(input, target, self.weight, self.ignore_index, self.reduction)


class BCELoss(Loss):
    """F.binary_cross_entropy: the cross-entropy of probabilities with the target.

    Arguments, shapes and errors are the function's; `weight` is a buffer. BCEWithLogitsLoss takes logits, and
    keeps digits that a sigmoid before this layer loses.
    """

    def __init__(self, weight: ArrayLike | None = None, reduction: str = "mean") -> None:
        super().__init__(reduction)
        self.weight: Array | None
        self.register_buffer("weight", _array(weight))

    def compute(self, input: ArrayLike, target: ArrayLike) -> tuple[Any, Array]:
        """Return F.binary_cross_entropy of both."""
        return F.binary_cross_entropy(input, target, self.weight, self.reduction)


class BCEWithLogitsLoss(Loss):
    """F.binary_cross_entropy_with_logits: the cross-entropy of sigmoid(input) with the target.

    Arguments, shapes and errors are the function's; `weight` and `pos_weight` are buffers.
    """

    def __init__(
        self, weight: ArrayLike | None = None, reduction: str = "mean", pos_weight: ArrayLike | None = None
    ) -> None:
        super().__init__(reduction)
        self.weight: Array | None
        self.pos_weight: Array | None
        self.register_buffer("weight", _array(weight))
        self.register_buffer("pos_weight", _array(pos_weight))

    def compute(self, input: ArrayLike, target: ArrayLike) -> tuple[Any, Array]:
        """Return F.binary_cross_entropy_with_logits of both."""
        return F.binary_cross_entropy_with_logits(input, target, self.weight, self.reduction, self.pos_weight)


class MSELoss(Loss):
    """F.mse_loss: the squared error."""

    def compute(self, input: ArrayLike, target: ArrayLike) -> tuple[Any, Array]:
        """Return F.mse_loss of both."""
        return F.mse_loss(input, target, self.reduction)


class L1Loss(Loss):
    """F.l1_loss: the absolute error."""

    def compute(self, input: ArrayLike, target: ArrayLike) -> tuple[Any, Array]:
        """Return F.l1_loss of both."""
        return F.l1_loss(input, target, self.reduction)


class SmoothL1Loss(Loss):
    """F.smooth_l1_loss: the absolute error, rounded off up to a distance of beta."""

    def __init__(self, reduction: str = "mean", beta: float = 1.0) -> None:
        super().__init__(reduction)
        self.beta = beta

    def compute(self, input: ArrayLike, target: ArrayLike) -> tuple[Any, Array]:
        """Return F.smooth_l1_loss of both."""
        return F.smooth_l1_loss(input, target, self.reduction, self.beta)


class HuberLoss(Loss):
    """F.huber_loss: the squared error up to a distance of delta, from there on the absolute one."""

    def __init__(self, reduction: str = "mean", delta: float = 1.0) -> None:
        super().__init__(reduction)
        self.delta = delta

    def compute(self, input: ArrayLike, target: ArrayLike) -> tuple[Any, Array]:
        """Return F.huber_loss of both."""
        return F.huber_loss(input, target, self.reduction, self.delta)


class KLDivLoss(Loss):
    """F.kl_div: the Kullback-Leibler divergence of the target from log-probabilities.

    reduction may also be "batchmean", which divides by the number of samples.
    """

    _reductions = ("batchmean", *REDUCTIONS)

    def __init__(self, reduction: str = "mean", log_target: bool = False) -> None:
        super().__init__(reduction)
        self.log_target = log_target

    def compute(self, input: ArrayLike, target: ArrayLike) -> tuple[Any, Array]:
        """Return F.kl_div of both."""
        return F.kl_div(input, target, self.reduction, self.log_target)


class HingeLoss(Loss):
    """F.hinge_loss: the multi-class support vector machine's, with a margin for each wrong class.

    Arguments, shapes and errors are the function's. torch.nn.MultiMarginLoss is this divided by the number of
    classes.
    """

    def __init__(self, margin: float = 1.0, reduction: str = "mean") -> None:
        super().__init__(reduction)
        self.margin = margin

    def compute(self, input: ArrayLike, target: ArrayLike) -> tuple[Any, Array]:
        """Return F.hinge_loss of both."""
        return F.hinge_loss(input, target, self.margin, self.reduction)
