"""Finds the names of classes in tables beside the masks, by what the tables hold.

A table names the classes only if it explains every value or color of the masks; a table that
belongs to other masks is passed over.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

from pixelwise.classes import Color, color_code
from pixelwise.errors import DataError
from pixelwise.files import text_lines
from pixelwise.text import whole_number

TABLE_SUFFIXES = (".txt", ".csv", ".json", ".names")
MAX_TABLE_BYTES = 100_000
MAX_FOLDERS = 50
MAX_TABLES = 100
"""Files and folders beyond these are not searched."""

NAMING_WORDS = ("class", "label", "categor", "palette", "colo")
"""A table of numbers and names has one of these in its file name; any list of numbers would fit."""

MIN_PARSED = 0.8
"""At least this share of the lines, but the header, has to be an entry."""

_SEPARATORS = re.compile(r"[\s,;:\t]+")
_QUOTES = "\"'[]()"


def names_of_colors(folder: Path, codes: Collection[int]) -> dict[int, str] | None:
    """Return the names that a table in a folder gives to all of some colors.

    Args:
        folder: The data set.
        codes: The colors, as :func:`pixelwise.classes.color_code` computes them.

    Returns:
        The name of each color, in the order of the table, also of colors that no mask shows;
        ``None`` if no table explains all of them.
    """
    for path in _tables(folder):
        found = _colors_in_json(path) if path.suffix.lower() == ".json" else _colors_in_text(path)
        if len(found) > 1 and set(codes) <= found.keys() and _are_unique(found):
            return found
    return None


def names_of_values(folder: Path, values: Collection[int]) -> dict[int, str] | None:
    """Return the names that a table in a folder gives to all of some stored values.

    A table lists values with names, or only the names in the order of the values from 0; then
    there have to be as many as values.
    """
    for path in _tables(folder):
        if not any(word in path.name.lower() for word in NAMING_WORDS):
            continue
        found = _values_in_text(path)
        if found and set(values) <= found.keys() and _are_unique(found):
            return found
        names = _names_in_text(path)
        if names and len(names) == max(values, default=0) + 1 and len(set(names)) == len(names):
            return dict(enumerate(names))
    return None


def _are_unique(found: Mapping[int, str]) -> bool:
    return len(set(found.values())) == len(found)


def _tables(folder: Path) -> Iterator[Path]:
    """Yield small files that may be tables, those of the nearest folders first."""
    waiting, num_seen, num_found = [folder], 0, 0
    while waiting and num_seen < MAX_FOLDERS:
        place = waiting.pop(0)
        num_seen += 1
        with os.scandir(place) as entries:
            ordered = sorted(entries, key=lambda entry: entry.name)
        for entry in ordered:
            if entry.name.startswith("."):
                continue
            if entry.is_dir():
                waiting.append(Path(entry.path))
            elif entry.name.lower().endswith(TABLE_SUFFIXES) and num_found < MAX_TABLES:
                num_found += 1
                if entry.stat().st_size <= MAX_TABLE_BYTES:
                    yield Path(entry.path)


def _lines(path: Path) -> list[str]:
    try:
        lines = text_lines(path)
    except DataError:
        return []
    return [line.strip() for line in lines if line.strip()[:1] not in ("", "#")]


def _colors_in_text(path: Path) -> dict[int, str]:
    """Read lines of a name and red, green and blue, in either order, also with a number before."""
    lines, found = _lines(path), {}
    for line in lines:
        words = [word.strip(_QUOTES) for word in _SEPARATORS.split(line) if word.strip(_QUOTES)]
        numbers = [whole_number(word) for word in words]
        levels = [index for index, number in enumerate(numbers) if number is not None]
        triples = [
            index
            for index in levels
            if {index, index + 1, index + 2} <= set(levels)
            and all((number or 0) <= 255 for number in numbers[index : index + 3])
        ]
        if triples:
            start = triples[-1]
            name = " ".join([*words[: min(levels)], *words[start + 3 :]])
            red, green, blue = (number or 0 for number in numbers[start : start + 3])
            if name:
                found[color_code((red, green, blue))] = name
    return found if len(found) >= MIN_PARSED * (len(lines) - 1) else {}


def _values_in_text(path: Path) -> dict[int, str]:
    """Read lines of a number and a name, such as ``3, Grass``."""
    lines, found = _lines(path), {}
    for line in lines:
        parts = re.split(r"\s*[,;:\t=]\s*|\s+", line, maxsplit=1)
        value = whole_number(parts[0])
        if len(parts) == 2 and value is not None and parts[1] and not parts[1][0].isdigit():
            found[value] = parts[1].strip(_QUOTES)
    return found if len(found) >= MIN_PARSED * (len(lines) - 1) else {}


def _names_in_text(path: Path) -> list[str]:
    """Read a name per line; lines with separators are no names."""
    lines = _lines(path)
    is_plain = not any(re.search(r"[,;:\t]|\d{3}", line) for line in lines)
    return lines if is_plain and path.suffix.lower() != ".json" else []


def _colors_in_json(path: Path) -> dict[int, str]:
    """Read ``{"road": [128, 64, 128]}``, or a list of objects with a name and a color."""
    try:
        content = json.loads("\n".join(text_lines(path)))
    except (DataError, ValueError, RecursionError):
        return {}
    if isinstance(content, dict):
        entries = [(str(name), color) for name, color in content.items()]
    elif isinstance(content, list):
        entries = [_named_entry(entry) for entry in content if isinstance(entry, dict)]
    else:
        return {}
    return {color_code(color): name for name, value in entries if (color := _color_of(value))}


def _named_entry(entry: Mapping[str, Any]) -> tuple[str, Any]:
    name = next((entry[key] for key in ("name", "label", "class", "title") if key in entry), "")
    color = next((entry[key] for key in ("color", "rgb") if key in entry), None)
    return str(name), color


def _color_of(value: Any) -> Color | None:
    if isinstance(value, str):
        found = re.fullmatch(r"#?([0-9a-fA-F]{6})", value)
        number = int(found[1], 16) if found else None
        return None if number is None else (number >> 16, number >> 8 & 255, number & 255)
    is_triple = (
        isinstance(value, list)
        and len(value) in (3, 4)
        and all(isinstance(level, int) and 0 <= level <= 255 for level in value[:3])
    )
    return (value[0], value[1], value[2]) if is_triple else None
