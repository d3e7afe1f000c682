"""Counts for the headline metrics, computed on the device of the logits."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from pixelwise.classes import IGNORE_INDEX, LabelMode
from pixelwise.errors import DataError
from pixelwise.io.arrays import UInt8Array
from pixelwise.label_modes import mode_of
from pixelwise.metrics.confusion import ConfusionMatrix, MultilabelCounts, PixelCounts
from pixelwise.metrics.device_counts import count_classes_on_device, count_pairs_on_device
from pixelwise.metrics.formulas import Counts
from pixelwise.prediction.predictor import Predictor
from pixelwise.text import amount

SMALLEST_PROBABILITY = 1e-7
"""Lower bound of probabilities in the binary loss, so that a wrong pixel counts at most 16."""

LARGEST_LOGIT = math.log((1 - SMALLEST_PROBABILITY) / SMALLEST_PROBABILITY)


class Counting(ABC):
    """Accumulates the counts of the headline metrics over images.

    Args:
        predictor: The model.

    Attributes:
        counts: Pixel counts of all images, by class.
    """

    counts: PixelCounts

    @abstractmethod
    def __init__(self, predictor: Predictor) -> None: ...

    @abstractmethod
    def add(self, logits: Tensor, mask: UInt8Array) -> npt.NDArray[Any] | None:
        """Count one image.

        Args:
            logits: float32 (K, H, W), on any device.
            mask: As in a sample.

        Returns:
            The decision, uint8 (H, W) or bool (K, H, W); ``None`` if it stays on its device.
        """

    @property
    @abstractmethod
    def confusion(self) -> Counts | None:
        """int64 (K, K), rows: ground truth, columns: prediction; ``None`` for multilabel."""

    @property
    @abstractmethod
    def loss(self) -> float:
        """Mean cross-entropy per labeled pixel (multilabel: binary, per pixel and class)."""

    @abstractmethod
    def require_labels(self, first: str, num_images: int) -> None:
        """Check that at least one pixel is labeled.

        Args:
            first: Name of the first image.
            num_images: Number of images.

        Raises:
            DataError: No pixel is labeled.
        """


class MulticlassCounting(Counting):
    """Counts the confusion matrix and the mean cross-entropy over labeled pixels.

    Args:
        predictor: The model.
    """

    def __init__(self, predictor: Predictor) -> None:
        self._predictor = predictor
        self._mode = mode_of(ConfusionMatrix.label_mode)
        self.counts: ConfusionMatrix = ConfusionMatrix(predictor.card.class_map.num_classes)
        self._loss_sum = 0.0
        self._num_labeled = 0

    def add(self, logits: Tensor, mask: UInt8Array) -> npt.NDArray[Any] | None:
        """Count one image.

        Args:
            logits: float32 (K, H, W), on any device.
            mask: Class ids (H, W); ignored pixels are not counted.

        Returns:
            The decision, uint8 (H, W); ``None`` if it stays on its device.
        """
        target = torch.from_numpy(mask).to(logits.device)
        prediction = None
        if _is_in_main_memory(logits):
            prediction = np.asarray(self._predictor.decide(logits), np.uint8)
            self.counts.add(prediction, mask)
        else:
            num_classes = self.counts.num_classes
            decision = self._mode.decide(logits)
            self.counts.add_counts(count_pairs_on_device(decision, target, num_classes))
        self._loss_sum += nn.functional.cross_entropy(
            logits[None], target.long()[None], ignore_index=IGNORE_INDEX, reduction="sum"
        ).item()
        self._num_labeled += int(np.count_nonzero(mask != IGNORE_INDEX))
        return prediction

    @property
    def confusion(self) -> Counts | None:
        """int64 (K, K), rows: ground truth, columns: prediction."""
        return self.counts.counts

    @property
    def loss(self) -> float:
        """Mean cross-entropy per labeled pixel."""
        return self._loss_sum / max(1, self._num_labeled)

    def require_labels(self, first: str, num_images: int) -> None:
        """See :meth:`Counting.require_labels`."""
        if not self.counts.counts.sum():
            raise DataError(
                f"the masks ({first}{', ...' if num_images > 1 else ''}) must contain labeled "
                "pixels. All are ignored. "
                "Check the ignore value, or choose another split with --split"
            )


class MultilabelCounting(Counting):
    """Counts each class separately, and the mean binary cross-entropy against soft masks.

    Args:
        predictor: The model.
    """

    def __init__(self, predictor: Predictor) -> None:
        self._predictor = predictor
        self._mode = mode_of(MultilabelCounts.label_mode)
        self.counts: MultilabelCounts = MultilabelCounts(predictor.card.class_map.num_classes)
        self._loss_sum = 0.0
        self._num_decisions = 0

    def add(self, logits: Tensor, mask: UInt8Array) -> npt.NDArray[Any] | None:
        """Count one image.

        Args:
            logits: float32 (K, H, W), on any device.
            mask: uint8 (K, H, W), 0..255 for 0..1.

        Returns:
            The decision, bool (K, H, W); ``None`` if it stays on its device.
        """
        self._num_decisions += mask.size
        if _is_in_main_memory(logits):
            prediction = np.asarray(self._predictor.decide(logits), np.bool_)
            self.counts.add(prediction, mask)
            self._loss_sum += _binary_loss(logits, mask)
            return prediction
        target = torch.from_numpy(mask).to(logits.device)
        self.counts.add_counts(count_classes_on_device(self._mode.decide(logits), target))
        bounded = logits.clamp(-LARGEST_LOGIT, LARGEST_LOGIT)
        self._loss_sum += nn.functional.binary_cross_entropy_with_logits(
            bounded, target.float() / 255, reduction="sum"
        ).item()
        return None

    @property
    def confusion(self) -> Counts | None:
        """``None``, because a pixel may belong to several classes."""
        return None

    @property
    def loss(self) -> float:
        """Mean binary cross-entropy per pixel and class."""
        return self._loss_sum / max(1, self._num_decisions)

    def require_labels(self, first: str, num_images: int) -> None:
        """See :meth:`Counting.require_labels`."""
        if not self.counts.per_image[:, [0, 2]].any():
            raise DataError(
                f"no mask contains a class ({amount(num_images, 'mask')}; the first is {first}). "
                "Check the masks, or choose another split with --split"
            )


COUNTING: dict[LabelMode, type[Counting]] = {
    ConfusionMatrix.label_mode: MulticlassCounting,
    MultilabelCounts.label_mode: MultilabelCounting,
}
"""The counting class of each label mode."""


def _binary_loss(logits: Tensor, mask: UInt8Array) -> float:
    """Return the sum of the binary cross-entropies in float64, for logits in main memory."""
    probabilities = np.asarray(logits.sigmoid().numpy(), np.float64)
    soft = mask / 255
    clipped = np.clip(probabilities, SMALLEST_PROBABILITY, 1 - SMALLEST_PROBABILITY)
    return -float((soft * np.log(clipped) + (1 - soft) * np.log1p(-clipped)).sum())


def _is_in_main_memory(logits: Tensor) -> bool:
    """On these devices, bytes are counted at memory speed; elsewhere, copying them costs more."""
    return logits.device.type == "cpu"
