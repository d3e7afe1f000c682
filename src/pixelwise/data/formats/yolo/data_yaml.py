"""The ``data.yaml`` of Ultralytics: its images by split, and the names of its classes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pixelwise.classes import MAX_CLASSES, numbered_names
from pixelwise.data.card import CARD_NAME
from pixelwise.errors import ConfigError, FormatError
from pixelwise.io.file_state import kept_while_unchanged
from pixelwise.schemas import read_yaml

SPLIT_KEYS = ("train", "val", "test")
"""The keys under which it names images."""


@dataclass(frozen=True)
class DataFile:
    """What a ``data.yaml`` says.

    Attributes:
        names: Of the classes by id; ``None`` where it gives none.
        root: Its ``path``.
        splits: Folders or lists of images by split, as they are written there.
    """

    names: tuple[str, ...] | None
    root: str
    splits: dict[str, tuple[str, ...]]


def data_files(folder: Path) -> list[Path]:
    """The YAML files that name classes as Ultralytics does; the usual name first."""
    found = []
    for path in sorted((*folder.glob("*.yaml"), *folder.glob("*.yml"))):
        if path.name == CARD_NAME or not path.is_file():
            continue
        try:
            content = read_yaml(path)
        except ConfigError:
            continue
        # masks_dir stands for masks as pictures instead of polygons.
        if content.keys() & {"names", "nc"} and "masks_dir" not in content:
            found.append(path)
    return sorted(found, key=lambda path: path.stem != "data")


def find_data_file(folder: Path) -> Path | None:
    """The one that counts.

    Raises:
        FormatError: There are several, and none is called ``data.yaml``.
    """
    found = data_files(folder)
    if len(found) > 1 and found[0].stem != "data":
        raise FormatError(
            f"{folder} must hold one YAML file with names. Got {found[0].name} and "
            f"{found[1].name}. Call the right one data.yaml"
        )
    return found[0] if found else None


@kept_while_unchanged
def said_by(data_file: Path) -> DataFile:
    """What a file says.

    Raises:
        FormatError: It is of another task, or its names or images are no such.
        ConfigError: It is no YAML.
        DataError: It is not there any more.
    """
    content = read_yaml(data_file)
    if "kpt_shape" in content:
        raise FormatError(
            f"{data_file} must be of segmentation. Got kpt_shape, so its labels are boxes with "
            "points of a pose. Export polygons"
        )
    splits = {}
    for split in SPLIT_KEYS:
        entry = content.get(split)
        entries = tuple(entry if isinstance(entry, list) else [] if entry is None else [entry])
        if not all(isinstance(part, str) for part in entries):
            raise FormatError(
                f"{data_file}: {split} must be a folder, a list file, or several. Got "
                f"{type(entry).__name__} of another kind. Fix the file"
            )
        if entries:
            splits[split] = entries
    root = content.get("path")
    return DataFile(_names_said(content, data_file), root if isinstance(root, str) else "", splits)


def _names_said(content: dict[str, Any], data_file: Path) -> tuple[str, ...] | None:
    """The names of a data.yaml, given as a list or by number, or numbered where it only counts."""
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
            f"{data_file}: names must be texts, listed or numbered from 0 on. Got something else. "
            "Put words such as yes and no into quotes"
        )
    if count is not None and count != len(names):
        raise FormatError(
            f"{data_file}: nc must be the number of names, {len(names)}. Got something else. "
            "Fix the one or the other"
        )
    return tuple(map(str, names))


def _is_name(name: object) -> bool:
    """Text, or a number that YAML made of it; texts such as yes and no became something else."""
    return isinstance(name, str) or (type(name) is int and abs(name) < 10**9)
