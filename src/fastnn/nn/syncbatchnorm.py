"""Batch normalisation whose statistics are those of all processes' rows."""

from __future__ import annotations

from typing import Any, ClassVar, TypeVar

import numpy as np
from numpy.typing import DTypeLike

from fastnn._core.ranks import as_ranks
from fastnn.nn.batchnorm import BatchNorm1d, BatchNorm2d, BatchNorm3d, _BatchNorm
from fastnn.nn.module import Module, check_model

M = TypeVar("M", bound=Module)


class SyncBatchNorm(_BatchNorm):
    """A batch norm whose batch is that of all `ranks`: each has some of the rows, or one, or none.

    y, dx and the running statistics are those of BatchNorm1d, 2d or 3d of all ranks' rows together but for
    rounding; x has one of their shapes, (N, C) to (N, C, D, H, W), with N = 0 where a rank has no rows. The
    gradients for weight and bias are sums over this rank's rows, which training adds up over the ranks.

    ranks: a communicator of mpi4py, as MPI.COMM_WORLD, or None, which makes it a plain batch norm. All ranks
    call forward and backward equally often, with the same parameters and running statistics. In a forward
    pass in training they add up 1 + 2 C numbers, and once more where means are further from the running ones
    than 8 deviations, as in the first steps; in a backward pass 2 C. In evaluation mode and where the layer
    is frozen they add up nothing. A copy has the same ranks; a pickle or a file has none, and a layer made of
    it is a plain batch norm. Arrays of a GPU it takes in evaluation alone, or without ranks. Other arguments
    are those of BatchNorm1d. Raises ValueError on all ranks where all together have one value per channel.
    """

    _shapes: ClassVar = BatchNorm1d._shapes | BatchNorm2d._shapes | BatchNorm3d._shapes

    def __init__(
        self,
        num_features: int,
        eps: float = 1e-5,
        momentum: float | None = 0.1,
        affine: bool = True,
        track_running_stats: bool = True,
        dtype: DTypeLike = np.float32,
        *,
        bias: bool = True,
        biased_running_var: bool = False,
        skip_nonfinite: bool = True,
        ranks: Any = None,
    ) -> None:
        super().__init__(
            num_features,
            eps,
            momentum,
            affine,
            track_running_stats,
            dtype,
            bias=bias,
            biased_running_var=biased_running_var,
            skip_nonfinite=skip_nonfinite,
        )
        self.ranks = None if ranks is None else as_ranks("ranks", ranks)

    @staticmethod
    def convert(model: M, ranks: Any) -> M:
        """Make each batch norm in a model, or the model itself, a SyncBatchNorm of these ranks; return it.

        It is PyTorch's convert_sync_batchnorm, but that the layers stay the same objects, with their
        parameters, buffers, modes and hooks. A SyncBatchNorm takes the new ranks. Raises TypeError for a
        subclass of a batch norm, whose methods would be lost; then nothing is changed.
        """
        check_model(model)
        known = None if ranks is None else as_ranks("ranks", ranks)
        norms = [module for module in model.modules() if isinstance(module, _BatchNorm)]
        others = [norm for norm in norms if not isinstance(norm, SyncBatchNorm)]
        for norm in others:
            if type(norm) not in (BatchNorm1d, BatchNorm2d, BatchNorm3d):
                raise TypeError(
                    f"model must have no subclass of a batch norm, got {type(norm).__name__}: make it a"
                    " subclass of SyncBatchNorm"
                )
        for norm in others:
            norm.__class__ = SyncBatchNorm  # whoever holds the layer has the new one
        for norm in norms:
            norm.ranks = known
        return model

    def init_arguments(self) -> dict[str, Any]:
        """Return the constructor's arguments without the ranks, which are of this process alone."""
        return {name: value for name, value in super().init_arguments().items() if name != "ranks"}
