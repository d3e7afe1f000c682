"""Classes that the names of folders give: masks say where the object is, its folder what it is."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from pixelwise.classes import IGNORE_INDEX, ClassMap
from pixelwise.data.sample import Record
from pixelwise.errors import ConfigError, MaskError
from pixelwise.io.arrays import UInt8Array
from pixelwise.pairing.split_names import SPLIT_FOLDERS
from pixelwise.text import listed

BACKGROUND = "background"


def with_folder_classes(records: Sequence[Record], folder: Path) -> list[Record]:
    """Return the records with the name of the folder that gives the class of each.

    It is the one part of their path that differs, besides the name of a split and of the file.

    Raises:
        ConfigError: No part differs, or several do.
    """
    parts = [_folders(record) for record in records]
    columns = list(itertools.zip_longest(*parts, fillvalue=""))
    differing = [names for names in columns if len({*names}) > 1]
    if len(differing) != 1 or "" in differing[0]:
        raise ConfigError(
            "`class_from` must be left out unless the images lie in one folder per class. Got "
            f"{listed(sorted({'/'.join(some) or '.' for some in parts}), 6)} in {folder}. Arrange "
            "the images in one folder per class, or leave `class_from` out"
        )
    named = zip(records, differing[0], strict=True)
    return [replace(record, folder_class=name) for record, name in named]


def _folders(record: Record) -> list[str]:
    inside = record.name.split("/")[:-1]
    return [part for part in inside if part.lower() not in SPLIT_FOLDERS]


def folder_class_map(
    stored: ClassMap, records: Sequence[Record], known: ClassMap | None, folder: Path
) -> ClassMap:
    """Return the background and one class per folder.

    Args:
        stored: The two classes of the masks.
        records: Records with the names of their folders.
        known: The classes that a card or a model gives; ``None`` makes them.
        folder: The data set, for messages.

    Raises:
        MaskError: The masks do not hold a background and one other class.
        ConfigError: The classes that are given lack the name of a folder, or the background.
    """
    if stored.num_classes != 2 or stored.class_without_objects is None:
        raise MaskError(
            f"the masks in {folder} must hold a background and one class for `class_from`. They "
            f"hold {listed(stored.names, 6)}. Leave `class_from` out"
        )
    names = [BACKGROUND, *sorted({record.folder_class or "" for record in records} - {BACKGROUND})]
    known = known or ClassMap.build(names)
    missing = [name for name in names if name not in known.names]
    if missing:
        raise ConfigError(
            f"the classes of {folder} must be {BACKGROUND} and the names of its folders. "
            f"{listed(missing, 6)} is none of {listed(known.names, 6)}. Add it to the card, or "
            "leave `class_from` out"
        )
    # What a mask stores is ignored or not, whatever its folder says; the values of these classes
    # are stored nowhere, and so must not be ignored ones.
    values = (value for value in itertools.count() if value not in stored.ignore)
    return ClassMap.build(
        known.names,
        colors=known.colors,
        values=list(itertools.islice(values, known.num_classes)),
        ignore=stored.ignore,
    )


def in_folder_class(
    mask: UInt8Array, record: Record, stored: ClassMap, class_map: ClassMap
) -> UInt8Array:
    """Return a mask of the two stored classes with the class of its folder.

    Args:
        mask: uint8 (H, W), class ids of ``stored``, 255 is ignored.
        record: Its record.
        stored: The two classes of the masks.
        class_map: The classes of the data set.
    """
    ids = np.full(256, class_map.names.index(record.folder_class or BACKGROUND), np.uint8)
    ids[stored.class_without_objects or 0] = class_map.names.index(BACKGROUND)
    ids[IGNORE_INDEX] = IGNORE_INDEX
    return ids[mask]
