"""Finds the classes of a folder without a card, and leaves out ignored ones."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from pixelwise.classes import ClassMap, Unexpected
from pixelwise.data.formats import Format
from pixelwise.data.masks.smoothed import count_stored, smoothed_classes
from pixelwise.data.sample import Record
from pixelwise.errors import ConfigError, MaskError
from pixelwise.schemas import validated


def classes_found(
    found: Format,
    folder: Path,
    records: Sequence[Record],
    ignored_values: tuple[int, ...],
    rule: Unexpected | None,
) -> tuple[ClassMap, list[str]]:
    """Return the classes of a folder without a card, and notes on smoothed masks.

    Masks whose values are no classes but have clear modes get these as classes, and without a
    ``rule`` for other values, ``found`` is set to take the nearest class.

    Raises:
        MaskError: It is not clear what the classes are, or other values are an error by ``rule``.
    """
    # Images without a mask, which are background, say nothing about the classes.
    records = [record for record in records if record.masks] or records
    try:
        return found.class_map(folder, records, ignored_values), []
    except MaskError:
        smoothed = None
        if found.takes_templates and rule != "error" and not ignored_values:
            in_color = found.stores_colors
            smoothed = smoothed_classes(count_stored(records, in_color=in_color), in_color=in_color)
        if smoothed is None:
            raise
        found.unexpected = rule or "nearest"
        return smoothed.class_map, [smoothed.in_words(found.unexpected)]


def with_ignored(class_map: ClassMap, ignored_values: tuple[int, ...]) -> ClassMap:
    """Return the class map with further ignored values, without classes stored as one of them.

    ``--ignore 11`` on masks with the values 0 to 11 leaves the classes 0 to 10.
    """
    keep = [index for index, value in enumerate(class_map.values) if value not in ignored_values]
    if not keep:
        raise ConfigError(f"`ignore` must leave at least one class. Got {list(ignored_values)}")
    content = {
        "names": [class_map.names[index] for index in keep],
        "colors": [class_map.colors[index] for index in keep],
        "values": [class_map.values[index] for index in keep],
        "ignore": list(dict.fromkeys((*class_map.ignore, *ignored_values))),
        "ignore_colors": class_map.ignore_colors,
    }
    return validated(ClassMap, content, "`ignore`")
