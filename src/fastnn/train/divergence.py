"""The test whether a loss is so large that training has failed. It knows nothing of models, nor of causes."""

from __future__ import annotations

import math
from typing import Any

WINDOW = 256  # samples over which losses are averaged, as the loss of a small batch is mostly noise


class DivergenceTest:
    """Compares the loss with `factor` times its first value.

    `first` is the mean over the first WINDOW samples, `recent` moves towards each batch's loss by the batch's
    share of WINDOW: for a large batch it is that batch's loss, and a single outlier does not move it far.
    """

    def __init__(self, factor: float) -> None:
        self.factor = factor
        self.first = self.recent = 0.0
        self._samples = 0  # that `first` is the mean of

    def too_large(self, loss: float, samples: int) -> bool:
        """Take a batch's loss; return whether it is not finite, or the recent loss is too large.

        With a first value of 0 or below, only a loss that is not finite is too large.
        """
        if not self._samples:
            self.first = self.recent = loss
        self.recent += min(1.0, samples / WINDOW) * (loss - self.recent)
        limit = self.factor * self.first if self.first > 0 else math.inf
        if not (math.isfinite(loss) and self.recent <= limit):
            return True  # before the loss that failed becomes part of the first value
        if self._samples < WINDOW:
            self._samples += samples
            self.first += samples / self._samples * (loss - self.first)
        return False

    def state_dict(self) -> dict[str, Any]:
        """Return the losses so far."""
        return {"first": self.first, "recent": self.recent, "samples": self._samples}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what `state_dict` returned."""
        self.first, self.recent, self._samples = state["first"], state["recent"], state["samples"]
