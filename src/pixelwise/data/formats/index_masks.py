"""``index-masks``: a folder of images and a folder of masks whose pixels are class ids."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

from pixelwise.classes import IGNORE_INDEX, ClassMap, Color
from pixelwise.data.formats import MaskContent, formats
from pixelwise.data.formats.mask_folders import MaskFolders, value_refusal
from pixelwise.data.masks.class_tables import names_of_values
from pixelwise.data.masks.coding import to_stored_values
from pixelwise.data.masks.kinds import MaskKind, black_and_white, numbered_class_map, values_in
from pixelwise.data.sample import Record
from pixelwise.data.writing import write_mask
from pixelwise.io.arrays import UInt8Array


@formats.register("index-masks")
class IndexMasks(MaskFolders):
    """Masks are read as stored numbers: gray values, or indices into a palette."""

    name: ClassVar[str] = "index-masks"
    layout: ClassVar[str] = "images/NAME.* + masks/NAME.png, or train/ + trainannot/"
    kind: ClassVar[MaskKind] = "index"

    def class_map(
        self,
        folder: Path,
        records: Sequence[Record],
        ignore: Sequence[int] = (),
    ) -> ClassMap:
        """Return one class per stored value, with the names of a table that has all of them.

        Raises:
            MaskError: The values do not look like class ids.
        """
        values = values_in(records) - set(ignore)
        if values == {0, IGNORE_INDEX}:
            # If 255 were ignored here, only background would remain: the mask is black and white.
            return black_and_white()
        numbered = numbered_class_map(values, records[0].masks[0].parent)
        names = names_of_values(folder, values - {IGNORE_INDEX})
        if names is None:
            return numbered
        known = {value: name for value, name in names.items() if value not in ignore}
        return ClassMap.build(list(known.values()), values=list(known))

    def refusal(self, content: MaskContent) -> str | None:
        """Refuse masks that are not multiclass, and stored values above 255."""
        return value_refusal(content) or super().refusal(content)

    def _write_mask(self, target: Path, mask: UInt8Array, class_map: ClassMap) -> None:
        """Write a palette PNG of the stored values in the colors of the classes."""
        palette: list[Color] = [(0, 0, 0)] * (IGNORE_INDEX + 1)
        for value, color in zip(class_map.values, class_map.colors, strict=True):
            palette[value] = color
        write_mask(target, to_stored_values(mask, class_map), palette)
