"""``cvat``: CVAT for images 1.1, an XML file with the shapes of many images."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import ClassVar, TextIO
from xml.etree.ElementTree import Element, SubElement, tostring

from pixelwise.classes import ClassMap, LabelMode
from pixelwise.data.formats import NO, Confidence, Format, MaskContent, formats
from pixelwise.data.formats.annotation_files import (
    IGNORE_LABEL,
    NUM_EXAMPLES,
    annotation_places,
    class_label,
    files_of_kind,
    find_image,
    labeled_class_map,
    record_name,
    written_regions,
)
from pixelwise.data.formats.coco.rle import encode_runs
from pixelwise.data.formats.cvat.cvat_file import CvatFile, CvatImage, is_cvat, read_cvat
from pixelwise.data.formats.cvat.cvat_shapes import WITH_AREA, WITHOUT_AREA, cvat_shape
from pixelwise.data.formats.shapes import Shape, bounding_box, paint_shapes
from pixelwise.data.pairing import IMAGE_FOLDERS, SPLIT_FOLDERS
from pixelwise.data.problems import report_problem
from pixelwise.data.sample import Record, Sample, check_stated_size
from pixelwise.data.writing import write_image
from pixelwise.errors import DataError, FormatError, MaskError
from pixelwise.io.arrays import BoolArray
from pixelwise.io.images import IMAGE_SUFFIXES, read_image

FILE_NAME = "annotations.xml"
"""Name of the written file, as in CVAT's exports."""

