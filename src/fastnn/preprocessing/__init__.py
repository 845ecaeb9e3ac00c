"""What is done to samples before a model sees them. Its statistics come from the training samples.

Transformers follow scikit-learn's contract (`fit`, `partial_fit`, `transform`, `fit_transform`,
`inverse_transform`, `get_params`), and do not need scikit-learn.
"""

from fastnn.preprocessing.compose import Compose
from fastnn.preprocessing.forms import LAYOUTS, Flatten, Images
from fastnn.preprocessing.one_hot import OneHot
from fastnn.preprocessing.rotate import PCA, Whiten
from fastnn.preprocessing.standardize import MinMax, Standardize, ZeroCenter
from fastnn.preprocessing.transformer import Transformer, transformed

__all__ = [
    "LAYOUTS",
    "PCA",
    "Compose",
    "Flatten",
    "Images",
    "MinMax",
    "OneHot",
    "Standardize",
    "Transformer",
    "Whiten",
    "ZeroCenter",
    "transformed",
]
