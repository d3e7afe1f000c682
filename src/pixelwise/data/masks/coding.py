"""Translates between the stored values or colors of masks and class ids."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from pixelwise.classes import IGNORE_INDEX, ClassMap, Color, Unexpected, color_code, color_of
from pixelwise.errors import MaskError
from pixelwise.io.arrays import UInt8Array
from pixelwise.io.counting import SMALL_TYPES, Codes, blocks

IGNORE_COLOR: Color = (224, 224, 192)
"""Default color of ignored pixels in color masks: the border of objects in VOC."""


UNKNOWN = np.int16(-1)
"""Marks unexpected values before they are handled; as uint8 it equals 255, which is ignored."""

_LookUp = Callable[[Codes], npt.NDArray[np.int16]]


@dataclass(frozen=True)
class _Coding:
    """The meaning of the codes of a mask, which are stored numbers or colors.

    Attributes:
        codes: int64 (N,); the candidates for the nearest code come first.
        ids: uint8 (N,): the class id of each code, or 255 for ignored pixels.
        num_near: Number of candidates for the nearest code.
        distance: (codes, one code) -> distance of each code to that one.
        shown: Formats a code.
        expected: What must hold, for messages.
        advice: What to do about an unexpected code, for messages.
    """

    codes: npt.NDArray[np.int64]
    ids: UInt8Array
    num_near: int
    distance: Callable[[npt.NDArray[np.int64], int], npt.NDArray[np.int64]]
    shown: Callable[[int], str]
    expected: str
    advice: Callable[[int], str]


def to_class_ids(
    values: Codes, class_map: ClassMap, path: Path, unexpected: Unexpected = "error"
) -> UInt8Array:
    """Translate stored values into class ids; ignored values become 255.

    Args:
        values: (H, W), of any integer type of at most 8 bytes.
        class_map: Meaning of the values.
        path: The mask's file, for messages.
        unexpected: What to do with values that are neither a class nor ignored.

    Raises:
        MaskError: A value is neither a class nor ignored; the message gives its number of pixels.
    """
    coding = _Coding(
        np.array((*class_map.values, *class_map.ignore), np.int64),
        _ids(class_map.num_classes, len(class_map.ignore)),
        class_map.num_classes,
        lambda codes, code: np.abs(codes - code),
        str,
        f"class ids {_shortened(class_map.values)} or ignored {_shortened(class_map.ignore)}",
        lambda unknown: f"use --ignore {unknown} if this value is ignored",
    )
    return _translated(values, coding, path, unexpected)


def colors_to_class_ids(
    codes: Codes,
    class_map: ClassMap,
    path: Path,
    unexpected: Unexpected = "error",
    ignore_color: Color = IGNORE_COLOR,
) -> UInt8Array:
    """Translate colors into class ids; ignored colors become 255.

    Args:
        codes: (H, W), integers from :func:`pixelwise.classes.color_code`.
        class_map: Meaning of the colors.
        path: The mask's file, for messages.
        unexpected: What to do with colors that are neither a class nor ignored; the nearest color
            has the smallest Euclidean distance in red, green and blue.
        ignore_color: The color of ignored pixels if the class map does not specify it.

    Raises:
        MaskError: A color is neither a class nor ignored, or belongs to two classes.
    """
    names: dict[Color, str] = {}
    for name, color in zip(class_map.names, class_map.colors, strict=True):
        if color in names:
            raise MaskError(
                f"{path} must have a color for each class. Got {hex_of(color)} for "
                f"{names[color]} and {name}. Give them different colors in dataset.yaml"
            )
        names[color] = name
    ignored_colors = ignore_colors_of(class_map, ignore_color)
    known = {color_code(color): name for color, name in names.items()}
    known |= {color_code(color): "ignored" for color in class_map.ignore_colors}
    classes = [f"{hex_of(color)} {name}" for color, name in names.items()]
    coding = _Coding(
        np.array([color_code(color) for color in (*class_map.colors, *ignored_colors)], np.int64),
        _ids(class_map.num_classes, len(ignored_colors)),
        # A declared ignored color was drawn on purpose, so pixels at its edge may be nearest to
        # it.
        class_map.num_classes + len(class_map.ignore_colors),
        _squared_distance,
        lambda code: f"{hex_of(color_of(code))} {known.get(code, '')}".rstrip(),
        f"the colors {', '.join(classes[:12])}{', ...' if len(classes) > 12 else ''} or ignored "
        f"{', '.join(map(hex_of, ignored_colors)) or '(none)'}",
        lambda unknown: (
            f"name the class of the color {list(color_of(unknown))} in dataset.yaml (classes "
            "with colors), or list it there as ignored (ignore_colors)"
        ),
    )
    return _translated(codes, coding, path, unexpected)


def ignore_colors_of(class_map: ClassMap, ignore_color: Color = IGNORE_COLOR) -> tuple[Color, ...]:
    """Return the colors of ignored pixels: those of the class map, else the given one.

    Returns:
        An empty tuple if the class map has none and the given color belongs to a class.
    """
    usual = () if ignore_color in class_map.colors else (ignore_color,)
    return class_map.ignore_colors or usual


def to_stored_values(
    mask: UInt8Array, class_map: ClassMap, ignored: int | None = None
) -> UInt8Array:
    """Translate class ids into stored values, as the inverse of :func:`to_class_ids`.

    Args:
        mask: uint8 (H, W) class ids, 255 for ignored pixels.
        class_map: Its values must be 0 to 255.
        ignored: The value for ignored pixels; ``None`` uses the first of the class map.
    """
    stored = np.zeros(IGNORE_INDEX + 1, np.uint8)
    stored[: class_map.num_classes] = class_map.values
    stored[IGNORE_INDEX] = (
        next(iter(class_map.ignore), IGNORE_INDEX) if ignored is None else ignored
    )
    return np.asarray(stored[mask])


def to_colors(
    mask: UInt8Array, class_map: ClassMap, ignore_color: Color = IGNORE_COLOR
) -> UInt8Array:
    """Translate class ids into colors, as the inverse of :func:`colors_to_class_ids`.

    Args:
        mask: uint8 (H, W) class ids, 255 for ignored pixels.
        class_map: The classes.
        ignore_color: The color of ignored pixels if the class map does not specify it.

    Returns:
        uint8 (H, W, 3).
    """
    table = np.zeros((IGNORE_INDEX + 1, 3), np.uint8)
    table[: class_map.num_classes] = class_map.colors
    table[IGNORE_INDEX] = next(iter(ignore_colors_of(class_map, ignore_color)), ignore_color)
    return np.asarray(table[mask])


def hex_of(color: Color) -> str:
    """Return a color as in HTML, such as ``#ff8000``."""
    return f"#{color_code(color):06x}"


