"""Strict readers, watched: whoever examines a folder gets all that is wrong, not the first of it.

A data set is opened strictly: the first file that cannot be used is an error. The doctor opens it
by the same code inside :func:`watched`: what would be refused is noted and left out instead, and
the polygons that pass are noted too.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt

from pixelwise.errors import DataError, PixelwiseError
from pixelwise.text import amount

MAX_POLYGONS = 10_000
"""Polygons of one image that are noted; a file may hold millions, and memory does not."""

MAX_NAMES = 4
"""Names of further files in one message."""


@dataclass(frozen=True)
class Refused:
    """A file that is left out.

    Attributes:
        kind: The doctor's name for what is wrong, such as ``image-without-mask``.
        error: What opening the data set strictly would raise.
        files: The files concerned.
        name: What is left out, where that is not the first file.
    """

    kind: str
    error: DataError
    files: tuple[Path, ...]
    name: str | None = None


@dataclass
class Watch:
    """What was noted.

    Attributes:
        refused: Files that were left out, in the order in which they were met.
        polygons: Polygons with their holes, float64 (P, 2) each, and the size they lie in.
    """

    refused: list[Refused] = field(default_factory=list)
    polygons: list[tuple[Sequence[npt.NDArray[np.float64]], tuple[int, int]]] = field(
        default_factory=list
    )


# One per thread, and ``None`` wherever nobody watches: there, everything stays strict.
_watch: ContextVar[Watch | None] = ContextVar("watch", default=None)


@contextmanager
def watched() -> Iterator[Watch]:
    """Note what this thread refuses inside the block, instead of raising it."""
    watch = Watch()
    token = _watch.set(watch)
    try:
        yield watch
    finally:
        _watch.reset(token)


def is_watched() -> bool:
    """Somebody watches this thread."""
    return _watch.get() is not None


@contextmanager
def refused_together() -> Iterator[None]:
    """Raise what is refused inside the block as one error at its end, unless somebody watches.

    A person who has to repair files needs to see all of them at once, not one after the other.

    Raises:
        DataError: The first one refused, with the number and some names of the others.
    """
    if is_watched():
        yield
        return
    with watched() as watch:
        try:
            yield
        except PixelwiseError as error:
            # Without the files that were left out, the rest may fail for a reason that is none.
            if watch.refused:
                raise _joined(watch.refused) from error
            raise
    if watch.refused:
        raise _joined(watch.refused)


def _joined(refused: Sequence[Refused]) -> DataError:
    """The first error with what is known of the others."""
    first = refused[0].error
    alike = [entry for entry in refused[1:] if entry.kind == refused[0].kind]
    text = str(first)
    if alike:
        names = ", ".join(_name_of(entry) for entry in alike[:MAX_NAMES])
        more = ", ..." if len(alike) > MAX_NAMES else ""
        text += f". The same holds for {len(alike)} more: {names}{more}"
    num_others = len(refused) - 1 - len(alike)
    if num_others:
        text += f". {amount(num_others, 'other problem')} besides; pixelwise data check lists all"
    return type(first)(text)


def _name_of(entry: Refused) -> str:
    return entry.name or (entry.files[-1].name if entry.files else entry.kind)


def refuse(kind: str, error: DataError, *files: Path, name: str | None = None) -> None:
    """Raise an error, or note it where somebody watches; the caller continues without the files.

    Args:
        kind: The doctor's name for what is wrong.
        error: What is raised.
        files: The files that are left out.
        name: What is left out, where ``files`` is only the list that names it.
    """
    watch = _watch.get()
    if watch is None:
        raise error
    watch.refused.append(Refused(kind, error, files, name))


def note_polygon(rings: Sequence[npt.NDArray[np.float64]], size: tuple[int, int]) -> None:
    """Note a polygon that is painted, where somebody watches.

    Args:
        rings: The polygon and its holes.
        size: Height and width of its image.
    """
    watch = _watch.get()
    if watch is not None and len(watch.polygons) < MAX_POLYGONS:
        watch.polygons.append((rings, size))
