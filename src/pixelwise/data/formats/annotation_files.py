"""Annotation files of labeling tools: finding them and their images, reading them, naming classes.

What the formats share that hold shapes with labels instead of masks.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any, TypeVar

from pydantic import BaseModel
from pydantic_core import from_json

from pixelwise.classes import BACKGROUND_NAMES, IGNORE_INDEX, ClassMap, Color, LabelMode
from pixelwise.data.formats.shapes import classes_of, shapes_of, unpainted_id
from pixelwise.data.pairing import (
    IMAGE_FOLDERS,
    MASK_FOLDERS,
    image_files,
    named_folder,
    split_folders,
)
from pixelwise.errors import ConfigError, DataError, FormatError
from pixelwise.io.arrays import BoolArray, UInt8Array
from pixelwise.io.images import IMAGE_SUFFIXES
from pixelwise.label_modes import mode_of
from pixelwise.schemas import validated

Schema = TypeVar("Schema", bound=BaseModel)

IGNORE_LABEL = "__ignore__"
"""Shapes of this label are ignored; LabelMe's own name for it."""

ANNOTATION_FOLDERS = (*MASK_FOLDERS, "polygons", "annotation", "json", "jsons", "ann")
"""Names of a folder of annotation files, the likeliest first."""

NUM_EXAMPLES = 20
"""Files of a suffix that are looked into before a folder is said to be of no kind."""


@dataclass(frozen=True)
class Place:
    """A folder of annotation files.

    Attributes:
        annotations: The folder.
        images: Where their images may lie, the likeliest folder first.
        split: The split that the folders are named after.
    """

    annotations: Path
    images: tuple[Path, ...]
    split: str | None


def annotation_places(
    folder: Path, is_annotation: Callable[[Path], bool], most: int | None = None
) -> list[Place]:
    """Where the annotation files of a data set lie: one place for each split, or one in all.

    They lie beside their images, or in a folder of their own: ``images/`` and ``labels/``, either
    with split folders inside or inside split folders.

    Args:
        folder: The data set.
        is_annotation: Says of a file whether it is one.
        most: This many files of each suffix are asked about in a folder; ``None`` is all.

    Returns:
        The first folder of each split that holds one; splits without any are left out.
    """
    found = []
    for split, images, candidates in _candidates(folder):
        for candidate in dict.fromkeys(candidates):
            if any(map(is_annotation, _files(candidate, most))):
                homes = dict.fromkeys((candidate, *images))
                found.append(Place(candidate, tuple(homes), split))
                break
    return found


def _candidates(folder: Path) -> Iterator[tuple[str | None, tuple[Path, ...], list[Path]]]:
    """Split, image folders and annotation folders, as far as their names tell."""
    image_root = named_folder(folder, IMAGE_FOLDERS)
    inside = split_folders(image_root) if image_root else {None: folder}
    if None not in inside:  # images/train with labels/train, or with one file for all splits
        for split, images in inside.items():
            named = [folder / name / images.name for name in ANNOTATION_FOLDERS]
            yield split, (images,), [images, *named]
        inside = {None: folder}
    else:
        inside = split_folders(folder)
    for split, root in inside.items():
        homes = (*(root / name for name in IMAGE_FOLDERS if (root / name).is_dir()), root)
        named = [root / name for name in ANNOTATION_FOLDERS]
        yield split, homes, [root, *named, *homes]


def _files(folder: Path, most: int | None) -> Iterator[Path]:
    """The files of a folder that are no images, by name, this many of each suffix."""
    if not folder.is_dir():
        return
    # By the bare names: to make paths of 100,000 images and to sort those takes ten times as long.
    images = tuple(IMAGE_SUFFIXES)
    others = [name for name in os.listdir(folder) if not name.lower().endswith(images)]  # noqa: PTH208
    counts: Counter[str] = Counter()
    for path in (folder / name for name in sorted(others)):
        suffix = path.suffix.lower()
        if most is None or counts[suffix] < most:
            counts[suffix] += 1
            yield path


def files_of_kind(folder: Path, suffixes: Sequence[str]) -> list[Path]:
    """The files right inside a folder that have one of the suffixes, sorted by name."""
    return sorted(
        path
        for path in folder.iterdir()
        if path.suffix.lower() in suffixes and not path.name.startswith(".") and path.is_file()
    )


def head_of(path: Path, num_bytes: int = 4096) -> bytes:
    """The first bytes of a file; none where it cannot be read."""
    try:
        with path.open("rb") as file:
            return file.read(num_bytes)
    except OSError:
        return b""


