"""The registry of loggers, and the base class of those that write for a tracking tool."""

from __future__ import annotations

import importlib.util
import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, ClassVar

from pixelwise.errors import ConfigError, MissingExtraError, PixelwiseWarning, in_one_line
from pixelwise.registry import Builder, Registry
from pixelwise.training.events import (
    EpochEnded,
    Event,
    FilesWritten,
    Listener,
    RunEnded,
    RunStarted,
    StepEnded,
)

loggers: Registry[Listener] = Registry("logger", "pixelwise.training.loggers", is_open=True)
"""Loggers by their names in recipes and on the command line."""

LoggerSource = str | Listener | type[Any]
"""A registered name, anything that takes events, or a class whose instances do."""


def register_logger(name: str) -> Callable[[Builder], Builder]:
    """Register a logger under a name, as a decorator of a class whose instances take events.

    The name can then be used in ``training.loggers`` of a recipe and in ``train(loggers=...)``.

    Args:
        name: Name in recipes and on the command line.
    """
    return loggers.register(name)


def create_loggers(sources: Iterable[LoggerSource]) -> list[Listener]:
    """Create loggers from names and classes; other callables are returned as they are.

    Raises:
        UnknownNameError: One of the names is not registered.
        MissingExtraError: The package of a logger is not installed.
        ConfigError: One of the others cannot be called.
    """
    created: list[Any] = []
    for source in dict.fromkeys(sources):
        if isinstance(source, str):
            created.append(loggers.create(source))
        elif callable(source):
            created.append(source() if isinstance(source, type) else source)
        else:
            raise ConfigError(
                "`loggers` must be names, or callables that take an event. "
                f"Got {type(source).__name__}"
            )
    return created


def with_loggers(listener: Listener, added: Iterable[Listener]) -> Listener:
    """Return a listener that also tells loggers of every event.

    A logger that raises an error is left out from then on, which a PixelwiseWarning says: a full
    disk or a tracking server that is down must not end a training.

    Args:
        listener: Called first.
        added: The loggers.
    """
    working = list(added)

    def tell(event: Event) -> None:
        listener(event)
        for logger in tuple(working):
            try:
                logger(event)
            except Exception as error:  # whatever a tool or the code of a user raises
                working.remove(logger)
                name = getattr(logger, "__name__", type(logger).__name__)
                reason = in_one_line(error)
                line = f"{name} raised {reason}. It gets no further events; the training continues"
                warnings.warn(f"a logger failed: {line}", PixelwiseWarning, stacklevel=2)

    return tell if working else listener


class RunLogger(ABC):
    """Base class of loggers that write scalars, pictures and the recipe for a tool.

    Attributes:
        package: The package that the tool needs.
        extra: The extra of pixelwise that installs it; ``None`` if there is none.
        steps_per_value: Number of steps between two written values of the loss.

    Raises:
        MissingExtraError: The package is not installed.
    """

    package: ClassVar[str]
    extra: ClassVar[str | None] = None
    steps_per_value: ClassVar[int] = 1

    def __init__(self) -> None:
        if importlib.util.find_spec(self.package) is None:
            name = loggers.name_of(type(self)) or type(self).__name__
            raise MissingExtraError(self.package, self.extra, f"logger {name!r}")
        self._epoch = 0
        self._is_open = False

    def __call__(self, event: Event) -> None:
        """Write what an event holds; events outside a run are left out."""
        if isinstance(event, RunStarted):
            self.start(event.folder, event.recipe)
            self._is_open = True
        if not self._is_open:
            return
        if isinstance(event, StepEnded) and event.step % self.steps_per_value == 0:
            self.scalars({"step/loss": event.loss}, "step", event.step)
        elif isinstance(event, EpochEnded):
            self._epoch = event.row["epoch"]
            self.scalars(_numbers(event.row), "epoch", self._epoch)
        elif isinstance(event, FilesWritten):
            for path in event.paths:
                if path.suffix == ".png":
                    self.picture(path, self._epoch)
        elif isinstance(event, RunEnded):
            self._is_open = False
            self.close(event.status)

    @abstractmethod
    def start(self, folder: Path, recipe: str) -> None:
        """Begin a run, or continue one that is resumed.

        Args:
            folder: The run folder; what is written locally belongs into it.
            recipe: The recipe as YAML, with every entry filled.
        """

    @abstractmethod
    def scalars(self, values: Mapping[str, float], axis: str, position: int) -> None:
        """Write numbers.

        Args:
            values: The numbers by name, ``step/loss`` or ``epoch/COLUMN``.
            axis: ``step`` or ``epoch``.
            position: Number of the step or the epoch, counted from 1.
        """

    @abstractmethod
    def picture(self, path: Path, epoch: int) -> None:
        """Write a PNG picture of the run folder, made after an epoch."""

    @abstractmethod
    def close(self, status: str) -> None:
        """End the run; ``status`` is ``finished``, ``interrupted`` or ``failed``."""


def _numbers(row: Mapping[str, object]) -> dict[str, float]:
    """Return the columns of a row of ``history.csv`` that are numbers, except the epoch."""
    return {
        f"epoch/{name}": float(value)
        for name, value in row.items()
        if isinstance(value, int | float) and name != "epoch"
    }
