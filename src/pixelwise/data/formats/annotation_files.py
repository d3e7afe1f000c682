"""Finds and reads annotation files of labeling tools; shared by formats with labeled shapes."""

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
from pixelwise.files import open_regular
from pixelwise.io.arrays import BoolArray, UInt8Array
from pixelwise.io.images import IMAGE_SUFFIXES
from pixelwise.label_modes import mode_of
from pixelwise.schemas import validated

Schema = TypeVar("Schema", bound=BaseModel)

IGNORE_LABEL = "__ignore__"
"""Shapes with this label are ignored; the name is LabelMe's."""

ANNOTATION_FOLDERS = (*MASK_FOLDERS, "polygons", "annotation", "json", "jsons", "ann")
"""Names of folders of annotation files, the most likely first."""

NUM_EXAMPLES = 20
"""Number of files per suffix that are examined to detect the format of a folder."""


@dataclass(frozen=True)
class Place:
    """A folder of annotation files and the folders of its images.

    Attributes:
        annotations: The folder.
        images: Folders that may hold the images, the most likely first.
        split: The split according to the folder names.
    """

    annotations: Path
    images: tuple[Path, ...]
    split: str | None


def annotation_places(
    folder: Path, is_annotation: Callable[[Path], bool], most: int | None = None
) -> list[Place]:
    """Return the folders of annotation files: one for each split, or one for all.

    The files lie beside their images or in a separate folder, such as ``images/`` and ``labels/``,
    with split folders inside or outside.

    Args:
        folder: The data set.
        is_annotation: Returns whether a file is an annotation file.
        most: Number of files per suffix to examine in a folder; ``None`` examines all.

    Returns:
        The first folder of each split with an annotation file; splits without any are left out.
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
    """Yield split, image folders and annotation folders according to their names."""
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
    """Yield the files of a folder that are not images, by name, at most ``most`` per suffix."""
    if not folder.is_dir():
        return
    # Plain names: making and sorting paths of 100,000 images takes ten times as long.
    images = tuple(IMAGE_SUFFIXES)
    others = [name for name in os.listdir(folder) if not name.lower().endswith(images)]  # noqa: PTH208
    counts: Counter[str] = Counter()
    for path in (folder / name for name in sorted(others)):
        suffix = path.suffix.lower()
        if most is None or counts[suffix] < most:
            counts[suffix] += 1
            yield path


def files_of_kind(folder: Path, suffixes: Sequence[str]) -> list[Path]:
    """Return the files directly inside a folder with one of the suffixes, sorted by name."""
    return sorted(
        path
        for path in folder.iterdir()
        if path.suffix.lower() in suffixes and not path.name.startswith(".") and path.is_file()
    )


def head_of(path: Path, num_bytes: int = 4096) -> bytes:
    """Return the first bytes of a file; empty if it cannot be read."""
    try:
        with open_regular(path) as file:
            return file.read(num_bytes)
    except OSError:
        return b""


def find_image(name: str, homes: Iterable[Path], within: Path) -> Path | None:
    """Return the image file that an annotation names, in the first folder that contains it.

    Args:
        name: A relative path in the notation of any operating system.
        homes: Folders that may contain the image.
        within: Images outside this folder are not accepted.
    """
    relative = PureWindowsPath(name).as_posix()  # accepts both kinds of slashes
    if PurePosixPath(relative).suffix.lower() not in IMAGE_SUFFIXES:
        return None
    for home in homes:
        path = Path(os.path.normpath(home / relative))
        is_within = path.absolute().is_relative_to(os.path.abspath(within))  # noqa: PTH100
        # os.path returns False where pathlib raises: for too long names, or with a null byte.
        if is_within and os.path.isfile(path):  # noqa: PTH113
            return path
    return None


def images_by_stem(homes: Sequence[Path]) -> dict[str, Path]:
    """Index the images of several folders by exact stem; earlier folders take precedence."""
    return {path.stem: path for home in reversed(homes) for path in image_files(home)}


def record_name(image: Path, annotation: Path, folder: Path) -> str:
    """Return the name of a record: the path of its image, or of its annotation, in the data set."""
    name = Path(os.path.relpath(image, folder))
    if name.parts[0] == os.pardir:
        name = annotation.relative_to(folder)
    return name.with_suffix("").as_posix()


def read_json(path: Path) -> Any:
    """Read a JSON file from another tool.

    Raises:
        FormatError: The file is not JSON in UTF-8.
        DataError: The file cannot be read.
    """
    content = read_bytes(path)
    try:
        return from_json(content.removeprefix(b"\xef\xbb\xbf"))
    except ValueError as error:  # includes too deep nesting and text that is not UTF-8
        raise FormatError(
            f"{path} must contain JSON in UTF-8. Got {str(error)[:120]}. Export it again"
        ) from error


def read_bytes(path: Path) -> bytes:
    """Read the bytes of a file.

    Raises:
        DataError: The file cannot be read.
    """
    try:
        with open_regular(path) as file:
            return file.read()
    except OSError as error:
        raise DataError(f"{path} must be readable. Got: {error.strerror}. Check it") from error


def read_text(path: Path) -> str:
    """Read a text file from another tool, without its byte order mark.

    Raises:
        FormatError: The file is not UTF-8.
        DataError: The file cannot be read.
    """
    try:
        return read_bytes(path).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise FormatError(
            f"{path} must contain text in UTF-8. Got other bytes. Save it as UTF-8"
        ) from error


def checked(schema: type[Schema], content: Any, path: Path) -> Schema:
    """Validate the content of an annotation file against a schema.

    Raises:
        FormatError: The content is invalid; the message gives the place.
    """
    try:
        return validated(schema, content, str(path))
    except ConfigError as error:
        raise FormatError(str(error)) from error


def class_label(label: str, class_map: ClassMap) -> str | None:
    """Return the class name for a tool's label; ``None`` means ignored.

    ``background`` and ``_background_`` are synonyms if the class map has one of them, and stand for
    unpainted pixels if it has neither, see :func:`pixelwise.data.formats.shapes.paint_shapes`.
    """
    if label in class_map.names:
        return label
    if label in BACKGROUND_NAMES:
        known = class_map.background
        return BACKGROUND_NAMES[0] if known is None else class_map.names[known]
    return None if label == IGNORE_LABEL else label


def labeled_class_map(
    labels: Iterable[str],
    label_mode: LabelMode,
    origin: Path,
    *,
    background: str = BACKGROUND_NAMES[0],
    colors: dict[str, Color] | None = None,
) -> ClassMap:
    """Make the class map for the labels of a tool: background first, then the labels in order.

    Args:
        labels: The labels, including repeated ones, background and ignored.
        label_mode: Multilabel masks need no background and get none.
        origin: The source of the labels, for messages.
        background: Name of the background if it is not among the labels.
        colors: Colors of labels.

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
    """Return the regions of a mask with labels for a tool with background and ignored pixels.

    Ignored pixels are always written, as the tool treats unpainted pixels as background.
    """
    regions = [
        (IGNORE_LABEL if label is None else label, region)
        for label, region in shapes_of(mask, class_map, label_mode)
    ]
    if unpainted_id(class_map) == IGNORE_INDEX:
        ignored = mode_of(label_mode).ignored(mask)
        return [*regions, (IGNORE_LABEL, ignored)] if ignored.any() else regions
    return regions
