"""Model files: fastnn.save, fastnn.load and the Predictor that it returns."""

from fastnn._model_files.file import load, save
from fastnn._model_files.predictor import Predictor

__all__ = ["Predictor", "load", "save"]
