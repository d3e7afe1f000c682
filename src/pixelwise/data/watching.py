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

from pixelwise.errors import DataError

MAX_POLYGONS = 10_000
"""Polygons of one image that are noted; a file may hold millions, and memory does not."""


@dataclass(frozen=True)
class Refused:
    """A file that is left out.

    Attributes:
        kind: The doctor's name for what is wrong, such as ``image-without-mask``.
        error: What opening the data set strictly would raise.
        files: The files concerned.
    """

    kind: str
    error: DataError
    files: tuple[Path, ...]


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


def refuse(kind: str, error: DataError, *files: Path) -> None:
    """Raise an error, or note it where somebody watches; the caller then goes on without the files.

    Args:
        kind: The doctor's name for what is wrong.
        error: What is raised.
        files: The files that are left out.
    """
    watch = _watch.get()
    if watch is None:
        raise error
    watch.refused.append(Refused(kind, error, files))


def note_polygon(rings: Sequence[npt.NDArray[np.float64]], size: tuple[int, int]) -> None:
    """Note a polygon that is painted, where somebody watches.

    Args:
        rings: The polygon and its holes.
        size: Height and width of its image.
    """
    watch = _watch.get()
    if watch is not None and len(watch.polygons) < MAX_POLYGONS:
        watch.polygons.append((rings, size))
