"""Mask values that are no class: what they are, where they lie, and what likely made them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from scipy.ndimage import binary_dilation

from pixelwise.classes import IGNORE_INDEX, Strays
from pixelwise.data.dataset import Dataset
from pixelwise.data.formats import formats
from pixelwise.data.sample import Record, Sample
from pixelwise.doctor.findings import Observation, shrink_marks
from pixelwise.errors import DataError, PixelwiseError
from pixelwise.io.arrays import Array, BoolArray, UInt8Array
from pixelwise.io.images import read_image, read_mask_values

FEW = 4
"""Fewer stray values than this are values on their own, and not a smear."""

SOLID_SHARE = 0.5
"""Of the strays so many are as the pixels to their right and below, where they are regions."""

FRINGE_PX = 2
FRINGE_SHARE = 0.85
"""Smoothed edges lie this near to a border, with this share of them at least."""


def find_strays(dataset: Dataset, record: Record) -> tuple[Sample, Observation | None] | None:
    """Load a record with the nearest class for each stray pixel, and say what is stray.

    Args:
        dataset: Opened, with any rule for strays.
        record: Its record.

    Returns:
        The sample and what was found; ``None`` where strays are not what is wrong.
    """
    try:
        nearest, void = (_load_with(dataset, record, rule) for rule in ("nearest", "void"))
    except PixelwiseError:
        return None
    if nearest.label_mode != "exclusive" or not record.masks:
        return nearest, None
    # What is void by one rule and a class by the other is a stray, in whatever format it lies.
    strays = (void.mask == IGNORE_INDEX) & (nearest.mask != IGNORE_INDEX)
    if not strays.any():
        return nearest, None
    return nearest, _describe(dataset, record, nearest.mask, strays)


def _load_with(dataset: Dataset, record: Record, rule: Strays) -> Sample:
    own = dataset.format
    changed = formats.create(own.name, label_mode=own.label_mode, strays=rule)
    return changed.load(record, dataset.class_map)


def _describe(
    dataset: Dataset, record: Record, nearest: UInt8Array, strays: BoolArray
) -> Observation:
    stored = stored_values(record.masks[0], nearest.shape)
    total = int(strays.sum())
    named, distinct = "", 1
    if stored is not None:
        levels, first, counts = np.unique(
            stored[strays], axis=0, return_index=True, return_counts=True
        )
        distinct = len(levels)
        classes = nearest[strays][first]
        worst = np.argsort(-counts, kind="stable")[:FEW]
        named = ": " + ", ".join(
            f"{_value(levels[i])} ({counts[i]:,}, nearest {dataset.class_map.names[classes[i]]})"
            for i in worst.tolist()
        )
        named += f", and {distinct - len(worst)} more values" if distinct > len(worst) else ""
    kind = _kind_of(dataset, nearest, strays, stored, distinct)
    detail = f"{total:,} pixels ({_percent(total / strays.size)}){named}"
    mask = record.masks[0]
    return Observation(kind, mask, detail, total, record.image, shrink_marks(strays))


def _kind_of(
    dataset: Dataset, nearest: UInt8Array, strays: BoolArray, stored: Array | None, distinct: int
) -> str:
    if dataset.format.strays != "refuse":
        return "strays-decided"
    if stored is not None and stored.ndim == 2 and dataset.class_map.values == (0, 1):
        is_white = bool((stored[strays] == 255).all())
        if is_white and not (stored == 1).any():
            return "white-is-no-class"
    if distinct < FEW or (stored is not None and _is_solid(stored, strays)):
        return "stray-values"
    near_border = binary_dilation(_borders(nearest), iterations=FRINGE_PX - 1)
    is_fringe = near_border[strays].mean() >= FRINGE_SHARE
    return "anti-aliased-masks" if is_fringe else "jpeg-damaged-masks"


def _is_solid(stored: Array, strays: BoolArray) -> bool:
    """Most strays are like their neighbours, as drawn regions are; what is smeared differs."""
    planes = stored[..., None] if stored.ndim == 2 else stored
    like_right = (planes[:-1, :-1] == planes[:-1, 1:]).all(-1)
    like_below = (planes[:-1, :-1] == planes[1:, :-1]).all(-1)
    inner = strays[:-1, :-1]
    return bool(inner.any()) and bool((like_right & like_below)[inner].mean() >= SOLID_SHARE)


def _borders(mask: UInt8Array) -> BoolArray:
    """Pixels beside one of another class."""
    borders = np.zeros(mask.shape, np.bool_)
    across, down = mask[:, 1:] != mask[:, :-1], mask[1:] != mask[:-1]
    borders[:, 1:] |= across
    borders[:, :-1] |= across
    borders[1:] |= down
    borders[:-1] |= down
    return borders


def stored_values(path: Path, shape: tuple[int, ...]) -> Array | None:
    """What a mask picture holds: values (H, W), or colours (H, W, C); ``None`` for other files."""
    try:
        stored: Array = read_mask_values(path)
    except DataError:
        try:
            stored = read_image(path)
        except DataError:
            return None
    return stored if stored.shape[:2] == shape else None


def _value(level: Any) -> str:
    return str(level.tolist()) if np.ndim(level) == 0 else str(tuple(level.tolist()))


def _percent(share: float) -> str:
    return f"{share:.2%}" if share >= 0.0001 else "under 0.01%"
