"""The functions of fastnn.functional in pure NumPy, with the same names and parameters, but no `out`.

The oracle of the tests and the baseline of the benchmark: slower, and meant to be read.
"""

from fastnn.reference import activation as _activation
from fastnn.reference import batch_norm as _batch_norm
from fastnn.reference import conv as _conv
from fastnn.reference import dropout as _dropout
from fastnn.reference import embedding as _embedding
from fastnn.reference import gated as _gated
from fastnn.reference import linear as _linear
from fastnn.reference import loss as _loss
from fastnn.reference import norm as _norm
from fastnn.reference import pool as _pool
from fastnn.reference import softmax as _softmax
from fastnn.reference.activation import *
from fastnn.reference.batch_norm import *
from fastnn.reference.conv import *
from fastnn.reference.dropout import *
from fastnn.reference.embedding import *
from fastnn.reference.gated import *
from fastnn.reference.linear import *
from fastnn.reference.loss import *
from fastnn.reference.norm import *
from fastnn.reference.pool import *
from fastnn.reference.softmax import *

# Modules and functions share names, so the modules have others here. Type checkers follow this form.
__all__: list[str] = []
__all__ += _activation.__all__
__all__ += _batch_norm.__all__
__all__ += _conv.__all__
__all__ += _dropout.__all__
__all__ += _embedding.__all__
__all__ += _gated.__all__
__all__ += _linear.__all__
__all__ += _loss.__all__
__all__ += _norm.__all__
__all__ += _pool.__all__
__all__ += _softmax.__all__
