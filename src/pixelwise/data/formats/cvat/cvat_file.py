"""Parses CVAT's XML files."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from xml.etree.ElementTree import Element, ParseError

from defusedxml import DefusedXmlException
from defusedxml.ElementTree import iterparse

from pixelwise.classes import Color
from pixelwise.data.formats.annotation_files import head_of
from pixelwise.data.formats.cvat.cvat_shapes import WITH_AREA, WITHOUT_AREA, Drawn
from pixelwise.errors import DataError, FormatError
from pixelwise.files import open_regular
from pixelwise.io.file_state import kept_while_unchanged

HEX_COLOR = re.compile(r"#([0-9a-fA-F]{2})([0-9a-fA-F]{2})([0-9a-fA-F]{2})")


@dataclass(frozen=True)
class CvatLabel:
    """A label of a task.

    Attributes:
        name: Name of the class.
        color: Its color; ``None`` if the file has none.
        kind: The shapes that it is for, such as ``polyline``; ``any`` if the file does not say.
    """

    name: str
    color: Color | None
    kind: str


@dataclass(frozen=True)
class CvatImage:
    """An image of a task with its shapes.

    Attributes:
        name: Path of the image file, relative to the image folder.
        subset: Its subset in a project; empty if there are none.
        width: Width in pixels; ``None`` if unknown.
        height: Height in pixels; ``None`` if unknown.
        shapes: The shapes in the order of the file.
    """

    name: str
    subset: str
    width: int | None
    height: int | None
    shapes: tuple[Drawn, ...]


@dataclass(frozen=True)
class CvatFile:
    """The content of a file.

    Attributes:
        labels: In the order of the file.
        images: By name, with the subset in front.
    """

    labels: tuple[CvatLabel, ...]
    images: Mapping[str, CvatImage]


def is_cvat(path: Path) -> bool:
    """Whether the root element is CVAT's; that of Pascal VOC is called ``annotation``."""
    return path.suffix.lower() == ".xml" and b"<annotations" in head_of(path)


@kept_while_unchanged
def read_cvat(path: Path) -> CvatFile:
    """Read a file; the most recent ones are kept in memory, as loading each image reads them.

    Args:
        path: The file.

    Raises:
        FormatError: The file is not XML, defines entities, or is from CVAT for video.
        DataError: The file cannot be read.
    """
    labels: list[CvatLabel] = []
    images: dict[str, CvatImage] = {}
    try:
        # Opened here, because the parser leaves its file open after an error.
        with open_regular(path) as file:
            for _, element in iterparse(file, events=("end",)):
                if element.tag == "meta":
                    labels = _labels_of(element)
                elif element.tag == "image":
                    entry = _image_entry(element, path)
                    if images.setdefault(f"{entry.subset}/{entry.name}", entry) is not entry:
                        raise FormatError(
                            f"{path} must contain every image once. Got {entry.name!r} twice. "
                            "Export it again"
                        )
                elif element.tag == "track":
                    raise FormatError(
                        f"{path} must be from CVAT for images. Got tracks, as from CVAT for video. "
                        "Export the task as 'CVAT for images 1.1'"
                    )
                else:
                    continue
                element.clear()  # avoids keeping the masks of thousands of images twice in memory
    except FormatError:
        raise
    except DefusedXmlException as error:
        raise FormatError(
            f"{path} must be XML without entity definitions, which CVAT never writes. "
            "Got some. Do not use the file"
        ) from error
    except (ParseError, LookupError, ValueError) as error:  # the latter for unknown encodings
        raise FormatError(
            f"{path} must contain XML. Got: {str(error)[:120]}. Export it again"
        ) from error
    except OSError as error:
        raise DataError(f"{path} must be readable. Got: {error.strerror}. Check it") from error
    return CvatFile(tuple(labels), images)


def _labels_of(meta: Element) -> list[CvatLabel]:
    """Return the labels of a task or a project, without the parts of skeletons."""
    labels = []
    for element in meta.iter("label"):
        name = element.findtext("name")
        if name is None or element.find("parent") is not None:
            continue
        match = HEX_COLOR.fullmatch((element.findtext("color") or "").strip())
        color = (int(match[1], 16), int(match[2], 16), int(match[3], 16)) if match else None
        labels.append(CvatLabel(name, color, element.findtext("type") or "any"))
    return labels


def _image_entry(element: Element, path: Path) -> CvatImage:
    shapes = tuple(
        Drawn(child.tag, dict(child.attrib))
        for child in element
        if child.tag in WITH_AREA or child.tag in WITHOUT_AREA
    )
    name = element.get("name")
    sides = [element.get("width"), element.get("height")]
    if name is None or not all(side is None or re.fullmatch("[0-9]{1,9}", side) for side in sides):
        raise FormatError(
            f"{path} must contain images with a name, a width and a height. Got {name!r}, "
            f"{sides[0]} and {sides[1]}. Export it again"
        )
    width, height = (None if side is None else int(side) for side in sides)
    return CvatImage(name, element.get("subset") or "", width, height, shapes)
