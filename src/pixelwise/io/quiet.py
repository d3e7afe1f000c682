"""Hides the warnings of decoders and encoders in all threads."""

from __future__ import annotations

import threading
import warnings
from contextlib import ExitStack


class _Quiet:
    """Hides warnings while any thread is inside the block.

    ``catch_warnings`` alone would hide them permanently: each thread restores the filters that it
    found, and the second of two threads found those set by the first.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._num_inside = 0
        self._hidden = ExitStack()

    def __enter__(self) -> None:
        with self._lock:
            if not self._num_inside:
                self._hidden.enter_context(warnings.catch_warnings())
                warnings.simplefilter("ignore")
            self._num_inside += 1

    def __exit__(self, *error: object) -> None:
        with self._lock:
            self._num_inside -= 1
            if not self._num_inside:
                self._hidden.close()


quietly = _Quiet()
"""``with quietly:`` hides the warnings of decoders and encoders, in every thread."""
