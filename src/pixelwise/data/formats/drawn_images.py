"""Base class of formats whose annotation files hold drawn objects of images, from any tool."""

from __future__ import annotations

import dataclasses
from abc import abstractmethod
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

from pixelwise.classes import ClassMap, Color, LabelMode
from pixelwise.data.bad_annotations import AnnotationCount, BadAnnotation, added
from pixelwise.data.formats import NO, Confidence, Format
from pixelwise.data.formats.annotation_files import class_label, labeled_class_map
from pixelwise.data.formats.annotation_search import (
    ImageFinder,
    records_of_file,
    split_in_folders,
    split_of_file,
)
from pixelwise.data.formats.class_properties import (
    Properties,
    chosen_property,
    class_of,
    find_class_property,
)
from pixelwise.data.formats.shapes import Shape, largest_first, paint_shapes
from pixelwise.data.problems import report_problem
from pixelwise.data.sample import Record, Sample, check_stated_size
from pixelwise.errors import DataError, FormatError, MaskError
from pixelwise.io.images import read_image

BOX = "box"
"""Kind of an object that is a rectangle along the axes."""

UNNAMED = "foreground"
"""Class of objects without one, if there are several classes or none."""

MAX_SHOWN = 4
"""Number of names in a message."""


@dataclass(frozen=True)
class DrawnObject:
    """An object of an image.

    Attributes:
        where: File and place, for messages.
        kind: The kind of shape in the words of the tool, or ``BOX``.
        properties: What may give its class.
        draw: Returns its shape, without a label, for the height and width of the image.
    """

    where: str
    kind: str
    properties: Properties
    draw: Callable[[tuple[int, int]], Shape] = field(repr=False)


@dataclass(frozen=True)
class DrawnImage:
    """An image of an annotation file.

    Attributes:
        name: Its path or address as the file writes it.
        size: Its height and width; ``None`` if the file does not say.
        objects: In the order of the file.
        num_bytes: Size of its file in bytes, to tell images of one name apart.
    """

    name: str
    size: tuple[int, int] | None
    objects: tuple[DrawnObject, ...]
    num_bytes: int | None = None


@dataclass(frozen=True)
class DrawnFile:
    """The content of an annotation file.

    Attributes:
        images: By a name that is unique in the file.
        bad: What is left out.
        labels: Classes in the order in which the file declares them, with their colors.
        remarks: What was chosen while reading, for the user.
    """

    images: Mapping[str, DrawnImage]
    bad: tuple[BadAnnotation, ...] = ()
    labels: Mapping[str, Color | None] = field(default_factory=dict)
    remarks: tuple[str, ...] = ()


