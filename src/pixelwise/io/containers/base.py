"""What the reader of a kind of file that holds several pictures has to do."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from pixelwise.io.arrays import Array

MAX_SECTIONS = 100_000
"""A header that announces more pictures than this is taken for damaged."""

MAX_BANDS_IN_DOUBT = 4
"""Arrays (A, B, C) of an image and of its mask are stacks if C is larger; else C counts colors."""


@dataclass(frozen=True)
class Layout:
    """How a file, or an array in a file, holds pictures.

    Attributes:
        shape: Shape of a picture, (H, W) or (H, W, C).
        sections: Names of its pictures; empty if it holds one.
        as_stack: The other reading of an array of three axes, (N, H, W) instead of (H, W, C).
        orientation: Directions of the axes of a volume, such as ``RAS``; empty if unknown.
        volume: Shape of the volume of which the pictures are slices; empty for any other file.
    """

    shape: tuple[int, ...]
    sections: tuple[str, ...] = ()
    as_stack: Layout | None = None
    orientation: str = ""
    volume: tuple[int, ...] = ()


@dataclass(frozen=True)
class Arrays:
    """The arrays of a file.

    Attributes:
        names: Those that can hold pictures, sorted.
        refused: Why the others cannot, as part of a sentence; empty if there are none.
    """

    names: tuple[str, ...]
    refused: str = ""


class Container(ABC):
    """Reads the pictures of one kind of file.

    Its methods raise what the decoders raise; :mod:`pixelwise.io.containers` names the file.
    """

    endings: ClassVar[tuple[str, ...]]
    """Endings of the files, in lower case."""
    is_plain: ClassVar[bool] = False
    """Whether a file with this ending is usually one plain picture, which is read elsewhere."""

    def arrays(self, file: Path) -> Arrays | None:  # noqa: ARG002
        """Return the arrays of a file; ``None`` if the whole file is one array."""
        return None

    @abstractmethod
    def layout(self, file: Path, array: str) -> Layout | None:
        """Return how an array of a file holds pictures; ``None`` if it is a plain picture file.

        Args:
            file: The file.
            array: The name of the array; empty if the whole file is one.
        """

    @abstractmethod
    def read(self, file: Path, member: str, *, as_stored: bool) -> Array:
        """Read one picture.

        Args:
            file: The file.
            member: Array and section, as far as there are several.
            as_stored: Return stored numbers instead of the colors that they stand for.

        Returns:
            (H, W) or (H, W, C).
        """


def sections(letter: str, count: int) -> tuple[str, ...]:
    """Return the names of several pictures, such as ``z007``, which sort in their order.

    Raises:
        ValueError: There are too many.
    """
    if count > MAX_SECTIONS:
        raise ValueError(f"its header announces {count:,} pictures")
    width = max(3, len(str(count - 1)))
    return tuple(f"{letter}{number:0{width}}" for number in range(count))


def index_in(section: str, letter: str, count: int) -> int:
    """Return the number of a section.

    Raises:
        ValueError: There is no such section.
    """
    digits = section.removeprefix(letter)
    if section == digits or not digits.isdecimal() or int(digits) >= count:
        raise ValueError(f"there is no {section!r} among {count} pictures")
    return int(digits)


def layout_of_array(shape: Sequence[int]) -> Layout | None:
    """Return how an array of numbers holds pictures; ``None`` if it cannot.

    (H, W) and (H, W, C) are pictures, and (N, H, W, C) is a stack. (N, H, W) is a stack beside
    another one: see :func:`as_pair`.
    """
    shape = tuple(map(int, shape))
    if len(shape) not in (2, 3, 4) or 0 in shape:
        return None
    if len(shape) == 4:
        return Layout(shape[1:], sections("n", shape[0]))
    if len(shape) == 2 or shape[0] > MAX_SECTIONS:
        return Layout(shape)
    return Layout(shape, as_stack=Layout(shape[1:], sections("n", shape[0])))


def as_pair(image: Layout, mask: Layout) -> tuple[Layout, Layout]:
    """Return how an image and its mask hold pictures if that depends on each other."""
    if image.volume and image.volume[:3] == mask.volume[:3]:  # one grid is sliced in one direction
        return image, replace(mask, shape=image.shape, sections=image.sections)
    if image.as_stack and mask.as_stack:
        is_stack = image.shape == mask.shape and mask.shape[-1] > MAX_BANDS_IN_DOUBT
        return (image.as_stack, mask.as_stack) if is_stack else (image, mask)
    if image.sections and mask.as_stack and len(mask.as_stack.sections) == len(image.sections):
        return image, mask.as_stack
    if mask.sections and image.as_stack and len(image.as_stack.sections) == len(mask.sections):
        return image.as_stack, mask
    return image, mask


def is_numeric(dtype: np.dtype[Any]) -> bool:
    """Whether values of a type can be pixels."""
    return dtype.kind in "biuf"
