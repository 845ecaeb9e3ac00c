"""PyTorch's layers: the fastest eager call for each, and the functions that torch.compile takes.

A single layer's backward is the ATen function that autograd would call, without autograd; what has none (a
block's two passes, rms_norm's backward) goes through autograd.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from functools import partial
from typing import Any

from fastnn.bench.data import Case, Data, callee
from fastnn.bench.layers import GROUPS
from fastnn.bench.peers import Call

torch: Any = importlib.import_module("torch")
F: Any = importlib.import_module("torch.nn.functional")
aten: Any = torch.ops.aten

Tensor = Any
Tensors = dict[str, Tensor]

EPS, MOMENTUM = 1e-5, 0.1
MASK = [True, True, True]  # which of dx, dweight and dbias are wanted
MEAN = 1  # the reduction, as ATen numbers it

ORDER = ("input", "weight", "bias", "running_mean", "running_var", "target")
LEARNED = ORDER[:3]

# Each forward pass as a user writes it, of those of ORDER that the case has.
FUNCTIONS: dict[str, Callable[..., Tensor]] = {
    "batch_norm": lambda x, w, b, mean, var: F.batch_norm(x, mean, var, w, b, True),
    "batch_norm_eval": lambda x, w, b, mean, var: F.batch_norm(x, mean, var, w, b),
    "batch_norm_relu": lambda x, w, b, mean, var: F.relu(F.batch_norm(x, mean, var, w, b, True)),
    "batch_norm_relu_dropout": lambda x, w, b, mean, var: F.dropout(
        F.relu(F.batch_norm(x, mean, var, w, b, True)), 0.5
    ),
    "layer_norm": lambda x, w, b: F.layer_norm(x, x.shape[-1:], w, b),
    "rms_norm": lambda x, w: F.rms_norm(x, x.shape[-1:], w),
    "group_norm": lambda x, w, b: F.group_norm(x, GROUPS, w, b),
    "softmax": lambda x: F.softmax(x, -1),
    "log_softmax": lambda x: F.log_softmax(x, -1),
    "cross_entropy": lambda x, target: F.cross_entropy(x, target),
    "dropout": lambda x: F.dropout(x, 0.5),
}


def eager(data: Data, *, out: bool) -> Call:
    """Return torch's fastest call for a layer; where it has a kernel that writes into `out`, with that."""
    tensors = as_tensors(data)
    result = tensors["out"] if out else None
    name = callee(data.case.label, data.case.direction)
    match name:
        case "batch_norm" | "batch_norm_eval" if result is not None:
            call = batch_norm_out(data.case, tensors, result)
        case "batch_norm_backward":
            call = batch_norm_backward(tensors)
        case "layer_norm_backward":
            call = layer_norm_backward(tensors)
        case "group_norm_backward":
            call = group_norm_backward(tensors)
        case "softmax" | "log_softmax":
            function = getattr(torch, f"_{name}")
            call = partial(function, tensors["input"], -1, False, out=result)
        case "softmax_backward" | "log_softmax_backward":
            call = softmax_backward(data.case, tensors, result)
        case "cross_entropy":
            call = partial(cross_entropy, tensors["input"], tensors["target"], tensors["input"].new_ones(()))
        case "rms_norm_backward":
            call = recorded_backward(data.case, tensors)
        case _:
            call = whole(data.case, tensors, FUNCTIONS[data.case.label])
    return call


def as_tensors(data: Data) -> Tensors:
    """Return the arrays as tensors on the same memory, such that autograd takes them too."""
    with torch.inference_mode(False):
        given = {name: tensor(value) for name, value in {**data.values, "out": data.out}.items()}
        return {name: value for name, value in given.items() if isinstance(value, torch.Tensor)}


def tensor(value: Any) -> Any:
    """Return an array's memory as a tensor, anything else as it is."""
    if hasattr(value, "__array_interface__"):
        return torch.from_numpy(value)
    if not hasattr(value, "__cuda_array_interface__"):
        return value
    if value.dtype.name == "bfloat16":  # which DLPack has, but not all versions of CuPy's
        return torch.from_dlpack(value.view("int16")).view(torch.bfloat16)
    return torch.from_dlpack(value)


def arguments(tensors: Tensors) -> list[Tensor]:
    """Return what FUNCTIONS take, in their order."""
    return [tensors[name] for name in ORDER if name in tensors]


