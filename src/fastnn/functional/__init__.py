"""The functions of fastnn on NumPy arrays: `import fastnn.functional as F`.

F.name(input, <parameters>, *, out=None) and F.name_backward(dy, input_or_output, <parameters>, *, out=None);
names, argument order and defaults are torch.nn.functional's.
"""

from fastnn.functional import activation as _activation
from fastnn.functional import batch_norm as _batch_norm
from fastnn.functional import conv as _conv
from fastnn.functional import dropout as _dropout
from fastnn.functional import embedding as _embedding
from fastnn.functional import gated as _gated
from fastnn.functional import linear as _linear
from fastnn.functional import loss as _loss
from fastnn.functional import norm as _norm
from fastnn.functional import pool as _pool
from fastnn.functional import slope as _slope
from fastnn.functional import softmax as _softmax
from fastnn.functional.activation import *
from fastnn.functional.batch_norm import *
from fastnn.functional.conv import *
from fastnn.functional.dropout import *
from fastnn.functional.embedding import *
from fastnn.functional.gated import *
from fastnn.functional.linear import *
from fastnn.functional.loss import *
from fastnn.functional.norm import *
from fastnn.functional.pool import *
from fastnn.functional.slope import *
from fastnn.functional.softmax import *

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
__all__ += _slope.__all__
__all__ += _softmax.__all__
