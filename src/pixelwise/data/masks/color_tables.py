"""Reads and writes tables of classes and colors, which labeling tools store beside masks."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

from pixelwise.classes import MAX_CLASSES, ClassMap, Color
from pixelwise.errors import FormatError
from pixelwise.files import text_lines
from pixelwise.schemas import validated

IGNORE_NAMES = frozenset({"void", "unlabelled", "unlabeled", "ignore"})
"""Names, in any case, of entries that are not classes: their color is ignored."""

LABEL_MAP = "labelmap.txt"
"""The table that CVAT and other tools write; pixelwise writes it too."""

MAX_TABLE_BYTES = 1_000_000
MAX_LINE = 1000

_LEVELS = [rf"(?P<{name}>[0-9]{{1,3}})" for name in ("red", "green", "blue")]
_LABEL_MAP_LINE = re.compile(rf"(?P<name>.+):{','.join(_LEVELS)}(:[^:]*){{0,2}}")
_COLORS_LINE = re.compile(r"\s+".join([*_LEVELS, "(?P<name>.+)"]))
_CLASS_DICT_LINE = re.compile(r"\s*,\s*".join(['"?(?P<name>[^"]+)"?', *_LEVELS]) + "(,.*)?")

# Classes without a table are named after their color, and written as #ff8000:255,128,0::
_COMMENT = re.compile(r"#(?![0-9a-f]{6}:)")

_Entry = tuple[str, Color]


def find_color_table(folder: Path) -> Path | None:
    """Return the table of a folder, which lies inside it or directly above it."""
    for place in (folder, folder.parent):
        for name in READERS:
            if (place / name).is_file():
                return place / name
    return None


def read_color_table(path: Path) -> ClassMap:
    """Read the classes of a table in its order, without the entries in ``IGNORE_NAMES``.

    Raises:
        FormatError: A line is not a class with a color, or the file is not a table.
        ConfigError: Two classes have the same name, or a color is both a class and ignored.
    """
    if path.stat().st_size > MAX_TABLE_BYTES:
        raise FormatError(
            f"{path} must be a table of classes and colors. Got {path.stat().st_size:,} bytes. "
            "Fix or remove it"
        )
    entries = READERS[path.name](path)
    classes = [entry for entry in entries if entry[0].lower() not in IGNORE_NAMES]
    ignored_colors = [color for name, color in entries if name.lower() in IGNORE_NAMES]
    if not 0 < len(classes) <= MAX_CLASSES:
        raise FormatError(
            f"{path} must name 1 to {MAX_CLASSES} classes. Got {len(classes)}. Fix or remove it"
        )
    content = {
        "names": [name for name, _ in classes],
        "colors": [color for _, color in classes],
        "values": range(len(classes)),
        "ignore_colors": ignored_colors,
    }
    return validated(ClassMap, content, str(path))


def label_map_text(class_map: ClassMap, ignore_color: Color | None) -> str | None:
    """Return a class map in the format of ``labelmap.txt``.

    Args:
        class_map: The classes.
        ignore_color: The color of ignored pixels, if any.

    Returns:
        The text; ``None`` if the format cannot represent a name.
    """
    entries = list(zip(class_map.names, class_map.colors, strict=True))
    if any(name.lower() in IGNORE_NAMES for name in class_map.names):
        return None
    if ignore_color is not None:
        entries.append(("void", ignore_color))
    lines = [f"{name}:{','.join(map(str, color))}::" for name, color in entries]
    if [_label_map_entry(line) for line in lines] != entries:
        return None
    return "\n".join(["# label:color_rgb:parts:actions", *lines, ""])


def _read_label_map(path: Path) -> list[_Entry]:
    return _read_lines(path, _label_map_entry, "name:red,green,blue::")


def _read_label_colors(path: Path) -> list[_Entry]:
    return _read_lines(path, partial(_entry, _COLORS_LINE), "red green blue name")


def _label_map_entry(line: str) -> _Entry | None:
    return _entry(_LABEL_MAP_LINE, line)


def _entry(pattern: re.Pattern[str], line: str) -> _Entry | None:
    if len(line) > MAX_LINE or _COMMENT.match(line):
        return None
    found = pattern.fullmatch(line.strip())
    if found is None:
        return None
    red, green, blue = (int(found[key]) for key in ("red", "green", "blue"))
    return (found["name"].strip(), (red, green, blue)) if max(red, green, blue) <= 255 else None


def _read_lines(
    path: Path, parse: Callable[[str], _Entry | None], expected: str, first: int = 1
) -> list[_Entry]:
    entries = []
    lines = text_lines(path)
    for number, line in enumerate(lines[first - 1 :], start=first):
        entry = parse(line)
        if entry is not None:
            entries.append(entry)
        elif line.strip() and not line.startswith("#"):
            raise FormatError(
                f"{path} line {number} must be {expected}, each color 0 to 255. "
                f"Got {line.strip()[:80]!r}. Fix the line"
            )
    return entries


def _read_class_dict(path: Path) -> list[_Entry]:
    """Read the table of CamVid on Kaggle, with the header ``name,r,g,b``."""
    return _read_lines(path, partial(_entry, _CLASS_DICT_LINE), "name,red,green,blue", first=2)


READERS: Mapping[str, Callable[[Path], list[_Entry]]] = {
    LABEL_MAP: _read_label_map,
    "class_dict.csv": _read_class_dict,
    "label_colors.txt": _read_label_colors,
}
"""The function that reads the table, for each file name."""
