"""Raises or collects the problems found while opening a data set.

Normally, the first file that cannot be used raises an error. A data check opens the data set with
the same code inside :func:`collect_problems`: problems are then collected, the files are left out,
and the polygons of usable files are collected too.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from pixelwise.errors import DataError, PixelwiseError
from pixelwise.io.members import name_of
from pixelwise.text import amount, listed

MAX_POLYGONS = 10_000
"""Number of polygons collected per data check, which limits memory: files may hold millions."""

MAX_NAMES = 4
"""Number of further files named in a message."""


@dataclass(frozen=True)
class FileProblem:
    """A problem because of which files are left out.

    Attributes:
        kind: The kind of finding, such as ``image-without-mask``.
        error: The error that is raised outside a data check.
        files: The affected files.
        name: Name of what is left out, if it is not the last of the files.
    """

    kind: str
    error: DataError
    files: tuple[Path, ...]
    name: str | None = None


class PaintedShape(NamedTuple):
    """A shape that was painted into a mask.

    Attributes:
        label: Its class.
        pixels: Number of its pixels.
        visible: Number of its pixels that have its class in the finished mask.
    """

    label: str
    pixels: int
    visible: int

    @property
    def is_hidden(self) -> bool:
        """Whether other shapes cover more than half of it."""
        return 2 * self.visible < self.pixels


@dataclass
class ProblemLog:
    """Collected problems, polygons and shapes.

    Attributes:
        problems: In the order in which they were found.
        polygons: Polygons with their holes, float64 (P, 2) each, and the size of their image.
        shapes: What was painted into the masks.
    """

    problems: list[FileProblem] = field(default_factory=list)
    polygons: list[tuple[Sequence[npt.NDArray[np.float64]], tuple[int, int]]] = field(
        default_factory=list
    )
    shapes: list[PaintedShape] = field(default_factory=list)


# One per thread; ``None`` means that problems are raised.
_log: ContextVar[ProblemLog | None] = ContextVar("problem_log", default=None)


@contextmanager
def collect_problems() -> Iterator[ProblemLog]:
    """Collect the problems of this thread inside the block instead of raising them."""
    log = ProblemLog()
    token = _log.set(log)
    try:
        yield log
    finally:
        _log.reset(token)


def is_collecting() -> bool:
    """Whether this thread collects problems."""
    return _log.get() is not None


@contextmanager
def raise_together() -> Iterator[None]:
    """Raise the problems inside the block as one error at its end, unless they are collected.

    A user who has to fix files should see all of them at once, and not one after the other.

    Raises:
        DataError: The first error, with the number and some names of the others.
    """
    if is_collecting():
        yield
        return
    with collect_problems() as log:
        try:
            yield
        except PixelwiseError as error:
            # This error may only be a consequence of the files that were left out.
            if log.problems:
                raise _joined(log.problems) from error
            raise
    if log.problems:
        raise _joined(log.problems)


def _joined(problems: Sequence[FileProblem]) -> DataError:
    """Return the first error, with a summary of the others."""
    first = problems[0].error
    alike = [problem for problem in problems[1:] if problem.kind == problems[0].kind]
    text = str(first)
    if alike:
        names = listed([_name_of(problem) for problem in alike], MAX_NAMES)
        text += f". The same holds for {len(alike)} more: {names}"
    num_others = len(problems) - 1 - len(alike)
    if num_others:
        others = amount(num_others, "other problem")
        text += f". There {'is' if num_others == 1 else 'are'} {others}; "
        text += "pixelwise data check lists all"
    return type(first)(text)


def _name_of(problem: FileProblem) -> str:
    return problem.name or (name_of(problem.files[-1]) if problem.files else problem.kind)


def report_problem(kind: str, error: DataError, *files: Path, name: str | None = None) -> None:
    """Raise an error, or collect it during a data check; then the caller skips the files.

    Args:
        kind: The kind of finding.
        error: The error.
        files: The files that are left out.
        name: Name of what is left out, if ``files`` is only the list that contains it.
    """
    log = _log.get()
    if log is None:
        raise error
    log.problems.append(FileProblem(kind, error, files, name))


def record_polygon(rings: Sequence[npt.NDArray[np.float64]], size: tuple[int, int]) -> None:
    """Record a polygon for the data check, if one is running.

    Args:
        rings: The polygon and its holes.
        size: Height and width of its image.
    """
    log = _log.get()
    if log is not None and len(log.polygons) < MAX_POLYGONS:
        log.polygons.append((rings, size))


def record_shape(label: str, num_pixels: int, num_visible: int) -> None:
    """Record how much of a painted shape is visible, if a data check is running.

    Args:
        label: Its class.
        num_pixels: Number of its pixels.
        num_visible: Number of those that have its class in the finished mask.
    """
    log = _log.get()
    if log is not None:
        log.shapes.append(PaintedShape(label, num_pixels, num_visible))
