"""Training: the mini-batch loop, its measurements, and the files that it leaves behind."""

from fastnn._core.files import save_json, save_weights
from fastnn.train.batches import steps_per_epoch
from fastnn.train.checkpoint import Checkpoints
from fastnn.train.curves import Curves, save_curves
from fastnn.train.data import Data, prepare
from fastnn.train.diagnosis import Diverged
from fastnn.train.early_stopping import EarlyStopping
from fastnn.train.log import JsonLog, TensorBoard
from fastnn.train.loop import evaluate, fit
from fastnn.train.measures import Record
from fastnn.train.preprocessing import Preprocessing
from fastnn.train.progress import Progress
from fastnn.train.trainer import Callback, Trainer

__all__ = [
    "Callback",
    "Checkpoints",
    "Curves",
    "Data",
    "Diverged",
    "EarlyStopping",
    "JsonLog",
    "Preprocessing",
    "Progress",
    "Record",
    "TensorBoard",
    "Trainer",
    "evaluate",
    "fit",
    "prepare",
    "save_curves",
    "save_json",
    "save_weights",
    "steps_per_epoch",
]
