"""Kernels compiled without a GPU: what their PTX and machine code must have, and must not.

An example of each template for one capability, every other time 9.0, and with --all-cases all examples for
9.0; tools/gpu/compile_all.py compiles all for all, which takes about 25 minutes on two cores.
"""

from __future__ import annotations

from typing import Any

import pytest

pytest.importorskip("numba.cuda.extending")
pytest.importorskip("cuda.core")

from fastnn._warm_up.building import templates
from fastnn.cuda._runtime.compiler import Template, machine_code, rounded
from tools.gpu import compile_all as tool
from tools.gpu.code import facts, instructions, nvdisasm

HOPPER = (9, 0)
#: Known shortfalls (docs/gpu-kernels.md): up to this capability some kernels of these have a few numbers in
#: local memory; for later ones than 9.0 the compiler counts the turns of loops by a division.
SPILLING = {"moments.moments": (8, 0), "weight_gradients.by_element": (8, 0), "losses.cross_entropy": HOPPER}
DIVIDING = ("slope_sums.dx_and_sums",)

if nvdisasm() is None:
    pytest.skip("no nvdisasm: pip install nvidia-cuda-nvdisasm", allow_module_level=True)


def one_of_each() -> list[tool.Kernel]:
    """An example of every template: for capability 9.0 and for the others in turn."""
    others = [capability for capability in tool.CAPABILITIES if capability != HOPPER]
    kernels: list[tool.Kernel] = []
    for i, (name, template) in enumerate(templates().items()):
        keys = list(template.examples())
        kernels.append((name, keys[i % len(keys)], HOPPER if i % 2 else others[i // 2 % len(others)]))
    return kernels


def parts() -> list[list[tool.Kernel]]:
    """Neighbours among these, which are compiled and read together, each part for one capability."""
    kernels = one_of_each()
    of_one = [[kernel for kernel in kernels if kernel[2] == capability] for capability in tool.CAPABILITIES]
    return [part for some in of_one for part in tool.cut(some, workers=2)]


def label(kernel: Any) -> str:
    return repr(kernel).replace("'", "").replace(" ", "")


def check(kernels: list[tool.Kernel]) -> None:
    problems = {}
    for kernel, has in zip(kernels, tool.compiled(kernels), strict=True):
        name, key, capability = kernel
        if capability <= SPILLING.get(name, (0, 0)):
            has = has._replace(stack=0, local=[])
        if capability > HOPPER and name in DIVIDING:
            has = has._replace(divisions=[])
        problems[kernel] = tool.wrong(templates()[name], key, has)
    assert {kernel: found for kernel, found in problems.items() if found} == {}


@pytest.mark.every_case
@pytest.mark.parametrize("kernels", parts(), ids=lambda part: label(part[0]))
def test_an_example_of_each(kernels: list[tool.Kernel]) -> None:
    check(kernels)


@pytest.mark.parametrize("kernel", tool.every_kernel(HOPPER), ids=label)
def test_all_examples(kernel: tool.Kernel) -> None:
    check([kernel])


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


FUSABLE = """
.version 8.0
.target sm_90
.address_size 64
.visible .entry fusable(.param .u64 at)
{
    .reg .b64 %rd<9>; .reg .f32 %f<9>; .reg .f64 %fd<9>;
    ld.param.u64 %rd1, [at];
    ld.global.f32 %f1, [%rd1]; ld.global.f64 %fd1, [%rd1+8];
    mul.f32 %f2, %f1, %f1; add.f32 %f3, %f2, %f1;
    mul.f64 %fd2, %fd1, %fd1; sub.f64 %fd3, %fd2, %fd1;
    atom.global.add.f32 %f4, [%rd1+16], %f3;
    st.global.f64 [%rd1+8], %fd3;
    ret;
}
"""


def test_products_and_sums_are_rounded_one_by_one() -> None:
    """The assembler fuses them unless the text says how each is rounded; the emulator never does."""
    text = rounded(FUSABLE)
    for line in ("mul.rn.f32", "add.rn.f32", "mul.rn.f64", "sub.rn.f64", "atom.global.add.f32"):
        assert f" {line} " in text
    assert rounded(text) == text
    fused, apart = instructions(HOPPER, [machine_code(ptx, HOPPER) for ptx in (FUSABLE, text)])
    assert {"FFMA", "DFMA"} <= {line.split()[0] for line in fused}
    assert not {"FFMA", "DFMA"} & {line.split()[0] for line in apart}
    assert {"FMUL", "FADD", "DMUL", "DADD"} <= {line.split()[0] for line in apart}
