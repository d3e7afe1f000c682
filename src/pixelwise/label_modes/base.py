"""The interface of a label mode: storage, loss, decision, counting and drawing of labels."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import TYPE_CHECKING, ClassVar

import numpy as np
import numpy.typing as npt

from pixelwise.classes import ClassMap, Color, LabelMode
from pixelwise.io.arrays import Array, BoolArray, UInt8Array

if TYPE_CHECKING:
    from torch import Tensor

THRESHOLD = 0.5
"""A multilabel class is predicted where its probability is above this."""

Floats = npt.NDArray[np.float32]
Place = tuple[slice, slice]
"""The rows and columns of a part of an image."""

Places = tuple[npt.NDArray[np.intp], ...]
"""Indices of single elements of an array, an array (P,) for each of its axes."""


class Mode(ABC):
    """One of the two ways to label pixels; it has no state.

    In the methods, a *mask* is one of a sample: multiclass uint8 (H, W) class ids, 255 is ignored;
    multilabel uint8 (K, H, W), 0 to 255 for 0 to 1. A *batch mask* is a tensor of N of them.
    A *decision* is what :meth:`decide` gives. *choices* are what has to be decided at a pixel: once
    which of K classes it is (one question of K answers), or for each class whether the pixel is of
    it (K questions of two answers, 0 and 1).
    """

    name: ClassVar[LabelMode]
    """As recipes, cards and JSON say it."""
    holds_ids: ClassVar[bool]
    """Masks hold class ids, so that a value can mean ignored."""
    needs_background: ClassVar[bool]
    """Every pixel is of one class, so that one class has to be the rest of the image."""
    padding: ClassVar[int]
    """What a mask holds beyond the image."""
    min_classes: ClassVar[int]
    """The training masks must show this many classes, or there is nothing to tell apart."""
    balances_rare: ClassVar[bool]
    """The loss weighs the classes by default where one of them is rare."""
    definition: ClassVar[str]
    """What the metrics mean, said beside them."""
    prediction_title: ClassVar[str]
    """Of a picture of a decision."""
    error_words: ClassVar[tuple[str, ...]]
    """What each plane of :meth:`errors` that can hold anything is called."""

    # --- logits ---

    @abstractmethod
    def decide(self, logits: Tensor) -> Tensor:
        """The decision of logits (..., K, H, W), on their device.

        Returns:
            Multiclass: class ids, uint8 (..., H, W). Multilabel: bool (..., K, H, W).
        """

    @abstractmethod
    def probabilities(self, logits: Tensor, temperature: float = 1.0) -> Tensor:
        """Probabilities of logits (..., K, H, W), 0 to 1, of their shape and on their device.

        Args:
            logits: Raw scores.
            temperature: Above 0; logits are divided by it, so that confidence means accuracy.
        """

    @abstractmethod
    def loss(
        self, logits: Tensor, mask: Tensor, valid: Tensor, class_weights: Tensor | None = None
    ) -> Tensor:
        """The mean negative log-likelihood of a batch.

        Args:
            logits: Raw scores, float32 (N, K, H, W).
            mask: A batch mask, uint8.
            valid: bool (N, H, W); False beyond the image.
            class_weights: (K,), or ``None``.

        Returns:
            Scalar, 0 or more, in nats per labeled pixel (multilabel: per pixel and class).
        """

    @abstractmethod
    def constant_loss(self, shares: Tensor, weights: Tensor) -> float:
        """The lowest :meth:`loss` that one prediction for all pixels can have.

        Args:
            shares: Share of the labeled pixels that is of each class, float64 (K,).
            weights: Of the classes, float64 (K,).
        """

    @abstractmethod
    def guessing_loss(self, num_classes: int) -> float:
        """The :meth:`loss` where all answers are equally likely."""

    @abstractmethod
    def balanced_weights(self, shares: Tensor) -> Tensor:
        """Class weights that lift rare classes by 1 / sqrt(frequency).

        Args:
            shares: As :meth:`constant_loss`.

        Returns:
            float64 (K,); 1 for a class that never occurs.
        """

    # --- batches ---

    @abstractmethod
    def classes_in_batch(self, mask: Tensor, num_classes: int) -> Tensor:
        """Which classes a batch mask shows at all, bool (K,)."""

    @abstractmethod
    def labeled_crops(self, mask: Tensor, valid: Tensor | None) -> Tensor:
        """Which masks of a batch have something to learn from, bool (N,).

        Args:
            mask: A batch mask.
            valid: bool (N, H, W); ``None`` where all crops lie inside their images.
        """

    @abstractmethod
    def batch_frequencies(self, mask: Tensor, valid: Tensor, num_classes: int) -> Tensor:
        """Share of the labeled pixels of a batch that is of each class, float (K,)."""

    # --- masks ---

    @abstractmethod
    def ignored(self, mask: UInt8Array) -> BoolArray:
        """Which pixels are ignored, bool (H, W)."""

    @abstractmethod
    def ignore(self, mask: UInt8Array, where: BoolArray) -> None:
        """Mark pixels, bool (H, W), as ignored in a mask, in place, where the mode can do so."""

    @abstractmethod
    def is_soft(self, mask: UInt8Array) -> bool:
        """Some pixels are of a class by a part."""

    @abstractmethod
    def hard(self, mask: UInt8Array) -> UInt8Array:
        """The mask without soft pixels: those of at least one half are of the class."""

    @abstractmethod
    def num_labeled(self, mask: UInt8Array) -> int:
        """Pixels to evaluate against: labeled ones (multilabel: those of each class, added up)."""

    @abstractmethod
    def count(self, mask: UInt8Array, num_classes: int) -> tuple[npt.NDArray[np.int64], int]:
        """Pixels of each class, int64 (K,), soft ones from one half on; and ignored pixels."""

    @abstractmethod
    def coverage(self, mask: UInt8Array, num_classes: int) -> tuple[npt.NDArray[np.float64], int]:
        """Pixels of each class, float64 (K,), soft ones by their share; and ignored pixels."""

    @abstractmethod
    def classes_shown(self, mask: UInt8Array, num_classes: int) -> BoolArray:
        """Which classes a mask shows, bool (K,), soft ones from one half on."""

    @abstractmethod
    def planes(self, mask: Array, num_classes: int) -> Iterator[BoolArray]:
        """Of each class the pixels that are of it, bool (H, W), of a mask or a decision."""

    @abstractmethod
    def targets(self, mask: UInt8Array, num_classes: int) -> Array:
        """How much each pixel is of each class: (K, H, W), 0 to 1, bool or float32."""

    @abstractmethod
    def ground(self, class_map: ClassMap) -> int | None:
        """The class that is no object, ``None`` where every class is one or none is known."""

    # --- regions of annotation files ---

    @abstractmethod
    def blank(self, size: tuple[int, int], num_classes: int, unpainted: int) -> UInt8Array:
        """A mask of a height and a width without any region.

        Args:
            size: Height and width.
            num_classes: K.
            unpainted: The class id of pixels without a region, where they must have one.
        """

    @abstractmethod
    def paint(self, mask: UInt8Array, place: Place, region: BoolArray, index: int) -> None:
        """Paint a region into a mask, in place.

        Args:
            mask: The mask.
            place: Where the region lies.
            region: bool (h, w).
            index: Its class, or 255 to ignore it, which multilabel masks cannot.
        """

    @abstractmethod
    def erase(self, mask: UInt8Array, place: Place, region: BoolArray, index: int) -> None:
        """Take a class off a region, in place; where another class replaces it, nothing is done."""

    @abstractmethod
    def regions(self, mask: UInt8Array, unpainted: int) -> list[tuple[int, BoolArray]]:
        """What to paint on :meth:`blank` to get the mask: (class id or 255, bool (H, W))."""

    # --- pictures ---

    @abstractmethod
    def numbers(self, probabilities: Floats) -> UInt8Array:
        """What an index picture of probabilities (K, H, W) holds, uint8 (H, W).

        Multiclass: class ids. Multilabel: 1 + the likeliest class above the threshold, 0 for none.
        """

    @abstractmethod
    def numbers_of_mask(self, mask: UInt8Array) -> UInt8Array:
        """The same of a mask; 0 for ignored pixels."""

    @abstractmethod
    def palette(self, class_map: ClassMap) -> tuple[Color, ...]:
        """A color for each of the :meth:`numbers`."""

    @abstractmethod
    def untinted(self, class_map: ClassMap) -> int | None:
        """Which of the :meth:`numbers` leaves an overlay as the image is, if any."""

    @abstractmethod
    def decided_planes(self, probabilities: Floats) -> list[BoolArray]:
        """Of each class the pixels that are predicted as it, bool (H, W)."""

    @abstractmethod
    def errors(self, probabilities: Floats, mask: UInt8Array) -> tuple[BoolArray, BoolArray]:
        """Where a class is predicted that is not there, and where one is missed, bool (H, W)."""

    # --- metrics ---

    @abstractmethod
    def choice_shape(self, num_classes: int) -> tuple[int, int]:
        """How many questions a pixel asks, Q, and how many answers each has, J."""

    @abstractmethod
    def choice_names(self, names: tuple[str, ...]) -> list[tuple[str | None, ...]]:
        """The answers of each question; ``None`` is that a pixel is not of the class."""

    @abstractmethod
    def choice_probabilities(self, probabilities: Floats) -> Iterator[Floats]:
        """Of each question the probabilities of its answers, float32 (J, H, W)."""

    @abstractmethod
    def choices(self, mask: Array) -> Iterator[UInt8Array]:
        """Of each question the answer, uint8 (H, W), 255 is ignored, by a mask or a decision."""

    @abstractmethod
    def per_class(self, values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """What questions and answers (Q, J) say of the classes, (K,)."""

    @abstractmethod
    def confidences(
        self, probabilities: Floats, decision: Array, mask: UInt8Array
    ) -> tuple[Floats, BoolArray]:
        """The probability of each decision about a labeled pixel, and whether it is right."""

    @abstractmethod
    def labeled_logits(self, logits: Floats, mask: UInt8Array) -> tuple[Floats, Array]:
        """The logits of what is labeled, and what they should say.

        Returns:
            Multiclass: float32 (K, P) and class ids (P,). Multilabel: float32 (P,) and the targets
            (P,), 0 to 1.
        """

    @abstractmethod
    def num_decisions(self, mask: UInt8Array) -> int:
        """How many decisions are labeled: pixels (multilabel: times classes)."""

    @abstractmethod
    def places(self, mask: UInt8Array, numbers: npt.NDArray[np.int64]) -> Places:
        """Where labeled decisions of some numbers, from 0 on, lie in the mask, as its indices."""

    @abstractmethod
    def target(self, values: UInt8Array) -> Array:
        """What logits should say where a mask holds these values: class ids, or 0 to 1."""
