"""Object recall: the fraction of connected objects that are found, by size."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.ndimage import label

from pixelwise.classes import ClassMap, LabelMode
from pixelwise.io.arrays import Array, UInt8Array
from pixelwise.label_modes import mode_of

SIZES_PX = {"small": 32**2, "medium": 96**2, "large": None}
"""Upper area limits of the object sizes, as in COCO."""

MATCH_IOU = 0.5
"""Minimum IoU with a connected predicted region for an object to count as found."""

TOUCHING = np.ones((3, 3), np.int8)
"""Connectivity: pixels that touch at a corner are connected."""


@dataclass(frozen=True)
class ObjectRow:
    """The objects of one class and size.

    Attributes:
        name: The class.
        size: ``small`` (below 32 x 32 pixels of area), ``medium`` (96 x 96) or ``large``.
        objects: Number of objects in the masks.
        found: Object recall: fraction with an IoU of at least 0.5 with a predicted region.
        covered: Pixel recall: fraction of their pixels predicted as their class.
    """

    name: str
    size: str
    objects: int
    found: float
    covered: float


class ObjectCounts:
    """Counts the objects of every class except the background over a split.

    Args:
        class_map: The classes.
        label_mode: Label mode of the masks.
    """

    def __init__(self, class_map: ClassMap, label_mode: LabelMode) -> None:
        self._mode = mode_of(label_mode)
        self._names = class_map.names
        self._ground = self._mode.class_without_objects(class_map)
        self._counts = np.zeros((class_map.num_classes, len(SIZES_PX), 4), np.int64)

    def add(self, prediction: Array, mask: UInt8Array) -> None:
        """Count one image, without ignored pixels.

        Args:
            prediction: The decision of the label mode.
            mask: As in a sample.
        """
        labeled = ~self._mode.ignored(mask)
        guesses, targets = (
            self._mode.planes(each, len(self._names)) for each in (prediction, mask)
        )
        for index, (guess, target) in enumerate(zip(guesses, targets, strict=True)):
            if index != self._ground:
                self._add_class(index, guess & labeled, target)

    def _add_class(
        self, index: int, guess: npt.NDArray[np.bool_], target: npt.NDArray[np.bool_]
    ) -> None:
        """Count one class of one image; both are bool (H, W)."""
        objects, count = label(target, TOUCHING)
        if not count:
            return
        regions, num_regions = label(guess, TOUCHING)
        # Overlap of each object with each region in pixels; only pairs that overlap are listed.
        pairs, shared = np.unique(
            objects[target].astype(np.int64) * (num_regions + 1) + regions[target],
            return_counts=True,
        )
        which, region = np.divmod(pairs, num_regions + 1)
        areas = np.bincount(objects.ravel(), minlength=count + 1)
        region_areas = np.bincount(regions.ravel(), minlength=num_regions + 1)
        meets = region > 0
        which, region, shared = which[meets], region[meets], shared[meets]
        iou = shared / (areas[which] + region_areas[region] - shared)
        is_found = np.zeros(count + 1, np.bool_)
        is_found[which[iou >= MATCH_IOU]] = True
        covered = np.bincount(which, weights=shared, minlength=count + 1).astype(np.int64)
        limits = [limit for limit in SIZES_PX.values() if limit]
        sizes = np.searchsorted(limits, areas[1:], side="right")
        columns = (np.ones(count, np.int64), is_found[1:], covered[1:], areas[1:])
        for column, values in enumerate(columns):
            np.add.at(self._counts[index, :, column], sizes, values.astype(np.int64))

    def merge(self, other: ObjectCounts) -> None:
        """Add the counts of other images, such as from another process."""
        self._counts += other._counts

    @property
    def rows(self) -> list[ObjectRow]:
        """Return the recall for every class and size in the masks."""
        return [
            ObjectRow(name, size, int(count), float(found / count), float(covered / pixels))
            for index, name in enumerate(self._names)
            for size, (count, found, covered, pixels) in zip(
                SIZES_PX, self._counts[index].tolist(), strict=True
            )
            if count
        ]
