"""``color-masks``: masks in which each color is a class."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import ClassVar

from pixelwise.classes import BACKGROUND_NAMES, ClassMap, color_code, color_of
from pixelwise.data.formats import MaskContent, formats
from pixelwise.data.formats.mask_folders import MaskFolders
from pixelwise.data.masks.class_tables import names_of_colors
from pixelwise.data.masks.coding import (
    IGNORE_COLOR,
    colors_to_class_ids,
    hex_of,
    ignore_colors_of,
    to_colors,
)
from pixelwise.data.masks.color_tables import (
    LABEL_MAP,
    find_color_table,
    label_map_text,
    read_color_table,
)
from pixelwise.data.masks.kinds import MAX_CODES, MaskKind, colors_in
from pixelwise.data.sample import Record, Sample
from pixelwise.data.writing import write_pixels
from pixelwise.errors import ConfigError, MaskError
from pixelwise.io.arrays import UInt8Array
from pixelwise.io.images import PixelReader, read_mask_colors

MAX_COLORS = 64
"""More unnamed colors than this are assumed to come from anti-aliased edges or JPEG."""


@formats.register("color-masks")
class ColorMasks(MaskFolders):
    """Each color is a class or ignored; transparency is not read.

    The colors come from the card, from a color table in the folder or above it (``labelmap.txt``,
    ``class_dict.csv``, ``label_colors.txt``), or from the masks themselves.
    """

    name: ClassVar[str] = "color-masks"
    layout: ClassVar[str] = "images/NAME.* + masks/NAME.png painted in a color per class"
    kind: ClassVar[MaskKind] = "color"
    takes_lossy: ClassVar[bool] = True
    stores_colors: ClassVar[bool] = True

    def class_map(
        self, folder: Path, records: Sequence[Record], ignore: Sequence[int] = ()
    ) -> ClassMap:
        """Return the classes of a color table, or one per color; black is background.

        Raises:
            MaskError: There are more than ``MAX_COLORS`` colors.
            ConfigError: ``ignore`` has values, but these masks store colors.
        """
        if ignore:
            raise ConfigError(
                f"ignore must be left out for color-masks, which store no values. Got "
                f"{list(ignore)}. List ignored colors in dataset.yaml (ignore_colors)"
            )
        table = find_color_table(folder)
        if table is not None:
            return read_color_table(table)
        codes = sorted(colors_in(records) - {color_code(IGNORE_COLOR)})
        known = names_of_colors(folder, codes) if len(codes) <= MAX_COLORS else None
        if known is not None:
            return ClassMap.build(list(known.values()), colors=[color_of(code) for code in known])
        if len(codes) > MAX_COLORS:
            count = f"{len(codes):,}" if len(codes) < MAX_CODES else f"{MAX_CODES:,} or more"
            raise MaskError(
                f"{records[0].masks[0].parent} must contain at most {MAX_COLORS} colors, one per "
                f"class. Got {count}, as from smoothed edges or JPEG. Export the masks as PNG "
                "without smoothing, or list the classes and their colors in a dataset.yaml and use "
                "`unexpected='nearest'` or `unexpected='ignore'` for the other colors"
            )
        colors = [color_of(code) for code in codes] or [(0, 0, 0)]
        names = [hex_of(color) if any(color) else BACKGROUND_NAMES[0] for color in colors]
        return ClassMap.build(names, colors=colors)

    def refusal(self, content: MaskContent) -> str | None:
        """Refuse masks that are not multiclass, and classes that share a color."""
        class_map = content.class_map
        if len(set(class_map.colors)) < class_map.num_classes:
            return "two of its classes have the same color"
        if content.has_ignored and not ignore_colors_of(class_map):
            return "no color means ignored (ignore_colors in dataset.yaml)"
        return super().refusal(content)

    def _read_mask(self, path: Path, class_map: ClassMap, reader: PixelReader | None) -> UInt8Array:
        codes = read_mask_colors(path, reader)
        return colors_to_class_ids(codes, class_map, path, self.unexpected)

    def _write(
        self, folder: Path, samples: Iterator[tuple[Record, Sample]], class_map: ClassMap
    ) -> None:
        """Write RGB PNGs in ``SPLIT/images`` and ``SPLIT/masks``, with a ``labelmap.txt``."""
        super()._write(folder, samples, class_map)
        text = label_map_text(class_map, next(iter(ignore_colors_of(class_map)), None))
        if text is not None:
            (folder / LABEL_MAP).write_text(text, encoding="utf-8")

    def _write_mask(self, target: Path, mask: UInt8Array, class_map: ClassMap) -> None:
        target.parent.mkdir(parents=True, exist_ok=True)
        write_pixels(target, to_colors(mask, class_map))
