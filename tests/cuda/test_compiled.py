"""Every kernel compiled without a GPU: what its PTX and machine code must have, and must not.

Some examples of each template are compiled for compute capability 9.0, and one for another;
tools/gpu_compile_all.py compiles all for all, which takes about 25 minutes on two cores.
"""

from __future__ import annotations

import itertools
from typing import Any

import pytest

pytest.importorskip("numba.cuda.extending")
pytest.importorskip("cuda.core")

from fastnn.cuda._compile import Template, machine_code
from tools import gpu_compile_all as tool
from tools.gpu_code import Facts, facts, nvdisasm

HOPPER = (9, 0)
MOST = 6  # examples of a template

if nvdisasm() is None:
    pytest.skip("no nvdisasm: pip install nvidia-cuda-nvdisasm", allow_module_level=True)


def on_hopper() -> list[tool.Kernel]:
    """Up to MOST examples of every template, from all over the list."""
    chosen = []
    for name, template in tool.templates().items():
        keys = list(template.examples())
        chosen += [(name, key, HOPPER) for key in keys[:: -(-len(keys) // MOST)]]
    return chosen


def elsewhere() -> list[tool.Kernel]:
    """One example of every template for one of the other capabilities, which take turns."""
    others = itertools.cycle(c for c in tool.CAPABILITIES if c != HOPPER)
    return [(name, list(t.examples())[-1], next(others)) for name, t in tool.templates().items()]


def label(kernel: Any) -> str:
    return repr(kernel).replace("'", "").replace(" ", "")


@pytest.fixture(scope="module")
def found(request: pytest.FixtureRequest) -> dict[tool.Kernel, Facts]:
    """What the kernels of the tests that were asked for are like."""
    params = [item.callspec.params for item in request.session.items if hasattr(item, "callspec")]
    return tool.compiled_all(list(dict.fromkeys(p["kernel"] for p in params if "kernel" in p)))


@pytest.mark.parametrize("kernel", [*on_hopper(), *elsewhere()], ids=label)
def test_machine_code(kernel: tool.Kernel, found: dict[tool.Kernel, Facts]) -> None:
    assert tool.wrong(tool.templates()[kernel[0]], kernel[1], found[kernel]) == []


FAULTY = """
.version 8.0
.target sm_90
.address_size 64
.visible .entry faulty(.param .u64 at, .param .u64 by)
{
    .reg .b64 %rd<9>; .reg .b32 %r<9>; .reg .f32 %f<9>;
    .local .align 16 .b8 depot[256];
    ld.param.u64 %rd1, [at]; ld.param.u64 %rd2, [by];
    ld.global.v4.f32 {%f1, %f2, %f3, %f4}, [%rd1];
    ld.global.f32 %f5, [%rd1+64]; ld.global.f32 %f7, [%rd1+128];
    div.u64 %rd3, %rd1, %rd2;
    and.b64 %rd3, %rd3, 63;
    mov.u64 %rd4, depot; add.u64 %rd5, %rd4, %rd3;
    st.local.v4.f32 [%rd4], {%f1, %f2, %f3, %f4};
    ld.local.f32 %f6, [%rd5];
    add.f32 %f6, %f6, %f5; add.f32 %f6, %f6, %f7;
    st.global.f32 [%rd2], %f6;
    ret;
}
"""


def test_faults_are_found() -> None:
    (has,) = facts(HOPPER, [(FAULTY, machine_code(FAULTY, HOPPER))])
    found = "\n".join(tool.wrong(Template(lambda: None, tuple, registers=8), (), has))  # type: ignore[arg-type,return-value]
    Template.all.pop()
    assert "local memory: LDL" in found
    assert "local memory: .local .align 16 .b8 depot[256];" in found
    assert "64-bit division: div.u64" in found
    assert "bytes of stack" in found
    assert "registers, more than 8" in found
    assert "no 16-byte stores" in found
    assert "no 16-byte loads" not in found
    assert "narrow beside wide accesses: LDG.E" in found
