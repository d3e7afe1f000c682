"""Converts CVAT's shapes to regions of pixels whose centers are inside the shape.

Coordinates are those of :mod:`pixelwise.data.formats.shapes`; a rotation is in degrees,
clockwise on the screen, around the center of the shape.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pixelwise.data.formats.coco.rle import decode_runs
from pixelwise.data.formats.shapes import MAX_COORDINATE, Ring, Shape
from pixelwise.errors import MaskError
from pixelwise.io.arrays import BoolArray

Attributes = Mapping[str, str]

WITHOUT_AREA = frozenset({"polyline", "points", "skeleton", "cuboid"})
"""Shapes without an area in the image. A cuboid consists of the edges of a 3D box."""


@dataclass(frozen=True)
class Drawn:
    """A shape as stored in the file.

    Attributes:
        kind: The element's name, such as ``polygon``.
        attributes: The element's attributes.
    """

    kind: str
    attributes: Attributes

    @property
    def label(self) -> str | None:
        """Name of its class; ``None`` if it has no label."""
        return self.attributes.get("label")

    def z_order(self, origin: Path) -> int:
        """Position in the stack of shapes; higher shapes cover lower ones."""
        return _whole(self.attributes, "z_order", origin) if "z_order" in self.attributes else 0


def cvat_shape(drawn: Drawn, label: str | None, size: tuple[int, int], origin: Path) -> Shape:
    """Convert a shape with an area for painting.

    Args:
        drawn: A shape whose kind is in ``WITH_AREA``.
        label: The name of its class; ``None`` means ignored.
        size: Height and width of the image.
        origin: The file, for messages.

    Raises:
        MaskError: An attribute is missing or not a number, or a mask is not inside the image.
    """
    return WITH_AREA[drawn.kind](drawn.attributes, label, size, origin)


def _polygon(
    attributes: Attributes,
    label: str | None,
    size: tuple[int, int],  # noqa: ARG001  all converters have the same signature
    origin: Path,
) -> Shape:
    text = attributes.get("points", "")
    try:
        pairs = [tuple(map(float, pair.split(","))) for pair in text.split(";")]
        corners = np.array(pairs, np.float64)
    except ValueError as error:  # not numbers, or not pairs
        raise _wrong("points", text, origin) from error
    if corners.ndim != 2 or corners.shape[1] != 2:
        raise _wrong("points", text, origin)
    return Shape(label, (corners,))


def _box(
    attributes: Attributes,
    label: str | None,
    size: tuple[int, int],  # noqa: ARG001
    origin: Path,
) -> Shape:
    left, top, right, bottom = (
        _number(attributes, name, origin) for name in ("xtl", "ytl", "xbr", "ybr")
    )
    corners = np.array([(left, top), (right, top), (right, bottom), (left, bottom)])
    middle = np.array([(left + right) / 2, (top + bottom) / 2])
    cosine, sine = _rotation(attributes, origin)
    turned: Ring = (corners - middle) @ np.array([(cosine, sine), (-sine, cosine)]) + middle
    # Without rotation, corners must stay exact, as edges may run through pixel centers.
    return Shape(label, (corners if sine == 0 and cosine == 1 else turned,))


def _ellipse(
    attributes: Attributes, label: str | None, size: tuple[int, int], origin: Path
) -> Shape:
    x, y, radius_x, radius_y = (
        _number(attributes, name, origin) for name in ("cx", "cy", "rx", "ry")
    )
    if radius_x <= 0 or radius_y <= 0:
        return Shape(label)
    reach = max(radius_x, radius_y)
    left, right = (int(edge) for edge in np.clip([x - reach - 1, x + reach + 1], 0, size[1]))
    top, bottom = (int(edge) for edge in np.clip([y - reach - 1, y + reach + 1], 0, size[0]))
    across = np.arange(left, right) + 0.5 - x
    down = (np.arange(top, bottom) + 0.5 - y)[:, None]
    cosine, sine = _rotation(attributes, origin)
    with np.errstate(over="ignore"):  # infinite distances in a very thin ellipse are outside
        along = (across * cosine + down * sine) / radius_x
        aside = (down * cosine - across * sine) / radius_y
        inside: BoolArray = along**2 + aside**2 <= 1
    return Shape(label, bitmap=inside, corner=(top, left))


def _mask(attributes: Attributes, label: str | None, size: tuple[int, int], origin: Path) -> Shape:
    left, top, width, height = (
        _whole(attributes, name, origin) for name in ("left", "top", "width", "height")
    )
    if not (0 <= left <= left + width <= size[1] and 0 <= top <= top + height <= size[0]):
        raise MaskError(
            f"{origin} must contain masks inside their image of {size[1]} x {size[0]}. Got one of "
            f"{width} x {height} at ({left}, {top}). Check that the annotation is of this image"
        )
    text = attributes.get("rle", "")
    try:
        counts = [int(count) for count in text.split(",")]
    except ValueError as error:
        raise _wrong("rle", text, origin) from error
    return Shape(label, bitmap=decode_runs(counts, (height, width), "rows", origin),
                 corner=(top, left))  # fmt: skip


WITH_AREA: dict[str, Callable[[Attributes, str | None, tuple[int, int], Path], Shape]] = {
    "polygon": _polygon,
    "box": _box,
    "ellipse": _ellipse,
    "mask": _mask,
}
"""The converter of each kind of shape with an area."""


def _rotation(attributes: Attributes, origin: Path) -> tuple[float, float]:
    """Return the cosine and sine of the rotation."""
    degrees = _number(attributes, "rotation", origin) if "rotation" in attributes else 0.0
    return math.cos(math.radians(degrees)), math.sin(math.radians(degrees))


def _number(attributes: Attributes, name: str, origin: Path) -> float:
    text = attributes.get(name, "")
    try:
        number = float(text)
    except ValueError as error:
        raise _wrong(name, text, origin) from error
    if not abs(number) <= MAX_COORDINATE:  # also true for NaN
        raise _wrong(name, text, origin)
    return number


def _whole(attributes: Attributes, name: str, origin: Path) -> int:
    number = _number(attributes, name, origin)
    if number != int(number):
        raise _wrong(name, attributes[name], origin)
    return int(number)


def _wrong(name: str, got: str, origin: Path) -> MaskError:
    return MaskError(
        f"{origin} must contain shapes whose {name} are numbers. Got {got[:40]!r}. Export it again"
    )
