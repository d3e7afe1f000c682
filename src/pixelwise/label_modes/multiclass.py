"""Multiclass labels: one class per pixel, softmax, and pixels that are ignored."""

# ruff: noqa: ARG002  each mode is given what the other one needs

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING, ClassVar

import numpy as np
import numpy.typing as npt

from pixelwise.classes import IGNORE_INDEX, ClassMap, Color, LabelMode
from pixelwise.io.arrays import Array, BoolArray, UInt8Array
from pixelwise.io.counting import count_values
from pixelwise.label_modes.base import Floats, Mode, Place, Places

if TYPE_CHECKING:
    from torch import Tensor


class Multiclass(Mode):
    """One class per pixel."""

    name: ClassVar[LabelMode] = "multiclass"
    holds_ids = True
    needs_background = True
    padding = IGNORE_INDEX
    min_classes = 2
    balances_rare = True
    definition = (
        "one confusion matrix over all labeled pixels of the split at original size, ignored "
        "pixels left out; mean IoU over the classes that the masks show"
    )
    prediction_title = "prediction"
    error_words = ("wrong class",)

    def decide(self, logits: Tensor) -> Tensor:
        """The place of the maximum: torch's argmax was measured at four times the time of it."""
        return logits.max(-3).indices.byte()

    def probabilities(self, logits: Tensor, temperature: float = 1.0) -> Tensor:
        """Softmax over the classes."""
        return (logits / temperature).softmax(-3)

    def loss(
        self, logits: Tensor, mask: Tensor, valid: Tensor, class_weights: Tensor | None = None
    ) -> Tensor:
        """Cross-entropy; what lies beyond the image is ignored by its id."""
        from pixelwise.label_modes.likelihood import cross_entropy_loss

        return cross_entropy_loss(logits, mask.long(), class_weights=class_weights)

    def constant_loss(self, shares: Tensor, weights: Tensor) -> float:
        """Entropy of the weighted shares, times their sum."""
        from torch.special import entr

        present = shares * weights
        total = present.sum()
        return float(total * entr(present / total).sum())

    def guessing_loss(self, num_classes: int) -> float:
        """All classes are equally likely."""
        return math.log(num_classes)

    def balanced_weights(self, shares: Tensor) -> Tensor:
        """With the mean 1 over the pixels."""
        present = shares > 0
        weights = shares.new_ones(len(shares))
        weights[present] = shares[present].rsqrt()
        weights[present] /= (weights[present] * shares[present]).sum()
        return weights

    def classes_in_batch(self, mask: Tensor, num_classes: int) -> Tensor:
        """Those with a pixel."""
        counts = mask.flatten().long().bincount(minlength=IGNORE_INDEX + 1)
        return counts[:num_classes] > 0

    def labeled_crops(self, mask: Tensor, valid: Tensor | None) -> Tensor:
        """Those that are not ignored all over."""
        return (mask != IGNORE_INDEX).flatten(1).any(1)

    def batch_frequencies(self, mask: Tensor, valid: Tensor, num_classes: int) -> Tensor:
        """Of the pixels that are not ignored."""
        labeled = mask[mask != IGNORE_INDEX].long()
        return labeled.bincount(minlength=num_classes) / labeled.numel()

    def ignored(self, mask: UInt8Array) -> BoolArray:
        """Pixels that are 255."""
        return np.asarray(mask == IGNORE_INDEX)

    def ignore(self, mask: UInt8Array, where: BoolArray) -> None:
        """They become 255."""
        mask[where] = IGNORE_INDEX

    def is_soft(self, mask: UInt8Array) -> bool:
        """Never."""
        return False

    def hard(self, mask: UInt8Array) -> UInt8Array:
        """As it is."""
        return mask

    def num_labeled(self, mask: UInt8Array) -> int:
        """Pixels that are not ignored."""
        return int((mask != IGNORE_INDEX).sum())

    def count(self, mask: UInt8Array, num_classes: int) -> tuple[npt.NDArray[np.int64], int]:
        """By one histogram."""
        histogram = count_values(mask)
        return histogram[:num_classes], int(histogram[IGNORE_INDEX])

    def coverage(self, mask: UInt8Array, num_classes: int) -> tuple[npt.NDArray[np.float64], int]:
        """Whole pixels."""
        pixels, ignored = self.count(mask, num_classes)
        return pixels.astype(np.float64), ignored

    def classes_shown(self, mask: UInt8Array, num_classes: int) -> BoolArray:
        """Those with a pixel."""
        return self.count(mask, num_classes)[0] > 0

    def planes(self, mask: Array, num_classes: int) -> Iterator[BoolArray]:
        """Made one after the other."""
        return (mask == index for index in range(num_classes))

    def targets(self, mask: UInt8Array, num_classes: int) -> Array:
        """As bool."""
        return np.stack(list(self.planes(mask, num_classes)))

    def ground(self, class_map: ClassMap) -> int | None:
        """As the class map says."""
        return class_map.ground

    def blank(self, size: tuple[int, int], num_classes: int, unpainted: int) -> UInt8Array:
        """All of the class that is left unpainted, or ignored."""
        return np.full(size, unpainted, np.uint8)

    def paint(self, mask: UInt8Array, place: Place, region: BoolArray, index: int) -> None:
        """Over what was there."""
        mask[place][region] = index

    def erase(self, mask: UInt8Array, place: Place, region: BoolArray, index: int) -> None:
        """Nothing: a pixel is always of a class, until it is painted as another."""

    def regions(self, mask: UInt8Array, unpainted: int) -> list[tuple[int, BoolArray]]:
        """Of each id that the mask holds; they do not overlap."""
        return [(index, mask == index) for index in np.unique(mask).tolist() if index != unpainted]

    def numbers(self, probabilities: Floats) -> UInt8Array:
        """The likeliest class."""
        return np.asarray(probabilities.argmax(0), np.uint8)

    def numbers_of_mask(self, mask: UInt8Array) -> UInt8Array:
        """The mask, but for ignored pixels."""
        return np.where(mask == IGNORE_INDEX, 0, mask).astype(np.uint8)

    def palette(self, class_map: ClassMap) -> tuple[Color, ...]:
        """Those of the classes."""
        return class_map.colors

    def untinted(self, class_map: ClassMap) -> int | None:
        """The ground."""
        return class_map.ground

    def decided_planes(self, probabilities: Floats) -> list[BoolArray]:
        """Where the class is the likeliest."""
        return list(self.planes(self.numbers(probabilities), len(probabilities)))

    def errors(self, probabilities: Floats, mask: UInt8Array) -> tuple[BoolArray, BoolArray]:
        """What is missed is predicted as another class: it is an error of the first kind."""
        wrong = (probabilities.argmax(0) != mask) & (mask != IGNORE_INDEX)
        return wrong, np.zeros(mask.shape, np.bool_)

    def choice_shape(self, num_classes: int) -> tuple[int, int]:
        """One question."""
        return 1, num_classes

    def choice_names(self, names: tuple[str, ...]) -> list[tuple[str | None, ...]]:
        """The classes."""
        return [names]

    def choice_probabilities(self, probabilities: Floats) -> Iterator[Floats]:
        """Those of the classes."""
        yield probabilities

    def choices(self, mask: Array) -> Iterator[UInt8Array]:
        """The mask or the decision itself."""
        yield mask

    def per_class(self, values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """The answers of the one question."""
        return np.asarray(values[0])

    def confidences(
        self, probabilities: Floats, decision: Array, mask: UInt8Array
    ) -> tuple[Floats, BoolArray]:
        """One for each labeled pixel."""
        labeled = mask != IGNORE_INDEX
        return probabilities.max(0)[labeled], (decision == mask)[labeled]

    def labeled_logits(self, logits: Floats, mask: UInt8Array) -> tuple[Floats, Array]:
        """Of the pixels that are not ignored."""
        labeled = mask != IGNORE_INDEX
        return logits[:, labeled], mask[labeled]

    def num_decisions(self, mask: UInt8Array) -> int:
        """Pixels that are not ignored."""
        return int(np.count_nonzero(mask != IGNORE_INDEX))

    def places(self, mask: UInt8Array, numbers: npt.NDArray[np.int64]) -> Places:
        """Rows and columns; ignored pixels have no number."""
        return np.unravel_index(np.flatnonzero(mask != IGNORE_INDEX)[numbers], mask.shape)

    def target(self, values: UInt8Array) -> Array:
        """Class ids."""
        return values
