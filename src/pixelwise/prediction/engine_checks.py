"""Is an engine as good as torch? It is held against torch's decisions, now and then for ever."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
from torch import Tensor

from pixelwise.prediction.engines import Engine

MIN_AGREEMENT = 0.999
"""An engine is taken only where it decides this share of the pixels as torch in float32 does."""

Decide = Callable[[Tensor], npt.NDArray[Any]]
"""Maps logits (K, H, W) to class ids (H, W), or to yes and no (K, H, W)."""

Note = Callable[[str], None]
"""Takes a line that the user should see."""


class CheckedEngine:
    """An engine that torch looks after: where it fails or decides otherwise, torch goes on alone.

    torch computes the 1st, 2nd, 4th, 8th ... batch of a shape too, so that looking costs next to
    nothing in the long run.

    Args:
        engine: The faster one.
        reference: torch in float32.
        decide: Makes decisions of logits.
        note: Told when the engine is given up, once.
    """

    def __init__(self, engine: Engine, reference: Engine, decide: Decide, note: Note) -> None:
        self._engine: Engine | None = engine
        self._reference = reference
        self._decide = decide
        self._note = note
        self._num_batches: Counter[tuple[int, ...]] = Counter()
        self.name = engine.name

    def __call__(self, images: Tensor) -> Tensor:
        """Segment a batch; see :class:`pixelwise.prediction.engines.Engine`."""
        if self._engine is None:
            return self._reference(images)
        try:
            logits = self._engine(images)
        except Exception as error:  # whatever another library raises
            return self._give_up(images, f"failed: {in_one_line(error)}")
        shape = tuple(images.shape)
        self._num_batches[shape] += 1
        if self._num_batches[shape].bit_count() > 1:  # no power of two
            return logits
        truth = self._reference(images)
        share = agreement(self._decide, logits, truth)
        if share < MIN_AGREEMENT:
            return self._give_up(images, f"decided only {percent(share)} of the pixels alike")
        return logits

    def _give_up(self, images: Tensor, why: str) -> Tensor:
        self._engine = None
        self._note(f"engine {self.name} {why}. {self._reference.name} goes on")
        self.name = self._reference.name
        return self._reference(images)


def agreement(decide: Decide, logits: Tensor, truth: Tensor) -> float:
    """Share of the pixels of a batch that are decided alike; overlapping: in all their classes.

    Args:
        decide: Makes decisions of logits.
        logits: float32 (N, K, H, W).
        truth: The same, of the engine that is trusted.

    Returns:
        0 to 1.
    """
    shares = []
    for own, other in zip(logits, truth, strict=True):
        same = decide(own) == decide(other)
        shares.append(np.mean(same.all(0) if same.ndim == 3 else same))
    return float(np.mean(shares))


def percent(share: float) -> str:
    """A share for messages, rounded down: what is not all of them must not read as 100 %."""
    return f"{math.floor(share * 1e5) / 1e3:g} %"


def in_one_line(error: Exception) -> str:
    """Kind and first line of an error."""
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__
