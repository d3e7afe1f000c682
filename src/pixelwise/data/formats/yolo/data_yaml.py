"""Reads the ``data.yaml`` of Ultralytics: images by split, and class names."""

from __future__ import annotations

import posixpath
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pixelwise.classes import MAX_CLASSES, numbered_names
from pixelwise.data.card import CARD_NAME
from pixelwise.errors import ConfigError, FormatError
from pixelwise.io.file_state import kept_while_unchanged
from pixelwise.schemas import read_yaml

SPLIT_KEYS = ("train", "val", "test")
"""The keys of the splits."""


@dataclass(frozen=True)
class DataFile:
    """The content of a ``data.yaml``.

    Attributes:
        names: Class names by id; ``None`` if there are none.
        root: The entry ``path``.
        splits: Folders or lists of images by split, as written in the file.
    """

    names: tuple[str, ...] | None
    root: str
    splits: dict[str, tuple[str, ...]]

    @property
    def is_leaky(self) -> bool:
        """Whether training and validation are the same images, as in the set of the tutorial."""
        train, val = (self._places(split) for split in ("train", "val"))
        return bool(train) and train == val

    def _places(self, split: str) -> set[str]:
        return {posixpath.normpath(entry) for entry in self.splits.get(split, ())}


def data_files(folder: Path) -> list[Path]:
    """Return YAML files with class names in Ultralytics' format; the usual name comes first."""
    found = []
    for path in sorted((*folder.glob("*.yaml"), *folder.glob("*.yml"))):
        if path.name == CARD_NAME or not path.is_file():
            continue
        try:
            content = read_yaml(path)
        except ConfigError:
            continue
        # masks_dir indicates mask images instead of polygons.
        if content.keys() & {"names", "nc"} and "masks_dir" not in content:
            found.append(path)
    return sorted(found, key=lambda path: path.stem != "data")


def find_data_file(folder: Path) -> Path | None:
    """Return the YAML file to use.

    Raises:
        FormatError: There are several, and none is called ``data.yaml``.
    """
    found = data_files(folder)
    if len(found) > 1 and found[0].stem != "data":
        raise FormatError(
            f"{folder} must contain one YAML file with names. Got {found[0].name} and "
            f"{found[1].name}. Name the right one data.yaml"
        )
    return found[0] if found else None


@kept_while_unchanged
def said_by(data_file: Path) -> DataFile:
    """Read a ``data.yaml``.

    Raises:
        FormatError: The file is for another task, or its names or images are invalid.
        ConfigError: The file is not YAML.
        DataError: The file does not exist any more.
    """
    content = read_yaml(data_file)
    if "kpt_shape" in content:
        raise FormatError(
            f"{data_file} must be for segmentation. Got kpt_shape, so its labels are boxes with "
            "keypoints. Export polygons"
        )
    splits = {}
    for split in SPLIT_KEYS:
        entry = content.get(split)
        entries = tuple(entry if isinstance(entry, list) else [] if entry is None else [entry])
        if not all(isinstance(part, str) for part in entries):
            raise FormatError(
                f"{data_file}: {split} must be a folder, a list file, or several of these. Got "
                f"{type(entry).__name__} of another kind. Fix the file"
            )
        if entries:
            splits[split] = entries
    root = content.get("path")
    return DataFile(_names_said(content, data_file), root if isinstance(root, str) else "", splits)


def _names_said(content: dict[str, Any], data_file: Path) -> tuple[str, ...] | None:
    """Return the class names, given as a list or by number, or generated from their number."""
    names, count = content.get("names"), content.get("nc")
    if isinstance(names, dict):
        is_numbered = all(type(key) is int for key in names) and sorted(names) == list(
            range(len(names))
        )
        names = [names[number] for number in range(len(names))] if is_numbered else [None]
    if names is None and type(count) is int and 0 < count <= MAX_CLASSES:
        return numbered_names(count)
    if names is None:
        return None
    if not isinstance(names, list) or not all(map(_is_name, names)):
        raise FormatError(
            f"{data_file}: names must be texts, listed or numbered from 0. Got something else. "
            "Put words such as yes and no into quotes"
        )
    if count is not None and count != len(names):
        raise FormatError(
            f"{data_file}: nc must be the number of names, {len(names)}. Got something else. "
            "Fix one of the two"
        )
    return tuple(map(str, names))


def _is_name(name: object) -> bool:
    """Whether a name is text, or a number from unquoted text; yes and no become booleans."""
    return isinstance(name, str) or (type(name) is int and abs(name) < 10**9)
