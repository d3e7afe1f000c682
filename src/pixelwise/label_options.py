"""How the labels of a folder are read: the same options in Python, cards, recipes and commands."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, TypedDict, Unpack, cast

from pixelwise.classes import ClassSource, LabelMode, Resampling, StoredValue, Unexpected, Unlabeled
from pixelwise.schemas import Length, Section, Share, validated
from pixelwise.text import several


class LabelOptions(Section):
    """Options of the label reading; ``None`` lets pixelwise find or choose the value.

    Attributes:
        format: The label format; ``None`` detects it and reports the reason.
        ignore: Stored mask values that are ignored, besides those of the format and the card.
        ignore_mask: Template of pictures that are 0 where the pixels of their images are ignored,
            such as ``fov/{name}.png``, which show a field of view.
        label_mode: ``multiclass`` or ``multilabel``, for formats that can be read in both modes.
        unexpected: What to do with stored values that are neither a class nor ignored: ``error``
            (the default) raises, ``nearest`` uses the nearest class, ``ignore`` ignores the pixels.
        images: Template of the images, such as ``images/{name}.*``, for formats with one mask file
            per image; given with ``masks``.
        masks: Template of their masks, such as ``masks/{name}_mask.png``.
        unlabeled: What becomes of images without a mask: ``error`` (the default) raises, ``skip``
            leaves them out, ``background`` reads them as background.
        resize_masks: ``nearest`` resizes masks of another size than their images, which are an
            error by default.
        class_property: The property that gives the class of a shape; ``none`` makes all one class.
        class_from: ``folder`` gives the objects of masks with a background and one class the name
            of the folder of their image as class.
        buffer: Half width with which the points and lines of GeoJSON are painted, in units of the
            reference system of the raster, or in pixels for images without one; by default, they
            are left out.
        max_bad_annotations: Largest share of annotations that cannot be used and are left out, 0
            to below 1; the default is 0.05.
    """

    format: str | None = None
    ignore: tuple[StoredValue, ...] | None = None
    ignore_mask: str | None = None
    label_mode: LabelMode | None = None
    unexpected: Unexpected | None = None
    images: str | None = None
    masks: str | None = None
    unlabeled: Unlabeled | None = None
    resize_masks: Resampling | None = None
    class_property: str | None = None
    class_from: ClassSource | None = None
    buffer: Length | None = None
    max_bad_annotations: Share | None = None

    def completed_by(self, other: LabelOptions) -> LabelOptions:
        """Return these options with those of another object where they are open.

        Values that either of them ignores are ignored.
        """
        chosen = {key: getattr(other, key) if own is None else own for key, own in self.options()}
        both = dict.fromkeys((*(other.ignore or ()), *(self.ignore or ())))
        return LabelOptions(**{**chosen, "ignore": tuple(both) or None})

    def options(self) -> list[tuple[str, Any]]:
        """Return names and values of the label options, without the keys of derived sections."""
        return [(key, getattr(self, key)) for key in LabelOptions.model_fields]

    def arguments(self) -> LabelArguments:
        """Return the options as keyword arguments."""
        return cast("LabelArguments", dict(self.options()))

    def words(self) -> tuple[str, ...]:
        """Return the options of the command line that read labels in the same way."""
        return tuple(
            word
            for key, value in self.options()
            for one in (() if value is None else several(value))
            for word in (f"--{key.replace('_', '-')}", str(one))
        )


class LabelArguments(TypedDict, total=False):
    """The options of :class:`LabelOptions` as keyword arguments; its docstring describes them."""

    format: str | None
    ignore: Iterable[int] | None
    ignore_mask: str | None
    label_mode: LabelMode | None
    unexpected: Unexpected | None
    images: str | None
    masks: str | None
    unlabeled: Unlabeled | None
    resize_masks: Resampling | None
    class_property: str | None
    class_from: ClassSource | None
    buffer: float | None
    max_bad_annotations: float | None


def label_options(**given: Unpack[LabelArguments]) -> LabelOptions:
    """Return keyword arguments as checked options; a single number to ignore may stand alone.

    Raises:
        ConfigError: A name is unknown, or a value is not allowed.
    """
    ignored = given.get("ignore")
    values = () if ignored is None else several(ignored)
    return validated(LabelOptions, {**given, "ignore": values or None}, "the label options")


class Located(Section):
    """A section that begins with the path of the data."""

    path: str | None = None