def find_image(name: str, homes: Iterable[Path], within: Path) -> Path | None:
    """The image file that an annotation names, in the first folder that holds it.

    Args:
        name: A path as written on any system, relative to the folder of images.
        homes: Where it may lie.
        within: No image outside this folder is taken, whatever the name says.
    """
    relative = PureWindowsPath(name).as_posix()  # of either system: both know the slash
    if PurePosixPath(relative).suffix.lower() not in IMAGE_SUFFIXES:
        return None
    for home in homes:
        path = Path(os.path.normpath(home / relative))
        is_within = path.absolute().is_relative_to(os.path.abspath(within))  # noqa: PTH100
        # os.path answers no where pathlib raises: names that are too long, or hold a zero byte.
        if is_within and os.path.isfile(path):  # noqa: PTH113
            return path
    return None


def images_by_stem(homes: Sequence[Path]) -> dict[str, Path]:
    """The images of several folders by their exact stem; the first folder's goes before."""
    return {path.stem: path for home in reversed(homes) for path in image_files(home)}


def record_name(image: Path, annotation: Path, folder: Path) -> str:
    """The name of a record: its image's path in the data set, else its annotation's."""
    name = Path(os.path.relpath(image, folder))
    if name.parts[0] == os.pardir:
        name = annotation.relative_to(folder)
    return name.with_suffix("").as_posix()


def read_json(path: Path) -> Any:
    """Read a JSON file that somebody else wrote.

    Raises:
        FormatError: It is no JSON in UTF-8.
        DataError: It cannot be read.
    """
    content = read_bytes(path)
    try:
        return from_json(content.removeprefix(b"\xef\xbb\xbf"))
    except ValueError as error:  # also what is nested too deeply, and text that is not UTF-8
        raise FormatError(
            f"{path} must hold JSON in UTF-8. Got {str(error)[:120]}. Export it again"
        ) from error


def read_bytes(path: Path) -> bytes:
    """Read a file whole.

    Raises:
        DataError: It cannot be read.
    """
    try:
        return path.read_bytes()
    except OSError as error:
        raise DataError(f"{path} must be readable. Got: {error.strerror}. Check it") from error


def read_text(path: Path) -> str:
    """Read a text file that somebody else wrote, without its byte order mark.

    Raises:
        FormatError: It is not UTF-8.
        DataError: It cannot be read.
    """
    try:
        return read_bytes(path).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise FormatError(
            f"{path} must hold text in UTF-8. Got other bytes. Save it as UTF-8"
        ) from error


def checked(schema: type[Schema], content: Any, path: Path) -> Schema:
    """Hold what was read from an annotation file against a schema.

    Raises:
        FormatError: It does not fit; the message names the place.
    """
    try:
        return validated(schema, content, str(path))
    except ConfigError as error:
        raise FormatError(str(error)) from error


def class_label(label: str, class_map: ClassMap) -> str | None:
    """The class name that a tool's label stands for; ``None`` is ignored.

    ``background`` and ``_background_`` stand for each other where the class map has but one of
    them, and for what is left unpainted where it has neither.
    """
    if label in class_map.names:
        return label
    if label in BACKGROUND_NAMES:
        return None if class_map.background is None else class_map.names[class_map.background]
    return None if label == IGNORE_LABEL else label


def labeled_class_map(
    labels: Iterable[str],
    label_mode: LabelMode,
    origin: Path,
    *,
    background: str = BACKGROUND_NAMES[0],
    colors: dict[str, Color] | None = None,
) -> ClassMap:
    """The class map of a tool's labels: background first, then the labels in their order.

    Args:
        labels: Also those that mean background or ignored pixels, and repeated ones.
        label_mode: Multilabel masks need no background, and get none.
        origin: Where the labels are from, for messages.
        background: What it is called where the labels do not name it.
        colors: Of labels that have one.

    Raises:
        FormatError: There is no class, or there are too many.
    """
    found = dict.fromkeys(labels)
    named = next((name for name in BACKGROUND_NAMES if name in found), background)
    names = [name for name in found if name not in (*BACKGROUND_NAMES, IGNORE_LABEL)]
    if mode_of(label_mode).needs_background:
        names.insert(0, named)
    class_map = classes_of(names, label_mode, origin)
    chosen = colors or {}
    pairs = zip(class_map.names, class_map.colors, strict=True)
    return class_map.model_copy(
        update={"colors": tuple(chosen.get(name, color) for name, color in pairs)}
    )


def written_regions(
    mask: UInt8Array, class_map: ClassMap, label_mode: LabelMode
) -> list[tuple[str, BoolArray]]:
    """The regions of a mask under the labels of a tool that knows ignored pixels and background.

    Ignored pixels are always written out: to the tool, what is left unpainted is background.
    """
    regions = [
        (IGNORE_LABEL if label is None else label, region)
        for label, region in shapes_of(mask, class_map, label_mode)
    ]
    if unpainted_id(class_map) == IGNORE_INDEX:
        ignored = mode_of(label_mode).ignored(mask)
        return [*regions, (IGNORE_LABEL, ignored)] if ignored.any() else regions
    return regions
