"""The wall-clock budget of a training run: from the start of the command to the written report."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field

VALIDATION_MARGIN = 1.1
"""Safety factor for the time of the last validation relative to the one before."""

MARGIN_S = 1.0
"""Seconds reserved for the last checkpoint and the end of the process."""

REPORT_S = 6.0
"""Assumed seconds for pictures and report until they have been measured on this machine."""

REPORT_SHARE = 0.25
"""Maximum fraction of a budget that is reserved for pictures and report."""

_started: ContextVar[float | None] = ContextVar("started", default=None)


@contextmanager
def counting_from(started: float) -> Iterator[None]:
    """Let budgets inside the context start before the training is called.

    The command line uses it to include the import of torch, which takes seconds.

    Args:
        started: Start time, as returned by :func:`time.perf_counter`.
    """
    token = _started.set(started)
    try:
        yield
    finally:
        _started.reset(token)


def start_of_budget() -> float:
    """Return the start time of a training run that is called now; see :func:`time.perf_counter`."""
    started = _started.get()
    return time.perf_counter() if started is None else started


def report_key(num_classes: int, size: tuple[int, int]) -> str:
    """Return the key under which a machine stores the duration of pictures and report.

    Args:
        num_classes: Number of classes.
        size: Height and width of the median image; sizes up to a factor of 1.4 share a key.
    """
    pixels = 2 ** round(math.log2(max(1, math.prod(size))))
    return f"seconds of a report for {num_classes} classes, {pixels} pixels"


@dataclass
class Budget:
    """The time budget of a training run.

    Attributes:
        seconds: The whole budget.
        started: Start time on ``clock``.
        validation_s: Seconds per validation, as last measured.
        finish_s: Seconds reserved for the detailed metrics after the last epoch.
        finish_s_per_image: The part of it that each validation image adds.
        report_s: Seconds reserved for pictures and report.
        clock: A monotonic clock in seconds.
    """

    seconds: float
    started: float
    validation_s: float = 0.0
    finish_s: float = 0.0
    finish_s_per_image: float = 0.0
    report_s: float = 0.0
    clock: Callable[[], float] = time.perf_counter
    _fraction: float = field(default=0.0, init=False)

    def reserve_report(self, seconds: float) -> None:
        """Reserve time for pictures and report, at most :data:`REPORT_SHARE` of the budget."""
        self.report_s = min(seconds, REPORT_SHARE * self.seconds)

    @property
    def left_s(self) -> float:
        """Return the seconds until the end of the budget."""
        return self.started + self.seconds - self.clock()

    @property
    def for_steps_s(self) -> float:
        """Return the seconds left for training steps if validation and report are to fit."""
        return self.left_s - VALIDATION_MARGIN * self.validation_s - self.after_s

    @property
    def after_s(self) -> float:
        """Return the seconds reserved for everything after the last validation."""
        return self.finish_s + self.report_s + MARGIN_S

    def fraction(self, elapsed_s: float) -> float:
        """Return the fraction of the training that is done, 0 to 1.

        It never falls, also if a validation was shorter than estimated, so that a learning rate
        that decays with it never rises again.

        Args:
            elapsed_s: Seconds trained so far, earlier validations included.
        """
        left = self.for_steps_s
        now = 1.0 if left <= 0 else elapsed_s / (elapsed_s + left)
        self._fraction = max(self._fraction, now)
        return self._fraction
