"""fastnn's threads under threadpoolctl: `import fastnn.threadpool` is all that it takes.

From then on `threadpoolctl.threadpool_info()` lists fastnn, and `threadpoolctl.threadpool_limits(limits=1)`
(or with `user_api="fastnn"`, for fastnn alone) limits it, like the libraries that threadpoolctl knows itself:

    import fastnn.threadpool
    from threadpoolctl import threadpool_limits

    with threadpool_limits(limits=2, user_api="fastnn"):
        y = F.gelu(x)

The limit holds for the whole process, as that of fastnn.set_num_threads does. Without threadpoolctl the
import raises an ImportError that says how to get it.
"""

from __future__ import annotations

from typing import Any

from fastnn._core.extras import require
from fastnn._version import __version__

__all__ = ["FastnnController"]

_threadpoolctl = require("threadpoolctl", "demo")
_LibController: Any = _threadpoolctl.LibController


class FastnnController(_LibController):  # type: ignore[misc]
    """How threadpoolctl finds fastnn's compiled module among the loaded libraries, and sets its threads."""

    user_api = "fastnn"
    internal_api = "fastnn"
    filename_prefixes = ("_kernels",)
    check_symbols = ("fastnn_get_num_threads", "fastnn_set_num_threads")

    def get_num_threads(self) -> int:
        """How many threads a call may use."""
        return int(self.dynlib.fastnn_get_num_threads())

    def set_num_threads(self, num_threads: int) -> None:
        """Set how many threads a call may use; less than one counts as one."""
        self.dynlib.fastnn_set_num_threads(num_threads)

    def get_version(self) -> str:
        """fastnn's version."""
        return __version__


_threadpoolctl.register(FastnnController)
