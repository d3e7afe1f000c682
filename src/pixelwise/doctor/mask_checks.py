"""Masks: what each shows of every class, and what that says of the data set."""

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

STRIDE_PX = 16
"""The deepest features of most networks have one value for this many pixels across."""

SMALL_SHARE, SMALL_COUNT = 0.10, 10
"""Small regions are worth saying from this share and this number of a class's regions on."""

RARE_SHARE = 1e-4
RARE_IMAGES = 3
"""A class is hardly present below this share of the labeled pixels, or in fewer images."""

BALANCE_FACTOR = 3.0
BALANCE_SHARE = 0.005
BALANCE_IMAGES = 5
"""Splits of this many images are compared in the classes of such a share; more than this factor is
much."""

_NEIGHBORS = np.ones((3, 3), np.bool_)


@dataclass(frozen=True)
class MaskFacts:
    """What is kept of a mask.

    Attributes:
        pixels: Of each class, int64 (K,).
        regions: Connected regions of each class, those that are smaller than the stride in both
            directions, and the pixels of the small ones, int64 (K, 3); 0 for the background.
        ignored: Ignored pixels.
        size: All pixels.
        content: A hash of the mask.
    """

    pixels: npt.NDArray[np.int64]
    regions: npt.NDArray[np.int64]
    ignored: int
    size: int
    content: bytes


@dataclass
class ClassRow:
    """One class in the table of classes.

    Attributes:
        name: Its name.
        color: Its color.
        value: How it is stored.
        pixels: By split.
        images: That show it, by split.
        share: Of the labeled pixels, by split.
        regions: Connected regions, the small ones among them, and the pixels of these.
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
    """What one mask shows."""
    num_classes, mask, mode = class_map.num_classes, sample.mask, mode_of(sample.label_mode)
    pixels, ignored = mode.count(mask, num_classes)
    ground = mode.ground(class_map)
    size = int(mask.shape[-2] * mask.shape[-1])
    marks = np.zeros(mask.shape[-2:], np.bool_)
    regions = np.zeros((num_classes, 3), np.int64)
    for index, plane in enumerate(mode.planes(mask, num_classes)):
        if index != ground and pixels[index]:
            regions[index] = _count_regions(plane, marks)
    facts = MaskFacts(pixels, regions, ignored, size, content_hash(mask))
    return facts, _of_one_mask(record, facts, ground, marks)


def _count_regions(plane: BoolArray, marks: BoolArray) -> tuple[int, int, int]:
    """Connected regions, the small ones among them and their pixels; small ones are marked."""
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
    detail = f"{num_small:,} of {num_regions:,} regions"
    where = shrink_marks(marks)
    return [Observation("regions-below-stride", file, detail, num_small, record.image, where)]


def class_table(
    masks: Sequence[tuple[Record, MaskFacts]], class_map: ClassMap
) -> tuple[list[ClassRow], dict[str, float]]:
    """Pixels, images and shares of every class in every split, and the ignored share by split."""
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
    """What the table of classes says.

    Args:
        rows: The table.
        num_images: Of each split.
        label_mode: Of the masks.
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
    """As :func:`pixelwise.transforms.statistics.measure` refuses it."""
    present = [row.name for row in rows if row.pixels.get("train")]
    if len(present) >= mode_of(label_mode).min_classes:
        return []
    return [f"they show {present[0]} alone" if present else "they show no class"]


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
    """A line for each class of which many regions are small; none where that is not worth it."""
    return [
        f"{row.name}: {small:,} of {total:,} regions ({small / total:.0%}) are under "
        f"{STRIDE_PX} px in both directions; "
        f"they hold {pixels / sum(row.pixels.values()):.2%} of its pixels"
        for row in rows
        for total, small, pixels in [row.regions]
        if small >= SMALL_COUNT and small >= SMALL_SHARE * total
    ]


def _told(counts: dict[str, int]) -> str:
    return ", ".join(f"{count:,} {split}" for split, count in counts.items() if count)