def _ids(num_classes: int, num_ignored: int) -> UInt8Array:
    return np.array((*range(num_classes), *[IGNORE_INDEX] * num_ignored), np.uint8)


def _squared_distance(codes: npt.NDArray[np.int64], code: int) -> npt.NDArray[np.int64]:
    planes = [((codes >> shift & 255) - (code >> shift & 255)) ** 2 for shift in (16, 8, 0)]
    return np.asarray(planes[0] + planes[1] + planes[2])


def _translated(codes: Codes, coding: _Coding, path: Path, unexpected: Unexpected) -> UInt8Array:
    """Translate codes into class ids; unexpected codes are handled as in :func:`to_class_ids`."""
    look_up = _table_of(coding, codes.dtype) if codes.dtype in SMALL_TYPES else _search_in(coding)
    found, is_unexpected = np.empty(codes.shape, np.uint8), np.empty(codes.shape, np.bool_)
    for rows in blocks(codes):
        ids = look_up(codes[rows])
        np.less(ids, 0, out=is_unexpected[rows])
        found[rows] = ids.astype(np.uint8)  # unexpected codes become 255, ignored
    if not is_unexpected.any():
        return found
    unknown, index, counts = np.unique(
        codes[is_unexpected].astype(np.int64), return_inverse=True, return_counts=True
    )
    nearest = _nearest(unknown, coding)
    if unexpected == "error":
        commonest = np.argsort(-counts, kind="stable")[:5]
        seen = ", ".join(
            f"{coding.shown(int(unknown[at]))} ({counts[at]} pixels, nearest class "
            f"{coding.shown(int(coding.codes[nearest[at]]))})"
            for at in np.sort(commonest)
        )
        more = f" and {len(unknown) - 5:,} more" if len(unknown) > 5 else ""
        raise MaskError(
            f"{path} must contain {coding.expected}. Got {seen}{more}. Fix the mask, "
            f"{coding.advice(int(unknown[commonest[0]]))}, or choose with --unexpected nearest or "
            "--unexpected ignore for all such pixels"
        )
    if unexpected == "nearest":
        found[is_unexpected] = coding.ids[nearest][index]
    return found


def _table_of(coding: _Coding, dtype: np.dtype[Any]) -> _LookUp:
    """Return a lookup table over all values of a small type; other values give ``UNKNOWN``."""
    table = np.full(np.iinfo(dtype).max + 1, UNKNOWN, np.int16)
    is_held = (coding.codes >= 0) & (coding.codes < len(table))
    table[coding.codes[is_held]] = coding.ids[is_held]
    return lambda codes: table.take(codes)


def _search_in(coding: _Coding) -> _LookUp:
    """Return a lookup as :func:`_table_of`, for types with too many values for a table."""
    order = np.argsort(coding.codes)
    known, ids = coding.codes[order], coding.ids[order].astype(np.int16)

    def look_up(codes: Codes) -> npt.NDArray[np.int16]:
        position = np.minimum(np.searchsorted(known, codes), len(known) - 1)
        return np.where(known[position] == codes, ids[position], UNKNOWN)

    return look_up


def _nearest(unknown: npt.NDArray[np.int64], coding: _Coding) -> npt.NDArray[np.int64]:
    """Return the index of the nearest code for each unexpected code; ties give the first."""
    nearest = np.zeros(len(unknown), np.int64)
    smallest = np.full(len(unknown), np.iinfo(np.int64).max)
    # One code at a time: a JPEG has up to a million colors, so a full table would be too large.
    for at, code in enumerate(coding.codes[: coding.num_near].tolist()):
        distance = coding.distance(unknown, code)
        is_nearer = distance < smallest
        nearest[is_nearer] = at
        smallest[is_nearer] = distance[is_nearer]
    return nearest


def _shortened(values: tuple[int, ...]) -> str:
    if len(values) > 3 and values == tuple(range(values[0], values[0] + len(values))):
        return f"{values[0]} to {values[-1]}"
    return ", ".join(map(str, values)) or "(none)"


def with_ignored_value(class_map: ClassMap, *values: int) -> ClassMap:
    """Return a class map that also ignores the given values, except those of classes."""
    further = [value for value in values if value not in class_map.values]
    ignored = tuple(dict.fromkeys((*class_map.ignore, *further)))
    return class_map.model_copy(update={"ignore": ignored})
