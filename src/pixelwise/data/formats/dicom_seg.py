"""``dicom-seg``: DICOM segmentations beside the slices that they label."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

import numpy as np

from pixelwise.classes import ClassMap
from pixelwise.data.formats import NO, Confidence, Format, formats
from pixelwise.data.formats.annotation_files import class_label, labeled_class_map
from pixelwise.data.formats.annotation_search import files_below, split_in_folders
from pixelwise.data.problems import report_problem
from pixelwise.data.sample import Record, Sample, check_same_size
from pixelwise.errors import DataError, FormatError, MissingExtraError
from pixelwise.io.arrays import UInt8Array
from pixelwise.io.containers.dicom import (
    DICOM_ENDING,
    DicomHeader,
    dicom_header,
    segmentation_in,
)
from pixelwise.io.images import IMAGE_SUFFIXES, read_image, read_mask_values
from pixelwise.io.members import file_of

NUM_NAMED = 4
"""Number of segments that a reason names."""


@formats.register("dicom-seg")
class DicomSeg(Format):
    """DICOM SEG files anywhere in a folder with the slices of the series to which they refer.

    Each slice of a series that a segmentation names is an image; where it has no frame, all is
    background. A segment is a class by its label. All slices of a patient are one group.
    """

    name: ClassVar[str] = "dicom-seg"
    layout: ClassVar[str] = "DICOM SEG (.dcm) beside the .dcm slices of its series, in any folders"

    def detect(self, folder: Path) -> Confidence:
        """Certain if a file is a segmentation."""
        try:
            headers = _headers(folder)
        except MissingExtraError:
            # A single file beside other pictures does not matter.
            if next(files_below(folder, IMAGE_SUFFIXES), None) is None:
                raise
            return NO
        found = [path for path, header in headers.items() if header.is_segmentation]
        if not found:
            return NO
        names = ", ".join(path.relative_to(folder).as_posix() for path in found[:NUM_NAMED])
        return Confidence(0.95, f"DICOM segmentations in {names}")

    def records(self, folder: Path) -> list[Record]:
        """Return one record for each slice that a segmentation labels.

        Raises:
            FormatError: A segmentation labels none of the slices, or a slice has two.
        """
        headers = _headers(folder)
        by_instance = {header.instance: path for path, header in headers.items()}
        labels: defaultdict[Path, list[Path]] = defaultdict(list)
        for path, header in headers.items():
            if not header.is_segmentation:
                continue
            try:
                sources = segmentation_in(path).sources
            except DataError as error:
                report_problem("unreadable-labels", error, path)
                continue
            found = [uid for uid in sources if uid in by_instance]
            if not found:
                lacking = FormatError(
                    f"{path} must label slices in {folder}. Got references to {len(sources)} "
                    "images, of which none is there. Add the series"
                )
                report_problem("mask-without-image", lacking, path)
            for uid in found:
                labels[by_instance[uid]].append(path / uid)
        return sorted(
            (
                self._record(folder, image, masks, headers[image])
                for image, masks in labels.items()
                if _is_one(image, masks)
            ),
            key=lambda record: record.name,
        )

    def _record(
        self, folder: Path, image: Path, masks: Sequence[Path], header: DicomHeader
    ) -> Record:
        place = image.relative_to(folder)
        split = split_in_folders(reversed(place.parts[:-1]))
        group = header.patient or header.series
        return Record(place.with_suffix("").as_posix(), image, tuple(masks), split, group=group)

    def class_map(
        self,
        folder: Path,
        records: Sequence[Record],
        ignore: Sequence[int] = (),  # noqa: ARG002  segments have names, and no stored values
    ) -> ClassMap:
        """Return background and the labels of all segments, sorted."""
        files = dict.fromkeys(file_of(record.masks[0]) for record in records)
        labels = {label for file in files for label in segmentation_in(file).segments.values()}
        return labeled_class_map(sorted(labels), self.label_mode, folder)

    def load(self, record: Record, class_map: ClassMap) -> Sample:
        """Decode a slice and its segments."""
        image = read_image(record.image)
        (path,) = record.masks
        numbers = read_mask_values(path)
        check_same_size(record.image, image, path, numbers)
        return Sample(record.name, image, self._ids(path, class_map)[numbers], "multiclass")

    def _ids(self, path: Path, class_map: ClassMap) -> UInt8Array:
        """Return the class id of each segment number.

        Raises:
            FormatError: A segment is no class.
        """
        segments = segmentation_in(file_of(path)).segments
        background = class_map.background
        ids = np.full(
            max(segments, default=0) + 1, 0 if background is None else background, np.uint8
        )
        for number, label in segments.items():
            name = class_label(label, class_map)
            if name not in class_map.names:
                raise FormatError(
                    f"{file_of(path)} must have segments of the classes "
                    f"{', '.join(class_map.names[:12])}. Got {label!r}. Add it to dataset.yaml"
                )
            ids[number] = class_map.names.index(name)
        return ids


def _headers(folder: Path) -> dict[Path, DicomHeader]:
    """Return the headers of the DICOM files below a folder; what is damaged is reported."""
    headers = {}
    for path in sorted(files_below(folder, frozenset({DICOM_ENDING}))):
        try:
            headers[path] = dicom_header(path)
        except DataError as error:
            report_problem("corrupt-image", error, path)
    return headers


def _is_one(image: Path, masks: Sequence[Path]) -> bool:
    if len(masks) == 1:
        return True
    error = FormatError(
        f"{image} must be labeled once. Got {file_of(masks[0])} and {file_of(masks[1])}, as of two "
        "annotators. Move one of them elsewhere"
    )
    report_problem("paired-twice", error, image)
    return False
