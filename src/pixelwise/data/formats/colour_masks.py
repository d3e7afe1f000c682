"""``colour-masks``: masks painted in colours, each of which is a class."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import ClassVar

from pixelwise.classes import BACKGROUND_NAMES, ClassMap, colour_code, colour_of
from pixelwise.data.formats import Truth, formats
from pixelwise.data.formats.mask_folders import MaskFolders
from pixelwise.data.masks.coding import (
    VOID_COLOUR,
    colours_to_class_ids,
    hex_of,
    to_colours,
    void_colours_of,
)
from pixelwise.data.masks.colour_tables import (
    LABEL_MAP,
    find_colour_table,
    label_map_text,
    read_colour_table,
)
from pixelwise.data.masks.kinds import MAX_CODES, MaskKind, colours_in
from pixelwise.data.sample import Record, Sample
from pixelwise.data.writing import write_pixels
from pixelwise.errors import ConfigError, MaskError
from pixelwise.io.arrays import UInt8Array
from pixelwise.io.images import read_mask_colours

MAX_COLOURS = 64
"""More colours than this are anti-aliased edges or JPEG, unless somebody names the classes'."""


@formats.register("colour-masks")
class ColourMasks(MaskFolders):
    """A colour is a class, or void; what a picture says of transparency is left out.

    The classes' colours are those of the card, or of a colour table in the folder or above it
    (``labelmap.txt``, ``class_dict.csv``, ``label_colors.txt``), or every colour that is found.
    """

    name: ClassVar[str] = "colour-masks"
    layout: ClassVar[str] = "images/NAME.* + masks/NAME.png painted in a colour per class"
    kind: ClassVar[MaskKind] = "colour"
    takes_lossy: ClassVar[bool] = True

    def class_map(
        self, folder: Path, records: Sequence[Record], ignore: Sequence[int] = ()
    ) -> ClassMap:
        """The classes of a colour table, else one per colour; black is background.

        Raises:
            MaskError: There are more than ``MAX_COLOURS``.
            ConfigError: Values are void, which these masks do not store.
        """
        if ignore:
            raise ConfigError(
                f"ignore must be left out for colour-masks, which store no values. Got "
                f"{list(ignore)}. Say which colours are void in dataset.yaml (void_colours)"
            )
        table = find_colour_table(folder)
        if table is not None:
            return read_colour_table(table)
        codes = sorted(colours_in(records) - {colour_code(VOID_COLOUR)})
        if len(codes) > MAX_COLOURS:
            count = f"{len(codes):,}" if len(codes) < MAX_CODES else f"{MAX_CODES:,} or more"
            raise MaskError(
                f"{records[0].masks[0].parent} must hold at most {MAX_COLOURS} colours, one per "
                f"class. Got {count}, as of smoothed edges or of JPEG. Export the masks without "
                "that, or name the classes and their colours in a dataset.yaml and say with "
                "--strays nearest or --strays void what becomes of the others"
            )
        colours = [colour_of(code) for code in codes] or [(0, 0, 0)]
        names = [hex_of(colour) if any(colour) else BACKGROUND_NAMES[0] for colour in colours]
        return ClassMap.build(names, colours=colours)

    def refusal(self, truth: Truth) -> str | None:
        """Only exclusive masks of classes with different colours."""
        class_map = truth.class_map
        if len(set(class_map.colours)) < class_map.num_classes:
            return "two of its classes have the same colour"
        if truth.has_void and not void_colours_of(class_map):
            return "no colour means void (void_colours in dataset.yaml)"
        return super().refusal(truth)

    def _read_mask(self, path: Path, class_map: ClassMap) -> UInt8Array:
        return colours_to_class_ids(read_mask_colours(path), class_map, path, self.strays)

    def _write(
        self, folder: Path, samples: Iterator[tuple[Record, Sample]], class_map: ClassMap
    ) -> None:
        """RGB PNGs in ``SPLIT/images`` and ``SPLIT/masks``, with their ``labelmap.txt``."""
        super()._write(folder, samples, class_map)
        text = label_map_text(class_map, next(iter(void_colours_of(class_map)), None))
        if text is not None:
            (folder / LABEL_MAP).write_text(text, encoding="utf-8")

    def _write_mask(self, target: Path, mask: UInt8Array, class_map: ClassMap) -> None:
        target.parent.mkdir(parents=True, exist_ok=True)
        write_pixels(target, to_colours(mask, class_map))
