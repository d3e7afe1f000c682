"""Counting: how many pixels of each class were predicted as which; exact, whatever the batches."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from pixelwise.classes import IGNORE_INDEX
from pixelwise.data.reading import UInt8Array

HALF = 128
"""A soft mask, 0..255, is of a class from this value on: one half."""

Counts = npt.NDArray[np.int64]


class ConfusionMatrix:
    """Pixel counts over a split, one class per pixel.

    Attributes:
        counts: int64 (K, K); row is the mask's class, column the predicted one.

    Args:
        num_classes: K.
    """

    def __init__(self, num_classes: int) -> None:
        self.num_classes = num_classes
        self.counts: Counts = np.zeros((num_classes, num_classes), np.int64)

    def add(self, prediction: UInt8Array, mask: UInt8Array) -> None:
        """Count one image.

        Args:
            prediction: Class ids (H, W).
            mask: Class ids (H, W); pixels that are 255 count nowhere.
        """
        labelled = mask != IGNORE_INDEX
        pairs = mask[labelled].astype(np.int64) * self.num_classes + prediction[labelled]
        self.counts += np.bincount(pairs, minlength=self.num_classes**2).reshape(self.counts.shape)

    @property
    def true_positives(self) -> Counts:
        """Pixels of each class that were predicted as it, (K,)."""
        return np.diag(self.counts)

    @property
    def false_positives(self) -> Counts:
        """Pixels predicted as each class that are another, (K,)."""
        return np.asarray(self.counts.sum(0) - self.true_positives)

    @property
    def false_negatives(self) -> Counts:
        """Pixels of each class that were predicted as another, (K,)."""
        return np.asarray(self.counts.sum(1) - self.true_positives)

    @property
    def right(self) -> tuple[int, int]:
        """Pixels whose class is right, and all labelled pixels."""
        return int(self.true_positives.sum()), int(self.counts.sum())


class OverlapCounts:
    """Pixel counts over a split, each class by itself; a pixel may be of several.

    A pixel is of a class where its soft mask is at least one half.

    Args:
        num_classes: K.
    """

    def __init__(self, num_classes: int) -> None:
        self.true_positives: Counts = np.zeros(num_classes, np.int64)
        self.false_positives: Counts = np.zeros(num_classes, np.int64)
        self.false_negatives: Counts = np.zeros(num_classes, np.int64)
        self._num_planes_pixels = 0

    def add(self, prediction: npt.NDArray[np.bool_], mask: UInt8Array) -> None:
        """Count one image.

        Args:
            prediction: bool (K, H, W).
            mask: uint8 (K, H, W), 0..255 for 0..1.
        """
        truth = mask >= HALF
        self.true_positives += (prediction & truth).sum((1, 2))
        self.false_positives += (prediction & ~truth).sum((1, 2))
        self.false_negatives += (~prediction & truth).sum((1, 2))
        self._num_planes_pixels += truth.size

    @property
    def right(self) -> tuple[int, int]:
        """Decisions (a pixel and a class) that are right, and all of them."""
        wrong = int(self.false_positives.sum() + self.false_negatives.sum())
        return self._num_planes_pixels - wrong, self._num_planes_pixels


class KerasCounts:
    """Article A1's four figures, counted as its framework counts them on soft masks.

    Positive for recall and precision is every target above 0; for accuracy a decision is right only
    where the target is exactly 0 or 1 and equals it, so grey edge pixels never count as right.
    """

    def __init__(self) -> None:
        self._equal = self._decisions = 0
        self._true_positives = self._predicted = self._positives = 0
        self._loss = 0.0

    def add(self, probabilities: npt.NDArray[np.float32], mask: UInt8Array) -> None:
        """Count one image.

        Args:
            probabilities: float32 (K, H, W).
            mask: uint8 (K, H, W), 0..255 for 0..1.
        """
        prediction = probabilities > 0.5
        positive = mask > 0
        self._equal += int((prediction & (mask == 255)).sum() + (~prediction & ~positive).sum())
        self._decisions += mask.size
        self._true_positives += int((prediction & positive).sum())
        self._predicted += int(prediction.sum())
        self._positives += int(positive.sum())
        target = mask / 255
        # Keras clips probabilities by this much before it takes the logarithm.
        clipped = np.clip(probabilities.astype(np.float64), 1e-7, 1 - 1e-7)
        self._loss -= float((target * np.log(clipped) + (1 - target) * np.log1p(-clipped)).sum())

    def figures(self) -> dict[str, float]:
        """``loss``, ``binary_accuracy``, ``recall`` and ``precision``; 0 for no pixel."""
        return {
            "loss": self._loss / max(1, self._decisions),
            "binary_accuracy": self._equal / max(1, self._decisions),
            "recall": self._true_positives / max(1, self._positives),
            "precision": self._true_positives / max(1, self._predicted),
        }
