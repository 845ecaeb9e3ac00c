"""Rows that allow it are accessed by 16 bytes, which templates that take columns, too, do not promise."""

from __future__ import annotations

from typing import Any

import pytest

pytest.importorskip("numba.cuda.extending")

from fastnn.cuda.kernels.common import cuts
from fastnn.cuda.kernels.loss import losses, softmax
from fastnn.cuda.kernels.norm import norm_gradients, norms
from tools.gpu.code import facts, nvdisasm

if nvdisasm() is None:
    pytest.skip("no nvdisasm: pip install nvidia-cuda-nvdisasm", allow_module_level=True)

ALIGNED = frozenset({0})
ENTROPY = losses.Form(True, False, False, True)


def kernel(name: str, length: int) -> tuple[Any, Any]:
    """A template, and its key for rows of this length."""
    dtype = "bfloat16" if length % 2 else "float32"  # odd rows begin at odd places
    one, two = (tuple(cuts.row_cut(length, dtype, operands, ALIGNED)) for operands in (1, 2))
    at_once = length % 2 == 0
    return {
        "softmax": (softmax.forward, (dtype, False, one)),
        "softmax_backward": (softmax.backward, (dtype, False, two)),
        "norm": (norms.forward, (dtype, dtype, "own", ("element", True, True, at_once), one)),
        "norm_backward": (
            norm_gradients.by_row,
            (dtype, dtype, tuple(norm_gradients.Form("element", True, True, at_once)), two),
        ),
        "cross_entropy": (losses.cross_entropy, (dtype, tuple(ENTROPY), one)),
    }[name]


@pytest.mark.parametrize("length", [64, 50257])
@pytest.mark.parametrize("name", ["softmax", "softmax_backward", "norm", "norm_backward", "cross_entropy"])
def test_wide_accesses(name: str, length: int) -> None:
    template, key = kernel(name, length)
    code = template.compile((9, 0), key)
    (has,) = facts((9, 0), [(code.ptx, code.cubin)])
    assert 16 in has.loads
    assert 16 in has.stores
    assert not has.local
