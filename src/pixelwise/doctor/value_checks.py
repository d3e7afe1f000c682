"""Checks stored values: black and white masks, 255 that means 1, and gaps between values."""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import numpy as np

from pixelwise.data.dataset import Dataset
from pixelwise.data.masks.kinds import mask_storage
from pixelwise.data.sample import Record
from pixelwise.doctor.findings import Example, Finding, Tally, make_finding
from pixelwise.doctor.mask_checks import ClassRow, MaskFacts
from pixelwise.errors import DataError
from pixelwise.io.images import read_mask_values
from pixelwise.label_modes import mode_of
from pixelwise.text import amount

GAP = 2
"""This many consecutive values that occur in no mask are a gap."""

Masks = Sequence[tuple[Record, MaskFacts]]


def look_at_values(
    dataset: Dataset, masks: Masks, rows: Sequence[ClassRow], *, is_explained: bool
) -> list[Finding]:
    """Check the stored values of masks that are read as numbers.

    Args:
        dataset: The data set.
        masks: Every mask that could be read.
        rows: The table of classes.
        is_explained: Whether a card names the classes, or they are a guess reported separately.
    """
    class_map = dataset.class_map
    if not mode_of(dataset.label_mode).holds_ids or not masks:
        return []
    if class_map.values == (0, 255) and not is_explained:
        return [_finding("black-and-white-masks", _showing(masks, 1))]
    is_white_ignored = class_map.values == (0, 1) and 255 in class_map.ignore
    if is_white_ignored and not any(rows[1].pixels.values()):
        white = [(record, facts, facts.ignored) for record, facts in masks if facts.ignored]
        return [_finding("white-read-as-ignored", white)] if white else []
    return _gaps(dataset, masks, rows)


def mixed_storage(dataset: Dataset, tally: Tally) -> list[Finding]:
    """Find the less frequent kind if some masks of a folder store colors and others numbers."""
    if dataset.format.name != "color-masks":
        return []
    stored: defaultdict[bool, list[tuple[Path, Path]]] = defaultdict(list)
    for record in (record for record in dataset.records if record.masks):
        with suppress(DataError):
            is_number = mask_storage(record.masks[0]) == "numbers"
            # Black and white mean the same in both cases.
            if not is_number or not set(np.unique(read_mask_values(record.masks[0]))) <= {0, 255}:
                stored[is_number].append((record.masks[0], record.image))
    if len(stored) < 2:
        return []
    is_number, few = min(stored.items(), key=lambda kind: len(kind[1]))
    what = "numbers" if is_number else "colors"
    return [
        make_finding(
            "mixed-mask-storage",
            [f"{tally.say(path)}: {what}" for path, _ in few],
            [path for path, _ in few],
            examples=[Example(path, tally.say(path)) for path, _ in few],
        )
    ]


def _showing(masks: Masks, index: int) -> list[tuple[Record, MaskFacts, int]]:
    """Return the masks that show a class, with its number of pixels."""
    return [
        (record, facts, int(facts.pixels[index])) for record, facts in masks if facts.pixels[index]
    ]


def _gaps(dataset: Dataset, masks: Masks, rows: Sequence[ClassRow]) -> list[Finding]:
    """Find values after a gap, if classes are unnamed, so that every number became one."""
    if not dataset.class_map.is_numbered:
        return []
    present = [index for index, row in enumerate(rows) if any(row.pixels.values())]
    for before, after in itertools.pairwise(present):
        if after - before > GAP:
            far = [index for index in present if index >= after]
            seen = [entry for index in far for entry in _showing(masks, index)]
            lines = [
                f"value {index}: {amount(sum(rows[index].pixels.values()), 'pixel')} in "
                f"{amount(sum(rows[index].images.values()), 'image')}; the next lower value is "
                f"{before}"
                for index in far
            ]
            return [_finding("value-gaps", seen, lines)]
    return []


def _finding(
    kind: str, seen: list[tuple[Record, MaskFacts, int]], lines: Sequence[str] | None = None
) -> Finding:
    seen = sorted(seen, key=lambda entry: -entry[2])
    told = [f"{record.name}: {amount(pixels, 'pixel')}" for record, _, pixels in seen]
    return make_finding(
        kind,
        lines or told,
        [record.masks[0] if record.masks else record.image for record, _, _ in seen],
        counts={"amount": sum(pixels for _, _, pixels in seen)},
        examples=[
            Example(record.image, line)
            for (record, _, _), line in zip(seen[:3], told[:3], strict=True)
        ],
    )
