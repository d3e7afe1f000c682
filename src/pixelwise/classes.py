"""The classes of a data set: names, colors, stored values and ignored values."""

from __future__ import annotations

import colorsys
from collections import Counter
from collections.abc import Sequence
from typing import Annotated, Literal, Self, get_args

from pydantic import ConfigDict, Field, model_validator

from pixelwise.schemas import CheckedModel
from pixelwise.text import shortened

LabelMode = Literal["multiclass", "multilabel"]
"""``multiclass``: one class per pixel (softmax). ``multilabel``: one sigmoid per class."""

Unexpected = Literal["error", "nearest", "ignore"]
"""What to do with a stored value or color that is neither a class nor ignored: refuse the file,
assign the class with the nearest value or color, or ignore the pixel."""

Unlabeled = Literal["error", "skip", "background"]
"""What to do with an image without a mask: refuse the folder, leave the image out, or take all of
it for background."""

UNLABELED: tuple[Unlabeled, ...] = get_args(Unlabeled)

Resampling = Literal["nearest"]
ClassSource = Literal["folder"]
"""How masks of another size than their images are resized."""

RESAMPLINGS: tuple[Resampling, ...] = get_args(Resampling)
CLASS_SOURCES: tuple[ClassSource, ...] = get_args(ClassSource)

UNEXPECTED: tuple[Unexpected, ...] = get_args(Unexpected)

LABEL_MODES: tuple[LabelMode, ...] = get_args(LabelMode)

IGNORE_INDEX = 255
"""The class id of ignored pixels in all masks in memory; losses and metrics skip them."""

HALF = 128
"""A soft mask, 0 to 255, shows its class from this value on."""

MAX_CLASSES = 255
"""Class ids are uint8 and 255 is ignored, so ids run from 0 to 254."""

_GRAY = "gray-"
MAX_NAME = 200
"""Maximum length of the name of a class; it becomes a part of file names and of legends."""

BACKGROUND_NAMES = ("background", "_background_")
"""Names of the class of pixels that no labeled shape covers."""

StoredValue = Annotated[int, Field(ge=-(2**31), lt=2**31)]
"""A number that a mask file stores."""

_Byte = Annotated[int, Field(ge=0, le=255)]
Color = tuple[_Byte, _Byte, _Byte]


