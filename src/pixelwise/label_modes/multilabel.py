"""Multilabel labels: each class by itself, a sigmoid each, masks that may be soft."""

# ruff: noqa: ARG002  each mode is given what the other one needs

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING, ClassVar

import numpy as np
import numpy.typing as npt

from pixelwise.classes import HALF, IGNORE_INDEX, ClassMap, Color, LabelMode
from pixelwise.io.arrays import Array, BoolArray, UInt8Array
from pixelwise.label_modes.base import THRESHOLD, Floats, Mode, Place, Places

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
    error_words = ("wrong class", "missed")

    def decide(self, logits: Tensor) -> Tensor:
        """Where the probability is above the threshold."""
        return logits > math.log(THRESHOLD / (1 - THRESHOLD))

    def probabilities(self, logits: Tensor, temperature: float = 1.0) -> Tensor:
        """Sigmoid of each class."""
        return (logits / temperature).sigmoid()

    def loss(
        self, logits: Tensor, mask: Tensor, valid: Tensor, class_weights: Tensor | None = None
    ) -> Tensor:
        """Binary cross-entropy with soft targets, over the pixels inside the images."""
        from pixelwise.label_modes.likelihood import binary_cross_entropy_loss

        target = mask.float() / 255
        return binary_cross_entropy_loss(logits, target, valid, class_weights=class_weights)

    def constant_loss(self, shares: Tensor, weights: Tensor) -> float:
        """Binary entropy of the weighted shares, times their sum, averaged over the classes."""
        from torch.special import entr

        present = shares * weights
        total = present + 1 - shares
        chance = present / total
        return float((total * (entr(chance) + entr(1 - chance))).mean())

    def guessing_loss(self, num_classes: int) -> float:
        """Yes and no are equally likely."""
        return math.log(2)

    def balanced_weights(self, shares: Tensor) -> Tensor:
        """How much the pixels of a class count against those without it, at least 1."""
        present = shares > 0
        weights = shares.new_ones(len(shares))
        weights[present] = ((1 - shares[present]) / shares[present]).clamp(min=1).sqrt()
        return weights

    def classes_in_batch(self, mask: Tensor, num_classes: int) -> Tensor:
        """Those with a pixel above 0."""
        return (mask > 0).any(0).flatten(1).any(1)

    def labeled_crops(self, mask: Tensor, valid: Tensor | None) -> Tensor:
        """Those that are not beyond the image all over."""
        if valid is None:
            return mask.new_ones(len(mask)).bool()
        return valid.bool().flatten(1).any(1)

    def batch_frequencies(self, mask: Tensor, valid: Tensor, num_classes: int) -> Tensor:
        """Mean coverage of the pixels inside the images."""
        covered = (mask.double() / 255 * valid[:, None]).sum((0, 2, 3))
        return covered / valid.sum()

    def ignored(self, mask: UInt8Array) -> BoolArray:
        """None."""
        return np.zeros(mask.shape[-2:], np.bool_)

    def ignore(self, mask: UInt8Array, where: BoolArray) -> None:
        """Nothing: a soft mask has no value to spare."""

    def is_soft(self, mask: UInt8Array) -> bool:
        """It holds more than 0 and 255."""
        return bool(((mask > 0) & (mask < 255)).any())

    def hard(self, mask: UInt8Array) -> UInt8Array:
        """0 or 255."""
        return np.where(mask >= HALF, 255, 0).astype(np.uint8)

    def num_labeled(self, mask: UInt8Array) -> int:
        """Pixels of a class, over all classes."""
        return int((mask >= HALF).sum())

    def count(self, mask: UInt8Array, num_classes: int) -> tuple[npt.NDArray[np.int64], int]:
        """Class by class; nothing is ignored."""
        return (mask >= HALF).sum((1, 2)).astype(np.int64), 0

    def coverage(self, mask: UInt8Array, num_classes: int) -> tuple[npt.NDArray[np.float64], int]:
        """The sums of the soft masks; nothing is ignored."""
        return mask.sum(axis=(1, 2), dtype=np.float64) / 255, 0

    def classes_shown(self, mask: UInt8Array, num_classes: int) -> BoolArray:
        """Those with a pixel of at least one half."""
        return np.asarray(mask.max((1, 2), initial=0) >= HALF)

    def planes(self, mask: Array, num_classes: int) -> Iterator[BoolArray]:
        """A decision is bool already; of a mask, pixels of at least one half."""
        return (plane if plane.dtype == np.bool_ else plane >= HALF for plane in mask)

    def targets(self, mask: UInt8Array, num_classes: int) -> Array:
        """As float32."""
        return mask / np.float32(255)

    def ground(self, class_map: ClassMap) -> int | None:
        """None: every class is labeled by itself."""
        return None

    def blank(self, size: tuple[int, int], num_classes: int, unpainted: int) -> UInt8Array:
        """All of no class."""
        return np.zeros((num_classes, *size), np.uint8)

    def paint(self, mask: UInt8Array, place: Place, region: BoolArray, index: int) -> None:
        """Beside what was there; an ignored region stays as it is."""
        if index != IGNORE_INDEX:
            mask[index][place][region] = 255

    def erase(self, mask: UInt8Array, place: Place, region: BoolArray, index: int) -> None:
        """The other classes stay."""
        mask[index][place][region] = 0

    def regions(self, mask: UInt8Array, unpainted: int) -> list[tuple[int, BoolArray]]:
        """Of each class that the mask shows; they may overlap."""
        return [(index, plane > 0) for index, plane in enumerate(mask) if plane.any()]

    def numbers(self, probabilities: Floats) -> UInt8Array:
        """1 + the likeliest class above the threshold."""
        best = probabilities.argmax(0)
        return np.where(probabilities.max(0) > THRESHOLD, best + 1, 0).astype(np.uint8)

    def numbers_of_mask(self, mask: UInt8Array) -> UInt8Array:
        """The mask holds probabilities."""
        return self.numbers(self.targets(mask, len(mask)))

    def palette(self, class_map: ClassMap) -> tuple[Color, ...]:
        """Black for pixels of no class, then those of the classes."""
        return ((0, 0, 0), *class_map.colors)

    def untinted(self, class_map: ClassMap) -> int | None:
        """Pixels of no class: mostly drawn in black, they would only darken the image."""
        return 0

    def decided_planes(self, probabilities: Floats) -> list[BoolArray]:
        """Where the class is above the threshold."""
        return [plane > THRESHOLD for plane in probabilities]

    def errors(self, probabilities: Floats, mask: UInt8Array) -> tuple[BoolArray, BoolArray]:
        """Of any class."""
        target, guess = mask >= HALF, probabilities > THRESHOLD
        wrong, missed = (np.asarray(one.any(0)) for one in (guess & ~target, target & ~guess))
        return wrong, missed

    def choice_shape(self, num_classes: int) -> tuple[int, int]:
        """A question for each class: no or yes."""
        return num_classes, 2

    def choice_names(self, names: tuple[str, ...]) -> list[tuple[str | None, ...]]:
        """None or the class."""
        return [(None, name) for name in names]

    def choice_probabilities(self, probabilities: Floats) -> Iterator[Floats]:
        """Made one after the other."""
        return (np.stack([1 - probability, probability]) for probability in probabilities)

    def choices(self, mask: Array) -> Iterator[UInt8Array]:
        """0 or 1 for each class."""
        return (plane.astype(np.uint8) for plane in self.planes(mask, len(mask)))

    def per_class(self, values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """The answer yes of each question."""
        return values[:, 1]

    def confidences(
        self, probabilities: Floats, decision: Array, mask: UInt8Array
    ) -> tuple[Floats, BoolArray]:
        """One for each pixel and class."""
        sure = np.where(decision, probabilities, 1 - probabilities)
        return sure, decision == (mask >= HALF)

    def labeled_logits(self, logits: Floats, mask: UInt8Array) -> tuple[Floats, Array]:
        """Of every pixel and class."""
        return logits.reshape(-1), self.target(mask.reshape(-1))

    def num_decisions(self, mask: UInt8Array) -> int:
        """Pixels times classes."""
        return mask.size

    def places(self, mask: UInt8Array, numbers: npt.NDArray[np.int64]) -> Places:
        """Classes, rows and columns."""
        return np.unravel_index(numbers, mask.shape)

    def target(self, values: UInt8Array) -> Array:
        """Shares of a pixel."""
        return values / 255
