"""What the codes of a mask file mean: stored numbers or colours, to class ids and back."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from pixelwise.classes import IGNORE_INDEX, ClassMap, Colour, Strays, colour_code, colour_of
from pixelwise.errors import MaskError
from pixelwise.io.arrays import UInt8Array
from pixelwise.transforms.counting import SMALL_TYPES, Codes, blocks

VOID_COLOUR: Colour = (224, 224, 192)
"""What means void in colour masks where nobody says it: the border of VOC's objects."""


STRAY = np.int16(-1)
"""Stands for no class and not void until it is said what becomes of it; 255, void, as uint8."""

_LookUp = Callable[[Codes], npt.NDArray[np.int16]]


@dataclass(frozen=True)
class _Coding:
    """What the codes of a mask, stored numbers or colours, mean.

    Attributes:
        codes: int64 (N,); those that a stray one may be nearest to come first.
        ids: uint8 (N,): the class id of each, or 255 for void.
        num_near: How many of them a stray one may be nearest to.
        distance: (codes, one code) -> how far each of them is from it.
        shown: A code in words.
        expected: What must hold, for messages.
        advice: What to do about a stray code.
    """

    codes: npt.NDArray[np.int64]
    ids: UInt8Array
    num_near: int
    distance: Callable[[npt.NDArray[np.int64], int], npt.NDArray[np.int64]]
    shown: Callable[[int], str]
    expected: str
    advice: Callable[[int], str]


def to_class_ids(
    values: Codes, class_map: ClassMap, path: Path, strays: Strays = "refuse"
) -> UInt8Array:
    """Translate stored values into class ids; void values become 255.

    Args:
        values: (H, W), of any integer type of at most 8 bytes, signed where it takes them all.
        class_map: What the values mean.
        path: The mask's file, for messages.
        strays: What becomes of values that are neither a class nor void.

    Raises:
        MaskError: A value is neither a class nor void; it is named with its pixel count.
    """
    coding = _Coding(
        np.array((*class_map.values, *class_map.ignore), np.int64),
        _ids(class_map.num_classes, len(class_map.ignore)),
        class_map.num_classes,
        lambda codes, code: np.abs(codes - code),
        str,
        f"class ids {_shortened(class_map.values)} or void {_shortened(class_map.ignore)}",
        lambda stray: f"say with --ignore {stray} that this value is void",
    )
    return _translated(values, coding, path, strays)


def colours_to_class_ids(
    codes: Codes,
    class_map: ClassMap,
    path: Path,
    strays: Strays = "refuse",
    void_colour: Colour = VOID_COLOUR,
) -> UInt8Array:
    """Translate colours into class ids; void colours become 255.

    Args:
        codes: (H, W), integers as of :func:`pixelwise.classes.colour_code`.
        class_map: What the colours mean.
        path: The mask's file, for messages.
        strays: What becomes of colours that are neither a class nor void; the nearest is of the
            smallest Euclidean distance in red, green and blue.
        void_colour: What means void where the class map does not say it.

    Raises:
        MaskError: A colour is neither a class nor void, or is of two classes.
    """
    names: dict[Colour, str] = {}
    for name, colour in zip(class_map.names, class_map.colours, strict=True):
        if colour in names:
            raise MaskError(
                f"{path} must have a colour for each class. Got {hex_of(colour)} for "
                f"{names[colour]} and {name}. Give them different colours in dataset.yaml"
            )
        names[colour] = name
    voids = void_colours_of(class_map, void_colour)
    known = {colour_code(colour): name for colour, name in names.items()}
    known |= {colour_code(colour): "void" for colour in class_map.void_colours}
    classes = [f"{hex_of(colour)} {name}" for colour, name in names.items()]
    coding = _Coding(
        np.array([colour_code(colour) for colour in (*class_map.colours, *voids)], np.int64),
        _ids(class_map.num_classes, len(voids)),
        # Void that somebody declared was painted, and a pixel at its edge may be nearest to it.
        class_map.num_classes + len(class_map.void_colours),
        _squared_distance,
        lambda code: f"{hex_of(colour_of(code))} {known.get(code, '')}".rstrip(),
        f"the colours {', '.join(classes[:12])}{', ...' if len(classes) > 12 else ''} or void "
        f"{', '.join(map(hex_of, voids)) or '(none)'}",
        lambda stray: (
            f"say in dataset.yaml which class has the colour {list(colour_of(stray))} (classes "
            "with colours), or that it is void (void_colours)"
        ),
    )
    return _translated(codes, coding, path, strays)


def void_colours_of(class_map: ClassMap, void_colour: Colour = VOID_COLOUR) -> tuple[Colour, ...]:
    """The colours that mean void in colour masks: those of the class map, else the given one.

    Returns:
        No colour where the class map names none and the given one is a class's.
    """
    usual = () if void_colour in class_map.colours else (void_colour,)
    return class_map.void_colours or usual


def to_stored_values(mask: UInt8Array, class_map: ClassMap, void: int | None = None) -> UInt8Array:
    """Translate class ids into the values that a file stores; :func:`to_class_ids` reads them.

    Args:
        mask: uint8 (H, W) class ids, 255 for void.
        class_map: Its values must be 0 to 255.
        void: The value that means void; ``None`` takes the class map's first.
    """
    stored = np.zeros(IGNORE_INDEX + 1, np.uint8)
    stored[: class_map.num_classes] = class_map.values
    stored[IGNORE_INDEX] = next(iter(class_map.ignore), IGNORE_INDEX) if void is None else void
    return np.asarray(stored[mask])


