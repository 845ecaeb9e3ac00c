"""What must work first: one line for each check, and 1 if one of them fails.

python -m tools.gpu_session.smoke [--small] [--json FILE] [CHECK ...]

Arrays of CuPy and of torch, threads and streams; the kernel whose blocks wait for each other; the accuracy of
matrix products; graphs. --small is for compute-sanitizer, under which a kernel takes a hundred times as long.
"""

from __future__ import annotations

import argparse
import json
import sys
import threading
import time
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

import fastnn
import fastnn.functional
from fastnn import nn, optim
from fastnn._core.extras import require

F: Any = fastnn.functional  # whose arrays are a GPU's here, and no NumPy's
RNG = np.random.default_rng(0)


class MissingError(Exception):
    """A check cannot run, as a package is not there."""


def cupy() -> Any:
    """The module."""
    return require("cupy", "cuda")


def torch() -> Any:
    """The module, where it has CUDA."""
    try:
        import torch as found
    except ImportError:
        raise MissingError("torch is not installed") from None
    if not found.cuda.is_available():
        raise MissingError("this torch has no CUDA")
    return found


def normal(*shape: int) -> Any:
    """Random numbers, float32, on the host."""
    return RNG.standard_normal(shape).astype(np.float32)


def near(got: Any, expected: Any, tolerance: float = 1e-5) -> None:
    """AssertionError where results are farther apart than the tolerance, relative to the largest one."""
    expected = np.asarray(expected, np.float64)
    error = float(np.max(np.abs(np.asarray(got, np.float64) - expected)) / np.max(np.abs(expected)))
    assert error <= tolerance, f"error {error:.3g}, more than {tolerance:g}"


# ---- arrays, threads, streams ------------------------------------------------------------------------------


def relu_cupy(small: bool) -> None:
    """A CuPy array, with and without out, and at an address that is odd for 16-byte accesses."""
    x = normal(1027 if small else 2**22 + 3)
    on_gpu = cupy().asarray(x)
    near(F.relu(on_gpu).get(), np.maximum(x, 0), 0)
    near(F.relu(on_gpu[1:]).get(), np.maximum(x[1:], 0), 0)
    assert F.relu(on_gpu, out=on_gpu) is on_gpu
    near(on_gpu.get(), np.maximum(x, 0), 0)


def relu_torch(small: bool) -> None:
    """A tensor of torch, of each floating dtype."""
    library = torch()
    for name in ("float32", "float64", "float16", "bfloat16"):
        x = library.randn(1000 if small else 2**20, device="cuda", dtype=getattr(library, name))
        assert library.equal(F.relu(x), library.relu(x)), name


def relu_in_a_thread(small: bool) -> None:
    """A thread that has used no CUDA yet."""
    x, found = normal(1000), list[Any]()

    def work() -> None:
        try:
            found.append(F.relu(on_gpu).get())
        except BaseException as error:
            found.append(error)

    on_gpu = cupy().asarray(x)
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    if isinstance(found[0], BaseException):
        raise found[0]
    near(found[0], np.maximum(x, 0), 0)


def relu_on_a_cupy_stream(small: bool) -> None:
    """A stream of CuPy's that is not the default one."""
    x = normal(1000 if small else 2**22)
    with cupy().cuda.Stream(non_blocking=True) as stream:
        y = F.relu(cupy().asarray(x))
    stream.synchronize()
    near(y.get(), np.maximum(x, 0), 0)


def relu_on_a_torch_stream(small: bool) -> None:
    """A side stream of torch: behind the stream's own work, and before what comes next on it."""
    library = torch()
    a = library.randn(64 if small else 4096, 64 if small else 4096, device="cuda")
    stream = library.cuda.Stream()
    stream.wait_stream(library.cuda.current_stream())
    with library.cuda.stream(stream):
        product = a @ a  # long enough that a kernel on another stream would read what is not there yet
        y = F.relu(product)
        doubled = 2 * y
    stream.synchronize()
    assert library.equal(doubled, 2 * library.relu(product))


# ---- kernels -----------------------------------------------------------------------------------------------


def batch_norm_resident(small: bool) -> None:
    """Batch norm that fits on the chip: one kernel whose blocks wait for each other. Several times."""
    x = normal(*((8, 16, 8, 8) if small else (64, 64, 32, 32)))
    expected = F.batch_norm(x, training=True)[0]
    on_gpu = cupy().asarray(x)
    for _ in range(1 if small else 20):
        near(F.batch_norm(on_gpu, training=True)[0].get(), expected)


def batch_norm_in_passes(small: bool) -> None:
    """Batch norm that does not fit, and its gradient."""
    shape = (4, 8, 16, 16) if small else (128, 64, 56, 56)
    x, dy = normal(*shape), normal(*shape)
    expected, saved = F.batch_norm(x, training=True)
    y, there = F.batch_norm(cupy().asarray(x), training=True)
    near(y.get(), expected)
    dx = F.batch_norm_backward(cupy().asarray(dy), there)[0]
    near(dx.get(), F.batch_norm_backward(dy, saved)[0])


def rows(small: bool) -> None:
    """Softmax, layer norm and the loss of rows: held by a warp, by a block, and read twice."""
    for length in (10, 1000) if small else (10, 1000, 4096, 50257):
        x, labels = normal(64, length), np.arange(64) % length
        on_gpu = cupy().asarray(x)
        near(F.softmax(on_gpu, 1).get(), F.softmax(x, 1))
        near(F.layer_norm(on_gpu, (length,))[0].get(), F.layer_norm(x, (length,))[0])
        loss, gradient = F.cross_entropy(on_gpu, cupy().asarray(labels))
        expected = F.cross_entropy(x, labels)
        near(float(loss), float(expected[0]))
        near(gradient.get(), expected[1])


