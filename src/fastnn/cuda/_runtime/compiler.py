"""Templates of kernels: when one is wanted, numba-cuda makes PTX of Python, and nvJitLink machine code of it.

Nothing here needs a GPU. It must not know any operation.
"""

from __future__ import annotations

import contextlib
import gc
import json
import re
from collections.abc import Callable, Iterable, Iterator
from types import SimpleNamespace
from typing import Any, ClassVar, NamedTuple

from cuda.core import Linker, LinkerOptions, ObjectCode
from numba import cuda, types
from numba.cuda import dispatcher
from numba.cuda.core.compiler_lock import global_compiler_lock
from numba.cuda.cudadrv.nvrtc import get_supported_ccs

from fastnn.cuda._runtime import cache
from fastnn.cuda._runtime.ptx.functions import building_for

Capability = tuple[int, int]
Key = tuple[Any, ...]
Built = tuple[Callable[..., None], tuple[Any, ...]]

#: Of a thread, unless a template says otherwise: half of the threads then fit, which keeps memory busy.
REGISTERS = 64


class Code(NamedTuple):
    """A compiled kernel: its text in PTX, the name of its entry, its machine code."""

    ptx: str
    entry: str
    cubin: bytes


class Template:
    """A family of kernels: `build(*key)` returns the Python function for a key, and its argument types.

    A key is made of strings, numbers and tuples of them, whose repr tells them apart. `examples` are the keys
    that the tests compile: every branch of `build` should be in one. The machine code is held to `registers`
    a thread, and to 16-byte accesses unless `narrow` says why there are none; both may be functions of the
    key. `options` go to numba's compiler.
    """

    all: ClassVar[list[Template]] = []

    def __init__(
        self,
        build: Callable[..., Built],
        examples: Callable[[], Iterable[Key]],
        *,
        registers: int | Callable[..., int] = REGISTERS,
        narrow: str | Callable[..., str] = "",
        **options: Any,
    ) -> None:
        self.name = f"{build.__module__.rpartition('.')[2]}.{build.__name__}"
        self.build, self.examples, self.options = build, examples, options
        self.registers, self.narrow = registers, narrow
        Template.all.append(self)

    def most_registers(self, key: Key) -> int:
        """The registers that a thread of the kernel for this key may take."""
        return self.registers(*key) if callable(self.registers) else self.registers

    def why_narrow(self, key: Key) -> str:
        """Why it has no 16-byte loads or no such stores; nothing where it must have both."""
        return self.narrow(*key) if callable(self.narrow) else self.narrow

    def parameters(self, capability: Capability, key: Key) -> tuple[type, ...]:
        """int (8 bytes) or float (a float64) for each parameter of the kernel for this key."""
        with _asked_for(capability):
            return tuple(_flat(self.build(*key)[1]))

    def _label(self, capability: Capability, key: Key, fast_math: bool) -> str:
        return f"{self.name} {key!r} {capability} {'fast' if fast_math else ''}"

    def is_kept(self, capability: Capability, key: Key, fast_math: bool = False) -> bool:
        """Whether `compile` finds the kernel on the disk."""
        return _read(self._label(capability, key, fast_math)) is not None

    def compile(self, capability: Capability, key: Key, fast_math: bool = False) -> Code:
        """The kernel for a compute capability, from the disk if it was compiled before."""
        label = self._label(capability, key, fast_math)
        code = _read(label)
        if code is None:
            code = self._compiled(capability, key, fast_math)
            _write(label, code)
        return code

    def _compiled(self, capability: Capability, key: Key, fast_math: bool) -> Code:
        with _asked_for(capability), _without_collection():
            function, types = self.build(*key)
            ptx, _ = cuda.compile(
                function, types, cc=capability, device=False, abi="numba", fastmath=fast_math, **self.options
            )
        if not fast_math:
            ptx = rounded(ptx)
        entry = re.search(r"\.entry\s+([\w$]+)", ptx)
        assert entry is not None
        return Code(ptx, entry[1], machine_code(ptx, capability))


def _flat(taken: Iterable[Any]) -> Iterator[type]:
    """The Python types of arguments, those of tuples one by one, as a launch passes them."""
    for each in taken:
        if isinstance(each, types.BaseTuple):
            yield from _flat(each)
        elif each in (types.int64, types.uint64, types.float64):
            yield float if each is types.float64 else int
        else:
            raise TypeError(f"a kernel's parameters must be int64, uint64 and float64, got {each}")


@contextlib.contextmanager
def _asked_for(capability: Capability) -> Iterator[None]:
    """For a while, numba-cuda finds a GPU of this compute capability where there is another, or none.

    What a kernel calls it compiles for the current device, even if the kernel is for another. Its lock keeps
    other threads from compiling meanwhile.
    """
    with global_compiler_lock:
        before = dispatcher.get_current_device
        dispatcher.get_current_device = lambda: SimpleNamespace(compute_capability=capability)
        building_for.append(capability)
        try:
            yield
        finally:
            building_for.pop()
            dispatcher.get_current_device = before


@contextlib.contextmanager
def _without_collection() -> Iterator[None]:
    """For a while, Python looks for no garbage, which takes a compiler a sixth of its time."""
    before = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if before:
            gc.enable()


def template(
    examples: Callable[[], Iterable[Key]], **options: Any
) -> Callable[[Callable[..., Built]], Template]:
    """Decorator: the function is `build` of a Template."""
    return lambda build: Template(build, examples, **options)


_NOT_ROUNDED = re.compile(r"(?<![.\w])(add|sub|mul)((?:\.ftz)?(?:\.sat)?\.(?:b?f16(?:x2)?|f32|f64))\b")


def rounded(ptx: str) -> str:
    """PTX whose sums and products are rounded one by one, as it says that they are.

    Without a rounding mode, an assembler may make one instruction of a product and a sum (fused
    multiply-add), and results would depend on it. What is written as `fma` stays so.
    """
    return _NOT_ROUNDED.sub(r"\1.rn\2", ptx)


def machine_code(ptx: str, capability: Capability) -> bytes:
    """PTX assembled for a compute capability."""
    major, minor = capability
    linker = Linker(ObjectCode.from_ptx(ptx.encode()), options=LinkerOptions(arch=f"sm_{major}{minor}"))
    return bytes(linker.link("cubin").code)


def nearest(capability: Capability) -> Capability:
    """The compute capability to compile for: this one, or the latest before it that the compiler knows."""
    known: list[Capability] = [(major, minor) for major, minor, *_ in get_supported_ccs()]
    older = [each for each in known if each <= capability]
    if not older:
        major, minor = capability
        raise RuntimeError(f"the GPU must have compute capability 7.5 or later, got {major}.{minor}")
    return max(older)


def _read(label: str) -> Code | None:
    found = cache.read(label)
    if found is None:
        return None
    head, _, cubin = found.partition(b"\n")
    return Code(**json.loads(head), cubin=cubin)


def _write(label: str, code: Code) -> None:
    head = json.dumps({"ptx": code.ptx, "entry": code.entry})
    cache.write(label, head.encode() + b"\n" + code.cubin)
