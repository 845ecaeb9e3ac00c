"""Running statistics of instance norm: moved by a batch's, or used for them. A thread takes a channel."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

from numba import cuda, types

from fastnn.cuda._runtime.compiler import Built, Key, template
from fastnn.cuda.kernels.common import rows
from fastnn.cuda.kernels.common.cuts import THREADS
from fastnn.cuda.kernels.common.numbers import double_at, put_double, read, write
from fastnn.cuda.kernels.common.rows import argument_types


def _two_floats() -> Iterator[Key]:
    return ((a, b) for a in ("float32", "float64") for b in ("float32", "float64"))


@template(_two_floats, **rows.OPTIONS)
def move_running(mean_dtype: str, variance_dtype: str) -> Built:
    """Running statistics moved towards the mean over samples of means and variances.

    Addresses: running mean, running variance, means, variances. Words: channels, samples, and the running
    ones' strides in elements. Numbers: momentum, and what the variances are multiplied by.
    """
    mean, put_mean = read(mean_dtype), write(mean_dtype)
    variance, put_variance = read(variance_dtype), write(variance_dtype)

    def kernel(a: Any, i: Any, p: Any) -> None:
        channel = types.int64(cuda.blockIdx.x) * THREADS + cuda.threadIdx.x
        if channel >= i[0]:
            return
        means, variances = 0.0, 0.0
        for n in range(i[1]):
            means += double_at(a[2], n * i[0] + channel)
            variances += double_at(a[3], n * i[0] + channel)
        m, v = mean(a[0], channel * i[2]), variance(a[1], channel * i[3])
        put_mean(a[0], channel * i[2], m + p[0] * (means / i[1] - m))
        put_variance(a[1], channel * i[3], v + p[0] * (variances / i[1] * p[1] - v))

    return kernel, argument_types(4, 4, 2)


@template(_two_floats, **rows.OPTIONS)
def given_statistics(mean_dtype: str, variance_dtype: str) -> Built:
    """Running statistics as mean and 1 / sqrt(variance + eps) of each sample's channels; else as above.

    The number: eps.
    """
    mean, variance = read(mean_dtype), read(variance_dtype)

    def kernel(a: Any, i: Any, p: Any) -> None:
        channel = types.int64(cuda.blockIdx.x) * THREADS + cuda.threadIdx.x
        if channel >= i[0]:
            return
        m, rstd = mean(a[0], channel * i[2]), 1 / math.sqrt(variance(a[1], channel * i[3]) + p[0])
        for n in range(i[1]):
            put_double(a[2], n * i[0] + channel, m)
            put_double(a[3], n * i[0] + channel, rstd)

    return kernel, argument_types(4, 4, 1)
