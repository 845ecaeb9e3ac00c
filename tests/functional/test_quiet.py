"""Half types round without a warning or an error, whatever np.errstate and the warnings' filters say."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import ml_dtypes
import numpy as np
import pytest

import fastnn
import fastnn.functional as F
from fastnn import init, nn, optim, stages
from fastnn._core.products import matmul
from support.cases import each

LABELS = np.zeros(4, int)


def clip_and_average(x: Any) -> None:
    parameter = nn.Parameter(x.copy())
    parameter.grad = x.copy()
    nn.utils.clip_grad_norm_([parameter], 1e-3)
    average = optim.ExponentialMovingAverage([parameter])
    average.update()
    with average.applied():
        pass


def load(x: Any) -> None:
    layer = nn.Linear(4, 4, bias=False)
    layer.weight.data = layer.weight.data.astype(x.dtype)
    layer.load_state_dict({"weight": np.geomspace(1e-60, 1e60, 16).reshape(4, 4)})


def add_up() -> None:
    parameter = nn.Parameter(np.ones(2, "f"))
    for _ in range(2):
        parameter.accumulate(np.full(2, 3e38, "f"))
    assert np.isinf(np.asarray(parameter.grad)).all()


def lsuv() -> None:
    with pytest.raises(ValueError, match="must have a finite variance above 0, got inf"):
        init.lsuv_(nn.Linear(4, 4, dtype="d"), np.diag(np.full(4, 1e300)))


CALLS: list[Callable[[Any, Any], object]] = [
    lambda x, w: F.square(x[..., ::2]),
    lambda x, w: F.prelu_backward(x, x, w),
    lambda x, w: F.softmax(x, 1),
    lambda x, w: F.batch_norm(x, bias=np.full(w.size, 1e300), training=True),
    lambda x, w: matmul(np.ones((2, 2), "f"), np.ones((2, 3), "f"), bias=np.full(3, 1e300)),
    lambda x, w: F.batch_norm_backward(x, F.batch_norm(x, w.copy(), w.copy(), w, w, training=True)[1]),
    lambda x, w: F.layer_norm_backward(x, F.layer_norm(x, 4, w, w)[1]),
    lambda x, w: F.rms_norm_backward(x, F.rms_norm(x, 4, w)[1]),
    lambda x, w: F.group_norm_backward(x, F.group_norm(x, 2, w, w)[1]),
    lambda x, w: F.instance_norm_backward(x, F.instance_norm(x, w.copy(), w.copy(), w, w)[1]),
    lambda x, w: F.conv2d_backward(F.conv2d(x, x[:, :, :2, :2]), x, x[:, :, :2, :2]),
    lambda x, w: F.avg_pool2d_backward(x[:, :, :2, :2], F.avg_pool2d(x, 2)[1]),
    lambda x, w: F.mse_loss(x, -x, reduction="none"),
    lambda x, w: F.mse_loss(x, -x),
    lambda x, w: F.cross_entropy(x[:, :, 0, 0], LABELS, w),
    lambda x, w: F.hinge_loss(x[:, :, 0, 0], LABELS),
    lambda x, w: F.dropout(x, 0.9, key=fastnn.Key(0, 0)),
    lambda x, w: fastnn.fuse(stages.Activation("square")).forward(x, out=np.empty_like(x)),
    lambda x, w: fastnn.fuse(stages.Add()).forward(x, residual=x),
    lambda x, w: clip_and_average(x),
    lambda x, w: load(x),
    lambda x, w: F.log_softmax(np.full(3, 1e60), dtype=x.dtype.name),
    lambda x, w: F.instance_norm(x, w, -w, use_input_stats=False),
    lambda x, w: init.constant_(x.copy(), 1e300),
    lambda x, w: init.normal_(x.copy(), 1e300),
    lambda x, w: init.trunc_normal_(x.copy(), 1e308, 1e308, -1e308, 1e308),
    lambda x, w: nn.PReLU(3, 1e300, x.dtype),
    lambda x, w: lsuv(),
    lambda x, w: add_up(),
]


@each("dtype", [np.float16, ml_dtypes.bfloat16])
@each("errors", ["warn", "raise"])
@each("call", CALLS)
def test_rounding_is_quiet(dtype: Any, errors: Any, call: Callable[[Any, Any], object]) -> None:
    for value in (3e4, 6e-8) if dtype == np.float16 else (3e38, 1e-39):
        x = np.full((4, 4, 4, 4), value, dtype)
        x[0] = -x[0]
        with np.errstate(all=errors), warnings.catch_warnings():
            warnings.simplefilter("error")
            call(x, np.full(4, 3, dtype))