def whole(case: Case, tensors: Tensors, function: Callable[..., Tensor]) -> Call:
    """Return a call of the forward pass, or of both passes through autograd, by one of FUNCTIONS."""
    if case.direction == "forward":
        return partial(function, *arguments(tensors))
    tensors = learning(tensors)
    positional = arguments(tensors)
    wanted = [tensors[name] for name in LEARNED if name in tensors]
    loss = case.function == "cross_entropy"
    dy = None if loss else tensors["dy"]

    def passes() -> tuple[Tensor, ...]:
        y = function(*positional)
        gradients: tuple[Tensor, ...] = torch.autograd.grad(y, wanted, dy)
        return (y.detach(), *gradients) if loss else gradients

    return recording(passes)


def learning(tensors: Tensors) -> Tensors:
    """Return the tensors with those that have a gradient asking for it."""
    with torch.inference_mode(False):
        return {
            name: value.detach().requires_grad_() if name in LEARNED else value
            for name, value in tensors.items()
        }


def recording(call: Call) -> Call:
    """Return a call outside inference mode; torch's own context managers would take it 1.7 us longer."""

    def recorded() -> Any:
        guard = torch._C._InferenceMode(False)
        torch._C._set_grad_enabled(True)
        result = call()
        del guard  # which switches both back
        return result

    return recorded


def recorded_backward(case: Case, tensors: Tensors) -> Call:
    """Return autograd's backward pass alone, over a forward pass recorded once."""
    tensors = learning(tensors)
    wanted = [tensors[name] for name in LEARNED if name in tensors]
    y = recording(partial(FUNCTIONS[case.label], *arguments(tensors)))()
    return recording(partial(torch.autograd.grad, y, wanted, tensors["dy"], retain_graph=True))


def batch_norm_out(case: Case, t: Tensors, out: Tensor) -> Call:
    """Return the ATen forward pass that writes into `out`."""
    training = case.label == "batch_norm"
    mean, rstd = (t["weight"].new_empty(t["weight"].shape[0] if training else 0) for _ in range(2))
    saved = {"out": out, "save_mean": mean, "save_invstd": rstd}
    statistics = (t["running_mean"], t["running_var"])
    return partial(
        aten.native_batch_norm.out,
        *(t["input"], t["weight"], t["bias"], *statistics, training, MOMENTUM, EPS),
        **saved,
    )


def batch_norm_backward(t: Tensors) -> Call:
    """Return the ATen function, with the statistics that its forward saved."""
    statistics = (t["running_mean"], t["running_var"])
    saved = aten.native_batch_norm(t["input"], t["weight"], t["bias"], *statistics, True, MOMENTUM, EPS)[1:]
    function = aten.native_batch_norm_backward.default
    return partial(function, t["dy"], t["input"], t["weight"], *statistics, *saved, True, EPS, MASK)


def layer_norm_backward(t: Tensors) -> Call:
    """Return the ATen function, with the statistics that its forward saved."""
    shape = [t["input"].shape[-1]]
    saved = aten.native_layer_norm(t["input"], shape, t["weight"], t["bias"], EPS)[1:]
    function = aten.native_layer_norm_backward.default
    return partial(function, t["dy"], t["input"], shape, *saved, t["weight"], t["bias"], MASK)


def group_norm_backward(t: Tensors) -> Call:
    """Return the ATen function, with the statistics that its forward saved."""
    n, c, *space = t["input"].shape
    sizes = (n, c, torch.Size(space).numel(), GROUPS)
    saved = aten.native_group_norm(t["input"], t["weight"], t["bias"], *sizes, EPS)[1:]
    function = aten.native_group_norm_backward.default
    return partial(function, t["dy"], t["input"], *saved, t["weight"], *sizes, MASK)


def softmax_backward(case: Case, t: Tensors, out: Tensor | None) -> Call:
    """Return the ATen function of the output that the forward pass gave."""
    function = getattr(torch, f"_{case.function}_backward_data")
    keyword = "grad_input" if case.function == "softmax" else "out"
    return partial(function, t["dy"], t["output"], -1, t["dy"].dtype, **{keyword: out})


def cross_entropy(x: Tensor, target: Tensor, one: Tensor) -> tuple[Tensor, Tensor]:
    """Loss and gradient by the four functions that autograd would call."""
    log_p = torch._log_softmax(x, 1, False)
    loss, total = aten.nll_loss_forward.default(log_p, target, None, MEAN, -100)
    d_log_p = aten.nll_loss_backward.default(one, log_p, target, None, MEAN, -100, total)
    return loss, torch._log_softmax_backward_data(d_log_p, log_p, 1, x.dtype)
