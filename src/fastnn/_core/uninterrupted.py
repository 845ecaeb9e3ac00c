"""Changes of state that belong together, made so that no signal handler runs between them.

Python runs signal handlers (Ctrl-C, alarms, timeouts) between two instructions of Python code, and what they
raise ends the code there. A list of calls that C works off has no such place. This file knows no state.
"""

from __future__ import annotations

import operator
from collections import deque
from collections.abc import Sequence
from itertools import starmap
from typing import Any

import numpy as np

#: A function, which must be written in C, and its arguments: operator.setitem, setattr, a kernel ...
Call = tuple[Any, ...]


def uninterrupted(calls: Sequence[Call]) -> None:
    """Make the calls in order: all of them, or none where an exception of a signal handler comes before.

    The calls must not fail, so everything is checked before. Floating-point errors (a float16 that overflows)
    neither warn nor raise, whatever np.errstate is: they would leave the rest undone.
    """
    with np.errstate(all="ignore"):
        deque(starmap(operator.call, calls), maxlen=0)
