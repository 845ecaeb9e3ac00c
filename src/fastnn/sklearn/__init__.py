"""scikit-learn's MLPClassifier and MLPRegressor on fastnn's layers, with more activations, norm and dropout.

It needs scikit-learn, which the extra `sklearn` brings. Nothing else of fastnn imports it.
"""

from fastnn._core.extras import require

require("sklearn.base", "sklearn")  # before the imports below, for the message that names the extra

from fastnn.sklearn._classifier import MLPClassifier  # noqa: E402
from fastnn.sklearn._regressor import MLPRegressor  # noqa: E402

__all__ = ["MLPClassifier", "MLPRegressor"]
