"""PyTorch on the CPU, on the same memory, by the fastest call that it offers from Python.

In that order: a direct binding with out= (`torch.sigmoid`, `torch._C._nn.silu`), the ATen overload
that writes into our buffer (`aten.silu_backward.grad_input`), and the ATen function that allocates, where
torch has no other (`mish_backward`; some ATen `.out` overloads, relu's among them, only copy a
fresh result: they are not used). Names are regular; ROWS holds what is not. Layers are in torch_layers.py.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any, NamedTuple

from fastnn.bench.data import Data
from fastnn.bench.layers import Layer
from fastnn.bench.peers import Call, threads_restored, torch_training
from fastnn.bench.peers.torch_layers import eager, tensor

torch: Any = importlib.import_module("torch")
aten: Any = torch.ops.aten
nn: Any = torch._C._nn

Tensor = Any


def _identity(x: Tensor, *, out: Tensor | None = None) -> Tensor:
    return x.clone() if out is None else out.copy_(x)


def _softsign(x: Tensor, *, out: Tensor | None = None) -> Tensor:
    y = torch.abs(x, out=out).add_(1)
    return torch.div(x, y, out=y)


def _softsign_backward(dy: Tensor, x: Tensor, *, out: Tensor | None = None) -> Tensor:
    dx = torch.abs(x, out=out).add_(1).square_()
    return torch.div(dy, dx, out=dx)


def _logsigmoid(x: Tensor, buffer: Tensor, *, out: Tensor | None = None) -> Tensor:
    return (
        nn.log_sigmoid(x) if out is None else aten.log_sigmoid_forward.output(x, output=out, buffer=buffer)[0]
    )


def _tanhshrink(x: Tensor, *, out: Tensor | None = None) -> Tensor:
    y = torch.tanh(x, out=out)
    return torch.sub(x, y, out=y)


def _tanhshrink_backward(dy: Tensor, x: Tensor, *, out: Tensor | None = None) -> Tensor:
    return torch.tanh(x, out=out).square_().mul_(dy)


def _squareplus(x: Tensor, *, out: Tensor | None = None) -> Tensor:
    return torch.mul(x, x, out=out).add_(4).sqrt_().add_(x).mul_(0.5)


def _squareplus_backward(dy: Tensor, x: Tensor, *, out: Tensor | None = None) -> Tensor:
    root = torch.mul(x, x, out=out).add_(4).sqrt_()
    return torch.div(x, root, out=root).add_(1).mul_(dy).mul_(0.5)


def _square_backward(dy: Tensor, x: Tensor, *, out: Tensor | None = None) -> Tensor:
    return torch.mul(dy, x, out=out).mul_(2)


def _prelu(x: Tensor, weight: Tensor, *, out: Tensor | None = None) -> Tensor:
    return torch.prelu(x, weight)


def _prelu_backward(
    dy: Tensor, x: Tensor, weight: Tensor, *, out: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    broadcast = weight.view(-1, *[1] * (x.dim() - 2))
    dx, dweight = aten._prelu_kernel_backward(dy, x, broadcast)
    return dx, dweight.sum_to_size(broadcast.shape).view_as(weight)


def _rrelu_training(x: Tensor, noise: Tensor, *, out: Tensor | None = None) -> Tensor:
    return nn.rrelu_with_noise(x, noise, 1 / 8, 1 / 3, True, None, out=out)


def _swiglu(x: Tensor, *, out: Tensor | None = None) -> Tensor:
    a, b = x.chunk(2, -1)
    return nn.silu(a, out=out).mul_(b)


def _swiglu_backward(dy: Tensor, x: Tensor, *, out: Tensor | None = None) -> Tensor:
    a, b = x.chunk(2, -1)
    dx = torch.empty_like(x) if out is None else out
    da, db = dx.chunk(2, -1)
    torch.mul(dy, b, out=db)
    aten.silu_backward.grad_input(db, a, grad_input=da)
    nn.silu(a, out=db).mul_(dy)
    return dx


def _maxout(x: Tensor, index: Tensor, *, out: Tensor | None = None) -> tuple[Tensor, Tensor]:
    groups = x.unflatten(1, (-1, 4))
    result: tuple[Tensor, Tensor] = torch.max(groups, 2, out=None if out is None else (out, index))
    return result


def _maxout_backward(dy: Tensor, index: Tensor, *, out: Tensor | None = None) -> Tensor:
    dx = dy.new_zeros(dy.shape[0], dy.shape[1] * 4) if out is None else out.zero_()
    dx.unflatten(1, (-1, 4)).scatter_(2, index.unsqueeze(2), dy.unsqueeze(2))
    return dx


class Row(NamedTuple):
    """How torch computes a case: an operator's name or a function above, and its arguments.

    A string among the arguments is a value's name (`input`, `dy`); `keywords` are passed as they are.
    """

    op: str | Callable[..., Any]
    arguments: tuple[str | float | bool, ...]
    keywords: tuple[tuple[str, str], ...] = ()


ALPHA, SCALE = 1.6732632423543772848170429916717, 1.0507009873554804934193349852946
LARGE = 2**20  # elements from which it pays to keep logsigmoid's buffer, although that call has more overhead
MIDDLE = (1 / 8 + 1 / 3) / 2
TANH = (("approximate", "tanh"),)

ROWS: dict[str, Row] = {
    "identity": Row(_identity, ("input",)),
    "relu": Row("clamp_min", ("input", 0.0)),
    "rrelu": Row("leaky_relu", ("input", MIDDLE)),
    "rrelu_training": Row(_rrelu_training, ("input", "noise")),
    "prelu": Row(_prelu, ("input", "weight")),
    "prelu_channels": Row(_prelu, ("input", "weight")),
    "selu": Row("elu", ("input", ALPHA, SCALE)),
    "celu": Row("elu", ("input", 1.0, 1.0, 1.0)),
    "gelu_tanh": Row("gelu", ("input",), TANH),
    "softsign": Row(_softsign, ("input",)),
    "logsigmoid": Row(_logsigmoid, ("input", "buffer")),
    "relu6": Row("hardtanh", ("input", 0.0, 6.0)),
    "tanhshrink": Row(_tanhshrink, ("input",)),
    "squareplus": Row(_squareplus, ("input",)),
    "swiglu": Row(_swiglu, ("input",)),
    "maxout": Row(_maxout, ("input", "index")),
    "identity_backward": Row(_identity, ("dy",)),
    "relu_backward": Row("threshold_backward", ("dy", "output", 0.0)),
    "leaky_relu_backward": Row("leaky_relu_backward", ("dy", "input", 0.01, False)),
    "rrelu_backward": Row("leaky_relu_backward", ("dy", "input", MIDDLE, False)),
    "rrelu_training_backward": Row("mul", ("dy", "noise")),
    "prelu_backward": Row(_prelu_backward, ("dy", "input", "weight")),
    "prelu_channels_backward": Row(_prelu_backward, ("dy", "input", "weight")),
    "elu_backward": Row("elu_backward", ("dy", 1.0, 1.0, 1.0, False, "input")),
    "selu_backward": Row("elu_backward", ("dy", ALPHA, SCALE, 1.0, False, "input")),
    "celu_backward": Row("elu_backward", ("dy", 1.0, 1.0, 1.0, False, "input")),
    "gelu_tanh_backward": Row("gelu_backward", ("dy", "input"), TANH),
    "sigmoid_backward": Row("sigmoid_backward", ("dy", "output")),
    "tanh_backward": Row("tanh_backward", ("dy", "output")),
    "softplus_backward": Row("softplus_backward", ("dy", "input", 1.0, 20.0)),
    "softsign_backward": Row(_softsign_backward, ("dy", "input")),
    "logsigmoid_backward": Row("log_sigmoid_backward", ("dy", "input", "buffer")),
    "hardtanh_backward": Row("hardtanh_backward", ("dy", "input", -1.0, 1.0)),
    "relu6_backward": Row("hardtanh_backward", ("dy", "output", 0.0, 6.0)),
    "threshold_backward": Row("threshold_backward", ("dy", "input", "threshold")),
    "hardshrink_backward": Row("hardshrink_backward", ("dy", "input", 0.5)),
    "softshrink_backward": Row("softshrink_backward", ("dy", "input", 0.5)),
    "tanhshrink_backward": Row(_tanhshrink_backward, ("dy", "input")),
    "squareplus_backward": Row(_squareplus_backward, ("dy", "input")),
    "square_backward": Row(_square_backward, ("dy", "input")),
    "exp_backward": Row("mul", ("dy", "output")),
    "glu_backward": Row("glu_backward", ("dy", "input", -1)),
    "swiglu_backward": Row(_swiglu_backward, ("dy", "input")),
    "maxout_backward": Row(_maxout_backward, ("dy", "index")),
}


class Peer:
    """torch in inference mode: its kernels against ours, without autograd's overhead."""

    name = "torch"
    note = (
        "torch has no out= for prelu, nor for the backward of prelu, mish and hardswish, nor for layers but"
        " batch_norm and softmax: it allocates there"
    )
    serial = False

    @contextmanager
    def session(self) -> Iterator[None]:
        """Inference mode; the number of threads is restored at the end."""
        threads = threads_restored(torch.get_num_threads, torch.set_num_threads)
        with threads, torch.inference_mode():
            yield

    def prepare(self, data: Data, *, out: bool) -> Call | None:
        """Bind torch's operator to tensors on the same memory."""
        if data.case.group == "training":
            return torch_training.training(data)
        if isinstance(data.case, Layer):
            return eager(data, out=out)
        row = choose(data)
        tensors = {name: tensor(value) for name, value in data.values.items()}
        tensors |= extras(data, tensors)
        arguments = [tensors[value] if isinstance(value, str) else value for value in row.arguments]
        return resolve(row.op, tensor(data.out) if out else None, *arguments, **dict(row.keywords))

    def set_threads(self, threads: int) -> bool:
        """Set the number of OpenMP threads."""
        torch.set_num_threads(threads)
        return True


