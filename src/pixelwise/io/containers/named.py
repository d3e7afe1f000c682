"""Files that hold several arrays, each with a name."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from pixelwise.errors import DataError
from pixelwise.io.arrays import Array
from pixelwise.io.containers.base import (
    Arrays,
    Container,
    Layout,
    is_numeric,
    layout_of_array,
)
from pixelwise.io.file_state import FileState, state_of

MIN_SIDE_PX = 8
"""Arrays that are shorter along two axes are no pictures, but coordinates or tables of classes."""

MAX_ARRAYS = 24
"""A file of more arrays has one for each image, and not one for each purpose."""

Shapes = Mapping[str, tuple[tuple[int, ...], np.dtype[Any]]]


class NamedArrays(Container):
    """Reads files of named arrays; a subclass says which there are, and reads one."""

    @abstractmethod
    def shapes(self, file: Path) -> Shapes:
        """Return shape and type of each array of a file without reading it."""

    def layout_of(self, shape: tuple[int, ...]) -> Layout | None:
        """Return how an array of this shape holds pictures."""
        return layout_of_array(shape)

    @abstractmethod
    def picture(self, file: Path, name: str, section: str) -> Array:
        """Read an array, or one picture of it."""

    def refusal(self, file: Path) -> str:
        """Return what a file holds instead of arrays of numbers, as part of a sentence."""
        found = ", ".join(
            f"{name} {dtype} {shape}"
            for name, (shape, dtype) in list(known(self, file).items())[:3]
        )
        return f"it holds no array of pixels, but {found or 'nothing'}"

    def arrays(self, file: Path) -> Arrays | None:
        """Return the arrays that can hold pictures."""
        names = [
            name
            for name, (shape, dtype) in known(self, file).items()
            if _is_plain(name)
            and is_numeric(dtype)
            and self.layout_of(shape)
            and sum(length >= MIN_SIDE_PX for length in shape) >= 2
        ]
        if len(names) > MAX_ARRAYS:
            reason = (
                f"it holds {len(names):,} arrays. Save the images as one array (N, H, W) or "
                "(N, H, W, C), and the masks as another"
            )
            return Arrays((), reason)
        return Arrays(tuple(sorted(names)), "" if names else self.refusal(file))

    def _only(self, file: Path) -> str:
        """Return the name of the only array that can hold pictures; empty if there are several."""
        found = self.arrays(file)
        return found.names[0] if found and len(found.names) == 1 else ""

    def layout(self, file: Path, array: str) -> Layout | None:
        """Return how an array holds pictures.

        Raises:
            DataError: The file has no such array.
        """
        shapes = known(self, file)
        array = array or self._only(file)
        if array not in shapes:
            raise DataError(
                f"{file} must hold an array {array!r}. Got {', '.join(shapes) or 'none'}. "
                "Fix the name"
            )
        return self.layout_of(shapes[array][0])

    def read(self, file: Path, member: str, *, as_stored: bool) -> Array:
        """Read an array or one picture of it, whose name follows that of the array."""
        del as_stored
        shapes = known(self, file)
        name, section = member or self._only(file), ""
        if name not in shapes:
            name, _, section = member.rpartition("/")
            name = name or self._only(file)
        if name not in shapes:
            raise ValueError(f"there is no array {member!r}")
        return self.picture(file, name, section)


def known(reader: NamedArrays, file: Path) -> Shapes:
    """Return shape and type of each array of a file, which is looked into once."""
    return _known(reader, file, state_of(file))


@lru_cache(maxsize=1024)
def _known(reader: NamedArrays, file: Path, state: FileState) -> Shapes:  # noqa: ARG001
    return reader.shapes(file)


def _is_plain(name: str) -> bool:
    """Whether a name can be part of a path and does not lead out of its file."""
    parts = PurePosixPath(name).parts
    is_same = bool(parts) and "/".join(parts) == name
    return is_same and not {"..", "/"} & {*parts} and "\\" not in name and "\0" not in name
