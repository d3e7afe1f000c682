"""Checks masks: the pixels and regions of every class, and their balance between splits."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
from scipy.ndimage import find_objects, label

from pixelwise.classes import ClassMap, Color, LabelMode
from pixelwise.data.sample import Record, Sample
from pixelwise.data.split_assignment import SPLITS
from pixelwise.doctor.findings import Finding, Observation, make_finding, shrink_marks
from pixelwise.doctor.image_checks import content_hash
from pixelwise.io.arrays import BoolArray
from pixelwise.label_modes import mode_of
from pixelwise.text import amount

STRIDE_PX = 16
"""The deepest features of most networks have one value per this many pixels."""

SMALL_SHARE, SMALL_COUNT = 0.10, 10
"""Smallest share and number of small regions of a class that are reported."""

RARE_SHARE = 1e-4
RARE_IMAGES = 3
"""A class hardly occurs below this share of the labeled pixels, or in fewer images than this."""

BALANCE_FACTOR = 3.0
BALANCE_SHARE = 0.005
BALANCE_IMAGES = 5
"""Splits with at least this many images are compared, for classes with at least this share; a
larger factor between their shares is reported."""

_NEIGHBORS = np.ones((3, 3), np.bool_)


@dataclass(frozen=True)
class MaskFacts:
    """What is kept of a mask.

    Attributes:
        pixels: Number of pixels of each class, int64 (K,).
        regions: Number of connected regions of each class, of those smaller than the stride in both
            directions, and of the pixels of the small ones, int64 (K, 3); 0 for the background.
        ignored: Number of ignored pixels.
        size: Number of all pixels.
        content: A hash of the mask.
    """

    pixels: npt.NDArray[np.int64]
    regions: npt.NDArray[np.int64]
    ignored: int
    size: int
    content: bytes


@dataclass
class ClassRow:
    """A row of the table of classes.

    Attributes:
        name: Its name.
        color: Its color.
        value: Its stored value.
        pixels: Number of pixels, by split.
        images: Number of images that show it, by split.
        share: Share of the labeled pixels, by split.
        regions: Number of connected regions, of small ones, and of the pixels of the small ones.
    """

    name: str
    color: Color
    value: int
    pixels: dict[str, int] = field(default_factory=dict)
    images: dict[str, int] = field(default_factory=dict)
    share: dict[str, float] = field(default_factory=dict)
    regions: tuple[int, int, int] = (0, 0, 0)


def look_at_mask(
    record: Record, sample: Sample, class_map: ClassMap
) -> tuple[MaskFacts, list[Observation]]:
    """Check one mask."""
    num_classes, mask, mode = class_map.num_classes, sample.mask, mode_of(sample.label_mode)
    pixels, ignored = mode.count(mask, num_classes)
    ground = mode.class_without_objects(class_map)
    size = int(mask.shape[-2] * mask.shape[-1])
    marks = np.zeros(mask.shape[-2:], np.bool_)
    regions = np.zeros((num_classes, 3), np.int64)
    for index, plane in enumerate(mode.planes(mask, num_classes)):
        if index != ground and pixels[index]:
            regions[index] = _count_regions(plane, marks)
    facts = MaskFacts(pixels, regions, ignored, size, content_hash(mask))
    return facts, _of_one_mask(record, facts, ground, marks)


def _count_regions(plane: BoolArray, marks: BoolArray) -> tuple[int, int, int]:
    """Count connected regions, small ones and the pixels of those, which are marked."""
    parts, count = label(plane, structure=_NEIGHBORS)
    is_small = np.array(
        [False]
        + [
            rows.stop - rows.start < STRIDE_PX and columns.stop - columns.start < STRIDE_PX
            for rows, columns in find_objects(parts)
        ]
    )
    where = is_small[parts]
    marks |= where
    return count, int(is_small.sum()), int(where.sum())


def _of_one_mask(
    record: Record, facts: MaskFacts, ground: int | None, marks: BoolArray
) -> list[Observation]:
    file = record.masks[0] if len(record.masks) == 1 else record.image
    if facts.ignored == facts.size:
        return [Observation("all-ignored", file, image=record.image)]
    others = facts.pixels.sum() - (0 if ground is None else facts.pixels[ground])
    if not others:
        return [Observation("empty-masks", file, image=record.image)]
    num_regions, num_small, _ = facts.regions.sum(0).tolist()
    if not num_small:
        return []
    detail = f"{num_small:,} of {amount(num_regions, 'region')}"
    where = shrink_marks(marks)
    return [Observation("regions-below-stride", file, detail, num_small, record.image, where)]


def class_table(
    masks: Sequence[tuple[Record, MaskFacts]], class_map: ClassMap
) -> tuple[list[ClassRow], dict[str, float]]:
    """Compute the rows of all classes, and the share of ignored pixels by split."""
    by_split: defaultdict[str, list[MaskFacts]] = defaultdict(list)
    for record, facts in masks:
        by_split[record.split or ""].append(facts)
    rows = [
        ClassRow(*entry)
        for entry in zip(class_map.names, class_map.colors, class_map.values, strict=True)
    ]
    ignored_shares = {}
    for split in sorted(by_split, key=lambda name: [*SPLITS, name].index(name)):
        held = by_split[split]
        size, ignored = (
            sum(getattr(facts, what) for facts in held) for what in ("size", "ignored")
        )
        ignored_shares[split] = ignored / size
        for index, row in enumerate(rows):
            row.pixels[split] = sum(int(facts.pixels[index]) for facts in held)
            row.images[split] = sum(bool(facts.pixels[index]) for facts in held)
            row.share[split] = row.pixels[split] / max(1, size - ignored)
    for index, row in enumerate(rows):
        total, small, pixels = sum(facts.regions[index] for _, facts in masks).tolist()
        row.regions = (total, small, pixels)
    return rows, ignored_shares


def look_at_classes(
    rows: Sequence[ClassRow], num_images: dict[str, int], label_mode: LabelMode
) -> list[Finding]:
    """Derive findings from the table of classes.

    Args:
        rows: The table.
        num_images: Number of images in each split.
        label_mode: Label mode of the masks.
    """
    never = [row for row in rows if not sum(row.pixels.values())]
    missing = [row for row in rows if row not in never and not row.pixels.get("train")]
    there = [row for row in rows if row not in never and row not in missing]
    lines: dict[str, list[str]] = {
        "nothing-to-learn": _nothing_to_learn(rows, label_mode) if "train" in num_images else [],
        "class-never-present": [row.name for row in never],
        "class-missing-in-train": [
            f"{row.name}: {_told(row.images)} images" for row in missing if "train" in num_images
        ],
        "class-hardly-present": [
            f"{row.name}: in {row.images['train']:,} of {num_images['train']:,} training images, "
            f"{row.share['train']:.4%} of their labeled pixels"
            for row in there
            if row.share["train"] < RARE_SHARE
            or row.images["train"] < min(RARE_IMAGES, num_images["train"])
        ],
        "class-missing-in-validation": [
            f"{row.name}: not in {' nor '.join(absent)}"
            for row in there
            if (absent := [split for split, pixels in row.pixels.items() if not pixels])
        ],
        "class-balance": [line for row in there for line in _unbalanced(row, num_images)],
    }
    return [make_finding(kind, told) for kind, told in lines.items() if told]


def _nothing_to_learn(rows: Sequence[ClassRow], label_mode: LabelMode) -> list[str]:
    """Apply the same conditions as :func:`pixelwise.transforms.statistics.measure`."""
    present = [row.name for row in rows if row.pixels.get("train")]
    if len(present) >= mode_of(label_mode).min_classes:
        return []
    return [f"they show only {present[0]}" if present else "they show no class"]


def _unbalanced(row: ClassRow, num_images: dict[str, int]) -> list[str]:
    lines = []
    for split, share in row.share.items():
        if split == "train" or min(num_images[split], num_images["train"]) < BALANCE_IMAGES:
            continue
        low, high = sorted((share, row.share["train"]))
        if low and high >= BALANCE_SHARE and high > BALANCE_FACTOR * low:
            lines.append(f"{row.name}: {row.share['train']:.2%} of train, {share:.2%} of {split}")
    return lines


def small_regions(rows: Sequence[ClassRow]) -> list[str]:
    """Return a line for each class with many small regions."""
    return [
        f"{row.name}: {small:,} of {amount(total, 'region')} ({small / total:.0%}) are under "
        f"{STRIDE_PX} px in both directions; "
        f"they hold {pixels / sum(row.pixels.values()):.2%} of its pixels"
        for row in rows
        for total, small, pixels in [row.regions]
        if small >= SMALL_COUNT and small >= SMALL_SHARE * total
    ]


def _told(counts: dict[str, int]) -> str:
    return ", ".join(f"{count:,} {split}" for split, count in counts.items() if count)
