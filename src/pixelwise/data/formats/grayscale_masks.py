"""``grayscale-masks``: black and white masks, or masks in which each gray level is a class."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

from pixelwise.classes import ClassMap, gray_name
from pixelwise.data.formats import MaskContent, formats
from pixelwise.data.formats.mask_folders import MaskFolders, value_refusal
from pixelwise.data.masks.class_tables import names_of_colors
from pixelwise.data.masks.coding import to_stored_values
from pixelwise.data.masks.kinds import (
    MaskKind,
    are_gray_levels,
    black_and_white,
    gray_levels_error,
    values_in,
)
from pixelwise.data.sample import Record
from pixelwise.data.writing import write_mask
from pixelwise.io.arrays import UInt8Array

MAX_LEVELS = 16
"""More unnamed gray levels than this are assumed to come from smoothing or scaling."""


@formats.register("grayscale-masks")
class GrayscaleMasks(MaskFolders):
    """Each gray level is a class, including 255, which is white and not ignored here."""

    name: ClassVar[str] = "grayscale-masks"
    layout: ClassVar[str] = "images/NAME.* + masks/NAME.png in gray levels such as 0 and 255"
    kind: ClassVar[MaskKind] = "grayscale"
    takes_lossy: ClassVar[bool] = True

    def class_map(
        self,
        folder: Path,
        records: Sequence[Record],
        ignore: Sequence[int] = (),
    ) -> ClassMap:
        """Return one class per gray level: background and foreground, or ``gray-127`` and so on.

        Raises:
            MaskError: There are more than ``MAX_LEVELS`` levels.
        """
        levels = sorted(values_in(records) - set(ignore))
        if len(levels) > MAX_LEVELS:
            raise gray_levels_error(levels, records[0].masks[0].parent)
        known = names_of_colors(folder, [level * 0x010101 for level in levels])
        if known is not None:
            names = [known[level * 0x010101] for level in levels]
            return ClassMap.build(names, values=levels, ignore=())
        if {*levels} <= {0, 255}:
            return black_and_white()
        names = [gray_name(level) for level in levels]
        return ClassMap.build(names, values=levels, ignore=())

    def stored(self, class_map: ClassMap) -> ClassMap:
        """Use even steps from black to white; the last one is for ignored pixels, if any."""
        if are_gray_levels((*class_map.values, *class_map.ignore)):
            return class_map
        has_ignored = bool(class_map.ignore) and class_map.num_classes > 2
        count = class_map.num_classes + has_ignored
        levels = [round(255 * number / max(1, count - 1)) for number in range(count)]
        split = class_map.num_classes
        stored = {"values": tuple(levels[:split]), "ignore": tuple(levels[split:])}
        return class_map.model_copy(update=stored)

    def refusal(self, content: MaskContent) -> str | None:
        """Refuse masks that are not multiclass, and values that are close to each other."""
        values = content.class_map.values
        if not are_gray_levels((*values, *content.class_map.ignore)):
            return f"its values {', '.join(map(str, values[:5]))} are class ids, as in index-masks"
        return value_refusal(content) or super().refusal(content)

    def _write_mask(self, target: Path, mask: UInt8Array, class_map: ClassMap) -> None:
        """Write a grayscale PNG of the stored values."""
        write_mask(target, to_stored_values(mask, class_map))
