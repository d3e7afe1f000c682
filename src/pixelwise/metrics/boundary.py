"""Boundary metrics, which are more sensitive than areas: boundary IoU, trimap IoU, surface Dice.

Counts are kept per image and class and summed, so the metrics of a split do not depend on order or
batches. Ignored pixels are not counted, and an edge against ignored pixels is not a boundary,
because the region may continue there. If ignored pixels remove the whole edge of a class in an
image, the image is left out for this class, in ground truth and prediction.
"""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from pixelwise.classes import IGNORE_INDEX
from pixelwise.io.arrays import BoolArray, UInt8Array
from pixelwise.metrics.confusion import count_pairs
from pixelwise.metrics.formulas import Counts, Values

BOUNDARY_SHARE = 0.02
"""Band width of the boundary IoU as a fraction of the image diagonal, as in the paper."""

TRIMAP_PX = 5
"""Width of the trimap band on each side of the boundary, in pixels."""

TOLERANCE_PX = 2
"""Tolerance of the normalized surface Dice, in pixels."""

DISTANCES_PX = (1, 2, 4, 8, 16)
"""Upper bin edges of the accuracy by distance to the nearest boundary, in pixels."""


class BoundaryCounts:
    """Boundary counts over a split, for one class per pixel.

    Args:
        num_classes: K.
    """

    def __init__(self, num_classes: int) -> None:
        self.num_classes = num_classes
        self._pixels = np.zeros(num_classes, np.int64)
        self._bands = np.zeros((2, num_classes), np.int64)
        self._trimap: Counts = np.zeros((num_classes, num_classes), np.int64)
        self._surfaces = np.zeros((2, num_classes), np.int64)
        self._by_distance = np.zeros((2, len(DISTANCES_PX) + 1), np.int64)

    def add(self, prediction: UInt8Array, mask: UInt8Array) -> None:
        """Count one image; both are class ids (H, W), and ignored pixels are not counted."""
        ignored = mask == IGNORE_INDEX
        width = max(1, round(BOUNDARY_SHARE * float(np.hypot(*mask.shape))))
        for index in range(self.num_classes):
            target, guess = mask == index, (prediction == index) & ~ignored
            if not target.any() and not guess.any():
                continue
            self._pixels[index] += np.count_nonzero(target)
            bands = [inner_band(region, ignored, width) for region in (target, guess)]
            if not _is_hidden(target, bands[0], ignored):
                self._bands[:, index] += [
                    np.count_nonzero(bands[0] & bands[1]), np.count_nonzero(bands[0] | bands[1]),
                ]  # fmt: skip
            contours = [
                inner_band(region, ignored, 1, frame_is_edge=False) for region in (target, guess)
            ]
            if not _is_hidden(target, contours[0], ignored):
                self._surfaces[:, index] += _within(*contours)
        distance = distance_to(class_edges(mask))
        near = np.where(distance < TRIMAP_PX, mask, np.uint8(IGNORE_INDEX))
        self._trimap += count_pairs(prediction, near, self.num_classes)
        band = np.searchsorted(DISTANCES_PX, distance[~ignored], side="right")
        right = (prediction == mask)[~ignored]
        for row, counted in enumerate((band[right], band)):
            self._by_distance[row] += np.bincount(counted, minlength=len(DISTANCES_PX) + 1)

    def merge(self, other: BoundaryCounts) -> None:
        """Add the counts of other images, such as from another process."""
        self._pixels += other._pixels
        self._bands += other._bands
        self._trimap += other._trimap
        self._surfaces += other._surfaces
        self._by_distance += other._by_distance

    @property
    def boundary_iou(self) -> Values:
        """Return the IoU (K,) of the bands inside the edges; NaN for classes absent from the masks.

        Reference:
            Cheng et al., Boundary IoU (2021), arXiv:2103.16562.
        """
        return np.where(self._pixels > 0, _shares(*self._bands), np.nan)

    @property
    def trimap_iou(self) -> Values:
        """Return the IoU (K,) of pixels near a ground-truth boundary; NaN for classes without one.

        Reference:
            Kohli et al., Robust Higher Order Potentials for Enforcing Label Consistency (2009).
        """
        hits = np.diag(self._trimap)
        pixels = self._trimap.sum(1)
        return _shares(
            np.where(pixels > 0, hits, 0),
            np.where(pixels > 0, pixels + self._trimap.sum(0) - hits, 0),
        )

    @property
    def surface_dice(self) -> Values:
        """Return the fraction (K,) of both boundaries within the tolerance of the other.

        NaN for classes absent from the masks.

        Reference:
            Nikolov et al., Deep learning to achieve clinically applicable segmentation (2018),
            arXiv:1809.04430.
        """
        return np.where(self._pixels > 0, _shares(*self._surfaces), np.nan)

    @property
    def accuracy_by_distance(self) -> list[tuple[str, float, int]]:
        """Return (distance to the nearest boundary in px, accuracy, pixels), from near to far."""
        lows, highs = (0, *DISTANCES_PX), (*DISTANCES_PX, None)
        names = [
            f"{low}-{high}" if high else f"{low}+" for low, high in zip(lows, highs, strict=True)
        ]
        accuracy = _shares(*self._by_distance)
        return [
            (name, float(share), int(pixels))
            for name, share, pixels in zip(names, accuracy, self._by_distance[1], strict=True)
        ]


