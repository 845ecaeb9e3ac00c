"""The layers, update rules and gradient checks of Stanford's CS231n assignments, on fastnn's kernels.

`from fastnn.cs231n.layers import *` in place of `from cs231n.layers import *` is the whole change; the same
goes for fast_layers, layer_utils, optim, gradient_check and im2col. Names, arguments, results and caches are
those of the assignments, which students' classifiers and solvers build on; docs/cs231n.md says where their
versions differ. It must not know fastnn.nn or fastnn.optim: a layer here is a function and its cache.
"""

from fastnn.cs231n import fast_layers, gradient_check, im2col, layer_utils, layers, optim

__all__ = ["fast_layers", "gradient_check", "im2col", "layer_utils", "layers", "optim"]