def choose(data: Data) -> Row:
    """Return the row of this case: one of ROWS, or torch's operator of that name on the same arguments."""
    label = data.case.label + ("_backward" if data.case.direction == "backward" else "")
    if label == "logsigmoid" and data.elements < LARGE:
        return Row("log_sigmoid", ("input",))
    names = tuple(name for name in data.case.signature.parameters if name in data.values)
    return ROWS.get(label, Row(data.case.callee, names))


def extras(data: Data, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """What torch's forward keeps for its own backward, where ours keeps nothing or something else."""
    x = tensors["input"]
    match data.case.label:
        case "logsigmoid":
            return {"buffer": aten.log_sigmoid_forward(x)[1]}
        case "sigmoid" | "tanh":
            return {"output": getattr(torch, data.case.label)(x)}
        case "maxout":
            return {"index": x.unflatten(1, (-1, 4)).max(2).indices}
        case "rrelu_training":
            noise = torch.empty_like(x)
            nn.rrelu_with_noise(x, noise, 1 / 8, 1 / 3, True)
            return {"noise": noise}
    return {}


def resolve(op: str | Callable[..., Any], out: Tensor | None, *arguments: Any, **keywords: Any) -> Call:
    """Return the fastest call of this operator that writes into `out`, or (None) makes a new tensor."""
    if callable(op):
        return partial(op, *arguments, **keywords, out=out)
    for module in (nn, torch):
        if hasattr(module, op):
            function = getattr(module, op)
            return partial(function, *arguments, **keywords, **({} if out is None else {"out": out}))
    packet = getattr(aten, op)
    if out is not None and "grad_input" in packet.overloads():
        return partial(packet.grad_input, *arguments, **keywords, grad_input=out)
    return partial(packet.default, *arguments, **keywords)
