"""Batch normalisation on a GPU, forward and backward."""

from __future__ import annotations

from typing import Any

from fastnn._chain.running import Running
from fastnn._chain.saved import Saved
from fastnn.cuda._chain import run
from fastnn.functional.batch_norm import described
from fastnn.stages import BatchNorm


def batch_norm(
    input: Any,
    running_mean: Any = None,
    running_var: Any = None,
    weight: Any = None,
    bias: Any = None,
    training: bool = False,
    momentum: float | None = 0.1,
    eps: float = 1e-5,
    *,
    num_batches_tracked: Any = None,
    biased_running_var: bool = False,
    skip_nonfinite: bool = True,
    out: Any = None,
) -> tuple[Any, Saved]:
    """As fastnn.functional.batch_norm; running statistics and counter are updated on the GPU without waiting.

    The counter's value is not looked at, as that would wait for the GPU; sums of float32 overflow where
    deviations from the mean exceed 1e19. In training one kernel reads the input once and writes y, while the
    input fits in the multiprocessors' shared memory (some 25 MB on an H100); else it is read twice, the
    second time in reverse order, as a cache still has its end. Results are the same, to the last bit.
    """
    head = described(training, momentum, eps, biased_running_var, skip_nonfinite)
    running = Running(running_mean, running_var, num_batches_tracked)
    return run.forward(head, (), input, weight=weight, bias=bias, running=running, out=out)


def batch_norm_by_stage(
    input: Any,
    stage: BatchNorm,
    running_mean: Any = None,
    running_var: Any = None,
    num_batches_tracked: Any = None,
    weight: Any = None,
    bias: Any = None,
) -> tuple[Any, Saved]:
    """As fastnn.functional.batch_norm.batch_norm_by_stage."""
    running = Running(running_mean, running_var, num_batches_tracked)
    return run.forward(stage, (), input, weight=weight, bias=bias, running=running)


def batch_norm_backward(dy: Any, saved: Saved, *, out: Any = None) -> tuple[Any, Any, Any]:
    """As fastnn.functional.batch_norm_backward.

    After training, dy and the input are read once and dx is written, while both fit in shared memory; else
    they are read twice.
    """
    gradients = run.backward(dy, saved, out=out)
    return gradients.input, gradients.weight, gradients.bias
