"""What a training says while it runs; the command line prints it, a notebook may ignore it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Message:
    """Lines for the user, said once: what was found, what was chosen and why.

    Attributes:
        title: What the lines are about.
        lines: The lines.
    """

    title: str
    lines: tuple[str, ...]


@dataclass(frozen=True)
class Decoded:
    """Images are being read.

    Attributes:
        split: Of which split.
        done: How many are read.
        total: How many there are.
    """

    split: str
    done: int
    total: int


@dataclass(frozen=True)
class StepEnded:
    """A step is done.

    Attributes:
        epoch: The epoch, from 1.
        epochs: How many there will be; ``None`` where the clock decides.
        fraction: Share of the whole training that is done, 0 to 1.
        loss: Mean loss of the epoch so far.
        images_per_s: Speed of the epoch so far.
        eta_s: Seconds to the end of the training; ``None`` before it can be known.
        mean_iou: Of the last validation; ``None`` before the first.
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
        epochs: How many there will be; ``None`` where the clock decides.
        eta_s: Seconds to the end of the training.
    """

    row: dict[str, Any]
    epochs: int | None
    eta_s: float


@dataclass(frozen=True)
class WarningRaised:
    """Something is likely wrong; see :mod:`pixelwise.training.diagnostics.watchdog`.

    Attributes:
        epoch: After which epoch it was seen; 0 before the first step.
        kind: A stable name.
        text: What is wrong and what to try, in one line.
    """

    epoch: int
    kind: str
    text: str


@dataclass(frozen=True)
class FilesWritten:
    """Pictures were written.

    Attributes:
        paths: Where to.
    """

    paths: tuple[Path, ...]


Event = Message | Decoded | StepEnded | EpochEnded | WarningRaised | FilesWritten
Listener = Callable[[Event], None]


def ignore_events(event: object) -> None:
    """Nobody listens."""


def each_once(listener: Listener) -> Listener:
    """Tell a listener of several trainings only once what is said alike by more than one.

    Args:
        listener: Told of all that happens, but for lines that it has had before, word for word.
    """
    said: set[Message] = set()

    def listen(event: Event) -> None:
        if isinstance(event, Message):
            if event in said:
                return
            said.add(event)
        listener(event)

    return listen
