"""The interface of a label mode: storage, loss, decision, counting and drawing of labels."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import TYPE_CHECKING, ClassVar

import numpy as np
import numpy.typing as npt

from pixelwise.classes import ClassMap, Color, LabelMode
from pixelwise.io.arrays import Array, BoolArray, Float32Array, UInt8Array

if TYPE_CHECKING:
    from torch import Tensor

THRESHOLD = 0.5
"""A multilabel class is predicted where its probability is above this value."""

TINY_SHARE = 1e-12
"""Used in place of a share of zero, whose logarithm is infinite."""

Place = tuple[slice, slice]
"""Rows and columns of a rectangle of an image."""

Places = tuple[npt.NDArray[np.intp], ...]
"""Indices of single elements of an array: one array (P,) for each axis."""


class Mode(ABC):
    """Base class of the two label modes; instances have no state.

    Terms used in the methods:

    - A *mask* is the mask of one sample. Multiclass: class ids, uint8 (H, W), where 255 is ignored.
      Multilabel: uint8 (K, H, W), where 0 to 255 stands for 0 to 1.
    - A *batch mask* is a tensor of N masks.
    - A *decision* is the result of :meth:`decide`.
    - A *choice* is a question that is answered at every pixel. Multiclass: one question with K
      answers, the class of the pixel. Multilabel: K questions with two answers each, 0 or 1,
      whether the pixel belongs to the class.
    """

    name: ClassVar[LabelMode]
    """Name in recipes, cards and JSON."""
    holds_ids: ClassVar[bool]
    """Whether masks hold class ids, so that one value can mark ignored pixels."""
    needs_background: ClassVar[bool]
    """Whether every pixel belongs to exactly one class, so that a background class is needed."""
    padding: ClassVar[int]
    """Mask value of the padding outside the image."""
    min_classes: ClassVar[int]
    """Minimum number of classes that the training masks must show."""
    balances_rare: ClassVar[bool]
    """Whether the loss is class-weighted by default if a class is rare."""
    definition: ClassVar[str]
    """Definition of the metrics, reported together with them."""
    prediction_title: ClassVar[str]
    """Title of a picture of a decision."""
    error_names: ClassVar[tuple[str, ...]]
    """Names of the planes of :meth:`errors`, without those that are always empty."""

    # --- logits ---

    @abstractmethod
    def decide(self, logits: Tensor) -> Tensor:
        """Return the decision for logits (..., K, H, W), on their device.

        Returns:
            Multiclass: class ids, uint8 (..., H, W). Multilabel: bool (..., K, H, W).
        """

    @abstractmethod
    def probabilities(self, logits: Tensor, temperature: float = 1.0) -> Tensor:
        """Return the probabilities, 0 to 1, with the shape and device of the logits.

        Args:
            logits: Raw scores, float (..., K, H, W).
            temperature: Positive divisor of the logits (temperature scaling), which makes
                confidence match accuracy.
        """

    @abstractmethod
    def loss_target(self, mask: Tensor, valid: Tensor) -> Tensor:
        """Convert a batch mask to the target of losses, where 255 marks ignored elements.

        Args:
            mask: Batch mask, uint8.
            valid: bool (N, H, W); False outside the image.

        Returns:
            Multiclass: class ids, int64 (N, H, W). Multilabel: float32 (N, K, H, W), 0 to 1.
        """

    @abstractmethod
    def memberships(self, target: Tensor, num_classes: int) -> Tensor:
        """Return the membership of each pixel in each class, float32 (N, K, H, W).

        Args:
            target: Result of :meth:`loss_target`.
            num_classes: Number of classes K.

        Returns:
            0 to 1, or 255 for ignored elements.
        """

    @abstractmethod
    def loss(self, logits: Tensor, target: Tensor, class_weights: Tensor | None = None) -> Tensor:
        """Return the mean negative log-likelihood of a batch.

        Args:
            logits: Raw scores, float32 (N, K, H, W).
            target: Result of :meth:`loss_target`.
            class_weights: Class weights, float (K,), or ``None``.

        Returns:
            Scalar, at least 0, in nats per labeled pixel (multilabel: per pixel and class).
        """

    @abstractmethod
    def constant_logits(self, shares: Tensor, weights: Tensor) -> Tensor:
        """Return the logits (K,) of the constant prediction with the lowest :meth:`loss`.

        Args:
            shares: Share of each class among the labeled pixels, float64 (K,).
            weights: Class weights, float64 (K,).
        """

    @abstractmethod
    def balanced_weights(self, shares: Tensor) -> Tensor:
        """Return class weights that emphasize rare classes, roughly by 1 / sqrt(frequency).

        Args:
            shares: Share of each class among the labeled pixels, float64 (K,).

        Returns:
            float64 (K,); 1 for a class that never occurs.
        """

    # --- batches ---

    @abstractmethod
    def classes_in_batch(self, mask: Tensor, num_classes: int) -> Tensor:
        """Return which classes occur in a batch mask, bool (K,)."""

    @abstractmethod
    def labeled_crops(self, mask: Tensor, valid: Tensor | None) -> Tensor:
        """Return which masks of a batch contain labeled pixels, bool (N,).

        Args:
            mask: Batch mask.
            valid: bool (N, H, W); ``None`` if all crops lie inside their images.
        """

    @abstractmethod
    def batch_frequencies(self, mask: Tensor, valid: Tensor, num_classes: int) -> Tensor:
        """Return the share of each class among the labeled pixels of a batch, float (K,)."""

    # --- masks ---

    @abstractmethod
    def ignored(self, mask: UInt8Array) -> BoolArray:
        """Return which pixels are ignored, bool (H, W)."""

    @abstractmethod
    def ignore(self, mask: UInt8Array, where: BoolArray) -> None:
        """Mark pixels as ignored in place, if the mode supports it; ``where`` is bool (H, W)."""

    @abstractmethod
    def is_soft(self, mask: UInt8Array) -> bool:
        """Return whether the mask contains fractional labels."""

    @abstractmethod
    def hard(self, mask: UInt8Array) -> UInt8Array:
        """Return the mask with fractional labels rounded: at least one half counts as the class."""

    @abstractmethod
    def num_labeled(self, mask: UInt8Array) -> int:
        """Return the number of labeled pixels to evaluate (multilabel: summed over the classes)."""

    @abstractmethod
    def count(self, mask: UInt8Array, num_classes: int) -> tuple[npt.NDArray[np.int64], int]:
        """Return the pixels of each class, int64 (K,), and the number of ignored pixels.

        A fractional label counts as one pixel if it is at least one half.
        """

    @abstractmethod
    def coverage(self, mask: UInt8Array, num_classes: int) -> tuple[npt.NDArray[np.float64], int]:
        """Return the pixels of each class, float64 (K,), and the number of ignored pixels.

        A fractional label counts as that fraction of a pixel.
        """

    @abstractmethod
    def classes_shown(self, mask: UInt8Array, num_classes: int) -> BoolArray:
        """Return which classes occur in a mask, bool (K,); fractional labels count from 1/2."""

    @abstractmethod
    def planes(self, mask: Array, num_classes: int) -> Iterator[BoolArray]:
        """Iterate over the classes: the pixels of each, bool (H, W), in a mask or a decision."""

    @abstractmethod
    def targets(self, mask: UInt8Array, num_classes: int) -> Array:
        """Return the membership of each pixel in each class: (K, H, W), 0 to 1, bool or float32."""

    @abstractmethod
    def class_without_objects(self, class_map: ClassMap) -> int | None:
        """Return the class that is not an object, or ``None`` if there is none or it is unknown."""

    # --- regions of annotation files ---

    @abstractmethod
    def blank(self, size: tuple[int, int], num_classes: int, unpainted: int) -> UInt8Array:
        """Return an empty mask.

        Args:
            size: Height and width.
            num_classes: Number of classes K.
            unpainted: Value of the pixels outside all regions; multilabel masks do not use it.
        """

    @abstractmethod
    def paint(self, mask: UInt8Array, place: Place, region: BoolArray, index: int) -> None:
        """Paint a region into a mask, in place.

        Args:
            mask: Mask to modify.
            place: Rows and columns of the region.
            region: Shape of the region, bool (h, w).
            index: Class id, or 255 for ignored pixels, which multilabel masks cannot represent.
        """

    @abstractmethod
    def erase(self, mask: UInt8Array, place: Place, region: BoolArray, index: int) -> None:
        """Remove a class from a region, in place; a no-op if another class will replace it."""

    @abstractmethod
    def regions(self, mask: UInt8Array, unpainted: int) -> list[tuple[int, BoolArray]]:
        """Return the regions to paint on :meth:`blank` to get the mask.

        Returns:
            Class id, or 255 for ignored pixels, and region, bool (H, W), one pair per region.
        """

    # --- pictures ---

    @abstractmethod
    def numbers(self, probabilities: Float32Array) -> UInt8Array:
        """Return the values of an index picture for probabilities (K, H, W), uint8 (H, W).

        Multiclass: class ids. Multilabel: 1 + the most likely class above the threshold, or 0.
        """

    @abstractmethod
    def numbers_of_mask(self, mask: UInt8Array) -> UInt8Array:
        """Return the values of an index picture for a mask, uint8 (H, W); 0 for ignored pixels."""

    @abstractmethod
    def palette(self, class_map: ClassMap) -> tuple[Color, ...]:
        """Return one color for each value of :meth:`numbers`."""

    @abstractmethod
    def untinted(self, class_map: ClassMap) -> int | None:
        """Return the value of :meth:`numbers` that is left untinted in an overlay, or ``None``."""

    @abstractmethod
    def decided_planes(self, probabilities: Float32Array) -> list[BoolArray]:
        """Return, for each class, the pixels predicted as it, bool (H, W)."""

    @abstractmethod
    def errors(self, probabilities: Float32Array, mask: UInt8Array) -> tuple[BoolArray, BoolArray]:
        """Return where a class is predicted wrongly, and where one is missed, both bool (H, W)."""

    # --- metrics ---

    @abstractmethod
    def choice_shape(self, num_classes: int) -> tuple[int, int]:
        """Return the number of questions per pixel, Q, and the number of answers to each, J."""

    @abstractmethod
    def choice_names(self, names: tuple[str, ...]) -> list[tuple[str | None, ...]]:
        """Return the names of the answers to each question; ``None`` means "not of this class"."""

    @abstractmethod
    def choice_probabilities(self, probabilities: Float32Array) -> Iterator[Float32Array]:
        """Iterate over the questions: the probabilities of the answers, float32 (J, H, W)."""

    @abstractmethod
    def choices(self, mask: Array) -> Iterator[UInt8Array]:
        """Iterate over the questions: the answers in a mask or decision, uint8 (H, W), or 255."""

    @abstractmethod
    def per_class(self, values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """Reduce values per question and answer, (Q, J), to values per class, (K,)."""

    @abstractmethod
    def confidences(
        self, probabilities: Float32Array, decision: Array, mask: UInt8Array
    ) -> tuple[Float32Array, BoolArray]:
        """Return the probability of each labeled decision, and whether the decision is correct."""

    @abstractmethod
    def num_decisions(self, mask: UInt8Array) -> int:
        """Return the number of labeled decisions: labeled pixels, or pixels times classes."""

    @abstractmethod
    def places(self, mask: UInt8Array, numbers: npt.NDArray[np.int64]) -> Places:
        """Return the mask indices of labeled decisions, which are numbered from 0."""

    @abstractmethod
    def target_array(self, mask: UInt8Array) -> Array:
        """Return a new array that losses of torch take as target of one image.

        Returns:
            Multiclass: int64 (H, W), class ids and 255 where ignored. Multilabel: float32
            (K, H, W), 0 to 1.
        """

    @abstractmethod
    def target(self, values: UInt8Array) -> Array:
        """Convert mask values to targets for logits: class ids, or values from 0 to 1."""
