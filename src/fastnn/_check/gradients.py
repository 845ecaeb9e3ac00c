"""Point 2: every layer's backward against finite differences, in float64, on some samples.

Each layer is looked at by itself, with the input that it has in the model, so that a wrong one is named.
Compared are (L(t + hv) - L(t - hv)) / 2h and the gradient times v, where L is the sum of the outputs times
random numbers, t an input or a parameter, and v a random direction.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import ExitStack
from typing import Any

import numpy as np

from fastnn._check.report import Finding
from fastnn._check.subject import Copies, Subject
from fastnn._core.typing import Array
from fastnn.nn import Module
from fastnn.nn.module import generators_of
from fastnn.random import default_generator
from fastnn.train.measures import find_loss
from fastnn.train.nested import Nested, call, leaves, mapped
from fastnn.train.statistics import is_float

SAMPLES = 8
DIRECTIONS = 2
WRONG, DOUBTFUL = 1e-3, 1e-5  # relative errors
SINGLE = 1e4  # times as much, and for the step h, where a layer computes in float32
#: (h, how far inputs and parameters are moved first), relative to their size. At a kink, as ReLU's at 0, both
#: sides differ, so the check is made again nearby, where a wrong gradient would still be wrong.
TRIES = ((1e-6, 0.0), (1e-6, 0.1), (1e-7, 0.1))

Row = dict[str, Any]
Errors = dict[str, float]  # by the name of the input or the parameter
Passed = tuple[str, Module, tuple[Any, ...]]  # a layer's name, the layer, and its inputs


def check_gradients(subject: Subject) -> tuple[list[Finding], list[Row]]:
    """The findings, and a row for each layer."""
    copies = subject.copies()
    model = copies.model.to("cpu")
    for module in model.modules():
        module.needs_input_grad = True
    _to_float64(model)
    if isinstance(copies.loss, Module):
        _to_float64(copies.loss)
    x, y = mapped(_as_float64, subject.batch(subject.rows(SAMPLES), model))
    draws = _Draws(model.train())
    try:
        seen, output = _passed(model, draws, x)
    except (TypeError, ValueError) as error:
        return [_not_checked("gradients", error)], []
    rows: list[Row] = []
    findings: list[Finding] = []
    failed: list[Module] = []
    for name, module, inputs in reversed(seen):  # children first
        called = f"layer {name!r} ({type(module).__name__})" if name else type(module).__name__
        try:
            errors = _errors(_Layer(module, inputs, draws))
        except (TypeError, ValueError, RuntimeError) as error:
            findings.append(_not_checked(called, error))
            continue
        rows.append({"layer": name, "kind": type(module).__name__, **_largest(errors)})
        if (finding := _finding(called, errors)) and not any(m in failed for m in module.modules()):
            findings.append(finding)
            failed.append(module)
    rows.reverse()
    if not findings:
        findings = [_summary(rows), *_whole(copies, model, draws, x, y, output)]
    return findings, rows


def _whole(
    copies: Copies, model: Module, draws: _Draws, x: Nested, y: Nested, output: Nested
) -> list[Finding]:
    """The findings about the loss, and about the model and the loss together."""
    loss = find_loss(copies.loss)
    problems: dict[str, Callable[[], _Loss | _Whole]] = {
        "the loss": lambda: _Loss(loss, output, y),
        "the whole model with its loss": lambda: _Whole(model, loss, x, y, draws),
    }
    for name, problem in problems.items():
        try:
            errors = _errors(problem())
        except (TypeError, ValueError) as error:
            return [_not_checked(name, error)]
        if finding := _finding(name, errors):
            return [finding]
    return [Finding("gradients", name, f"largest relative error {max(errors.values(), default=0.0):.1g}")]


# ---- what is differentiated --------------------------------------------------------------------------------


class _Draws:
    """Gives every pass the same random numbers: dropout drops the same."""

    def __init__(self, model: Module) -> None:
        self._own = [(generator, generator.get_state()) for generator in generators_of(model)]
        values = [value for module in model.modules() for value in vars(module).values()]
        self._numpys = [(g, g.bit_generator.state) for g in values if isinstance(g, np.random.Generator)]
        self._legacy = np.random.get_state()  # noqa: NPY002 - the user's layers may draw from it

    def repeat(self) -> None:
        for generator, key in self._own:
            generator.set_state(key)
        for numpys, state in self._numpys:
            numpys.bit_generator.state = state
        np.random.set_state(self._legacy)  # noqa: NPY002


class _Layer:
    """A layer with its inputs: `value` is L, `gradients` has dL/dt for each of `tensors`."""

    def __init__(self, module: Module, inputs: tuple[Any, ...], draws: _Draws) -> None:
        self._module, self._draws = module, draws
        self._inputs = mapped(np.array, inputs)
        self._weights: list[Array] = [
            _normal(part.shape) if is_float(part) else np.zeros(part.shape)
            for part in leaves(self._forward())
        ]
        self.is_single = any(is_float(y) and y.dtype != np.float64 for y in leaves(self._forward()))

    @property
    def tensors(self) -> dict[str, Array]:
        """What L is differentiated by."""
        inputs = dict(zip(self._names(), leaves(self._inputs), strict=True))
        return {name: x for name, x in inputs.items() if is_float(x)} | _parameters(self._module)

    def value(self) -> float:
        """L, the sum of the outputs times the weights."""
        return sum(float((y * w).sum()) for y, w in zip(leaves(self._forward()), self._weights, strict=True))

    def size(self) -> float:
        """What L's rounding errors are relative to."""
        return sum(
            float(np.abs(y * w).sum()) for y, w in zip(leaves(self._forward()), self._weights, strict=True)
        )

    def gradients(self) -> dict[str, Array]:
        """What backward says; 0 for a parameter that it has no gradient for."""
        self._module.zero_grad()
        weights = iter(self._weights)
        dx = self._module.backward(mapped(lambda y: np.array(next(weights), y.dtype), self._forward()))
        given = dict(zip(self._names(), leaves(dx), strict=False))
        return {name: array for name, array in given.items() if name in self.tensors} | _gradients(
            self._module
        )

    def _names(self) -> list[str]:
        count = len(list(leaves(self._inputs)))
        return ["input"] if count == 1 else [f"input {place}" for place in range(count)]

    def _forward(self) -> Nested:
        self._draws.repeat()
        return self._module(*mapped(np.array, self._inputs))  # a layer may write into its input