def product_float32(small: bool) -> None:
    """A product in float32 and no coarser format: TF32's error is 100 times as large."""
    x, weight = normal(64, 256 if small else 4096), normal(64, 256 if small else 4096)
    y = F.linear(cupy().asarray(x), cupy().asarray(weight)).get()
    near(y, x.astype(np.float64) @ weight.T.astype(np.float64), 5e-6)


def product_float64(small: bool) -> None:
    """A product in float64."""
    x, weight = RNG.standard_normal((64, 256)), RNG.standard_normal((64, 256))
    near(F.linear(cupy().asarray(x), cupy().asarray(weight)).get(), x @ weight.T, 1e-14)


def product_bfloat16(small: bool) -> None:
    """A long product of half types, of positive numbers: sums in a half type would be off by percents."""
    dtype = require("ml_dtypes", "cuda").bfloat16
    length = 2048 if small else 2**16
    x, weight = (np.abs(normal(32, length)).astype(dtype) for _ in range(2))
    y = F.linear(cupy().asarray(x), cupy().asarray(weight)).get()
    near(y.astype(np.float64), x.astype(np.float64) @ weight.T.astype(np.float64), 2**-8)


def dropout(small: bool) -> None:
    """A mask of dropout is the CPU's, bit for bit."""
    x, key = normal(1000 if small else 2**20), fastnn.Key(1, 2)
    near(F.dropout(cupy().asarray(x), key=key).get(), F.dropout(x, key=key), 0)


# ---- training ----------------------------------------------------------------------------------------------


def training(small: bool) -> None:
    """Ten steps of a network have the losses that they have on the CPU."""
    x, labels = normal(64, 32), np.arange(64) % 10
    losses = []
    for device in ("cpu", "cuda"):
        model, optimizer, batch = _network(device, x, labels)
        losses.append([float(_step(model, optimizer, *batch)) for _ in range(2 if small else 10)])
    near(losses[1], losses[0], 1e-4)


def graph_replay(small: bool) -> None:
    """Steps that a captured graph replays are those without it, to the last bit."""
    if not hasattr(cupy().cuda.Stream, "begin_capture"):
        raise MissingError("no real CuPy")
    x, labels = normal(64, 32), np.arange(64) % 10
    weights = []
    for captured in (False, True):
        model, optimizer, batch = _network("cuda", x, labels)
        _step(model, optimizer, *batch)
        graph = fastnn.cuda.Graph()
        if captured:
            with graph.capture():
                _step(model, optimizer, *batch)
        for _ in range(3 if captured else 4):
            graph.replay() if captured else _step(model, optimizer, *batch)
        weights.append(model.state_dict())
    for name, array in weights[0].items():
        assert np.array_equal(array, weights[1][name]), name


def _network(device: str, x: Any, labels: Any) -> tuple[nn.Module, optim.Optimizer, tuple[Any, Any]]:
    fastnn.manual_seed(0)
    layers = nn.Linear(32, 64), nn.BatchNorm1d(64), nn.ReLU(), nn.Dropout(0.2), nn.Linear(64, 10)
    model = nn.Sequential(*layers).to(device)
    batch = (x, labels) if device == "cpu" else (cupy().asarray(x), cupy().asarray(labels))
    return model, optim.Adam(model.parameters(), lr=0.01), batch


def _step(model: nn.Module, optimizer: optim.Optimizer, x: Any, labels: Any) -> Any:
    loss, gradient = F.cross_entropy(model(x), labels)
    optimizer.zero_grad()
    model.backward(gradient)
    optimizer.step()
    return loss


CHECKS: dict[str, Callable[[bool], None]] = {
    check.__name__: check
    for check in (
        *(relu_cupy, relu_torch, relu_in_a_thread, relu_on_a_cupy_stream, relu_on_a_torch_stream),
        *(batch_norm_resident, batch_norm_in_passes, rows, dropout),
        *(product_float32, product_float64, product_bfloat16, training, graph_replay),
    )
}


def result(name: str, small: bool) -> str:
    """Return "ok", "skipped (why)" or what went wrong, whose traceback goes to stderr."""
    try:
        CHECKS[name](small)
    except MissingError as missing:
        return f"skipped ({missing})"
    except Exception as error:
        traceback.print_exc()
        return f"{type(error).__name__}: {error}".partition("\n")[0]
    return "ok"


def main(argv: Sequence[str] | None = None) -> int:
    """Make the checks; 1 if one of them fails."""
    parser = argparse.ArgumentParser(prog="python -m tools.gpu_session.smoke", description=__doc__)
    parser.add_argument("checks", nargs="*", choices=[[], *CHECKS], default=[], metavar="CHECK")
    parser.add_argument("--small", action="store_true", help="little work")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the results into this file, too")
    args = parser.parse_args(argv)
    found: dict[str, str] = {}
    for name in args.checks or CHECKS:
        start = time.perf_counter()
        found[name] = result(name, args.small)
        print(f"{name:<24} {time.perf_counter() - start:6.2f} s  {found[name]}", flush=True)
        if args.json is not None:
            args.json.write_text(json.dumps(found, indent=1), encoding="utf-8")
    return int(any(text != "ok" and not text.startswith("skipped") for text in found.values()))


if __name__ == "__main__":
    sys.exit(main())
