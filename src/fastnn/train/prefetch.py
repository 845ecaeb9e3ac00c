"""A thread that makes items before they are asked for. It knows nothing of batches."""

from __future__ import annotations

import queue
import threading
from collections.abc import Generator, Iterable
from typing import Any, TypeVar

import numpy as np

T = TypeVar("T")

AHEAD = 2  # items that wait: one is never enough where the times of making and of using vary


def prefetched(items: Iterable[T]) -> Generator[T]:
    """Yield `items`, which a thread makes up to AHEAD of them ahead; their errors are raised here, in turn.

    The thread ends with this generator: closing it waits for the item that is being made.
    """
    made: queue.Queue[tuple[str, Any]] = queue.Queue(AHEAD)
    closed = threading.Event()

    def put(kind: str, value: Any = None) -> None:
        while not closed.is_set():
            try:
                return made.put((kind, value), timeout=0.1)
            except queue.Full:
                continue

    def make() -> None:
        try:
            with np.errstate(over="ignore", invalid="ignore"):
                for item in items:
                    put("item", item)
                    if closed.is_set():
                        return
            put("end")
        except BaseException as error:
            put("error", error)

    thread = threading.Thread(target=make, name="fastnn prefetch", daemon=True)
    thread.start()
    try:
        while True:
            kind, value = made.get()
            if kind == "end":
                return
            if kind == "error":
                raise value
            yield value
    finally:
        closed.set()
        thread.join()
