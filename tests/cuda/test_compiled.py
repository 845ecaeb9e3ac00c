"""Every kernel compiled without a GPU: what its PTX and machine code must have, and must not.

All examples of all templates are compiled for compute capability 9.0, and some of them for each of the others;
tools/gpu_compile_all.py compiles all for all.
"""

from __future__ import annotations

from typing import Any

import pytest

pytest.importorskip("numba.cuda.extending")
pytest.importorskip("cuda.core")

from tools import gpu_compile_all as tool
from tools.gpu_code import Facts, nvdisasm

HOPPER = (9, 0)
SAMPLE = 12  # of how many examples one is compiled for each of the other capabilities

if nvdisasm() is None:
    pytest.skip("no nvdisasm: pip install nvidia-cuda-nvdisasm", allow_module_level=True)


def on_hopper() -> list[tool.Kernel]:
    return tool.every_kernel(HOPPER)


def elsewhere() -> list[tool.Kernel]:
    """Every template for each other capability: of its examples one in SAMPLE, others for each."""
    chosen = []
    for i, capability in enumerate(c for c in tool.CAPABILITIES if c != HOPPER):
        for name, template in tool.templates().items():
            keys = list(template.examples())
            chosen += [(name, key, capability) for key in keys[i % len(keys) :: SAMPLE]]
    return chosen


def label(kernel: Any) -> str:
    return repr(kernel).replace("'", "").replace(" ", "")


@pytest.fixture(scope="module")
def found(request: pytest.FixtureRequest) -> dict[tool.Kernel, Facts]:
    """What the kernels of the tests that were asked for are like."""
    params = [getattr(item, "callspec").params for item in request.session.items if hasattr(item, "callspec")]
    return tool.compiled_all(list(dict.fromkeys(p["kernel"] for p in params if "kernel" in p)))


@pytest.mark.parametrize("kernel", [*on_hopper(), *elsewhere()], ids=label)
def test_machine_code(kernel: tool.Kernel, found: dict[tool.Kernel, Facts]) -> None:
    assert tool.wrong(tool.templates()[kernel[0]], found[kernel]) == []
