"""CUDA graphs of whole steps: captured once by CuPy, then launched without the host's work for each kernel.

It must not know what a step does.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

from fastnn._core.extras import require
from fastnn.cuda._runtime.replay import Recording


class Graph:
    """A step of training, or of anything, as one CUDA graph. Arrays are CuPy's.

        graph = fastnn.cuda.Graph()
        step()  # once or more, so that kernels are compiled, and optimizers have their states
        with graph.capture():
            logits = model(x)
            loss, dlogits = F.cross_entropy(logits, labels)
            optimizer.zero_grad()
            model.backward(dlogits)
            optimizer.step()
        for x_host, labels_host in batches:
            x.set(x_host), labels.set(labels_host)
            scheduler.step()
            graph.replay()

    The steps are the same as without a graph, to the last bit: dropout takes new keys from its generator,
    optimizers count on, and take learning rate and other numbers from their groups. All else is as it was
    when it was captured: the arrays, whose contents may change, the shapes, the numbers that functions were
    given, the options that choose another rule (RuntimeError). After `load_state_dict` of an optimizer,
    capture again.

    What the block makes (`loss`) lies in memory that the graph keeps and the next replay overwrites. Arrays
    that were there before must live as long as the graph.
    """

    def __init__(self) -> None:
        self._graph: Any = None
        self._stream: Any = None
        self._recording = Recording()
        self._memory: list[Any] = []

    @contextlib.contextmanager
    def capture(self) -> Iterator[Graph]:
        """Return a context whose work is captured, and done once at its end, as without the graph.

        Nothing in it may wait for the GPU: `float(loss)`, `x.get()`. Raises RuntimeError in another capture.
        """
        cuda: Any = require("cupy", "cuda").cuda
        stream, recording, memory = cuda.Stream(non_blocking=True), Recording(), list[Any]()

        def allocate(size: int) -> Any:
            """Memory that the graph keeps: a pool that runs out of it cannot give back what kernels use."""
            memory.append(cuda.Memory(size))
            return cuda.MemoryPointer(memory[-1], 0)

        pool = cuda.MemoryPool(allocate)
        with _after_current(cuda, stream):
            with cuda.using_allocator(pool.malloc), recording:
                stream.begin_capture()
                try:
                    yield self
                except BaseException:
                    with contextlib.suppress(Exception):
                        stream.end_capture()
                    raise
                graph = stream.end_capture()
            self._graph, self._stream, self._recording, self._memory = graph, stream, recording, memory
            self._launch()

    def replay(self) -> None:
        """Do the work again, and do not wait for it. RuntimeError where nothing was captured."""
        if self._graph is None:
            raise RuntimeError("the graph is empty: capture a step first")
        cuda: Any = require("cupy", "cuda").cuda
        with _after_current(cuda, self._stream):
            self._recording.go_on()
            self._launch()

    def _launch(self) -> None:
        self._recording.fill()
        self._graph.launch(self._stream)


@contextlib.contextmanager
def _after_current(cuda: Any, stream: Any) -> Iterator[None]:
    """Make this stream the current one: its work follows that of the one before, which then waits for it."""
    current = cuda.get_current_stream()
    stream.wait_event(current.record())
    try:
        with stream:
            yield
    finally:
        current.wait_event(stream.record())