UNWRITABLE = re.compile("[^\t\n -\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""Characters that XML cannot represent."""

IMAGES = IMAGE_SUFFIXES - {".npy"}
"""Suffixes of image files that CVAT can open."""


@formats.register("cvat")
class Cvat(Format):
    """``annotations.xml`` and ``images/``, optionally with a folder for each subset.

    A shape with a higher ``z_order`` covers a lower one, and later shapes cover earlier ones.
    Lines, points and cuboids have no area: they are left out if their label is only for such
    shapes, as in CVAT's own export of masks. Otherwise they are refused, or left out according to
    ``unexpected``.
    """

    name: ClassVar[str] = "cvat"
    label_modes: ClassVar[tuple[LabelMode, ...]] = ("multiclass", "multilabel")
    layout: ClassVar[str] = "annotations.xml of CVAT for images 1.1 + images/NAME.*"

    def detect(self, folder: Path) -> Confidence:
        """Certain if an XML file begins like CVAT's."""
        places = annotation_places(folder, is_cvat, NUM_EXAMPLES)
        if not places:
            return NO
        where = places[0].annotations.relative_to(folder)
        return Confidence(0.95, f"an XML file of CVAT in {where}/")

    def records(self, folder: Path) -> list[Record]:
        """Return one record per image in the XML files, with or without shapes."""
        records = []
        for place in annotation_places(folder, is_cvat):
            for path in filter(is_cvat, files_of_kind(place.annotations, (".xml",))):
                try:
                    entries = read_cvat(path).images
                except DataError as error:
                    report_problem("corrupt-mask", error, path)
                    continue
                for key, entry in entries.items():
                    image = _image_of(entry, path)
                    if image is None:
                        missing = FormatError(
                            f"{path} must have its image {entry.name!r} in {IMAGE_FOLDERS[0]}/ "
                            "beside it. There is none. Export with 'Save images', or add the image"
                        )
                        report_problem("mask-without-image", missing, path, name=entry.name)
                        continue
                    split = place.split or SPLIT_FOLDERS.get(entry.subset.lower())
                    name = record_name(image, image, folder)
                    records.append(Record(name, image, (path,), split, entry=key))
        return sorted(records, key=lambda record: record.name)

    def class_map(
        self,
        folder: Path,
        records: Sequence[Record],
        ignore: Sequence[int] = (),  # noqa: ARG002
    ) -> ClassMap:
        """Return background, then the labels of the tasks in order, with their colors."""
        files = [read_cvat(path) for path in sorted({record.masks[0] for record in records})]
        declared = [label for file in files for label in file.labels]
        names = [label.name for label in declared if label.kind not in WITHOUT_AREA]
        drawn = {
            shape.label
            for file in files
            for entry in file.images.values()
            for shape in entry.shapes
            if shape.label is not None and shape.kind in WITH_AREA
        }
        undeclared = sorted(drawn - {label.name for label in declared})
        colors = {label.name: label.color for label in declared if label.color}
        return labeled_class_map([*names, *undeclared], self.label_mode, folder, colors=colors)

    def load(self, record: Record, class_map: ClassMap) -> Sample:
        """Decode the image and paint its shapes, the lowest first."""
        (path,) = record.masks
        image = read_image(record.image)
        file = read_cvat(path)
        entry = file.images.get(record.entry or "")
        if entry is None:
            raise MaskError(f"{path} must contain {record.image}. It has changed. Open it again")
        height, width = size = image.shape[:2]
        stated = (
            height if entry.height is None else entry.height,
            width if entry.width is None else entry.width,
        )
        check_stated_size(record.image, image, path, stated)
        shapes = self._shapes(entry, file, size, class_map, path)
        mask = paint_shapes(shapes, size, class_map, self.label_mode, path)
        return Sample(record.name, image, mask, self.label_mode)

    def _shapes(
        self,
        entry: CvatImage,
        file: CvatFile,
        size: tuple[int, int],
        class_map: ClassMap,
        path: Path,
    ) -> Iterator[Shape]:
        for_lines = {label.name for label in file.labels if label.kind in WITHOUT_AREA}
        for shape in sorted(entry.shapes, key=lambda shape: shape.z_order(path)):
            if shape.label is None:
                raise MaskError(
                    f"{path} must contain shapes with a label. Got a {shape.kind} of "
                    f"{entry.name!r} without one. Label it, or remove it"
                )
            if shape.kind in WITH_AREA:
                yield cvat_shape(shape, class_label(shape.label, class_map), size, path)
            elif self.unexpected == "error" and shape.label not in for_lines:
                raise MaskError(
                    f"{path} must contain shapes with an area: {', '.join(WITH_AREA)}. Got a "
                    f"{shape.kind} of {shape.label!r} on {entry.name!r}. Draw it as a polygon, or "
                    "leave all such shapes out with `unexpected='ignore'`"
                )

    def refusal(self, content: MaskContent) -> str | None:
        """Refuse soft masks, names that XML cannot represent, and the label of ignored shapes."""
        if content.is_soft:
            return "its shapes have no soft edges"
        if IGNORE_LABEL in content.class_map.names:
            return f"shapes called {IGNORE_LABEL} are ignored"
        if any(map(UNWRITABLE.search, content.class_map.names)):
            return "a class name contains characters that XML cannot represent"
        return super().refusal(content)

    def _write(
        self, folder: Path, samples: Iterator[tuple[Record, Sample]], class_map: ClassMap
    ) -> None:
        """Write one XML file with the splits as subsets, and images in ``images/SUBSET``."""
        with (folder / FILE_NAME).open("w", encoding="utf-8") as file:
            file.write('<?xml version="1.0" encoding="utf-8"?>\n<annotations>\n')
            file.write("<version>1.1</version>\n")
            _write_element(file, _meta_element(class_map))
            for number, (record, sample) in enumerate(samples):
                subset = record.split or ""
                home = folder / IMAGE_FOLDERS[0] / subset
                name = write_image(home, record, sample, IMAGES).name
                _write_element(file, _image_element(number, name, subset, sample, class_map))
            file.write("</annotations>\n")


def _image_of(entry: CvatImage, path: Path) -> Path | None:
    """Return the image file of an entry."""
    root = path.parent
    homes = [root, root.parent] if root.name in ("annotations", "annotation") else [root]
    folders = [home / name for home in homes for name in IMAGE_FOLDERS]
    folders = [*folders, *homes]
    subsets = [folder / entry.subset for folder in folders] if entry.subset else []
    return find_image(entry.name, [*subsets, *folders], homes[-1])


def _meta_element(class_map: ClassMap) -> Element:
    meta = Element("meta")
    labels = SubElement(SubElement(meta, "task"), "labels")
    colors = dict(zip(class_map.names, class_map.colors, strict=True))
    for name in (*class_map.names, IGNORE_LABEL):
        label = SubElement(labels, "label")
        SubElement(label, "name").text = name
        red, green, blue = colors.get(name, (255, 255, 255))
        SubElement(label, "color").text = f"#{red:02x}{green:02x}{blue:02x}"
        SubElement(label, "type").text = "any"
        SubElement(label, "attributes")
    return meta


def _image_element(
    number: int, name: str, subset: str, sample: Sample, class_map: ClassMap
) -> Element:
    height, width = sample.mask.shape[-2:]
    attributes = {"id": str(number), "name": name, "width": str(width), "height": str(height)}
    element = Element("image", attributes | ({"subset": subset} if subset else {}))
    for label, region in written_regions(sample.mask, class_map, sample.label_mode):
        SubElement(element, "mask", _mask_attributes(label, region))
    return element


def _mask_attributes(label: str, region: BoolArray) -> dict[str, str]:
    rows, columns = box = bounding_box(region)
    runs = encode_runs(region[box], "rows")
    return {
        "label": label,
        "source": "manual",
        "occluded": "0",
        "rle": ", ".join(map(str, runs)),
        "left": str(columns.start),
        "top": str(rows.start),
        "width": str(columns.stop - columns.start),
        "height": str(rows.stop - rows.start),
        "z_order": "0",
    }


def _write_element(file: TextIO, element: Element) -> None:
    file.write(tostring(element, encoding="unicode") + "\n")
