"""Tells masks from images by their pixels: few values in a mask, and many in an image."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from pixelwise.errors import DataError
from pixelwise.io.containers import pictures_in
from pixelwise.io.counting import spread
from pixelwise.io.images import read_image
from pixelwise.io.modes import ValueCounts, clear_modes
from pixelwise.text import amount

NUM_LOOKED_AT = 6
"""Files of a family that are opened, spread over all of them."""

NUM_SECTIONS = 4
"""Pictures that are looked at in each file that holds several."""

MAX_PIXELS = 1_000_000
"""Larger pictures are thinned out to about this many pixels before they are counted."""

MAX_VALUES = 64
"""More values than this are no longer few."""

PIXELS_PER_VALUE = 4
"""Values are few only if there are this many pixels for each, as in a thumbnail there are not."""

MAX_COUNTED = 5000

Kind = Literal["few", "smoothed", "many"]
"""``few``: few values, as in a mask. ``smoothed``: few values and others between them, as in a mask
that was scaled or saved as JPEG. ``many``: as in a photograph."""


@dataclass(frozen=True)
class Content:
    """What a picture holds.

    Attributes:
        kind: Whether it looks like a mask.
        size: Height and width.
        values: The values or colors that stand out, at most ``MAX_VALUES``; gray levels as numbers,
            colors as red * 65536 + green * 256 + blue.
        num_values: Number of different values, at most ``MAX_COUNTED``.
        is_gray: Whether ``values`` are gray levels.
    """

    kind: Kind
    size: tuple[int, int]
    values: tuple[int, ...]
    num_values: int
    is_gray: bool


@dataclass(frozen=True)
class FamilyContent:
    """What some files of a family hold.

    Attributes:
        kind: ``few`` if all of them have few values, ``many`` if most have many.
        contents: What was found, by relative path; unreadable files are left out.
    """

    kind: Kind
    contents: dict[str, Content]

    @property
    def values(self) -> list[int]:
        """The values of all files that were looked at."""
        return sorted({value for one in self.contents.values() for value in one.values})

    @property
    def num_values(self) -> int:
        """The median number of values."""
        counts = sorted(one.num_values for one in self.contents.values())
        return counts[len(counts) // 2] if counts else 0

    @property
    def in_words(self) -> str:
        """What the files hold: ``2 values (0, 255)``, ``photographs``."""
        if self.kind == "many":
            return "pictures of many values"
        values = self.values
        shown = ", ".join(str(value) if self._is_gray else f"#{value:06x}" for value in values[:4])
        more = ", ..." if len(values) > 4 else ""
        smoothed = ", smoothed" if self.kind == "smoothed" else ""
        what = "value" if self._is_gray else "color"
        return f"{amount(len(values), what)} ({shown}{more}){smoothed}"

    @property
    def _is_gray(self) -> bool:
        return all(one.is_gray for one in self.contents.values())


class Looker:
    """Looks at pictures of a folder, at each only once.

    Args:
        root: The folder.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        self._known: dict[Path, Content | None] = {}

    def look_at_all(
        self, paths: Sequence[str], beside: Sequence[str] | None = None
    ) -> FamilyContent:
        """Return what a family holds, from some of its files.

        Args:
            paths: The files.
            beside: The partner of each file, see :func:`pixelwise.io.containers.pictures_in`.
        """
        contents = {}
        for path, other in spread(list(zip(paths, beside or paths, strict=True)), NUM_LOOKED_AT):
            inside = self._pictures(path, other)
            quarter = len(inside) // 4  # the ends of a volume may be blank
            for picture in spread(inside[quarter : len(inside) - quarter], NUM_SECTIONS):
                content = self._look_at(picture)
                if content is not None:
                    contents[picture.relative_to(self._root).as_posix()] = content
        kinds = Counter(content.kind for content in contents.values())
        if 2 * kinds["many"] >= max(1, len(contents)):
            return FamilyContent("many", contents)
        return FamilyContent("smoothed" if kinds["smoothed"] else "few", contents)

    def look_at(self, path: str, beside: str | None = None) -> Content | None:
        """Return what the picture in the middle of a file holds; ``None`` if it cannot be read."""
        picture = self.picture(path, beside)
        return self._look_at(picture) if picture else None

    def picture(self, path: str, beside: str | None = None) -> Path | None:
        """Return the only picture of a file, or the one in its middle; ``None`` if it has none."""
        inside = self._pictures(path, beside)
        return inside[len(inside) // 2] if inside else None

    def _pictures(self, path: str, beside: str | None) -> list[Path]:
        try:
            return pictures_in(self._root / path, self._root / beside if beside else None)
        except (DataError, OSError):
            return []

    def _look_at(self, picture: Path) -> Content | None:
        if picture not in self._known:
            try:
                self._known[picture] = _content_of(read_image(picture))
            except (DataError, OSError):
                self._known[picture] = None
        return self._known[picture]


def _content_of(pixels: npt.NDArray[np.generic]) -> Content:
    """Return what pixels (H, W, C) hold."""
    height, width = pixels.shape[:2]
    step = max(1, round((height * width / MAX_PIXELS) ** 0.5))
    # Neighbors have to stay neighbors, so rows and columns are cut, not thinned out.
    top, left = (height - height // step) // 2, (width - width // step) // 2
    cut = pixels[top : top + max(2, height // step), left : left + max(2, width // step)]
    codes, is_gray = _codes(cut)
    values = ValueCounts.of(codes, MAX_COUNTED)
    counts = values.counts
    if len(counts) <= min(MAX_VALUES, codes.size // PIXELS_PER_VALUE):
        return Content("few", (height, width), tuple(sorted(counts)), len(counts), is_gray)
    modes = clear_modes(values, in_color=not is_gray)
    kind: Kind = "smoothed" if len(modes) > 1 else "many"
    return Content(kind, (height, width), tuple(modes), len(counts), is_gray)


def _are_whole(pixels: npt.NDArray[Any]) -> bool:
    """Whether no number has a fraction, as labels in a file of floats."""
    return bool((pixels == np.round(pixels)).all())


def _codes(pixels: npt.NDArray[np.generic]) -> tuple[npt.NDArray[np.int64], bool]:
    """Return pixels as numbers, and whether they are gray."""
    if pixels.dtype.kind == "f" and not _are_whole(pixels):
        pixels = np.nan_to_num(pixels.astype(np.float64) * 1000)  # fractions differ too
    values = pixels.astype(np.int64)
    first = values[..., :1]
    if (values == first).all():
        return values[..., 0], True
    if values.shape[-1] < 3:
        return values[..., 0] * 65536 + values[..., 1], False
    return (values[..., 0] << 16) + (values[..., 1] << 8) + values[..., 2], False
