"""How sure a number is: bootstrap over images, for one model and for the difference of two.

Images are drawn with replacement, as many as there are; the interval holds the middle 95 % of what
the measure then gives (the percentile method). Pixels of an image go together, for they are not
independent; so do the two models' counts of an image, in the paired form.

Reference:
    Efron and Tibshirani, An Introduction to the Bootstrap (1993), chapter 13.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from pixelwise.scoring.measures import Counts, Values

LEVEL = 0.95
NUM_RESAMPLES = 2000
NUM_AT_ONCE = 200
"""Resamples whose counts are held at once, which bounds the memory."""

Measure = Callable[[Values], Values]
"""Of counts (..., 4, K), in any leading shape."""


@dataclass(frozen=True)
class Interval:
    """The range that holds a number with 95 % confidence."""

    low: float
    high: float


@dataclass(frozen=True)
class Difference:
    """How much better a first model is than a second one on the same images.

    Attributes:
        value: First minus second.
        interval: Of the difference.
        p_value: Two-sided, from the share of resamples on the other side of zero; 1 for equal ones.
    """

    value: float
    interval: Interval
    p_value: float

    @property
    def is_significant(self) -> bool:
        """The interval leaves out zero."""
        return self.interval.low > 0 or self.interval.high < 0


def bootstrap(per_image: Counts, measure: Measure, *, seed: int = 0) -> Interval | None:
    """The 95 % interval of a measure over a split.

    Args:
        per_image: Counts (N, 4, K) of each image.
        measure: What is computed from summed counts.
        seed: Of the draw; the same one gives the same interval.

    Returns:
        The interval; ``None`` for fewer than two images, or where the measure is not defined.
    """
    if len(per_image) < 2:
        return None
    values = np.concatenate([measure(sums) for (sums,) in _resamples([per_image], seed)])
    return _interval(values)


def bootstrap_classes(
    per_image: Counts, measure: Measure, *, seed: int = 0
) -> list[Interval | None]:
    """The 95 % interval of a measure of each class; see :func:`bootstrap`."""
    num_classes = per_image.shape[-1]
    if len(per_image) < 2:
        return [None] * num_classes
    values = np.concatenate([measure(sums) for (sums,) in _resamples([per_image], seed)])
    return [_interval(values[:, index]) for index in range(num_classes)]


def paired_bootstrap(
    first: Counts, second: Counts, measure: Measure, *, seed: int = 0
) -> Difference:
    """Compare two models on the same images.

    Args:
        first: Counts (N, 4, K) of the first model.
        second: Counts (N, 4, K) of the second one, image by image the same.
        measure: What is computed from summed counts.
        seed: Of the draw.

    Raises:
        ValueError: The images are not equally many.
    """
    if first.shape != second.shape:
        raise ValueError(f"both must be of the same images. Got {first.shape}, {second.shape}")
    value = float(measure(first.sum(0)) - measure(second.sum(0)))
    if len(first) < 2:
        return Difference(value, Interval(-np.inf, np.inf), 1.0)
    values = np.concatenate(
        [measure(ours) - measure(theirs) for ours, theirs in _resamples([first, second], seed)]
    )
    interval = _interval(values) or Interval(-np.inf, np.inf)
    below, above = float((values <= 0).mean()), float((values >= 0).mean())
    return Difference(value, interval, min(1.0, 2 * min(below, above)))


def _resamples(sets: list[Counts], seed: int) -> Iterator[list[Values]]:
    """Summed counts (B, 4, K) of each set over the same drawn images, in portions."""
    rng = np.random.default_rng(seed)
    count = len(sets[0])
    # float64 holds sums of whole numbers exactly up to 2 ** 53, and multiplies by the fast library.
    flat = [images.reshape(count, -1).astype(np.float64) for images in sets]
    for start in range(0, NUM_RESAMPLES, NUM_AT_ONCE):
        num_drawn = min(NUM_AT_ONCE, NUM_RESAMPLES - start)
        weights = rng.multinomial(count, np.full(count, 1 / count), size=num_drawn)
        yield [
            (weights.astype(np.float64) @ images).reshape(num_drawn, *original.shape[1:])
            for images, original in zip(flat, sets, strict=True)
        ]


def _interval(values: Values) -> Interval | None:
    defined = values[~np.isnan(values)]
    if not len(defined):
        return None
    low, high = np.quantile(defined, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Interval(float(low), float(high))