class _Loss:
    """The loss of an output."""

    def __init__(self, loss: Any, output: Nested, target: Nested) -> None:
        self._loss, self._output, self._target = loss, mapped(np.array, output), target
        self.is_single = any(d.dtype != np.float64 for d in self.gradients().values())

    @property
    def tensors(self) -> dict[str, Array]:
        """The outputs."""
        return {f"output {place}": array for place, array in enumerate(leaves(self._output))}

    def value(self) -> float:
        """The loss."""
        return float(self._loss(self._output, self._target)[0])

    def size(self) -> float:
        """What its rounding errors are relative to."""
        return abs(self.value())

    def gradients(self) -> dict[str, Array]:
        """Its gradients for the outputs."""
        return dict(zip(self.tensors, leaves(self._loss(self._output, self._target)[1]), strict=True))


class _Whole:
    """The loss of a model, by all parameters."""

    def __init__(self, model: Module, loss: Any, x: Nested, y: Nested, draws: _Draws) -> None:
        self._model, self._loss, self._draws, self._x, self._y = model, loss, draws, x, y
        self.is_single = any(d.dtype != np.float64 for d in leaves(self._run()[1]))

    @property
    def tensors(self) -> dict[str, Array]:
        """The parameters."""
        return _parameters(self._model)

    def value(self) -> float:
        """The loss."""
        return float(self._run()[0])

    def size(self) -> float:
        """What its rounding errors are relative to."""
        return abs(self.value())

    def gradients(self) -> dict[str, Array]:
        """What the model's backward says."""
        self._model.zero_grad()
        self._model.backward(mapped(_as_float64, self._run()[1]))
        return _gradients(self._model)

    def _run(self) -> tuple[Any, Any]:
        self._draws.repeat()
        found: tuple[Any, Any] = self._loss(call(self._model, mapped(np.array, self._x)), self._y)
        return found


def _parameters(model: Module) -> dict[str, Array]:
    return {name: p.data for name, p in model.named_parameters() if p.requires_grad}


def _gradients(model: Module) -> dict[str, Array]:
    """What backward has left for each parameter; 0 where it left nothing."""
    named = [(name, p) for name, p in model.named_parameters() if p.requires_grad]
    return {name: np.zeros(p.shape) if p.grad is None else p.grad for name, p in named}


# ---- the comparison ----------------------------------------------------------------------------------------


def _errors(problem: _Layer | _Loss | _Whole) -> Errors:
    """The relative error for each tensor, the smallest of the tries."""
    best: Errors = {}
    factor = SINGLE if problem.is_single else 1.0
    for step, jitter in TRIES:
        for tensor in problem.tensors.values() if jitter else ():
            tensor += jitter * _size(tensor) * _normal(tensor.shape)
        for name, error in _compared(problem, step * factor).items():
            best[name] = min(best.get(name, np.inf), error / factor)
        if all(error <= DOUBTFUL for error in best.values()):
            break
    return best


