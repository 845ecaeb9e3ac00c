"""Training of classifiers: data, the mini-batch loop, and the files that it leaves behind."""

from fastnn.datasets import digits
from fastnn.datasets import npz as load_npz
from fastnn.train.data import Data, prepare
from fastnn.train.loop import Epoch, evaluate, fit, steps_per_epoch
from fastnn.train.report import save_curves, save_json, save_weights

__all__ = [
    "Data",
    "Epoch",
    "digits",
    "evaluate",
    "fit",
    "load_npz",
    "prepare",
    "save_curves",
    "save_json",
    "save_weights",
    "steps_per_epoch",
]
