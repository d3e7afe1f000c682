"""Multilabel labels: any number of classes per pixel, one sigmoid per class; masks may be soft."""

# ruff: noqa: ARG002  both modes take the same arguments; not every method uses all of them

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING, ClassVar

import numpy as np
import numpy.typing as npt

from pixelwise.classes import HALF, IGNORE_INDEX, ClassMap, Color, LabelMode
from pixelwise.io.arrays import Array, BoolArray, Float32Array, UInt8Array
from pixelwise.label_modes.base import THRESHOLD, Mode, Place, Places

if TYPE_CHECKING:
    from torch import Tensor


class Multilabel(Mode):
    """Any number of classes per pixel."""

    name: ClassVar[LabelMode] = "multilabel"
    holds_ids = False
    needs_background = False
    padding = 0
    min_classes = 1
    balances_rare = False
    definition = (
        "per class, pixels with mask >= 1/2 against probability > 1/2, summed over the split at "
        "original size; mean IoU over the classes that the masks show"
    )
    prediction_title = f"prediction > {THRESHOLD:g}"
    error_names = ("wrong class", "missed")

    def decide(self, logits: Tensor) -> Tensor:
        """Return where the probability of each class is above the threshold."""
        return logits > math.log(THRESHOLD / (1 - THRESHOLD))

    def probabilities(self, logits: Tensor, temperature: float = 1.0) -> Tensor:
        """Return the sigmoid of each class."""
        return (logits / temperature).sigmoid()

    def loss(
        self, logits: Tensor, mask: Tensor, valid: Tensor, class_weights: Tensor | None = None
    ) -> Tensor:
        """Return the binary cross-entropy with soft targets over the pixels inside the images."""
        from pixelwise.label_modes.likelihood import binary_cross_entropy_loss

        target = mask.float() / 255
        return binary_cross_entropy_loss(logits, target, valid, class_weights=class_weights)

    def constant_loss(self, shares: Tensor, weights: Tensor) -> float:
        """Return the class mean of the binary entropy of the weighted shares, times their sum."""
        from torch.special import entr

        present = shares * weights
        total = present + 1 - shares
        chance = present / total
        return float((total * (entr(chance) + entr(1 - chance))).mean())

    def guessing_loss(self, num_classes: int) -> float:
        """Return the loss of the probability one half, log(2)."""
        return math.log(2)

    def balanced_weights(self, shares: Tensor) -> Tensor:
        """Return the weights of positive against negative pixels of each class, at least 1."""
        present = shares > 0
        weights = shares.new_ones(len(shares))
        weights[present] = ((1 - shares[present]) / shares[present]).clamp(min=1).sqrt()
        return weights

    def classes_in_batch(self, mask: Tensor, num_classes: int) -> Tensor:
        """Return the classes with at least one pixel above 0."""
        return (mask > 0).any(0).flatten(1).any(1)

    def labeled_crops(self, mask: Tensor, valid: Tensor | None) -> Tensor:
        """Return the crops that are at least partly inside their images."""
        if valid is None:
            return mask.new_ones(len(mask)).bool()
        return valid.bool().flatten(1).any(1)

    def batch_frequencies(self, mask: Tensor, valid: Tensor, num_classes: int) -> Tensor:
        """Return the mean coverage of each class over the pixels inside the images."""
        covered = (mask.double() / 255 * valid[:, None]).sum((0, 2, 3))
        return covered / valid.sum()

    def ignored(self, mask: UInt8Array) -> BoolArray:
        """Return False for every pixel: multilabel masks have no ignored pixels."""
        return np.zeros(mask.shape[-2:], np.bool_)

    def ignore(self, mask: UInt8Array, where: BoolArray) -> None:
        """Do nothing: every value of a soft mask is a label, so that none can mean ignored."""

    def is_soft(self, mask: UInt8Array) -> bool:
        """Return whether the mask has values other than 0 and 255."""
        return bool(((mask > 0) & (mask < 255)).any())

    def hard(self, mask: UInt8Array) -> UInt8Array:
        """Return the mask rounded to 0 or 255."""
        return np.where(mask >= HALF, 255, 0).astype(np.uint8)

    def num_labeled(self, mask: UInt8Array) -> int:
        """Return the number of positive pixels, summed over the classes."""
        return int((mask >= HALF).sum())

    def count(self, mask: UInt8Array, num_classes: int) -> tuple[npt.NDArray[np.int64], int]:
        """Return the counts of each class; no pixels are ignored."""
        return (mask >= HALF).sum((1, 2)).astype(np.int64), 0

    def coverage(self, mask: UInt8Array, num_classes: int) -> tuple[npt.NDArray[np.float64], int]:
        """Return the sums of the soft masks; no pixels are ignored."""
        return mask.sum(axis=(1, 2), dtype=np.float64) / 255, 0

    def classes_shown(self, mask: UInt8Array, num_classes: int) -> BoolArray:
        """Return the classes with at least one pixel of one half or more."""
        return np.asarray(mask.max((1, 2), initial=0) >= HALF)

    def planes(self, mask: Array, num_classes: int) -> Iterator[BoolArray]:
        """Return the planes of a decision as they are, and those of a mask rounded to bool."""
        return (plane if plane.dtype == np.bool_ else plane >= HALF for plane in mask)

    def targets(self, mask: UInt8Array, num_classes: int) -> Array:
        """Return the soft mask as float32."""
        return mask / np.float32(255)

    def class_without_objects(self, class_map: ClassMap) -> int | None:
        """Return ``None``: every class is labeled independently."""
        return None

    def blank(self, size: tuple[int, int], num_classes: int, unpainted: int) -> UInt8Array:
        """Return a mask of zeros."""
        return np.zeros((num_classes, *size), np.uint8)

    def paint(self, mask: UInt8Array, place: Place, region: BoolArray, index: int) -> None:
        """Add the class to the region and keep the others; ignored regions have no effect."""
        if index != IGNORE_INDEX:
            mask[index][place][region] = 255

    def erase(self, mask: UInt8Array, place: Place, region: BoolArray, index: int) -> None:
        """Remove the class from the region and keep the other classes."""
        mask[index][place][region] = 0

    def regions(self, mask: UInt8Array, unpainted: int) -> list[tuple[int, BoolArray]]:
        """Return one region per class in the mask; they may overlap."""
        return [(index, plane > 0) for index, plane in enumerate(mask) if plane.any()]

    def numbers(self, probabilities: Float32Array) -> UInt8Array:
        """Return 1 + the most likely class above the threshold, or 0."""
        best = probabilities.argmax(0)
        return np.where(probabilities.max(0) > THRESHOLD, best + 1, 0).astype(np.uint8)

    def numbers_of_mask(self, mask: UInt8Array) -> UInt8Array:
        """Return the values of an index picture, with the soft mask taken as probabilities."""
        return self.numbers(self.targets(mask, len(mask)))

    def palette(self, class_map: ClassMap) -> tuple[Color, ...]:
        """Return black for pixels without a class, followed by the colors of the classes."""
        return ((0, 0, 0), *class_map.colors)

    def untinted(self, class_map: ClassMap) -> int | None:
        """Return 0, for pixels without a class: their black would only darken the image."""
        return 0

    def decided_planes(self, probabilities: Float32Array) -> list[BoolArray]:
        """Return, for each class, the pixels with a probability above the threshold."""
        return [plane > THRESHOLD for plane in probabilities]

    def errors(self, probabilities: Float32Array, mask: UInt8Array) -> tuple[BoolArray, BoolArray]:
        """Return the pixels where any class is wrongly predicted, and those where any is missed."""
        target, guess = mask >= HALF, probabilities > THRESHOLD
        wrong, missed = (np.asarray(one.any(0)) for one in (guess & ~target, target & ~guess))
        return wrong, missed

    def choice_shape(self, num_classes: int) -> tuple[int, int]:
        """Return one question per class, with the answers no and yes."""
        return num_classes, 2

    def choice_names(self, names: tuple[str, ...]) -> list[tuple[str | None, ...]]:
        """Return ``None`` and the class name as the answers to each question."""
        return [(None, name) for name in names]

    def choice_probabilities(self, probabilities: Float32Array) -> Iterator[Float32Array]:
        """Compute the probabilities of no and yes lazily, one class at a time."""
        return (np.stack([1 - probability, probability]) for probability in probabilities)

    def choices(self, mask: Array) -> Iterator[UInt8Array]:
        """Return 0 or 1 at each pixel, for each class."""
        return (plane.astype(np.uint8) for plane in self.planes(mask, len(mask)))

    def per_class(self, values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """Return the values of the answer yes of each question."""
        return values[:, 1]

    def confidences(
        self, probabilities: Float32Array, decision: Array, mask: UInt8Array
    ) -> tuple[Float32Array, BoolArray]:
        """Return one confidence per pixel and class."""
        sure = np.where(decision, probabilities, 1 - probabilities)
        return sure, decision == (mask >= HALF)

    def num_decisions(self, mask: UInt8Array) -> int:
        """Return the number of pixels times the number of classes."""
        return mask.size

    def places(self, mask: UInt8Array, numbers: npt.NDArray[np.int64]) -> Places:
        """Return class, row and column indices."""
        return np.unravel_index(numbers, mask.shape)

    def target(self, values: UInt8Array) -> Array:
        """Return the values scaled to 0..1."""
        return values / 255
