"""PTX text to a flat list of instructions of one kernel.

Registers and labels declared in `{ }` get names of their own, and a call of a function is replaced by the
function's body (there is no recursion in PTX that Numba makes), so that what runs a program knows neither
scopes nor calls. This file knows the grammar and no instruction but `call` and `ret`.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import count

WIDTHS = {"pred": 0, "b8": 1, "b16": 2, "b32": 4, "b64": 8, "u8": 1, "u16": 2, "u32": 4, "u64": 8, "s8": 1}
WIDTHS |= {
    "s16": 2,
    "s32": 4,
    "s64": 8,
    "f16": 2,
    "bf16": 2,
    "f16x2": 4,
    "bf16x2": 4,
    "f32": 4,
    "f32x2": 8,
    "f64": 8,
}

_COMMENT = re.compile(r"//[^\n]*|/\*.*?\*/", re.DOTALL)
_LABEL = re.compile(r"([\w$]+)\s*:(?!:)")
_REGISTER = re.compile(r"\.reg\s+\.(\w+)\s+(.+)", re.DOTALL)
_RANGE = re.compile(r"(.+)<(\d+)>")
_NAME = re.compile(r"[\w$%.]+")
_FUNCTION = re.compile(
    r"\.(?P<kind>entry|func)\s*(?:\((?P<returned>[^)]*)\)\s*)?(?P<name>[\w$]+)\s*(?:\((?P<params>[^)]*)\))?",
    re.DOTALL,
)
_VARIABLE = re.compile(
    r"\.(?P<space>global|const|shared|local|param)\b(?P<attributes>.*?)"
    r"\.(?P<type>[a-z]+\d+)\s+(?P<rest>\.ptr\b.*?\s)?(?P<name>[\w$%]+)\s*(?P<size>\[\s*\d*\s*\])?\s*"
    r"(?:=\s*(?P<values>.*))?$",
    re.DOTALL,
)
_GUARD = re.compile(r"@(!?)([\w$%]+)\s+")


@dataclass(frozen=True)
class Variable:
    """A variable in memory; size and alignment in bytes, what is not in the initial bytes is zero."""

    name: str
    space: str
    size: int
    align: int
    initial: bytes = b""


@dataclass(frozen=True)
class Instruction:
    """`@guard opcode operands`, with names that are unique in the program, and its text for messages."""

    text: str
    opcode: str
    operands: tuple[str, ...]
    guard: str = ""
    negated: bool = False


@dataclass
class Kernel:
    """A kernel: its instructions in a row, where labels point, and what is declared for it."""

    name: str
    parameters: list[Variable]
    instructions: list[Instruction] = field(default_factory=list)
    labels: dict[str, int] = field(default_factory=dict)
    targets: dict[str, list[str]] = field(default_factory=dict)
    registers: dict[str, str] = field(default_factory=dict)  # name: type
    variables: dict[str, Variable] = field(default_factory=dict)


@dataclass
class _Function:
    kind: str
    returned: list[Variable]
    parameters: list[Variable]
    body: str


class _Scope:
    """Names declared between two braces, and what each is called in the program."""

    def __init__(self, outer: _Scope | None = None, names: Mapping[str, str] | None = None) -> None:
        self.outer = outer
        self.names = dict(names or {})

    def find(self, name: str) -> str:
        scope: _Scope | None = self
        while scope is not None:
            if name in scope.names:
                return scope.names[name]
            scope = scope.outer
        return name


def parse(ptx: str, entry: str) -> Kernel:
    """The kernel `entry` of the text `ptx`.

    Raises ValueError if there is no such kernel, or a function that it calls has no body.
    """
    functions: dict[str, _Function] = {}
    variables: dict[str, Variable] = {}
    for head, body in _module(_COMMENT.sub(" ", ptx)):
        if match := _FUNCTION.search(head):
            if body is not None:
                functions[match["name"]] = _Function(
                    match["kind"], _parameters(match["returned"]), _parameters(match["params"]), body
                )
        elif variable := _variable(head):
            variables[variable.name] = variable
    if entry not in functions or functions[entry].kind != "entry":
        kernels = [name for name, function in functions.items() if function.kind == "entry"]
        raise ValueError(f"no kernel {entry!r} in the PTX, which has {kernels}")
    kernel = Kernel(entry, functions[entry].parameters, variables=variables)
    _Expansion(kernel, functions).expand(functions[entry], _Scope())
    return kernel


def _module(text: str) -> Iterator[tuple[str, str | None]]:
    """Pairs of a declaration and the body in braces behind it (None without)."""
    text = re.sub(r"^\s*\.(version|target|address_size|file|loc)\b[^\n]*$", "", text, flags=re.MULTILINE)
    position = 0
    while match := re.compile(r"[;{=]").search(text, position):
        head = text[position : match.start()].strip()
        if match[0] == "=":  # the braces of initial values are no body
            end = text.index(";", match.end())
            yield text[position:end].strip(), None
            position = end + 1
        elif match[0] == ";":
            yield head, None
            position = match.end()
        else:
            end = _closing(text, match.start())
            yield head, text[match.end() : end]
            position = end + 1


def _closing(text: str, start: int) -> int:
    depth = 0
    for match in re.compile(r"[{}]").finditer(text, start):
        depth += 1 if match[0] == "{" else -1
        if depth == 0:
            return match.start()
    raise ValueError("the PTX ends within braces")


def _parameters(text: str | None) -> list[Variable]:
    found = []
    for part in (text or "").split(","):
        if part.strip():
            variable = _variable(part.strip())
            if variable is None:
                raise NotImplementedError(f"the parameter {part.strip()!r}")
            found.append(variable)
    return found


def _variable(text: str) -> Variable | None:
    match = _VARIABLE.search(text)
    if match is None:
        return None
    width = WIDTHS[match["type"]]
    align = re.search(r"\.align\s+(\d+)", match["attributes"])
    values = _initial(match["values"], match["type"]) if match["values"] else b""
    length = int(match["size"].strip("[] ") or 0) if match["size"] else 1
    size = width * length or len(values)
    return Variable(match["name"], match["space"], size, int(align[1]) if align else width, values)


def _initial(text: str, kind: str) -> bytes:
    width = WIDTHS[kind]
    words = [word.strip() for word in text.strip().strip("{}").split(",") if word.strip()]
    return b"".join((literal(word, kind) % (1 << 8 * width)).to_bytes(width, "little") for word in words)


def literal(text: str, kind: str) -> int:
    """The bits of a constant as an instruction of type `kind` reads it."""
    body = text.lstrip("-")
    if match := re.fullmatch(r"0[fF]([0-9a-fA-F]{8})", body):
        number = struct.unpack("<f", struct.pack("<I", int(match[1], 16)))[0]
        return int(match[1], 16) if WIDTHS[kind] == 4 else _float_bits(number, kind)
    if match := re.fullmatch(r"0[dD]([0-9a-fA-F]{16})", body):
        number = struct.unpack("<d", struct.pack("<Q", int(match[1], 16)))[0]
        return int(match[1], 16) if WIDTHS[kind] == 8 else _float_bits(number, kind)
    if "." in body or (kind.startswith("f") and body.isdigit()):
        return _float_bits(float(text), kind)
    body = body.rstrip("uU")
    value = int(body, 8 if re.fullmatch(r"0[0-7]+", body) else 0)
    return -value if text.startswith("-") else value


def _float_bits(value: float, kind: str) -> int:
    if kind not in ("f16", "f32", "f64"):
        raise NotImplementedError(f"a floating-point constant for .{kind}")
    return int.from_bytes(struct.pack({"f16": "<e", "f32": "<f", "f64": "<d"}[kind], value), "little")


def split(text: str) -> list[str]:
    """Operands: parts between commas outside brackets."""
    parts, depth, start = [], 0, 0
    for i, character in enumerate(text):
        if character in "{[(":
            depth += 1
        elif character in "}])":
            depth -= 1
        elif character == "," and depth == 0:
            parts.append(text[start:i].strip())
            start = i + 1
    last = text[start:].strip()
    return [*parts, last] if last else parts


class _Expansion:
    """Writes a function's instructions into the kernel, and in place of calls those of what is called."""

    def __init__(self, kernel: Kernel, functions: Mapping[str, _Function]) -> None:
        self.kernel = kernel
        self.functions = functions
        self.number = count(1)
        self.calls: list[str] = []

    def expand(self, function: _Function, scope: _Scope) -> None:
        """Adds the body of `function`, whose parameters `scope` names."""
        end = self._unique("$end")
        waiting: list[tuple[str, _Scope]] = []  # names are looked up when all labels of the body are known
        self._declare(function.body, scope, waiting)
        for statement, inner in waiting:
            if statement.endswith(":"):
                self.kernel.labels[inner.find(statement[:-1])] = len(self.kernel.instructions)
            else:
                self._statement(statement, inner, end)
        self.kernel.labels[end] = len(self.kernel.instructions)

    def _unique(self, name: str) -> str:
        return f"{name}#{next(self.number)}"

    def _declare(self, body: str, scope: _Scope, waiting: list[tuple[str, _Scope]]) -> None:
        """Enters all that `body` declares in its scope; leaves labels and instructions in `waiting`."""
        position = 0
        while position < len(body):
            character = body[position]
            if character.isspace() or character == ";":
                position += 1
            elif character == "{":
                scope = _Scope(scope)
                position += 1
            elif character == "}":
                assert scope.outer is not None
                scope = scope.outer
                position += 1
            elif match := _LABEL.match(body, position):
                scope.names[match[1]] = self._unique(match[1])
                waiting.append((match[1] + ":", scope))
                position = match.end()
            else:
                end = body.index(";", position)
                statement = " ".join(body[position:end].split())
                if not self._declaration(statement, scope):
                    waiting.append((statement, scope))
                position = end + 1

    def _declaration(self, statement: str, scope: _Scope) -> bool:
        if match := _REGISTER.match(statement):
            for name in match[2].split(","):
                several = _RANGE.fullmatch(name.strip())
                names = [f"{several[1]}{i}" for i in range(int(several[2]))] if several else [name.strip()]
                for each in names:
                    scope.names[each] = self._unique(each)
                    self.kernel.registers[scope.names[each]] = match[1]
            return True
        if statement.startswith((".local", ".shared", ".param", ".const", ".global")):
            variable = _variable(statement)
            if variable is None:
                raise NotImplementedError(statement)
            scope.names[variable.name] = self._unique(variable.name)
            name = scope.names[variable.name]
            space = "local" if variable.space == "param" else variable.space  # arguments of a call
            self.kernel.variables[name] = Variable(
                name, space, variable.size, variable.align, variable.initial
            )
            return True
        return statement.startswith(".pragma")

    def _statement(self, statement: str, scope: _Scope, end: str) -> None:
        if statement.startswith(".branchtargets"):
            label = max(self.kernel.labels, key=lambda name: self.kernel.labels[name])
            self.kernel.targets[label] = [scope.find(name) for name in split(statement.split(None, 1)[1])]
            return
        guard, negated, text = "", False, statement
        operands: tuple[str, ...]
        if match := _GUARD.match(statement):
            guard, negated, text = scope.find(match[2]), match[1] == "!", statement[match.end() :]
        opcode, _, rest = text.partition(" ")
        if opcode.split(".")[0] == "call":
            self._call(guard, negated, rest, scope)
            return
        if opcode.split(".")[0] == "ret":
            opcode, operands = ("bra", (end,)) if self.calls else ("exit", ())
        else:
            operands = tuple(self._resolve(part, scope) for part in split(rest))
        self.kernel.instructions.append(Instruction(statement, opcode, operands, guard, negated))

    def _resolve(self, operand: str, scope: _Scope) -> str:
        return _NAME.sub(lambda match: scope.find(match[0]), operand)

    def _call(self, guard: str, negated: bool, rest: str, scope: _Scope) -> None:
        """The body of the function called, between a jump over it if the guard is false and a label."""
        parts = split(rest)
        returned = split(parts.pop(0)[1:-1]) if parts[0].startswith("(") else []
        name = parts.pop(0)
        given = split(parts.pop(0)[1:-1]) if parts else []
        if name not in self.functions:
            raise NotImplementedError(f"call {rest}: the PTX has no body of {name}")
        if name in self.calls:
            raise NotImplementedError(f"call {rest}: recursion")
        function = self.functions[name]
        formal = [variable.name for variable in function.returned + function.parameters]
        actual = [scope.find(each) for each in returned + given]
        after = self._unique("$after")
        if guard:
            jump = Instruction(f"call {rest}", "bra", (after,), guard, not negated)
            self.kernel.instructions.append(jump)
        self.calls.append(name)
        self.expand(function, _Scope(None, dict(zip(formal, actual, strict=True))))
        self.calls.pop()
        self.kernel.labels[after] = len(self.kernel.instructions)
