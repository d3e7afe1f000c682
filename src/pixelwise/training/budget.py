"""The wall-clock budget of a training: from the start of the command to the written report."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

VALIDATION_MARGIN = 1.1
"""The last validation may take this many times as long as the one before."""

MARGIN_S = 1.0
"""Seconds set aside for the last checkpoint and the end of the process."""

REPORT_KEY = "seconds of a report"
"""Under which a machine remembers how long pictures and report took."""

REPORT_S = 6.0
"""Seconds for pictures and report, before this machine has written one."""

_started: ContextVar[float | None] = ContextVar("started", default=None)


@contextmanager
def counting_from(started: float) -> Iterator[None]:
    """Let budgets inside the block begin earlier than the training is called.

    The command line begins before it imports torch, which takes seconds.

    Args:
        started: On the clock of :func:`time.perf_counter`.
    """
    token = _started.set(started)
    try:
        yield
    finally:
        _started.reset(token)


def start_of_budget() -> float:
    """When a training that is called now began, on the clock of :func:`time.perf_counter`."""
    started = _started.get()
    return time.perf_counter() if started is None else started


@dataclass
class Budget:
    """How much time is left for training steps.

    Attributes:
        seconds: The whole budget.
        started: When it began, on ``clock``.
        validation_s: Seconds that a validation takes; the last measurement counts.
        finish_s: Seconds set aside for metrics in detail after the last epoch.
        finish_s_per_image: The same of one validation image.
        report_s: Seconds set aside for pictures and report.
        clock: Seconds that only increase.
    """

    seconds: float
    started: float
    validation_s: float = 0.0
    finish_s: float = 0.0
    finish_s_per_image: float = 0.0
    report_s: float = 0.0
    clock: Callable[[], float] = time.perf_counter

    @property
    def left_s(self) -> float:
        """Seconds to the end of the budget."""
        return self.started + self.seconds - self.clock()

    @property
    def for_steps_s(self) -> float:
        """Seconds for training steps, after which validation and report just fit."""
        return self.left_s - VALIDATION_MARGIN * self.validation_s - self.after_s

    @property
    def after_s(self) -> float:
        """Seconds set aside for everything after the last validation."""
        return self.finish_s + self.report_s + MARGIN_S

    def fraction(self, elapsed_s: float) -> float:
        """Share of the training that is done, 0 to 1.

        Args:
            elapsed_s: Seconds trained so far, earlier validations included.
        """
        left = self.for_steps_s
        return 1.0 if left <= 0 else elapsed_s / (elapsed_s + left)
