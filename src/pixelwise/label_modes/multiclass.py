"""Multiclass labels: one class per pixel, softmax, and pixels that are ignored."""

# ruff: noqa: ARG002  both modes take the same arguments; not every method uses all of them

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, ClassVar

import numpy as np
import numpy.typing as npt

from pixelwise.classes import IGNORE_INDEX, ClassMap, Color, LabelMode
from pixelwise.io.arrays import Array, BoolArray, Float32Array, UInt8Array
from pixelwise.io.counting import count_values
from pixelwise.label_modes.base import TINY_SHARE, Mode, Place, Places

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
    error_names = ("wrong class",)

    def decide(self, logits: Tensor) -> Tensor:
        """Return the class with the highest score.

        ``max`` is used because ``argmax`` took four times as long when measured.
        """
        return logits.max(-3).indices.byte()

    def probabilities(self, logits: Tensor, temperature: float = 1.0) -> Tensor:
        """Return the softmax over the classes."""
        return (logits / temperature).softmax(-3)

    def loss_target(self, mask: Tensor, valid: Tensor) -> Tensor:
        """Return the class ids; padding holds the ignored id, so ``valid`` is not needed."""
        return mask.long()

    def memberships(self, target: Tensor, num_classes: int) -> Tensor:
        """Return one plane per class; ignored pixels are ignored in all of them."""
        import torch

        ids = torch.arange(num_classes, device=target.device).view(-1, 1, 1)
        members = (target[:, None] == ids).float()
        return members.masked_fill((target == IGNORE_INDEX)[:, None], IGNORE_INDEX)

    def loss(self, logits: Tensor, target: Tensor, class_weights: Tensor | None = None) -> Tensor:
        """Return the cross-entropy."""
        from pixelwise.label_modes.likelihood import cross_entropy_loss

        return cross_entropy_loss(logits, target, class_weights=class_weights)

    def constant_logits(self, shares: Tensor, weights: Tensor) -> Tensor:
        """Return the logarithms of the weighted shares."""
        return (shares * weights).clamp(min=TINY_SHARE).log()

    def balanced_weights(self, shares: Tensor) -> Tensor:
        """Return class weights whose mean over the pixels is 1."""
        present = shares > 0
        weights = shares.new_ones(len(shares))
        weights[present] = shares[present].rsqrt()
        weights[present] /= (weights[present] * shares[present]).sum()
        return weights

    def classes_in_batch(self, mask: Tensor, num_classes: int) -> Tensor:
        """Return the classes that have at least one pixel."""
        counts = mask.flatten().long().bincount(minlength=IGNORE_INDEX + 1)
        return counts[:num_classes] > 0

    def labeled_crops(self, mask: Tensor, valid: Tensor | None) -> Tensor:
        """Return the crops with at least one pixel that is not ignored."""
        return (mask != IGNORE_INDEX).flatten(1).any(1)

    def batch_frequencies(self, mask: Tensor, valid: Tensor, num_classes: int) -> Tensor:
        """Return the share of each class among the pixels that are not ignored."""
        labeled = mask[mask != IGNORE_INDEX].long()
        return labeled.bincount(minlength=num_classes) / labeled.numel()

    def ignored(self, mask: UInt8Array) -> BoolArray:
        """Return the pixels with the value 255."""
        return np.asarray(mask == IGNORE_INDEX)

    def ignore(self, mask: UInt8Array, where: BoolArray) -> None:
        """Set the pixels to 255."""
        mask[where] = IGNORE_INDEX

    def is_soft(self, mask: UInt8Array) -> bool:
        """Return False: class ids are never fractional."""
        return False

    def hard(self, mask: UInt8Array) -> UInt8Array:
        """Return the mask unchanged."""
        return mask

    def num_labeled(self, mask: UInt8Array) -> int:
        """Return the number of pixels that are not ignored."""
        return int((mask != IGNORE_INDEX).sum())

    def count(self, mask: UInt8Array, num_classes: int) -> tuple[npt.NDArray[np.int64], int]:
        """Return the counts from a single histogram."""
        histogram = count_values(mask)
        return histogram[:num_classes], int(histogram[IGNORE_INDEX])

    def coverage(self, mask: UInt8Array, num_classes: int) -> tuple[npt.NDArray[np.float64], int]:
        """Return the pixel counts as float64; there are no fractional labels."""
        pixels, ignored = self.count(mask, num_classes)
        return pixels.astype(np.float64), ignored

    def classes_shown(self, mask: UInt8Array, num_classes: int) -> BoolArray:
        """Return the classes that have at least one pixel."""
        return self.count(mask, num_classes)[0] > 0

    def planes(self, mask: Array, num_classes: int) -> Iterator[BoolArray]:
        """Compute the planes lazily, one at a time."""
        return (mask == index for index in range(num_classes))

    def targets(self, mask: UInt8Array, num_classes: int) -> Array:
        """Return the one-hot mask as bool."""
        return np.stack(list(self.planes(mask, num_classes)))

    def class_without_objects(self, class_map: ClassMap) -> int | None:
        """Return the ground class of the class map."""
        return class_map.class_without_objects

    def blank(self, size: tuple[int, int], num_classes: int, unpainted: int) -> UInt8Array:
        """Return a mask filled with ``unpainted``: a class id, or 255 for ignored."""
        return np.full(size, unpainted, np.uint8)

    def paint(self, mask: UInt8Array, place: Place, region: BoolArray, index: int) -> None:
        """Overwrite the region with the class."""
        mask[place][region] = index

    def erase(self, mask: UInt8Array, place: Place, region: BoolArray, index: int) -> None:
        """Do nothing: a pixel keeps its class until another one is painted over it."""

    def regions(self, mask: UInt8Array, unpainted: int) -> list[tuple[int, BoolArray]]:
        """Return one region per id in the mask; they do not overlap."""
        return [(index, mask == index) for index in np.unique(mask).tolist() if index != unpainted]

    def numbers(self, probabilities: Float32Array) -> UInt8Array:
        """Return the most likely class."""
        return np.asarray(probabilities.argmax(0), np.uint8)

    def numbers_of_mask(self, mask: UInt8Array) -> UInt8Array:
        """Return the mask with 0 in place of ignored pixels."""
        return np.where(mask == IGNORE_INDEX, 0, mask).astype(np.uint8)

    def palette(self, class_map: ClassMap) -> tuple[Color, ...]:
        """Return the colors of the classes."""
        return class_map.colors

    def untinted(self, class_map: ClassMap) -> int | None:
        """Return the ground class."""
        return class_map.class_without_objects

    def decided_planes(self, probabilities: Float32Array) -> list[BoolArray]:
        """Return, for each class, the pixels where it is the most likely one."""
        return list(self.planes(self.numbers(probabilities), len(probabilities)))

    def errors(self, probabilities: Float32Array, mask: UInt8Array) -> tuple[BoolArray, BoolArray]:
        """Return all errors as wrong classes: a missed class is always predicted as another one."""
        wrong = (probabilities.argmax(0) != mask) & (mask != IGNORE_INDEX)
        return wrong, np.zeros(mask.shape, np.bool_)

    def choice_shape(self, num_classes: int) -> tuple[int, int]:
        """Return one question with K answers."""
        return 1, num_classes

    def choice_names(self, names: tuple[str, ...]) -> list[tuple[str | None, ...]]:
        """Return the class names as the answers to the one question."""
        return [names]

    def choice_probabilities(self, probabilities: Float32Array) -> Iterator[Float32Array]:
        """Yield the class probabilities."""
        yield probabilities

    def choices(self, mask: Array) -> Iterator[UInt8Array]:
        """Yield the mask or the decision itself."""
        yield mask

    def per_class(self, values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """Return the values of the one question."""
        return np.asarray(values[0])

    def confidences(
        self, probabilities: Float32Array, decision: Array, mask: UInt8Array
    ) -> tuple[Float32Array, BoolArray]:
        """Return one confidence per labeled pixel."""
        labeled = mask != IGNORE_INDEX
        return probabilities.max(0)[labeled], (decision == mask)[labeled]

    def num_decisions(self, mask: UInt8Array) -> int:
        """Return the number of pixels that are not ignored."""
        return int(np.count_nonzero(mask != IGNORE_INDEX))

    def places(self, mask: UInt8Array, numbers: npt.NDArray[np.int64]) -> Places:
        """Return row and column indices; ignored pixels are not numbered."""
        return np.unravel_index(np.flatnonzero(mask != IGNORE_INDEX)[numbers], mask.shape)

    def target_array(self, mask: UInt8Array) -> Array:
        """Return the class ids as int64, for the cross-entropy."""
        return mask.astype(np.int64)

    def target(self, values: UInt8Array) -> Array:
        """Return the class ids unchanged."""
        return values
