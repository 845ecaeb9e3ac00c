"""`fastnn.inference()`: passes of threads within it keep nothing for backward. It knows no layers."""

from __future__ import annotations

from contextlib import ContextDecorator
from threading import get_ident

#: The threads that are within `inference()`, and in how many of its contexts each is. Every pass asks, so it
#: asks first whether there is any: `if THREADS and get_ident() in THREADS`.
THREADS: dict[int, int] = {}


class inference(ContextDecorator):  # noqa: N801
    """Within the context, or in a function that it decorates, layers keep nothing for backward.

    What a layer has read is freed as soon as the next one has read its result, so a pass needs the memory of
    the input and of two layers' results. It changes nothing else: results are the same, and `model.eval()`
    is still what sets evaluation mode. It holds for the present thread alone, and contexts may be nested.
    `backward` after such a pass raises RuntimeError. As torch.inference_mode.

        with fastnn.inference():
            y = model.eval()(x)
    """

    def __enter__(self) -> None:
        """Count this thread's contexts up."""
        thread = get_ident()
        THREADS[thread] = THREADS.get(thread, 0) + 1

    def __exit__(self, *error: object) -> None:
        """Count them down."""
        thread = get_ident()
        THREADS[thread] -= 1
        if not THREADS[thread]:
            del THREADS[thread]


def is_inference() -> bool:
    """Return whether this thread is within `inference()`."""
    return get_ident() in THREADS
