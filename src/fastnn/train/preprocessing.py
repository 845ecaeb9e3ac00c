"""Preprocessing: the callback that keeps a transformer's statistics in checkpoints."""

from __future__ import annotations

from typing import Any

import numpy as np

from fastnn.preprocessing import Transformer
from fastnn.train.trainer import Callback


class Preprocessing(Callback):
    """Keeps what a fitted transformer has learnt in a run's checkpoints.

    A run is resumed only with samples of the same statistics: ValueError for others. Raises ValueError for a
    transformer that was not fitted.
    """

    def __init__(self, transformer: Transformer) -> None:
        if not isinstance(transformer, Transformer):
            raise TypeError(
                f"transformer must be one of fastnn.preprocessing, got {type(transformer).__name__}"
            )
        transformer.state_dict()  # one that is not fitted is reported here
        self.transformer = transformer

    def state_dict(self) -> dict[str, Any]:
        """Return the transformer's state."""
        return dict(self.transformer.state_dict())

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take the statistics of the run that is resumed; they may differ from the present by rounding."""
        ours = self.transformer.state_dict()
        for name, value in state.items():
            if name not in ours or ours[name].shape != value.shape or not np.allclose(ours[name], value):
                raise ValueError(
                    "the training samples must be as when the run was started:"
                    f" {self.transformer} has another {name} now"
                )
        self.transformer.load_state_dict(state)