def to_colours(
    mask: UInt8Array, class_map: ClassMap, void_colour: Colour = VOID_COLOUR
) -> UInt8Array:
    """Paint class ids in their colours; :func:`colours_to_class_ids` reads them.

    Args:
        mask: uint8 (H, W) class ids, 255 for void.
        class_map: The classes.
        void_colour: What means void where the class map does not say it.

    Returns:
        uint8 (H, W, 3).
    """
    table = np.zeros((IGNORE_INDEX + 1, 3), np.uint8)
    table[: class_map.num_classes] = class_map.colours
    table[IGNORE_INDEX] = next(iter(void_colours_of(class_map, void_colour)), void_colour)
    return np.asarray(table[mask])


def hex_of(colour: Colour) -> str:
    """A colour as HTML writes it, such as ``#ff8000``."""
    return f"#{colour_code(colour):06x}"


def _ids(num_classes: int, num_void: int) -> UInt8Array:
    return np.array((*range(num_classes), *[IGNORE_INDEX] * num_void), np.uint8)


def _squared_distance(codes: npt.NDArray[np.int64], code: int) -> npt.NDArray[np.int64]:
    planes = [((codes >> shift & 255) - (code >> shift & 255)) ** 2 for shift in (16, 8, 0)]
    return np.asarray(planes[0] + planes[1] + planes[2])


def _translated(codes: Codes, coding: _Coding, path: Path, strays: Strays) -> UInt8Array:
    """The class ids of codes; what becomes of stray ones is as in :func:`to_class_ids`."""
    look_up = _table_of(coding, codes.dtype) if codes.dtype in SMALL_TYPES else _search_in(coding)
    found, is_stray = np.empty(codes.shape, np.uint8), np.empty(codes.shape, np.bool_)
    for rows in blocks(codes):
        ids = look_up(codes[rows])
        np.less(ids, 0, out=is_stray[rows])
        found[rows] = ids.astype(np.uint8)  # void, for stray ones
    if not is_stray.any():
        return found
    stray, index, counts = np.unique(
        codes[is_stray].astype(np.int64), return_inverse=True, return_counts=True
    )
    nearest = _nearest(stray, coding)
    if strays == "refuse":
        commonest = np.argsort(-counts, kind="stable")[:5]
        seen = ", ".join(
            f"{coding.shown(int(stray[at]))} ({counts[at]} pixels, nearest class "
            f"{coding.shown(int(coding.codes[nearest[at]]))})"
            for at in np.sort(commonest)
        )
        more = f" and {len(stray) - 5:,} more" if len(stray) > 5 else ""
        raise MaskError(
            f"{path} must hold {coding.expected}. Got {seen}{more}. Mend the mask, "
            f"{coding.advice(int(stray[commonest[0]]))}, or with --strays nearest or "
            "--strays void what becomes of all such pixels"
        )
    if strays == "nearest":
        found[is_stray] = coding.ids[nearest][index]
    return found


def _table_of(coding: _Coding, dtype: np.dtype[Any]) -> _LookUp:
    """Class ids by a table of every value of a small type; ``STRAY`` is what is no class's."""
    table = np.full(np.iinfo(dtype).max + 1, STRAY, np.int16)
    is_held = (coding.codes >= 0) & (coding.codes < len(table))
    table[coding.codes[is_held]] = coding.ids[is_held]
    return lambda codes: table.take(codes)


def _search_in(coding: _Coding) -> _LookUp:
    """As :func:`_table_of`, for types of more values than a table has room for."""
    order = np.argsort(coding.codes)
    known, ids = coding.codes[order], coding.ids[order].astype(np.int16)

    def look_up(codes: Codes) -> npt.NDArray[np.int16]:
        position = np.minimum(np.searchsorted(known, codes), len(known) - 1)
        return np.where(known[position] == codes, ids[position], STRAY)

    return look_up


def _nearest(stray: npt.NDArray[np.int64], coding: _Coding) -> npt.NDArray[np.int64]:
    """For each stray code, which of the coding's codes is nearest; the first of equal ones."""
    nearest = np.zeros(len(stray), np.int64)
    smallest = np.full(len(stray), np.iinfo(np.int64).max)
    # Code by code: a JPEG holds a million colours, and a table with all classes would be large.
    for at, code in enumerate(coding.codes[: coding.num_near].tolist()):
        distance = coding.distance(stray, code)
        is_nearer = distance < smallest
        nearest[is_nearer] = at
        smallest[is_nearer] = distance[is_nearer]
    return nearest


def _shortened(values: tuple[int, ...]) -> str:
    if len(values) > 3 and values == tuple(range(values[0], values[0] + len(values))):
        return f"{values[0]} to {values[-1]}"
    return ", ".join(map(str, values)) or "(none)"


def with_void_value(class_map: ClassMap, *values: int) -> ClassMap:
    """A class map to which further stored values are void, as far as they are no class's."""
    further = [value for value in values if value not in class_map.values]
    void = tuple(dict.fromkeys((*class_map.ignore, *further)))
    return class_map.model_copy(update={"ignore": void})
