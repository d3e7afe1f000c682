"""What is counted of every evaluated image, where its logits are."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from pixelwise.classes import IGNORE_INDEX
from pixelwise.io.arrays import UInt8Array
from pixelwise.metrics.confusion import ConfusionMatrix, MultilabelCounts
from pixelwise.metrics.conventions import KerasCounts
from pixelwise.metrics.device_counts import count_classes_on_device, count_pairs_on_device
from pixelwise.metrics.formulas import Counts
from pixelwise.prediction.predictor import Predictor


class MulticlassCounting:
    """The confusion matrix and the mean cross-entropy over labeled pixels.

    Args:
        predictor: The model.
    """

    def __init__(self, predictor: Predictor) -> None:
        self._predictor = predictor
        self.counts = ConfusionMatrix(predictor.card.class_map.num_classes)
        self.keras: KerasCounts | None = None
        self._loss_sum = 0.0
        self._num_labeled = 0

    def add(self, logits: Tensor, mask: UInt8Array) -> npt.NDArray[Any] | None:
        """Count one image.

        Args:
            logits: float32 (K, H, W), on any device.
            mask: Class ids (H, W); ignored pixels count nowhere.

        Returns:
            What was decided, uint8 (H, W); ``None`` where it stays on its device.
        """
        target = torch.from_numpy(mask).to(logits.device)
        prediction = None
        if _is_in_main_memory(logits):
            prediction = np.asarray(self._predictor.decide(logits), np.uint8)
            self.counts.add(prediction, mask)
        else:
            num_classes = self.counts.num_classes
            self.counts.add_counts(
                count_pairs_on_device(logits.max(0).indices, target, num_classes)
            )
        self._loss_sum += nn.functional.cross_entropy(
            logits[None], target.long()[None], ignore_index=IGNORE_INDEX, reduction="sum"
        ).item()
        self._num_labeled += int(np.count_nonzero(mask != IGNORE_INDEX))
        return prediction

    @property
    def confusion(self) -> Counts | None:
        """int64 (K, K); row is the mask's class, column the predicted one."""
        return self.counts.counts

    @property
    def loss(self) -> float:
        """Mean cross-entropy per labeled pixel."""
        return self._loss_sum / max(1, self._num_labeled)


class MultilabelCounting:
    """Every class against the rest, and the figures of Keras, of which one is the loss.

    Args:
        predictor: The model.
    """

    def __init__(self, predictor: Predictor) -> None:
        self._predictor = predictor
        self.counts = MultilabelCounts(predictor.card.class_map.num_classes)
        self.keras: KerasCounts | None = KerasCounts()
        self._keras = self.keras

    def add(self, logits: Tensor, mask: UInt8Array) -> npt.NDArray[Any] | None:
        """Count one image.

        Args:
            logits: float32 (K, H, W), on any device.
            mask: uint8 (K, H, W), 0..255 for 0..1.

        Returns:
            What was decided, bool (K, H, W); ``None`` where it stays on its device.
        """
        prediction = None
        if _is_in_main_memory(logits):
            prediction = np.asarray(self._predictor.decide(logits), np.bool_)
            self.counts.add(prediction, mask)
        else:
            target = torch.from_numpy(mask).to(logits.device)
            self.counts.add_counts(count_classes_on_device(logits > 0, target))
        self._keras.add(np.asarray(logits.sigmoid().cpu().numpy(), np.float32), mask)
        return prediction

    @property
    def confusion(self) -> Counts | None:
        """There is none: a pixel may be of several classes."""
        return None

    @property
    def loss(self) -> float:
        """Mean binary cross-entropy per pixel and class."""
        return self._keras.figures()["loss"]


def _is_in_main_memory(logits: Tensor) -> bool:
    """There, bytes are counted at memory speed; elsewhere moving them costs more."""
    return logits.device.type == "cpu"