class ClassMap(CheckedModel):
    """Names, colors and stored values of the classes of a data set.

    Attributes:
        names: One name per class; the class id is the position.
        colors: One (red, green, blue) per class, 0 to 255.
        values: The stored value of each class in index masks.
        ignore: The stored values that are ignored.
        ignore_colors: The colors of ignored pixels in color masks.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    names: tuple[str, ...]
    colors: tuple[Color, ...]
    values: tuple[StoredValue, ...]
    ignore: tuple[StoredValue, ...] = (IGNORE_INDEX,)
    ignore_colors: tuple[Color, ...] = ()

    @classmethod
    def build(
        cls,
        names: Sequence[str],
        *,
        colors: Sequence[Color] | None = None,
        values: Sequence[int] | None = None,
        ignore: Sequence[int] = (IGNORE_INDEX,),
        ignore_colors: Sequence[Color] = (),
    ) -> Self:
        """Make a class map; by default with distinct colors and the values 0, 1, 2 and so on.

        Raises:
            ConfigError: Names repeat, or the lists differ in length.
        """
        return cls(
            names=tuple(names),
            colors=tuple(colors) if colors is not None else distinct_colors(len(names)),
            values=tuple(values) if values is not None else tuple(range(len(names))),
            ignore=tuple(ignore),
            ignore_colors=tuple(ignore_colors),
        )

    @model_validator(mode="after")
    def _check(self) -> Self:
        check_class_names(self.names)
        repeated = repeated_entries(self.values)
        if repeated:
            raise ValueError(f"class values must be unique. Got {', '.join(repeated)} twice")
        if not len(self.names) == len(self.colors) == len(self.values):
            raise ValueError(
                f"names, colors and values must have equal lengths. Got {len(self.names)}, "
                f"{len(self.colors)} and {len(self.values)}"
            )
        clash = sorted(set(self.values) & set(self.ignore))
        if clash:
            raise ValueError(f"a value must be a class or ignored, not both. Got {clash}")
        drawn = sorted(set(self.colors) & set(self.ignore_colors))
        if drawn:
            raise ValueError(f"a color must be a class or ignored, not both. Got {drawn}")
        return self

    @property
    def is_numbered(self) -> bool:
        """Whether the classes have only generated names, ``class-0`` and so on."""
        return self.names == numbered_names(self.num_classes)

    @property
    def is_unnamed(self) -> bool:
        """Whether the classes have only generated names: numbers, colors or gray levels."""
        return self.is_numbered or any(name.startswith(("#", _GRAY)) for name in self.names)

    @property
    def background(self) -> int | None:
        """The id of the class named background; ``None`` if no class is."""
        return next((i for i, name in enumerate(self.names) if name in BACKGROUND_NAMES), None)

    @property
    def class_without_objects(self) -> int | None:
        """The id of the class without objects: background, or the first of numbered classes.

        ``None`` if no such class is known.
        """
        if self.background is not None:
            return self.background
        return 0 if self.is_numbered and self.num_classes > 1 else None

    @property
    def num_classes(self) -> int:
        """Number of classes; ignored pixels belong to no class."""
        return len(self.names)


def gray_name(level: int) -> str:
    """Return the name of a class that is known by its gray level only."""
    return f"{_GRAY}{level}" if level else BACKGROUND_NAMES[0]


def check_class_names(names: Sequence[str]) -> None:
    """Check the names of all classes, wherever they come from.

    Raises:
        ValueError: There are none or too many, or one is empty, repeated, too long or not Unicode.
    """
    if not 1 <= len(names) <= MAX_CLASSES:
        raise ValueError(f"there must be 1 to {MAX_CLASSES} classes. Got {len(names):,}")
    for index, name in enumerate(names):
        if not name.strip():
            raise ValueError(f"class names must not be empty. Got {name[:20]!r} for class {index}")
        if len(name) > MAX_NAME:
            raise ValueError(
                f"class names must have at most {MAX_NAME} characters. Got {shortened(name, 40)}"
            )
        if any("\ud800" <= char <= "\udfff" for char in name):
            raise ValueError(f"class names must be Unicode text. Got {name!a}")
    repeated = repeated_entries(names)
    if repeated:
        raise ValueError(f"class names must be unique. Got {', '.join(repeated)} twice")


def repeated_entries(entries: Sequence[str | int]) -> list[str]:
    """Return the entries that occur more than once, sorted, as text."""
    return sorted(str(entry) for entry, count in Counter(entries).items() if count > 1)


def numbered_names(count: int) -> tuple[str, ...]:
    """Return generated names for classes without names."""
    return tuple(f"class-{index}" for index in range(count))


def distinct_colors(count: int) -> tuple[Color, ...]:
    """Return easily distinguished colors: dark gray first, then hues around the color wheel.

    Args:
        count: Number of colors.
    """
    if count == 1:
        return ((230, 60, 60),)
    colors: list[Color] = [(40, 40, 40)]
    for index in range(count - 1):
        hue = (index * 0.618034 + 0.98) % 1.0
        value = (1.0, 0.8, 0.6)[(index // 8) % 3]
        red, green, blue = colorsys.hsv_to_rgb(hue, 0.75, value)
        colors.append((round(red * 255), round(green * 255), round(blue * 255)))
    return tuple(colors)


def color_code(color: Color) -> int:
    """Return a color as one number; in hexadecimal, it is the color code of HTML."""
    red, green, blue = color
    return red << 16 | green << 8 | blue


def color_of(code: int) -> Color:
    """Return the color of a number from :func:`color_code`."""
    return code >> 16, code >> 8 & 255, code & 255
