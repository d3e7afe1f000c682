"""Defers Ctrl-C to a moment in which the state of a training is consistent."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager


def keep_going() -> None:
    """Do nothing: no interruption is pending."""


@contextmanager
def interrupted_when_asked() -> Iterator[Callable[[], None]]:
    """Defer Ctrl-C until the state is consistent; a second Ctrl-C interrupts immediately.

    Yields:
        A function to call at consistent states; it raises a pending ``KeyboardInterrupt``.
    """
    if threading.current_thread() is not threading.main_thread():
        yield keep_going  # only the main thread receives signals
        return
    is_asked = False

    def on_signal(*_: object) -> None:
        nonlocal is_asked
        if is_asked:
            raise KeyboardInterrupt
        is_asked = True

    def check() -> None:
        if is_asked:
            raise KeyboardInterrupt

    before = signal.signal(signal.SIGINT, on_signal)
    try:
        yield check
    finally:
        signal.signal(signal.SIGINT, before)
