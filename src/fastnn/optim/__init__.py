"""Optimizers with torch.optim's names and update rules, over `fastnn.nn.Parameter`."""

from fastnn.optim import lr_scheduler
from fastnn.optim.adam import Adam, Adamax, AdamW, Lion, NAdam, RAdam
from fastnn.optim.adaptive import Adadelta, Adagrad, RMSprop
from fastnn.optim.average import ExponentialMovingAverage, StochasticWeightAverage
from fastnn.optim.layerwise import LAMB, LARS
from fastnn.optim.optimizer import Optimizer
from fastnn.optim.sgd import SGD
from fastnn.optim.state_average import average_weights

__all__ = [
    "LAMB",
    "LARS",
    "SGD",
    "Adadelta",
    "Adagrad",
    "Adam",
    "AdamW",
    "Adamax",
    "ExponentialMovingAverage",
    "Lion",
    "NAdam",
    "Optimizer",
    "RAdam",
    "RMSprop",
    "StochasticWeightAverage",
    "average_weights",
    "lr_scheduler",
]
