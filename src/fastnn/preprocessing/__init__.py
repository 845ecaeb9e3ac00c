"""What is done to samples before a model sees them. Its statistics come from the training samples.

Transformers follow scikit-learn's contract (`fit`, `partial_fit`, `transform`, `fit_transform`,
`inverse_transform`, `get_params`), and do not need scikit-learn.
"""

from fastnn.preprocessing.compose import Compose
from fastnn.preprocessing.forms import LAYOUTS, Flatten, Images
from fastnn.preprocessing.standardize import Standardize
from fastnn.preprocessing.transformer import Transformer, transformed

__all__ = ["LAYOUTS", "Compose", "Flatten", "Images", "Standardize", "Transformer", "transformed"]
