"""tools.limits: which instructions of a function count as its loop."""

from __future__ import annotations

from tools.limits.loops import functions, quickest

CODE = """
0000000000000000 <f_loop>:
   0:	vmovups (%rdi),%ymm0
   4:	vaddps %ymm0,%ymm0,%ymm1
   8:	jne    20 <f_loop+0x20>
   c:	vmovups %ymm1,(%rsi)
  10:	cmp    %rax,%rbx
  14:	jb     0 <f_loop>
  18:	ret
  1c:	nop
  20:	vdivps %ymm0,%ymm0,%ymm1
  24:	vmovups %ymm1,0x20(%rsp)
  28:	jmp    c <f_loop+0xc>
"""


def test_the_shortest_way_round_counts() -> None:
    (_, code) = list(functions(CODE))[-1]
    loop = quickest(code)
    assert loop is not None
    assert loop.stores == 1
    assert [text.split()[0] for text in loop.instructions].count("vdivps") == 0
    assert len(loop.instructions) == 6