class DrawnFormat(Format):
    """Reads the files of a tool: a subclass finds and parses them, the rest is done here."""

    label_modes: ClassVar[tuple[LabelMode, ...]] = ("multiclass", "multilabel")
    tool: ClassVar[str]
    """Name of the tool, for messages."""
    is_one_per_image: ClassVar[bool] = False
    """Whether a file is of one image, so that a word in its name is no split."""
    has_order: ClassVar[bool] = False
    """Whether later objects cover earlier ones in the tool; otherwise smaller cover larger ones."""

    @abstractmethod
    def files(self, folder: Path) -> list[Path]:
        """Return the annotation files of a data set, sorted."""

    @abstractmethod
    def read(self, path: Path) -> DrawnFile:
        """Parse an annotation file; the result should be kept while the file is unchanged.

        Raises:
            FormatError: The file is not as the tool writes it.
            DataError: The file cannot be read.
        """

    def find(self, image: DrawnImage, path: Path, finder: ImageFinder, split: str | None) -> Path:
        """Return the file of an image.

        Raises:
            FormatError: There is none, or there are several.
        """
        return finder.find(image.name, path, split, num_bytes=image.num_bytes)

    def detect(self, folder: Path) -> Confidence:
        """Certain if a file is as the tool writes it."""
        files = self.files(folder)
        if not files:
            return NO
        names = ", ".join(path.relative_to(folder).as_posix() for path in files[:MAX_SHOWN])
        return Confidence(0.95, f"annotations of {self.tool} in {names}")

    def records(self, folder: Path) -> list[Record]:
        """Return one record per image of the files, with or without objects."""
        files = self.files(folder)
        if not files:
            raise FormatError(
                f"{folder} must contain annotations of {self.tool}, {self.layout}. Got none. "
                "Check the path"
            )
        finder = ImageFinder(folder)
        records = [record for path in files for record in self._records_of(path, folder, finder)]
        records = self._without_copies(records)
        objects = self._objects(records)
        if objects and all(found.kind == BOX for found in objects):
            raise FormatError(
                f"{files[0]} must have outlines of objects. Got {len(objects):,} boxes and nothing "
                "else, as for object detection. Draw the objects, or use another data set"
            )
        if self.has_properties and self.class_property is None:
            properties = [found.properties for found in objects]
            self.class_property = find_class_property(properties, folder, are_attributes=True)
        return sorted(records, key=lambda record: record.name)

    def _records_of(self, path: Path, folder: Path, finder: ImageFinder) -> list[Record]:
        try:
            images = self.read(path).images
        except DataError as error:
            report_problem("unreadable-labels", error, path)
            return []
        if self.is_one_per_image:  # a word of the image's own name is no split
            split = split_in_folders(reversed(path.relative_to(folder).parts[:-1]))
        else:
            split = split_of_file(path, folder)
        names = {key: image.name for key, image in images.items()}
        return records_of_file(
            path, names, lambda key: (self.find(images[key], path, finder, split), path),
            finder, split,
        )  # fmt: skip

    def _without_copies(self, records: Sequence[Record]) -> list[Record]:
        """Return the records without those of files that repeat others, such as saved projects."""
        by_image: dict[Path, list[Record]] = defaultdict(list)
        for record in records:
            by_image[record.image].append(record)
        kept = []
        for copies in by_image.values():
            copies.sort(key=lambda record: record.split is None)
            first, *others = copies
            kept.append(first)
            kept += [other for other in others if not self._is_copy(first, other)]
        return kept

    def _is_copy(self, record: Record, other: Record) -> bool:
        if other.split not in (None, record.split):
            return False
        try:
            return _content(self._image(record)) == _content(self._image(other))
        except MaskError:  # loading it says why
            return False

    def _image(self, record: Record) -> DrawnImage:
        image = self.read(record.masks[0]).images.get(record.entry or "")
        if image is None:
            raise MaskError(
                f"{record.masks[0]} must contain {record.image}. It has changed. Open it again"
            )
        return image

    def _objects(self, records: Sequence[Record]) -> list[DrawnObject]:
        return [found for record in records for found in self._image(record).objects]

    def class_map(
        self,
        folder: Path,
        records: Sequence[Record],
        ignore: Sequence[int] = (),  # noqa: ARG002  only for formats with stored values
    ) -> ClassMap:
        """Return background, the declared classes in their order, then the others by name."""
        declared: dict[str, Color | None] = {}
        for path in _files_of(records):
            declared |= self.read(path).labels
        labels = self._labels(records)
        # Objects without a class are of the only class, if there is one; see load.
        named = sorted({label for label in labels if label}) or [UNNAMED]
        if None in labels and len(named) > 1:
            named.append(UNNAMED)
        colors = {name: color for name, color in declared.items() if color}
        return labeled_class_map([*declared, *named], self.label_mode, folder, colors=colors)

    def _labels(self, records: Sequence[Record]) -> set[str | None]:
        """Return the classes of all objects; ``None`` for objects without one."""
        return {
            class_of(found.properties, self.class_property, found.where)
            for found in self._objects(records)
        }

    def load(self, record: Record, class_map: ClassMap) -> Sample:
        """Decode the image and paint its objects."""
        image = read_image(record.image)
        drawn = self._image(record)
        size = (image.shape[0], image.shape[1])
        check_stated_size(record.image, image, record.masks[0], drawn.size or size)
        things = [
            name
            for index, name in enumerate(class_map.names)
            if index != class_map.class_without_objects
        ]
        unnamed = things[0] if len(things) == 1 else UNNAMED
        objects = []
        for found in drawn.objects:
            label = class_of(found.properties, self.class_property, found.where) or unnamed
            shape = dataclasses.replace(found.draw(size), label=class_label(label, class_map))
            objects.append([shape])
        shapes = [shape for (shape,) in objects] if self.has_order else largest_first(objects)
        mask = paint_shapes(shapes, size, class_map, self.label_mode, record.masks[0])
        return Sample(record.name, image, mask, self.label_mode)

    def annotations(self, records: Sequence[Record]) -> AnnotationCount:
        """Count the objects of all files of the records."""
        files = map(self.read, _files_of(records))
        return added(
            AnnotationCount(len(file.bad) + sum(len(i.objects) for i in file.images.values()),
                            file.bad)
            for file in files
        )  # fmt: skip

    def remarks(self, records: Sequence[Record]) -> list[str]:
        """Say which property gives the classes, and which images have no objects."""
        counts = Counter(line for path in _files_of(records) for line in self.read(path).remarks)
        lines = list(counts)
        objects = self._objects(records)
        if self.has_properties:
            found_labels = [
                class_of(found.properties, self.class_property, found.where) for found in objects
            ]
            labels = sorted({label for label in found_labels if label}) or [UNNAMED]
            properties = [found.properties for found in objects]
            said = chosen_property(self.class_property, properties, labels, UNNAMED)
            lines += [said] if said else []
            unnamed = found_labels.count(None)
            if unnamed and labels != [UNNAMED]:
                only = labels[0] if len(labels) == 1 else UNNAMED
                lines.append(f"shapes without a class are {only}: {unnamed:,}")
        empty = sum(not self._image(record).objects for record in records)
        if empty:
            lines.append(f"images without an object are background: {empty:,} of {len(records):,}")
        return lines


def _files_of(records: Sequence[Record]) -> list[Path]:
    """Return the annotation files of some records, each once."""
    return list(dict.fromkeys(record.masks[0] for record in records))


def _content(image: DrawnImage) -> list[tuple[str, list[bytes]]]:
    """Return what is drawn on an image, to compare two files."""
    found = []
    for each in image.objects:
        shape = each.draw(image.size or (1, 1))
        parts = [ring.tobytes() for ring in shape.rings]
        parts += [] if shape.bitmap is None else [shape.bitmap.tobytes()]
        found.append((repr(each.properties), parts))
    return found
