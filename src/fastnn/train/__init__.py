"""Training: the mini-batch loop, its measurements, and the files that it leaves behind."""

from fastnn._core.files import save_json, save_weights
from fastnn._core.ranks import Ranks
from fastnn.train.batches import steps_per_epoch
from fastnn.train.checkpoint import Checkpoints
from fastnn.train.curves import Curves, save_curves
from fastnn.train.data import Data, prepare
from fastnn.train.diagnosis import Diverged
from fastnn.train.early_stopping import EarlyStopping
from fastnn.train.first_layer import first_layer
from fastnn.train.log import JsonLog, TensorBoard
from fastnn.train.loop import evaluate, fit
from fastnn.train.measures import Record
from fastnn.train.preprocessing import Preprocessing
from fastnn.train.progress import Progress
from fastnn.train.snapshots import Snapshots
from fastnn.train.statistics import Statistics
from fastnn.train.trainer import Callback, Trainer
from fastnn.train.weight_averaging import WeightAveraging

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
    "Ranks",
    "Record",
    "Snapshots",
    "Statistics",
    "TensorBoard",
    "Trainer",
    "WeightAveraging",
    "evaluate",
    "first_layer",
    "fit",
    "prepare",
    "save_curves",
    "save_json",
    "save_weights",
    "steps_per_epoch",
]
