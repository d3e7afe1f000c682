"""DICOM: slices, images of several frames, and segmentations (DICOM SEG) of a series."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from types import ModuleType
from typing import Any, ClassVar

import numpy as np

from pixelwise.errors import MissingExtraError
from pixelwise.io.arrays import Array
from pixelwise.io.containers.base import Container, Layout, index_in, sections
from pixelwise.io.containers.kept import kept_array
from pixelwise.io.decoding import decoding
from pixelwise.io.file_state import FileState, state_of
from pixelwise.io.limits import require_decodable

DICOM_ENDING = ".dcm"

SEGMENTATION = "1.2.840.10008.5.1.4.1.1.66.4"
"""The class of objects that DICOM calls Segmentation Storage."""


@dataclass(frozen=True)
class DicomHeader:
    """What a DICOM file says about itself.

    Attributes:
        instance: Its identifier.
        kind: The identifier of its class of objects.
        patient: The patient; empty if the file does not say.
        series: The series of which it is a part.
        shape: Height and width of a frame.
        num_frames: Number of its frames.
        num_bands: Number of samples of a pixel.
    """

    instance: str
    kind: str
    patient: str
    series: str
    shape: tuple[int, int]
    num_frames: int
    num_bands: int

    @property
    def is_segmentation(self) -> bool:
        """Whether it holds labels of other images."""
        return self.kind == SEGMENTATION


@dataclass(frozen=True)
class Segmentation:
    """What a segmentation says about itself.

    Attributes:
        segments: The names of its segments by their number.
        sources: The identifiers of the images that it labels; those without a frame are empty.
    """

    segments: Mapping[int, str]
    sources: tuple[str, ...]


class Dicom(Container):
    """``.dcm`` files. A picture of a segmentation is called by the identifier of its image."""

    endings: ClassVar[tuple[str, ...]] = (DICOM_ENDING,)

    def layout(self, file: Path, array: str) -> Layout | None:
        """Return the frames of a file."""
        del array
        header = _header(file, state_of(file))
        bands = [header.num_bands] if header.num_bands > 1 else []
        if header.is_segmentation:
            return Layout(header.shape, _segmentation(file, state_of(file)).sources)
        if header.num_frames > 1:
            return Layout((*header.shape, *bands), sections("f", header.num_frames))
        return Layout((*header.shape, *bands))

    def read(self, file: Path, member: str, *, as_stored: bool) -> Array:
        """Read a slice or a frame in the units of its modality, or the numbers of segments."""
        header = _header(file, state_of(file))
        if header.is_segmentation:
            return _labels(file, header, member)
        pydicom = _module("pydicom", "pydicom", "reading DICOM")
        pixels_of = importlib.import_module("pydicom.pixels")
        require_decodable(file, (*header.shape, header.num_bands), 8)
        index = index_in(member, "f", header.num_frames) if member else 0
        if not member and header.num_frames > 1:
            raise ValueError(f"it has {header.num_frames} frames, which are read one by one")
        data = pydicom.dcmread(file)
        stored = pixels_of.pixel_array(data, index=index)
        if as_stored or header.num_bands > 1:  # colors are converted to red, green and blue already
            return np.asarray(stored)
        if data.get("PhotometricInterpretation") == "MONOCHROME1":  # the smallest number is white
            is_signed = data.get("PixelRepresentation") == 1
            stored = (-1 if is_signed else (1 << int(data.BitsStored)) - 1) - stored
        return np.asarray(pixels_of.apply_modality_lut(stored, data))


def dicom_header(file: Path) -> DicomHeader:
    """Return what a DICOM file says about itself, without its pixels.

    Raises:
        DataError: The file is no DICOM image.
        MissingExtraError: pydicom is not installed.
    """
    with decoding(file):
        return _header(file, state_of(file))


def segmentation_in(file: Path) -> Segmentation:
    """Return the segments of a DICOM SEG and the images that they label.

    Raises:
        DataError: The file is damaged.
        MissingExtraError: highdicom is not installed.
    """
    with decoding(file):
        return _segmentation(file, state_of(file))


@lru_cache(maxsize=65_536)
def _header(file: Path, state: FileState) -> DicomHeader:  # noqa: ARG001  part of the cache key
    pydicom = _module("pydicom", "pydicom", "reading DICOM")
    data = pydicom.dcmread(file, stop_before_pixels=True, specific_tags=[
        "SOPInstanceUID", "SOPClassUID", "PatientID", "SeriesInstanceUID", "Rows", "Columns",
        "NumberOfFrames", "SamplesPerPixel",
    ])  # fmt: skip
    return DicomHeader(
        str(data.SOPInstanceUID),
        str(data.SOPClassUID),
        str(data.get("PatientID") or ""),
        str(data.get("SeriesInstanceUID") or ""),
        (int(data.Rows), int(data.Columns)),
        int(data.get("NumberOfFrames") or 1),
        int(data.get("SamplesPerPixel") or 1),
    )


@lru_cache(maxsize=256)
def _segmentation(file: Path, state: FileState) -> Segmentation:  # noqa: ARG001  part of the key
    found = _open_segmentation(file)
    segments = {
        int(number): str(found.get_segment_description(number).segment_label)
        for number in found.segment_numbers
    }
    sources = [str(uid) for _, _, uid in found.get_source_image_uids()]
    for series in found.get("ReferencedSeriesSequence", ()):
        sources += [str(one.ReferencedSOPInstanceUID) for one in series.ReferencedInstanceSequence]
    return Segmentation(segments, tuple(dict.fromkeys(sources)))


def _labels(file: Path, header: DicomHeader, instance: str) -> Array:
    """Return the segment numbers of one image, (H, W); 0 is no segment."""
    sources = _segmentation(file, state_of(file)).sources
    if instance not in sources:
        raise ValueError(f"it labels no image {instance!r}")

    def read() -> Array:
        require_decodable(file, (len(sources), *header.shape), 4)
        pixels = _open_segmentation(file).get_pixels_by_source_instance(
            list(sources), combine_segments=True, assert_missing_frames_are_empty=True
        )
        return np.asarray(pixels)

    return np.asarray(kept_array(file, "", read)[sources.index(instance)])


def _open_segmentation(file: Path) -> Any:
    return _module("highdicom.seg", "highdicom", "reading DICOM SEG").segread(file)


def _module(name: str, package: str, purpose: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise MissingExtraError(package, "medical", purpose) from error
