"""Detects whether the masks of a folder hold class ids, gray levels or colors."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Literal

import numpy as np
from PIL import Image

from pixelwise.classes import IGNORE_INDEX, MAX_CLASSES, ClassMap, Color, numbered_names
from pixelwise.data.masks.color_tables import find_color_table
from pixelwise.data.pairing import end_inside, folder_pairs, image_files, list_files, listed_entries
from pixelwise.data.sample import Record
from pixelwise.errors import DataError, MaskError
from pixelwise.io.counting import Codes, commonest, spread
from pixelwise.io.decoding import decoding
from pixelwise.io.file_state import FileState, state_of
from pixelwise.io.images import (
    is_exact,
    is_inside,
    is_tiff,
    read_image,
    read_mask_colors,
    read_mask_values,
)
from pixelwise.io.limits import PILLOW_FORMATS, require_decodable_picture
from pixelwise.io.parallel import in_parallel

MaskKind = Literal["index", "grayscale", "color"]
"""``index``: class ids. ``grayscale``: widely spaced gray levels, each of them a class. ``color``:
each color is a class."""

MaskStorage = Literal["numbers", "palette", "colors"]
"""What a mask file stores per pixel: a number or gray level, an index into a palette, or red, green
and blue."""

MAX_LOOKED_AT = 20
"""Number of mask files that are examined, spread over all of them."""

MAX_PIXELS_LOOKED_AT = 100_000_000
"""No further file is examined after this many pixels, as masks of aerial scenes are large."""

MAX_CODES = 1000
"""Number of most frequent values or colors that are kept of a file; a photograph has up to a
million."""

MIN_GRAY_STEP = 17
"""Smallest distance of gray levels, that of 16 evenly spaced levels; class ids are closer."""

MAX_UNNAMED = 64
"""Unless a card names them, more values or gaps than this are gray levels: a black and white mask
that was scaled or saved as JPEG has hundreds."""


@dataclass(frozen=True)
class Look:
    """What was found in some of a folder's masks.

    Attributes:
        kind: The kind of the masks.
        values: Stored numbers or palette indices, at most ``MAX_CODES`` per file.
        colors: Stored colors, as numbers from :func:`pixelwise.classes.color_code`.
    """

    kind: MaskKind
    values: frozenset[int] = frozenset()
    colors: frozenset[int] = frozenset()


@dataclass(frozen=True)
class _Seen:
    storage: MaskStorage
    codes: frozenset[int]
    num_pixels: int


def look_at_folder(folder: Path) -> Look | None:
    """Examine some masks of a folder of image and mask folders, or of lists of pairs.

    Returns:
        What was found; ``None`` if there is no mask file. Unreadable files are skipped here, and
        reported when they are loaded.
    """
    pairs = folder_pairs(folder)
    if pairs:
        files = [path for _, masks, _ in pairs for path in image_files(masks)]
    else:
        entries = [entry for path in list_files(folder) for _, entry in listed_entries(path)]
        found = [end_inside(folder, entry) for entry in spread(entries, MAX_LOOKED_AT)]
        files = [path for path in found if path is not None and path.is_file()]
    return look_at_masks(files, has_table=find_color_table(folder) is not None)


def look_at_masks(files: Sequence[Path], *, has_table: bool = False) -> Look | None:
    """Examine a limited number of mask files; see :func:`look_at_folder`.

    Args:
        files: Mask files.
        has_table: Whether the folder has a color table, so that black and white are colors too.
    """
    lossless = [path for path in files if is_exact(path)]
    seen: list[_Seen] = []
    for path in spread(lossless or files, MAX_LOOKED_AT):
        if sum(file.num_pixels for file in seen) > MAX_PIXELS_LOOKED_AT:
            break
        try:
            seen.append(_look_at_file(path, state_of(path)))
        except (DataError, OSError):
            continue
    return _look(seen, has_table=has_table, is_lossless=bool(lossless)) if files else None


def _look(seen: Sequence[_Seen], *, has_table: bool, is_lossless: bool) -> Look:
    painted: list[_Seen] = []
    others: list[_Seen] = []
    for file in seen:
        has_colors = has_table or not all(map(_is_gray, file.codes))
        (painted if file.storage == "colors" and has_colors else others).append(file)
    values = {code & 255 if file.storage == "colors" else code
              for file in others for code in file.codes}  # fmt: skip
    # A color image among masks of class ids is there by mistake, and is reported by name later;
    # an empty mask among color masks may well be grayscale.
    num_telling = sum(bool(file.codes - {0}) for file in others)
    if painted and len(painted) >= num_telling:
        colors = frozenset(code for file in painted for code in file.codes)
        return Look("color", frozenset(values), colors)
    # JPEG does not preserve class ids. A mask that is white throughout may as well be ignored
    # throughout, which is reported when training begins.
    has_palette = any(file.storage == "palette" for file in others)
    is_gray = are_gray_levels(values) and not has_palette and values != {IGNORE_INDEX}
    return Look("grayscale" if is_gray or not is_lossless else "index", frozenset(values))


def are_gray_levels(values: Iterable[int]) -> bool:
    """Whether values are widely spaced, such as 0 and 255; class ids are consecutive."""
    levels = sorted({0, *values})
    return len(levels) > 1 and int(np.diff(levels).min()) >= MIN_GRAY_STEP


def _is_gray(code: int) -> bool:
    return code == (code & 255) * 0x010101


@lru_cache(maxsize=256)  # used by three formats
def _look_at_file(path: Path, state: FileState) -> _Seen:  # noqa: ARG001  part of the cache key
    storage = mask_storage(path)
    codes = read_mask_colors(path) if storage == "colors" else read_mask_values(path)
    return _Seen(storage, frozenset(commonest(codes, MAX_CODES)), codes.size)


def mask_storage(path: Path) -> MaskStorage:
    """Return how a mask file stores its pixels.

    A palette that maps each number to its own gray level does not count as one.

    Raises:
        DataError: The file cannot be read.
    """
    if is_inside(path):
        return "colors" if read_image(path).shape[-1] >= 3 else "numbers"
    with decoding(path):
        if path.suffix.lower() == ".npy":
            shape = np.load(path, mmap_mode="r", allow_pickle=False).shape
            return "colors" if len(shape) == 3 and shape[-1] >= 3 else "numbers"
        if is_tiff(path):
            import tifffile

            with tifffile.TiffFile(path) as file:
                page = file.pages[0].aspage()
                if page.photometric == tifffile.PHOTOMETRIC.PALETTE:
                    return "palette"
                return "colors" if page.samplesperpixel >= 3 else "numbers"
        with Image.open(path, formats=PILLOW_FORMATS) as picture:
            if picture.mode == "P":
                levels = _palette_levels(path, picture)
                is_gray = all(level == index // 3 for index, level in enumerate(levels))
                return "numbers" if is_gray else "palette"
            return "numbers" if len(picture.getbands()) < 3 else "colors"


def read_palette(path: Path) -> tuple[Color, ...]:
    """Return the palette of a PNG, BMP or GIF, in the order of its indices; empty without one.

    Raises:
        DataError: The file cannot be read.
    """
    with decoding(path):
        if path.suffix.lower() == ".npy" or is_inside(path) or is_tiff(path):
            return ()
    with decoding(path), Image.open(path, formats=PILLOW_FORMATS) as picture:
        levels = _palette_levels(path, picture) if picture.mode == "P" else []
    return tuple(zip(levels[::3], levels[1::3], levels[2::3], strict=True))


def _palette_levels(path: Path, picture: Image.Image) -> list[int]:
    """Return red, green and blue of each index; for this, Pillow must decode the image."""
    require_decodable_picture(path, picture, is_deep=False)
    return picture.getpalette("RGB") or []


def values_in(records: Sequence[Record]) -> set[int]:
    """Return every number that any of the masks stores, also where an image has several.

    Raises:
        DataError: A mask cannot be read.
    """
    return _codes_in(records, read_mask_values, 1 << 16)


def colors_in(records: Sequence[Record]) -> set[int]:
    """Return every color in the masks, at most ``MAX_CODES`` per file.

    Raises:
        DataError: A mask cannot be read.
    """
    return _codes_in(records, read_mask_colors, MAX_CODES)


def _codes_in(records: Sequence[Record], read: Callable[[Path], Codes], most: int) -> set[int]:
    def codes_of(index: int) -> set[int]:
        return {code for path in records[index].masks for code in commonest(read(path), most)}

    found: set[int] = set()
    for codes in in_parallel(codes_of, len(records)):
        found |= codes
    return found


def numbered_class_map(values: Iterable[int], folder: Path) -> ClassMap:
    """Make a class map with one class per value from 0 to the largest; 255 is ignored.

    Args:
        values: The values in the masks.
        folder: The folder of the masks, for messages.

    Raises:
        MaskError: The values do not look like class ids.
    """
    classes = sorted(set(values) - {IGNORE_INDEX})
    largest = max(classes, default=0)
    looks_gray = len(classes) > MAX_UNNAMED or largest - len(classes) > MAX_UNNAMED
    if largest >= MAX_CLASSES or looks_gray:
        raise gray_levels_error(classes, folder)
    return ClassMap.build(numbered_names(largest + 1))


def black_and_white() -> ClassMap:
    """Make a class map in which black is background and white is foreground."""
    return ClassMap.build(("background", "foreground"), values=(0, 255), ignore=())


def gray_levels_error(values: Sequence[int], folder: Path) -> MaskError:
    """Make the error for masks whose values cannot be class ids.

    Args:
        values: Sorted.
        folder: The folder of the masks.
    """
    return MaskError(
        f"{folder} must contain class ids counted from 0, or few gray levels. Got {len(values)} "
        f"values from {values[0]} to {values[-1]}, which look like gray levels of a mask that "
        "was smoothed, scaled or saved as JPEG. Export the masks as PNG without smoothing, or "
        "name the class of each value in a dataset.yaml (classes with values) and use "
        "`unexpected='nearest'` for the other values, or ignore some with `ignore`"
    )
