"""Learning-rate schedules with torch.optim.lr_scheduler's names, arguments and values.

A scheduler sets `group["lr"]` of every group in `optimizer.param_groups`, and the momentum where it is
cycled. It must know nothing else of optimizers. `plot` draws any schedule.
"""

from fastnn.optim.lr_scheduler.averaging import SWALR
from fastnn.optim.lr_scheduler.compose import ChainedScheduler, SequentialLR
from fastnn.optim.lr_scheduler.cosine import CosineAnnealingLR, CosineAnnealingWarmRestarts
from fastnn.optim.lr_scheduler.cycles import CyclicLR, OneCycleLR
from fastnn.optim.lr_scheduler.factors import (
    ConstantLR,
    ExponentialLR,
    FactorLR,
    InverseSquareRootLR,
    LambdaLR,
    LinearLR,
    MultiplicativeLR,
    MultiStepLR,
    PolynomialLR,
    StepLR,
    WarmupLR,
    scaled_for_batch,
)
from fastnn.optim.lr_scheduler.plateau import ReduceLROnPlateau
from fastnn.optim.lr_scheduler.plot import plot
from fastnn.optim.lr_scheduler.scheduler import LRScheduler

__all__ = [
    "SWALR",
    "ChainedScheduler",
    "ConstantLR",
    "CosineAnnealingLR",
    "CosineAnnealingWarmRestarts",
    "CyclicLR",
    "ExponentialLR",
    "FactorLR",
    "InverseSquareRootLR",
    "LRScheduler",
    "LambdaLR",
    "LinearLR",
    "MultiStepLR",
    "MultiplicativeLR",
    "OneCycleLR",
    "PolynomialLR",
    "ReduceLROnPlateau",
    "SequentialLR",
    "StepLR",
    "WarmupLR",
    "plot",
    "scaled_for_batch",
]
