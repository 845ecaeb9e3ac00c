"""Search for hyperparameters: ranges by name, studies that survive their workers, folds, pictures.

It is a thin layer over Optuna, which has the storages, samplers and pruners; the extra `search` brings it.
"""

from fastnn._core.extras import require

require("optuna", "search")  # before the imports below, for the message that names the extra

from fastnn.search.folds import k_fold, stratified_k_fold  # noqa: E402
from fastnn.search.pictures import (  # noqa: E402
    save_parallel_coordinates,
    save_random_against_grid,
    save_slices,
)
from fastnn.search.progress import params_as_text  # noqa: E402
from fastnn.search.pruning import Pruning  # noqa: E402
from fastnn.search.ranges import Range, as_text, choice, ends, integers, loguniform, uniform  # noqa: E402
from fastnn.search.study import Study, open  # noqa: A004, E402

__all__ = [
    "Pruning",
    "Range",
    "Study",
    "as_text",
    "choice",
    "ends",
    "integers",
    "k_fold",
    "loguniform",
    "open",
    "params_as_text",
    "save_parallel_coordinates",
    "save_random_against_grid",
    "save_slices",
    "stratified_k_fold",
    "uniform",
]
