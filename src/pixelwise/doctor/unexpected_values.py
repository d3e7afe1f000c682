"""Finds mask values that are not classes, and their likely cause."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import numpy as np
from scipy.ndimage import binary_dilation

from pixelwise.classes import Unexpected
from pixelwise.data.dataset import Dataset
from pixelwise.data.found_classes import MIN_NOISE
from pixelwise.data.own_format import checked_sample
from pixelwise.data.sample import Record, Sample
from pixelwise.doctor.findings import Observation, shrink_marks
from pixelwise.errors import DataError, PixelwiseError
from pixelwise.io.arrays import Array, BoolArray, UInt8Array, Window
from pixelwise.io.image_windows import in_window
from pixelwise.io.images import read_image, read_mask_values
from pixelwise.label_modes import mode_of
from pixelwise.text import amount

SOLID_SHARE = 0.5
"""In drawn regions, at least this share of unexpected values equal those to the right and below."""

FRINGE_PX = 2
FRINGE_SHARE = 0.85
"""Largest distance of smoothed edges from a border, and smallest share of values within it."""


def find_unexpected(dataset: Dataset, record: Record) -> tuple[Sample, Observation | None] | None:
    """Load a record with the nearest class for each unexpected pixel, and describe those pixels.

    Args:
        dataset: An opened data set, with any rule for unexpected values.
        record: One of its records.

    Returns:
        The sample and the observation; ``None`` if loading fails for another reason.
    """
    try:
        nearest, ignored = (_load_with(dataset, record, rule) for rule in ("nearest", "ignore"))
    except PixelwiseError:
        return None
    if not record.masks:
        return nearest, None
    mode = mode_of(nearest.label_mode)
    # A pixel that is ignored under one rule and a class under the other is unexpected; this works
    # for every format.
    unexpected = mode.ignored(ignored.mask) & ~mode.ignored(nearest.mask)
    if not unexpected.any():
        return nearest, None
    return nearest, _describe(dataset, record, nearest.mask, unexpected)


def _load_with(dataset: Dataset, record: Record, rule: Unexpected) -> Sample:
    changed = copy.copy(dataset.format)
    changed.unexpected = rule
    return checked_sample(record, changed, dataset.class_map)


def _describe(
    dataset: Dataset, record: Record, nearest: UInt8Array, unexpected: BoolArray
) -> Observation:
    stored = stored_values(record.masks[0], nearest.shape, record.window)
    total = int(unexpected.sum())
    named, distinct = "", 1
    if stored is not None:
        levels, first, counts = np.unique(
            stored[unexpected], axis=0, return_index=True, return_counts=True
        )
        distinct = len(levels)
        classes = nearest[unexpected][first]
        worst = np.argsort(-counts, kind="stable")[:MIN_NOISE]
        named = ": " + ", ".join(
            f"{_value(levels[i])} ({counts[i]:,}, nearest {dataset.class_map.names[classes[i]]})"
            for i in worst.tolist()
        )
        named += f", and {distinct - len(worst)} more values" if distinct > len(worst) else ""
    kind = _kind_of(dataset, nearest, unexpected, stored, distinct)
    detail = f"{amount(total, 'pixel')} ({_percent(total / unexpected.size)}){named}"
    mask = record.masks[0]
    return Observation(kind, mask, detail, total, record.image, shrink_marks(unexpected))


def _kind_of(
    dataset: Dataset,
    nearest: UInt8Array,
    unexpected: BoolArray,
    stored: Array | None,
    distinct: int,
) -> str:
    if dataset.format.unexpected != "error":
        return "unexpected-decided"
    if stored is not None and stored.ndim == 2 and dataset.class_map.values == (0, 1):
        is_white = bool((stored[unexpected] == 255).all())
        if is_white and not (stored == 1).any():
            return "white-is-no-class"
    if distinct < MIN_NOISE or (stored is not None and _is_solid(stored, unexpected)):
        return "unexpected-values"
    near_border = binary_dilation(_borders(nearest), iterations=FRINGE_PX - 1)
    is_fringe = near_border[unexpected].mean() >= FRINGE_SHARE
    return "anti-aliased-masks" if is_fringe else "jpeg-damaged-masks"


def _is_solid(stored: Array, unexpected: BoolArray) -> bool:
    """Whether most unexpected values equal their neighbors, as in drawn regions."""
    planes = stored[..., None] if stored.ndim == 2 else stored
    like_right = (planes[:-1, :-1] == planes[:-1, 1:]).all(-1)
    like_below = (planes[:-1, :-1] == planes[1:, :-1]).all(-1)
    inner = unexpected[:-1, :-1]
    return bool(inner.any()) and bool((like_right & like_below)[inner].mean() >= SOLID_SHARE)


def _borders(mask: UInt8Array) -> BoolArray:
    """Return the pixels next to a pixel of another class."""
    borders = np.zeros(mask.shape, np.bool_)
    across, down = mask[:, 1:] != mask[:, :-1], mask[1:] != mask[:-1]
    borders[:, 1:] |= across
    borders[:, :-1] |= across
    borders[1:] |= down
    borders[:-1] |= down
    return borders


def stored_values(path: Path, shape: tuple[int, ...], window: Window | None = None) -> Array | None:
    """Read a mask image: values (H, W) or colors (H, W, C); ``None`` for other files."""
    part = in_window(window)
    try:
        stored: Array = read_mask_values(path, part)
    except DataError:
        try:
            stored = read_image(path, part)
        except DataError:
            return None
    return stored if stored.shape[:2] == shape else None


def _value(level: Any) -> str:
    return str(level.tolist()) if np.ndim(level) == 0 else str(tuple(level.tolist()))


def _percent(share: float) -> str:
    return f"{share:.2%}" if share >= 0.0001 else "under 0.01%"