def inner_band(
    region: BoolArray, ignored: BoolArray, width_px: int, *, frame_is_edge: bool = True
) -> BoolArray:
    """Return the pixels of a region within a distance of its edge.

    Args:
        region: bool (H, W).
        ignored: bool (H, W); the region is assumed to continue there.
        width_px: Width in pixels, in the chessboard metric; 1 gives the contour.
        frame_is_edge: Whether the image border is an edge of the region.
    """
    kernel = np.ones((2 * width_px + 1, 2 * width_px + 1), np.uint8)
    frame = cv2.BORDER_CONSTANT if frame_is_edge else cv2.BORDER_REPLICATE
    whole = (region | ignored).astype(np.uint8)
    inside = np.asarray(cv2.erode(whole, kernel, borderType=frame, borderValue=0))
    band: BoolArray = region & (inside == 0)
    return band


def class_edges(mask: UInt8Array) -> BoolArray:
    """Return the labeled pixels (H, W) with a 4-neighbor of another class."""
    edges = np.zeros(mask.shape, np.bool_)
    for ours, theirs in (
        ((slice(None), slice(1, None)), (slice(None), slice(None, -1))),
        ((slice(1, None), slice(None)), (slice(None, -1), slice(None))),
    ):
        first, second = mask[ours], mask[theirs]
        differs = (first != second) & (first != IGNORE_INDEX) & (second != IGNORE_INDEX)
        edges[ours] |= differs
        edges[theirs] |= differs
    return edges


def distance_to(places: BoolArray) -> npt.NDArray[np.float32]:
    """Return the distance of each pixel to the nearest marked one; infinite if none is marked."""
    if not places.any():
        return np.full(places.shape, np.inf, np.float32)
    away = cv2.distanceTransform((~places).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    return np.asarray(away, np.float32)


def _is_hidden(target: BoolArray, edge: BoolArray, ignored: BoolArray) -> bool:
    """Whether ignored pixels removed the whole edge of a region."""
    return bool(target.any() and not edge.any() and ignored.any())


def _within(target: BoolArray, guess: BoolArray) -> tuple[int, int]:
    """Count the boundary pixels within the tolerance of the other boundary, and all of both."""
    near_guess = distance_to(guess)[target] <= TOLERANCE_PX
    near_target = distance_to(target)[guess] <= TOLERANCE_PX
    hits = int(near_guess.sum()) + int(near_target.sum())
    return hits, near_guess.size + near_target.size


def _shares(part: npt.NDArray[np.int64], whole: npt.NDArray[np.int64]) -> Values:
    found: Values = np.divide(part, whole, out=np.full(whole.shape, np.nan), where=whole > 0)
    return found
