"""`fastnn.inference()`: passes of threads within it keep nothing for backward. It knows no layers."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from threading import get_ident

#: The threads that are within `inference()`. Every pass asks, so it asks first whether there is any:
#: `if THREADS and get_ident() in THREADS`.
THREADS: set[int] = set()


@contextmanager
def inference() -> Iterator[None]:
    """Within the context, or in a function that it decorates, layers keep nothing for backward.

    What a layer has read is freed as soon as the next one has read its result, so a pass needs the memory of
    the input and of two layers' results. It changes nothing else: results are the same, and `model.eval()`
    is still what sets evaluation mode. It holds for the present thread alone, and contexts may be nested.
    `backward` after such a pass raises RuntimeError. As torch.inference_mode.

        with fastnn.inference():
            y = model.eval()(x)
    """
    thread = get_ident()
    if thread in THREADS:
        yield
        return
    try:
        THREADS.add(thread)
        yield
    finally:
        THREADS.discard(thread)


def is_inference() -> bool:
    """Return whether this thread is within `inference()`."""
    return get_ident() in THREADS
