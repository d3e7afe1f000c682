"""Decides which files of a folder are the images and which are their masks, or asks."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pixelwise.errors import DataError
from pixelwise.io.counting import spread
from pixelwise.io.images import read_image
from pixelwise.pairing.contents import FamilyContent, Looker
from pixelwise.pairing.families import Candidate, find_candidates
from pixelwise.pairing.roles import is_derived, role_of
from pixelwise.pairing.single_files import single_files
from pixelwise.pairing.templates import Pairs, Template, pair_by_templates
from pixelwise.pairing.tree import FileTree

MAX_CANDIDATES = 100
"""Number of candidates that are looked at, the largest first."""

FIELD_OF_VIEW_IOU = 0.95
"""Masks of different images that overlap more than this on average show a field of view, not
classes. The field of view of DRIVE has 0.974, its vessels 0.079."""

NUM_OVERLAPPED = 6
MIN_OVERLAPPED = 3
"""Number of masks that are compared with each other, at most and at least."""


@dataclass(frozen=True)
class Reading:
    """A way to read a folder: which files are images, and which are their masks.

    Attributes:
        images: The template of the images.
        masks: The template of the masks.
        pairs: What the two find.
        held: What the masks hold.
        sizes: Width and height of an image and of its mask if they differ, else ``None``.
        is_sure: Whether the contents or the names tell which side holds the masks.
    """

    images: str
    masks: str
    pairs: Pairs
    held: FamilyContent
    sizes: tuple[tuple[int, int], tuple[int, int]] | None
    is_sure: bool = True

    @property
    def in_words(self) -> str:
        """The reading for the user: ``paired 60 of 60: images/{name}.jpg with ...``."""
        return self.pairs.in_words(self.images, self.masks)


@dataclass(frozen=True)
class Found:
    """What was found in a folder.

    Attributes:
        readings: The possible readings, the likeliest first; a single one is certain.
        set_aside: Readings that were not chosen, and why.
    """

    readings: tuple[Reading, ...]
    set_aside: tuple[tuple[Reading, str], ...] = ()

    @property
    def only(self) -> Reading | None:
        """The reading if there is no doubt about it."""
        if len(self.readings) != 1:
            return None
        reading = self.readings[0]
        return reading if reading.is_sure and reading.sizes is None else None


def find_readings(tree: FileTree) -> Found:
    """Return how the pictures of a folder can be read as images and masks."""
    looker = Looker(tree.root)
    readings: list[Reading] = []
    candidates = find_candidates(tree.pictures) or single_files(tree.pictures)
    for candidate in candidates[:MAX_CANDIDATES]:
        reading = _as_reading(candidate, tree, looker)
        if reading is not None:
            readings.append(reading)
    return _decide(looker, _without_parts(_oriented(readings)))


def _as_reading(candidate: Candidate, tree: FileTree, looker: Looker) -> Reading | None:
    """Return a candidate with its roles; ``None`` if neither side holds masks."""
    files = [[pair[side] for pair in candidate.pairs] for side in (0, 1)]
    sides = tuple(looker.look_at_all(files[side], files[1 - side]) for side in (0, 1))
    names = (candidate.first, candidate.second)
    mask_side, is_sure = _mask_side(sides, names)
    if mask_side is None:
        return None
    image_side = 1 - mask_side
    images, masks = Template(names[image_side]), Template(names[mask_side])
    pairs = pair_by_templates(tree.pictures, images, masks)
    if len(pairs.pairs) < len(candidate.pairs):
        return None  # the names cannot be written as a template
    held = sides[mask_side]
    sizes = _different_sizes(pairs, looker)
    return Reading(images.text, masks.text, pairs, held, sizes, is_sure)


def _mask_side(sides: Sequence[FamilyContent], names: Sequence[str]) -> tuple[int | None, bool]:
    """Return which side holds the masks, and whether that is sure."""
    is_picture = [side.kind == "many" for side in sides]
    if is_picture[0] != is_picture[1]:
        return int(is_picture[0]), True
    roles = [role_of(name) for name in names]
    told = {("image", "mask"): 1, ("mask", "image"): 0}.get((roles[0] or "", roles[1] or ""))
    if told is None and not any(is_picture):
        # Of two families with few values, the one with more is likelier to hold the images.
        told = int(sides[0].num_values >= sides[1].num_values)
        return told, False
    return told, told is not None


def _different_sizes(
    pairs: Pairs, looker: Looker
) -> tuple[tuple[int, int], tuple[int, int]] | None:
    """Return width and height of the first image and mask of some that differ in size."""
    for pair in spread(pairs.pairs, 6):
        image = looker.look_at(pair.image, pair.mask)
        mask = looker.look_at(pair.mask, pair.image)
        if image and mask and image.size != mask.size:
            return image.size[::-1], mask.size[::-1]
    return None


def _oriented(readings: Sequence[Reading]) -> list[Reading]:
    """Leave out doubtful readings of files whose role is known from other readings."""
    sure = [reading for reading in readings if reading.is_sure]
    known = {name for reading in sure for name in (reading.images, reading.masks)}
    return sure + [
        reading
        for reading in readings
        if not reading.is_sure and not {reading.images, reading.masks} & known
    ]


def _without_parts(readings: Sequence[Reading]) -> list[Reading]:
    """Leave out readings all of whose files have partners in one larger reading."""
    kept: list[Reading] = []
    covered: list[set[str]] = []
    for reading in sorted(readings, key=lambda one: (not one.is_sure, -len(one.pairs.pairs))):
        files = {
            path for pair in reading.pairs.pairs for path in (pair.image, pair.mask, *pair.further)
        }
        if not any(len(files) < len(larger) and files <= larger for larger in covered):
            kept.append(reading)
            covered.append(files)
    return kept


def _decide(looker: Looker, readings: list[Reading]) -> Found:
    """Choose where all other readings are plainly none, else keep all of them."""
    set_aside: list[tuple[Reading, str]] = []

    def keep(is_wanted: Sequence[bool], why: str) -> None:
        nonlocal readings
        if any(is_wanted) and not all(is_wanted):
            pairs = list(zip(readings, is_wanted, strict=True))
            set_aside.extend((reading, why) for reading, is_kept in pairs if not is_kept)
            readings = [reading for reading, is_kept in pairs if is_kept]

    keep([reading.sizes is None for reading in readings], "masks of another size")
    for side in ("images", "masks"):
        keep(
            [not _has_better(reading, readings, side) for reading in readings],
            "made from other pictures, by its name",
        )
    if len(readings) > 1:
        is_view = [_is_field_of_view(looker, reading) for reading in readings]
        keep([not view for view in is_view], FIELD_OF_VIEW)
    return Found(tuple(sorted(readings, key=_likelihood)), tuple(set_aside))


FIELD_OF_VIEW = "nearly the same in all images, as a field of view"


def _has_better(reading: Reading, readings: Sequence[Reading], side: str) -> bool:
    """Whether one side of a reading is derived, and another reading has a better one instead."""
    other_side = "masks" if side == "images" else "images"
    return is_derived(getattr(reading, side)) and any(
        getattr(other, other_side) == getattr(reading, other_side)
        and not is_derived(getattr(other, side))
        for other in readings
    )


def _likelihood(reading: Reading) -> tuple[object, ...]:
    """Sort key: the likeliest reading first."""
    leftovers = len(reading.pairs.unlabeled) + len(reading.pairs.orphans)
    return (
        not reading.is_sure,
        is_derived(reading.images) + is_derived(reading.masks),
        -len(reading.pairs.pairs),
        leftovers,
        reading.held.kind != "few",
        -len(reading.held.values),
        reading.images,
        reading.masks,
    )


def _is_field_of_view(looker: Looker, reading: Reading) -> bool:
    """Whether the masks of different images are nearly the same."""
    if len(reading.held.values) > 2:
        return False
    planes = []
    for pair in spread(reading.pairs.pairs, NUM_OVERLAPPED):
        try:
            picture = looker.picture(pair.mask, pair.image)
            if picture is None:
                continue
            pixels = read_image(picture)[..., 0]
        except DataError:
            continue
        planes.append(pixels > pixels.max(initial=0) / 2)
    overlaps = [
        float((one & other).sum()) / max(1, int((one | other).sum()))
        for one, other in itertools.combinations(planes, 2)
        if one.shape == other.shape
    ]
    return len(overlaps) >= MIN_OVERLAPPED and float(np.mean(overlaps)) > FIELD_OF_VIEW_IOU
