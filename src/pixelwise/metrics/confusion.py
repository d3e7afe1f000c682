"""Confusion matrices and pixel counts, exact for any batch size."""

from __future__ import annotations

from abc import ABC, abstractmethod
from array import array
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
from PIL import Image

from pixelwise.classes import HALF, IGNORE_INDEX, LabelMode
from pixelwise.io.arrays import Array, UInt8Array
from pixelwise.label_modes import Multiclass, Multilabel
from pixelwise.metrics import formulas
from pixelwise.metrics.formulas import Counts, Values

MAX_IN_A_BYTE = 15
"""Up to this many classes, all pairs of classes, including ignored pixels, fit into one byte."""


class _ImageCounts:
    """The counts of all images in one growing block.

    Separate arrays would fragment the memory between the logits of the batches: evaluating 10,000
    small images took 180 MB more.
    """

    def __init__(self) -> None:
        self._numbers = array("q")

    def append(self, counts: Counts) -> None:
        """Add the counts of one image, int64 (4, K)."""
        self._numbers.frombytes(counts.astype(np.int64).tobytes())

    def stacked(self, num_classes: int) -> Counts:
        """The counts of all images, int64 (N, 4, K)."""
        return np.array(self._numbers, np.int64).reshape(-1, 4, num_classes)


class PixelCounts(ABC):
    """Pixel counts over a split, per image; see :data:`COUNTS`.

    Attributes:
        label_mode: Label mode of the masks.

    Args:
        num_classes: K.
    """

    label_mode: ClassVar[LabelMode]

    def __init__(self, num_classes: int) -> None:
        self.num_classes = num_classes
        self._images = _ImageCounts()

    @staticmethod
    @abstractmethod
    def accuracy(counts: npt.NDArray[Any]) -> Values:
        """Return the fraction of correct decisions from counts (..., 4, K)."""

    @abstractmethod
    def add(self, prediction: Array, mask: UInt8Array) -> Counts:
        """Count one image.

        Args:
            prediction: The decision of the label mode.
            mask: As in a sample.

        Returns:
            The counts of the image.
        """

    @property
    def per_image(self) -> Counts:
        """int64 (N, 4, K) as :mod:`pixelwise.metrics.formulas` takes them."""
        return self._images.stacked(self.num_classes)


class ConfusionMatrix(PixelCounts):
    """Pixel counts over a split, one class per pixel.

    Attributes:
        counts: int64 (K, K), rows: ground truth, columns: prediction.

    Args:
        num_classes: K.
    """

    label_mode = Multiclass.name
    accuracy = staticmethod(formulas.multiclass_accuracy)

    def __init__(self, num_classes: int) -> None:
        super().__init__(num_classes)
        self.counts: Counts = np.zeros((num_classes, num_classes), np.int64)

    def add(self, prediction: Array, mask: UInt8Array) -> Counts:
        """Count one image.

        Args:
            prediction: Class ids (H, W).
            mask: Class ids (H, W); 255 is ignored.

        Returns:
            The confusion matrix of the image, int64 (K, K).
        """
        counts = count_pairs(prediction, mask, self.num_classes)
        self.add_counts(counts)
        return counts

    def add_counts(self, counts: Counts) -> None:
        """Add the confusion matrix of one image, int64 (K, K)."""
        self.counts += counts
        hits = np.diag(counts)
        extra, missed = counts.sum(0) - hits, counts.sum(1) - hits
        rest = counts.sum() - hits - extra - missed
        self._images.append(np.stack([hits, extra, missed, rest]))


def count_pairs(prediction: UInt8Array, mask: UInt8Array, num_classes: int) -> Counts:
    """Return the confusion matrix of one image.

    Args:
        prediction: Class ids (H, W).
        mask: Class ids (H, W); 255 is ignored.
        num_classes: K.

    Returns:
        int64 (K, K), rows: ground truth.
    """
    if num_classes <= MAX_IN_A_BYTE:
        # A pair fits into one byte. Translating and counting bytes runs at memory speed, twice as
        # fast as bincount, which first converts every pixel to 8 bytes.
        codes = np.frombuffer(mask.tobytes().translate(_row_starts(num_classes)), np.uint8)
        # Predictions on ignored pixels are arbitrary and must not be counted in another row.
        codes = codes + np.minimum(prediction, num_classes).ravel()
        histogram = np.array(Image.fromarray(codes[None]).histogram(), np.int64)
    else:
        labeled = mask != IGNORE_INDEX
        pairs = mask[labeled].astype(np.intp) * num_classes + prediction[labeled]
        histogram = np.bincount(pairs, minlength=num_classes**2)
    return histogram[: num_classes**2].reshape(num_classes, num_classes)


def _row_starts(num_classes: int) -> bytes:
    """Return a table from mask values to the first code of their rows; 255 is after all rows."""
    starts = np.full(256, num_classes**2, np.uint8)
    starts[:num_classes] = np.arange(num_classes) * num_classes
    return starts.tobytes()


class MultilabelCounts(PixelCounts):
    """Pixel counts over a split for multilabel masks, per class.

    A pixel belongs to a class if its soft mask is at least one half.

    Args:
        num_classes: K.
    """

    label_mode = Multilabel.name
    accuracy = staticmethod(formulas.multilabel_accuracy)

    def add(self, prediction: Array, mask: UInt8Array) -> Counts:
        """Count one image.

        Args:
            prediction: bool (K, H, W).
            mask: uint8 (K, H, W), 0..255 for 0..1.

        Returns:
            The counts of the image, int64 (4, K).
        """
        target = mask >= HALF
        pairs = ((prediction, target), (prediction, ~target), (~prediction, target))
        hits, extra, missed = (np.count_nonzero(a & b, axis=(1, 2)) for a, b in pairs)
        rest = target[0].size - hits - extra - missed
        counts = np.stack([hits, extra, missed, rest])
        self.add_counts(counts)
        return counts

    def add_counts(self, counts: Counts) -> None:
        """Add the counts of one image, int64 (4, K)."""
        self._images.append(counts)


COUNTS: dict[LabelMode, type[PixelCounts]] = {
    counts.label_mode: counts for counts in (ConfusionMatrix, MultilabelCounts)
}
"""The counting class of each label mode."""
