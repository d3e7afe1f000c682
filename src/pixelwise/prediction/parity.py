"""Check that the outputs of an engine match those of torch."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from torch import Tensor

from pixelwise.prediction.engines import KEPT_SHAPES, Engine

MIN_PARITY = 0.999
"""Minimum fraction of pixels on which an engine must agree with torch in float32."""

MIN_CLASS_IOU = 0.99
"""And where both find every class in the same place, as intersection over union: a rare class that
is lost altogether is a small share of the pixels."""

SLACK_PX = 4
"""Number of pixels per class that may differ in a batch, however small the class is."""

Decide = Callable[[Tensor], npt.NDArray[Any]]
"""Maps logits (K, H, W) to class ids (H, W), or to yes and no (K, H, W)."""

Note = Callable[[str], None]
"""A function that receives a message for the user."""


class CheckedEngine:
    """An engine checked by torch: where it fails or its outputs differ, torch continues alone.

    torch computes the 1st, 2nd, 4th, 8th ... batch of a shape too, so that looking costs next to
    nothing in the long run.

    Args:
        engine: The faster one.
        reference: torch in float32.
        decide: Makes decisions of logits.
        note: Told when the engine is given up, once.

    Attributes:
        name: Of what computes.
    """

    def __init__(self, engine: Engine, reference: Engine, decide: Decide, note: Note) -> None:
        self._engine: Engine | None = engine
        self._reference = reference
        self._decide = decide
        self._note = note
        self._num_batches: Counter[tuple[int, ...]] = Counter()
        self._has_said_more = False
        self.name = engine.name

    @property
    def is_given_up(self) -> bool:
        """The engine is let go, and torch continues alone."""
        return self._engine is None

    def __call__(self, images: Tensor) -> Tensor:
        """Segment a batch; see :class:`pixelwise.prediction.engines.Engine`."""
        if self._engine is None or self._is_one_shape_too_many(images):
            return self._reference(images)
        try:
            logits = self._engine(images)
        except Exception as error:  # whatever another library raises
            return self._give_up(images, f"failed: {in_one_line(error)}")
        shape = tuple(images.shape)
        self._num_batches[shape] += 1
        if self._num_batches[shape].bit_count() > 1:  # no power of two
            return logits
        reference = self._reference(images)
        found = parity(self._decide, logits, reference)
        if not found.is_enough:
            return self._give_up(images, f"matched only {found.describe()}")
        return logits

    def _is_one_shape_too_many(self, images: Tensor) -> bool:
        """To compile for ever other shapes takes longer than torch does."""
        known = self._num_batches
        if tuple(images.shape) in known or len(known) < KEPT_SHAPES:
            return False
        if not self._has_said_more:
            self._has_said_more = True
            self._note(
                f"engine {self.name} is compiled for {KEPT_SHAPES} sizes of images: "
                f"{self._reference.name} computes the others"
            )
        return True

    def _give_up(self, images: Tensor, why: str) -> Tensor:
        self._engine = None
        self._note(f"engine {self.name} {why}. {self._reference.name} continues")
        self.name = self._reference.name
        return self._reference(images)


@dataclass(frozen=True)
class Parity:
    """How far the outputs of two engines match on a batch.

    Attributes:
        share: Of the pixels, 0 to 1; multilabel: matching in all their classes.
        class_iou: Of the class about which they differ most, the intersection over union of both
            decisions, :data:`SLACK_PX` pixels let pass; 1 where they differ about none.
    """

    share: float
    class_iou: float

    @property
    def is_enough(self) -> bool:
        """An engine whose outputs match so far may take torch's place."""
        return self.share >= MIN_PARITY and self.class_iou >= MIN_CLASS_IOU

    def describe(self) -> str:
        """In words, without a full stop."""
        pixels = f"{percent(self.share)} of the pixels"
        if self.class_iou >= MIN_CLASS_IOU:
            return pixels
        return f"{pixels}, and one class with an IoU of only {percent(self.class_iou)}"


NO_PARITY = Parity(0.0, 0.0)


def parity(decide: Decide, logits: Tensor, reference: Tensor) -> Parity:
    """How far the decisions of an engine match those of another one.

    Args:
        decide: Makes decisions of logits.
        logits: float32 (N, K, H, W).
        reference: The same, of the engine that is trusted.
    """
    own, other = (np.stack([decide(planes) for planes in batch]) for batch in (logits, reference))
    same = own == other
    share = float(np.mean(same.all(1) if same.ndim == 4 else same))
    if same.all():
        return Parity(share, 1.0)
    if same.ndim == 3:
        classes = np.union1d(own[~same], other[~same])
        pairs = [(own == number, other == number) for number in classes]
    else:
        pairs = [(own[:, number], other[:, number]) for number in range(own.shape[1])]
    return Parity(share, min(_iou(first, second) for first, second in pairs))


def _iou(first: npt.NDArray[np.bool_], second: npt.NDArray[np.bool_]) -> float:
    union, differing = int((first | second).sum()), int((first ^ second).sum())
    return 1 - max(0, differing - SLACK_PX) / max(1, union)


def percent(share: float) -> str:
    """A share for messages, rounded down: what is not all of them must not read as 100 %."""
    return f"{math.floor(share * 1e5) / 1e3:g} %"


def in_one_line(error: Exception) -> str:
    """Kind and first line of an error."""
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__
