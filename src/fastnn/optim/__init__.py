"""Optimizers with torch.optim's names and update rules, over `fastnn.nn.Parameter`."""

from fastnn.optim import lr_scheduler
from fastnn.optim.optimizer import Optimizer
from fastnn.optim.sgd import SGD

__all__ = ["SGD", "Optimizer", "lr_scheduler"]
