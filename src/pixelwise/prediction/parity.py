"""Checks that the outputs of an engine match those of torch."""

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
"""Minimum IoU of the two engines for every class: a rare class that is lost completely is only a
small share of the pixels."""

SLACK_PX = 4
"""Number of pixels per class that may differ in a batch, however small the class is."""

Decide = Callable[[Tensor], npt.NDArray[Any]]
"""Maps logits (K, H, W) to a decision: class ids (H, W), or bool (K, H, W)."""

Note = Callable[[str], None]
"""A function that receives a message for the user."""


class CheckedEngine:
    """Engine checked against torch, which replaces it if it fails or its outputs differ.

    Torch also computes the 1st, 2nd, 4th, 8th ... batch of a shape, so that the cost of checking
    becomes negligible in the long run.

    Args:
        engine: Faster engine.
        reference: Torch engine in float32.
        decide: Function that maps logits to a decision.
        note: Callback that receives one message if the engine is replaced.

    Attributes:
        name: Name of the engine in use.
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
        """Whether the engine was dropped in favor of torch."""
        return self._engine is None

    def __call__(self, images: Tensor) -> Tensor:
        """Segment a batch; see :class:`pixelwise.prediction.engines.Engine`."""
        if self._engine is None or self._is_one_shape_too_many(images):
            return self._reference(images)
        try:
            logits = self._engine(images)
        except Exception as error:  # libraries raise errors of any type
            return self._give_up(images, f"failed: {in_one_line(error)}")
        shape = tuple(images.shape)
        self._num_batches[shape] += 1
        if self._num_batches[shape].bit_count() > 1:  # not a power of two
            return logits
        reference = self._reference(images)
        found = parity(self._decide, logits, reference)
        if not found.is_enough:
            return self._give_up(images, f"matched only {found.describe()}")
        return logits

    def _is_one_shape_too_many(self, images: Tensor) -> bool:
        """Return whether a new shape exceeds the limit: compiling each one is slower than torch."""
        known = self._num_batches
        if tuple(images.shape) in known or len(known) < KEPT_SHAPES:
            return False
        if not self._has_said_more:
            self._has_said_more = True
            self._note(
                f"engine {self.name} is compiled for at most {KEPT_SHAPES} image "
                f"sizes; {self._reference.name} computes the others"
            )
        return True

    def _give_up(self, images: Tensor, why: str) -> Tensor:
        self._engine = None
        self._note(f"engine {self.name} {why}. {self._reference.name} is used instead")
        self.name = self._reference.name
        return self._reference(images)


@dataclass(frozen=True)
class Parity:
    """Agreement of the outputs of two engines on a batch.

    Attributes:
        share: Share of matching pixels, 0 to 1; multilabel pixels must match in all classes.
        class_iou: Lowest IoU of both decisions over the classes, with a tolerance of
            :data:`SLACK_PX` pixels; 1 if the decisions are the same.
    """

    share: float
    class_iou: float

    @property
    def is_enough(self) -> bool:
        """Whether the agreement is high enough for the engine to replace torch."""
        return self.share >= MIN_PARITY and self.class_iou >= MIN_CLASS_IOU

    def describe(self) -> str:
        """Return a description without a full stop."""
        pixels = f"{percent(self.share)} of the pixels"
        if self.class_iou >= MIN_CLASS_IOU:
            return pixels
        return f"{pixels}, and one class with an IoU of only {percent(self.class_iou)}"


NO_PARITY = Parity(0.0, 0.0)


def parity(decide: Decide, logits: Tensor, reference: Tensor) -> Parity:
    """Compare the decisions of an engine with those of a reference.

    Args:
        decide: Function that maps logits to a decision.
        logits: Logits of the engine, float32 (N, K, H, W).
        reference: Logits of the reference, float32 (N, K, H, W).
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
    """Format a share as a percentage, rounded down, so that only an exact 1 reads as 100 %."""
    return f"{math.floor(share * 1e5) / 1e3:g} %"


def in_one_line(error: Exception) -> str:
    """Return the type and first line of an error."""
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__
