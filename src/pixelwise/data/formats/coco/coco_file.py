"""Reads COCO's annotation files; annotations that cannot be used are left out and listed."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, FailFast, TypeAdapter, ValidationError

from pixelwise.data.bad_annotations import BadAnnotation
from pixelwise.data.formats.annotation_files import read_json
from pixelwise.errors import ConfigError, FormatError
from pixelwise.io.file_state import kept_while_unchanged
from pixelwise.schemas import validated

SEGMENTATION = "a segmentation"
POLYGON = "polygons of at least 3 corners (x, y)"


class CocoImage(BaseModel):
    """An image of a file."""

    id: int | str
    file_name: str
    width: int | None = None
    height: int | None = None


class CocoCategory(BaseModel):
    """A class; Roboflow names the whole project as the supercategory of all classes."""

    id: int
    name: str
    supercategory: str | None = None


class CocoRuns(BaseModel):
    """A region as run lengths."""

    size: tuple[int, int]
    counts: str | list[int]


class CocoAnnotation(BaseModel):
    """An object: polygons, one polygon in a flat list, or run lengths."""

    id: int | str | None = None
    image_id: int | str
    category_id: int
    segmentation: list[list[float]] | list[float] | CocoRuns | None = None
    iscrowd: bool | None = None


class _Content(BaseModel):
    # One invalid entry among millions is enough to report.
    images: Annotated[list[CocoImage], FailFast()]
    annotations: list[Any]
    categories: Annotated[list[CocoCategory], FailFast()]


_ALL = TypeAdapter(Annotated[list[CocoAnnotation], FailFast()])


@dataclass(frozen=True)
class CocoFile:
    """The content of an annotation file; image ids are text, as in ``Record.entry``.

    Attributes:
        images: By id.
        annotations: The usable annotations of each image.
        names: Name of each category; one that only names the project is left out.
        total: Number of all annotations.
        bad: Annotations, or parts of them, that are left out.
        placeholder: Name of the category that is left out.
    """

    images: Mapping[str, CocoImage]
    annotations: Mapping[str, Sequence[CocoAnnotation]]
    names: Mapping[int, str]
    total: int
    bad: tuple[BadAnnotation, ...]
    placeholder: str | None


@kept_while_unchanged
def read_coco(path: Path) -> CocoFile:
    """Read an annotation file.

    Raises:
        FormatError: The file is not COCO's, or an id is used twice.
        DataError: The file cannot be read.
    """
    raw = read_json(path)
    try:
        content = validated(_Content, raw, str(path))
    except ConfigError as error:
        raise FormatError(f"{error}. It must be as COCO defines it; export it again") from error
    images = {str(image.id): image for image in content.images}
    names = {category.id: category.name for category in content.categories}
    for what, count, total in (
        ("image", len(images), len(content.images)),
        ("category", len(names), len(content.categories)),
    ):
        if count != total:
            raise FormatError(
                f"{path} must give every {what} its own id. Got {count} ids for {total}. "
                "Export it again"
            )
    bad: list[BadAnnotation] = []
    annotations: dict[str, list[CocoAnnotation]] = defaultdict(list)
    used = set()
    for annotation in _valid(content.annotations, path, bad):
        used.add(annotation.category_id)
        usable = _usable(annotation, images, names, path, bad)
        if usable is not None:
            annotations[str(annotation.image_id)].append(usable)
    placeholder = _placeholder(content.categories, used)
    if placeholder is not None:
        del names[placeholder.id]
    return CocoFile(
        images,
        dict(annotations),
        names,
        len(content.annotations),
        tuple(bad),
        placeholder.name if placeholder else None,
    )


def _valid(
    entries: Sequence[Any], path: Path, bad: list[BadAnnotation]
) -> Iterator[CocoAnnotation]:
    """Yield the annotations that have COCO's keys, and list the others."""
    try:
        yield from _ALL.validate_python(entries)
    except ValidationError:
        for entry in entries:
            try:
                yield CocoAnnotation.model_validate(entry)
            except ValidationError as error:
                first = max(error.errors(), key=lambda each: len(each["loc"]))
                number = entry.get("id") if isinstance(entry, dict) else None
                key = str(first["loc"][0]) if first["loc"] else "its keys"
                got = f"{first['input']!r}"[:40]
                bad.append(BadAnnotation(path, _name(number), f"{key} as COCO defines it", got))


def _usable(
    annotation: CocoAnnotation,
    images: Mapping[str, CocoImage],
    names: Mapping[int, str],
    path: Path,
    bad: list[BadAnnotation],
) -> CocoAnnotation | None:
    """Return the part of an annotation that can be used, and list what cannot."""
    segmentation = annotation.segmentation
    wrong: tuple[str, str] | None = None
    parts: list[list[float]] = []
    if str(annotation.image_id) not in images:
        wrong = "an image of the file", f"the image_id {str(annotation.image_id)[:80]!r}"
    elif annotation.category_id not in names:
        wrong = "a category of the file", f"the category_id {annotation.category_id}"
    elif not segmentation:
        wrong = SEGMENTATION, "none, as in boxes for object detection"
    elif not isinstance(segmentation, CocoRuns):
        # Some tools write a single polygon without the list around it.
        parts = [part for part in segmentation if isinstance(part, list)]
        parts = parts or [[number for number in segmentation if not isinstance(number, list)]]
        short = [part for part in parts if len(part) % 2 or len(part) < 6]
        parts = [part for part in parts if part not in short]
        if short:
            wrong = POLYGON, f"{len(short[0])} numbers"
    if wrong is not None:
        bad.append(BadAnnotation(path, _name(annotation.id), *wrong))
        if not parts:
            return None
    if parts and parts != segmentation:
        return annotation.model_copy(update={"segmentation": parts})
    return annotation


def _name(number: object) -> str:
    return f"id {str(number)[:80]}"


def _placeholder(categories: Sequence[CocoCategory], used: set[int]) -> CocoCategory | None:
    """Return Roboflow's first category, which names the project and has no annotations."""
    parents = Counter(category.supercategory for category in categories)
    for category in categories:
        others = len(categories) - 1
        is_parent = parents[category.name] == others > 0
        if category.id not in used and is_parent and category.supercategory in (None, "none"):
            return category
    return None
