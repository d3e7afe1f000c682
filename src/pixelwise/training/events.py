"""Events of a training run; the command line prints them, other callers may ignore them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Message:
    """Information about findings and choices, sent once.

    Attributes:
        title: Heading of the lines.
        lines: The lines.
    """

    title: str
    lines: tuple[str, ...]


@dataclass(frozen=True)
class Decoded:
    """Images are being read.

    Attributes:
        split: The split.
        done: Number of images read.
        total: Total number of images.
    """

    split: str
    done: int
    total: int


@dataclass(frozen=True)
class StepEnded:
    """A training step is finished.

    Attributes:
        epoch: The epoch, counted from 1.
        epochs: Total number of epochs; ``None`` for a budget in minutes.
        fraction: Fraction of the training that is done, 0 to 1.
        loss: Mean loss of the epoch so far.
        images_per_s: Speed of the epoch so far.
        eta_s: Estimated seconds to the end of the training; ``None`` before an estimate exists.
        mean_iou: Mean IoU of the last validation; ``None`` before the first.
    """

    epoch: int
    epochs: int | None
    fraction: float
    loss: float
    images_per_s: float
    eta_s: float | None
    mean_iou: float | None


@dataclass(frozen=True)
class EpochEnded:
    """An epoch is trained, evaluated and saved.

    Attributes:
        row: Its row of ``history.csv``.
        epochs: Total number of epochs; ``None`` for a budget in minutes.
        eta_s: Estimated seconds to the end of the training.
    """

    row: dict[str, Any]
    epochs: int | None
    eta_s: float


@dataclass(frozen=True)
class WarningRaised:
    """Something is likely wrong; see :mod:`pixelwise.training.diagnostics.watchdog`.

    Attributes:
        epoch: The epoch after which it was found; 0 before the first step.
        kind: Stable identifier.
        text: The problem and a suggestion, in one line.
    """

    epoch: int
    kind: str
    text: str


@dataclass(frozen=True)
class FilesWritten:
    """Report, curves and pictures were written.

    Attributes:
        paths: The files.
    """

    paths: tuple[Path, ...]


Event = Message | Decoded | StepEnded | EpochEnded | WarningRaised | FilesWritten
Listener = Callable[[Event], None]


def ignore_events(event: object) -> None:
    """Ignore an event; the default listener."""


def each_once(listener: Listener) -> Listener:
    """Wrap a listener for several training runs, so that it receives repeated lines only once.

    Args:
        listener: Called with every event, without lines that were sent before.
    """
    said: set[Message] = set()

    def listen(event: Event) -> None:
        if isinstance(event, Message):
            if event in said:
                return
            said.add(event)
        listener(event)

    return listen
