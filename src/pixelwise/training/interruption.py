"""Defers Ctrl-C and its like to a moment in which the state of a training is consistent."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from pixelwise.errors import ENDING_SIGNALS, Terminated


def keep_going() -> None:
    """Do nothing: no interruption is pending."""


@contextmanager
def interrupted_when_asked() -> Iterator[Callable[[], None]]:
    """Defer Ctrl-C and the ending signals until the state is consistent; a second one is obeyed.

    Signals that the process ignores, as under ``nohup``, stay ignored.

    Yields:
        A function to call at consistent states; it raises a pending ``KeyboardInterrupt``.
    """
    if threading.current_thread() is not threading.main_thread():
        yield keep_going  # only the main thread receives signals
        return
    asked: list[int] = []

    def on_signal(signum: int, _frame: object) -> None:
        asked.append(signum)
        if len(asked) > 1:
            check()

    def check() -> None:
        if asked:
            raise KeyboardInterrupt if asked[0] == signal.SIGINT else Terminated(asked[0])

    before = {signal.SIGINT: signal.signal(signal.SIGINT, on_signal)}
    for signum in ENDING_SIGNALS:
        if signal.getsignal(signum) is not signal.SIG_IGN:
            before[signum] = signal.signal(signum, on_signal)
    try:
        yield check
    finally:
        for signum, handler in before.items():
            signal.signal(signum, handler)
