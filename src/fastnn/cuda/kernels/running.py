"""Running statistics of instance norm: moved by a batch's, or used for them. A thread takes a channel."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

from numba import cuda, types

from fastnn.cuda._compile import Built, Key, template
from fastnn.cuda._ptx import ITEMSIZE, computing, load, store
from fastnn.cuda.kernels import rows
from fastnn.cuda.kernels.rows import THREADS, argument_types

_store64, _load64 = store("float64", 1), load("float64", 1)


def _two_floats() -> Iterator[Key]:
    return ((a, b) for a in ("float32", "float64") for b in ("float32", "float64"))


@template(_two_floats, **rows.OPTIONS)
def move_running(mean_dtype: str, variance_dtype: str) -> Built:
    """Running statistics moved towards the mean over samples of means and variances.

    Addresses: running mean, running variance, means, variances. Words: channels, samples, and the running
    ones' strides in elements. Numbers: momentum, and what the variances are multiplied by.
    """
    load_mean, load_variance = load(mean_dtype, 1), load(variance_dtype, 1)
    store_mean, store_variance = store(mean_dtype, 1), store(variance_dtype, 1)
    real_mean, real_variance = computing(mean_dtype), computing(variance_dtype)
    mean_size, variance_size = ITEMSIZE[mean_dtype], ITEMSIZE[variance_dtype]

    def kernel(a: Any, i: Any, p: Any) -> None:
        channel = types.int64(cuda.blockIdx.x) * THREADS + cuda.threadIdx.x
        if channel >= i[0]:
            return
        mean, variance = cuda.local.array(1, real_mean), cuda.local.array(1, real_variance)
        s = cuda.local.array(2, types.float64)
        means, variances = 0.0, 0.0
        for n in range(i[1]):
            offset = types.uint64((n * i[0] + channel) * 8)
            _load64(a[2] + offset, s, 0)
            _load64(a[3] + offset, s, 1)
            means += s[0]
            variances += s[1]
        mean_at = a[0] + types.uint64(channel * i[2] * mean_size)
        variance_at = a[1] + types.uint64(channel * i[3] * variance_size)
        load_mean(mean_at, mean, 0)
        load_variance(variance_at, variance, 0)
        mean[0] = mean[0] + p[0] * (means / i[1] - mean[0])
        variance[0] = variance[0] + p[0] * (variances / i[1] * p[1] - variance[0])
        store_mean(mean_at, mean, 0)
        store_variance(variance_at, variance, 0)

    return kernel, argument_types(4, 4, 2)


@template(_two_floats, **rows.OPTIONS)
def given_statistics(mean_dtype: str, variance_dtype: str) -> Built:
    """Running statistics as mean and 1 / sqrt(variance + eps) of each sample's channels; else as above.

    The number: eps.
    """
    load_mean, load_variance = load(mean_dtype, 1), load(variance_dtype, 1)
    real_mean, real_variance = computing(mean_dtype), computing(variance_dtype)
    mean_size, variance_size = ITEMSIZE[mean_dtype], ITEMSIZE[variance_dtype]

    def kernel(a: Any, i: Any, p: Any) -> None:
        channel = types.int64(cuda.blockIdx.x) * THREADS + cuda.threadIdx.x
        if channel >= i[0]:
            return
        mean, variance = cuda.local.array(1, real_mean), cuda.local.array(1, real_variance)
        s = cuda.local.array(2, types.float64)
        load_mean(a[0] + types.uint64(channel * i[2] * mean_size), mean, 0)
        load_variance(a[1] + types.uint64(channel * i[3] * variance_size), variance, 0)
        s[0], s[1] = mean[0], 1 / math.sqrt(types.float64(variance[0]) + p[0])
        for n in range(i[1]):
            offset = types.uint64((n * i[0] + channel) * 8)
            _store64(a[2] + offset, s, 0)
            _store64(a[3] + offset, s, 1)

    return kernel, argument_types(4, 4, 1)