def _compared(problem: _Layer | _Loss | _Whole, step: float) -> Errors:
    with np.errstate(all="ignore"):
        gradients = {
            name: np.array(g, np.float64) for name, g in problem.gradients().items() if g is not None
        }
        rounding = np.finfo(np.float64).eps * problem.size() * 10
        errors: Errors = {}
        for name, tensor in problem.tensors.items():
            if name not in gradients or not tensor.size:
                continue
            h = step * _size(tensor)
            pairs = [_along(problem.value, tensor, gradients[name], h) for _ in range(DIRECTIONS)]
            norm = float(np.linalg.norm(gradients[name]))
            errors[name] = max(_relative_error(*pair, norm, rounding / h) for pair in pairs)
    return errors


def _relative_error(numerical: float, analytic: float, norm: float, rounding: float) -> float:
    """The relative error, a large one without what rounding explains.

    A direction almost at right angles to the gradient counts as less so.
    """
    difference = abs(numerical - analytic)
    if not np.isfinite(difference):
        return np.inf
    size = max(abs(numerical), abs(analytic), 1e-3 * norm, 1e-300)
    error = difference / size
    return error if error <= DOUBTFUL else max(difference - rounding, 0.0) / size


def _along(value: Callable[[], float], tensor: Array, gradient: Array, h: float) -> tuple[float, float]:
    """The derivative in a random direction, by finite differences and by the gradient."""
    direction, before = _normal(tensor.shape), tensor.copy()
    if gradient.shape != tensor.shape:
        raise ValueError(f"a gradient must have its tensor's shape {tensor.shape}, got {gradient.shape}")
    tensor[...] = before + h * direction
    above = value()
    tensor[...] = before - h * direction
    below = value()
    tensor[...] = before
    return (above - below) / (2 * h), float((gradient * direction).sum())


def _size(tensor: Array) -> float:
    """The root of the mean square; of small ones 0.01."""
    return max(float(np.sqrt(np.mean(tensor * tensor))) if tensor.size else 0.0, 1e-2)


def _normal(shape: tuple[int, ...]) -> Array:
    return default_generator().numpy().standard_normal(shape)


# ---- preparation and results -------------------------------------------------------------------------------


def _to_float64(model: Module) -> None:
    for parameter in model.parameters():
        parameter.data = _as_float64(parameter.data)
        parameter.grad = None
    for module in model.modules():
        for name, array in module._own_buffers():
            setattr(module, name, _as_float64(array))


def _as_float64(array: Array) -> Array:
    return array.astype(np.float64) if is_float(array) else array


def _passed(
    model: Module, draws: _Draws, x: Nested
) -> tuple[list[tuple[str, Module, tuple[Any, ...]]], Nested]:
    """(name, module, its inputs) for those that have a gradient of their own, and the model's output."""
    inputs: dict[Module, tuple[Any, ...]] = {}

    def keep(module: Module, *passed: Any) -> None:
        inputs[module] = mapped(np.array, passed[:-1])

    with ExitStack() as undo:
        for module in model.modules():
            undo.callback(module.register_forward_hook(keep).remove)
        draws.repeat()
        output = call(model, mapped(np.array, x))
    named = [(name, m, inputs[m]) for name, m in model.named_modules() if m in inputs and _has_own(m)]
    return named, output


def _has_own(module: Module) -> bool:
    """Whether backward does more than to call the layers inside: of fastnn's containers it does not."""
    return next(module.children(), None) is None or not type(module).__module__.startswith("fastnn.")


def _largest(errors: Mapping[str, float]) -> Row:
    worst = max(errors, key=lambda name: errors[name], default="")
    return {"relative error": errors.get(worst), "of": worst}


def _finding(called: str, errors: Mapping[str, float]) -> Finding | None:
    """The finding about wrong gradients; None where they are right."""
    bad = {name: error for name, error in errors.items() if error > DOUBTFUL}
    if not bad:
        return None
    names = " and ".join(bad)
    judgement: Any = "failure" if max(bad.values()) > WRONG else "warning"
    measured = f"the gradient for {names} has a relative error of {max(bad.values()):.2g}"
    advice = "backward does not agree with forward: derive it again, or check with a smaller example"
    return Finding("gradients", called, measured, judgement, advice, {"errors": dict(errors)})


def _not_checked(called: str, error: Exception) -> Finding:
    advice = "a layer of float64 is needed for finite differences: let it take its input's dtype"
    return Finding("gradients", called, f"could not be checked in float64: {error}", "warning", advice)


def _summary(rows: list[Row]) -> Finding:
    worst = max(rows, key=lambda row: row["relative error"] or 0.0, default={"relative error": 0.0})
    measured = f"largest relative error {worst['relative error'] or 0.0:.1g}"
    return Finding("gradients", f"{len(rows)} layers", measured, numbers={"error": worst["relative error"]})
