"""Decides which classes a folder has, and leaves out ignored ones."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from pixelwise.classes import ClassMap, Unexpected
from pixelwise.data.folder_classes import folder_class_map
from pixelwise.data.formats import Format
from pixelwise.data.masks.smoothed import Smoothed, count_stored, smoothed_classes
from pixelwise.data.sample import Record
from pixelwise.errors import ConfigError, MaskError
from pixelwise.io.images import is_exact
from pixelwise.label_options import LabelOptions
from pixelwise.schemas import validated

MIN_NOISE = 4
"""Fewer values that are no classes are mistakes in single masks, and not noise."""


def classes_of(
    found: Format,
    folder: Path,
    records: Sequence[Record],
    known: ClassMap | None,
    options: LabelOptions,
) -> tuple[ClassMap, list[str]]:
    """Return the classes of a folder, and notes on them.

    Args:
        found: The format; it is told how its masks store the classes that folders give.
        folder: The data set.
        records: Its records.
        known: The classes that a card or a model gives.
        options: How the labels are read.

    Raises:
        MaskError: It is not clear what the classes are.
        ConfigError: The names of the classes are not valid.
    """
    ignored = tuple(options.ignore or ())
    if known is not None and options.class_from is None:
        return with_ignored(known, ignored), []
    read, notes = _classes_found(found, folder, records, ignored, options.unexpected)
    read = with_ignored(read, ignored)
    if options.class_from is None:
        return read, notes
    found.stored_classes = read
    return folder_class_map(read, records, known, folder), notes


def _classes_found(
    found: Format,
    folder: Path,
    records: Sequence[Record],
    ignored_values: tuple[int, ...],
    rule: Unexpected | None,
) -> tuple[ClassMap, list[str]]:
    """Return the classes of a folder without a card, and notes on smoothed masks.

    Masks whose values are no classes but have clear modes get these as classes, and without a
    ``rule`` for other values, ``found`` is set to take the nearest class. So do masks with few
    values that nothing names, if most of the values are noise around the modes.

    Raises:
        MaskError: It is not clear what the classes are, or other values are an error by ``rule``.
        ConfigError: The names of the classes are not valid.
    """
    # Images without a mask, which are background, say nothing about the classes.
    records = [record for record in records if record.masks] or records
    may_be_smoothed = found.takes_templates and not ignored_values
    try:
        read = found.class_map(folder, records, ignored_values)
    except ConfigError as error:  # the names in a file are not valid
        raise ConfigError(f"{folder}: {error}") from error
    except MaskError:
        smoothed = _smoothed(found, records) if may_be_smoothed and rule != "error" else None
        if smoothed is None:
            raise
    else:
        least = 1 if _has_lossy_masks(records) else MIN_NOISE
        is_unnamed = read.is_unnamed and not read.is_numbered
        may_be_noise = may_be_smoothed and is_unnamed and read.num_classes > least
        smoothed = _smoothed(found, records) if may_be_noise else None
        if smoothed is None or smoothed.class_map.num_classes > read.num_classes - least:
            return read, []
        if rule == "error":
            return smoothed.class_map, []  # the first value between the classes is refused
    found.unexpected = rule or "nearest"
    return smoothed.class_map, [smoothed.in_words(found.unexpected)]


def _has_lossy_masks(records: Sequence[Record]) -> bool:
    return any(not is_exact(path) for record in records for path in record.masks)


def _smoothed(found: Format, records: Sequence[Record]) -> Smoothed | None:
    in_color = found.stores_colors
    return smoothed_classes(count_stored(records, in_color=in_color), in_color=in_color)


def with_ignored(class_map: ClassMap, ignored_values: tuple[int, ...]) -> ClassMap:
    """Return the class map with further ignored values, without classes stored as one of them.

    ``--ignore 11`` on masks with the values 0 to 11 leaves the classes 0 to 10.
    """
    if not ignored_values:
        return class_map
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
