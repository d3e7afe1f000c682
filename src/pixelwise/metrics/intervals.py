"""Confidence intervals and p-values by resampling images.

Intervals are percentile bootstrap intervals: images are drawn with replacement, and the interval
contains the middle 95 % of the resampled metric. Whole images are drawn because the pixels of an
image are not independent; in paired comparisons, both models use the same resamples.

Resamples that lack a class of the split are left out, since their mean is over other classes. There
is no interval if fewer than two images show a class, or if more than 5 % of the resamples are left
out: too few images then show the class for a reliable interval.

The p-value of two models is that of a paired permutation test, which swaps the counts of the models
per image: the fraction of swaps with a difference at least as large as the observed one.

Reference:
    Efron and Tibshirani, An Introduction to the Bootstrap (1993), chapters 13 and 15.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pixelwise.metrics import formulas
from pixelwise.metrics.formulas import Counts, Values

LEVEL = 0.95
NUM_RESAMPLES = 2000
NUM_SWAPS = 10_000
"""Maximum number of permutations; up to 13 images, all permutations are enumerated."""

MIN_DEFINED = 0.95
"""Minimum fraction of resamples for which the metric is defined."""

NUM_AT_ONCE = 200
"""Number of resamples in memory at once."""

Measure = Callable[[Values], Values]
"""A metric of counts (..., 4, K) with any leading shape."""

ROUNDING = 1e-12
"""Tolerance for equal differences."""

_OF_PIXELS: tuple[Measure, ...] = (
    formulas.multiclass_accuracy,
    formulas.multilabel_accuracy,
    formulas.frequency_weighted_iou,
)
"""Metrics that are not class means, so a missing class does not bias them."""


@dataclass(frozen=True)
class Interval:
    """A 95 % confidence interval."""

    low: float
    high: float


@dataclass(frozen=True)
class Difference:
    """The difference of two models on the same images.

    Attributes:
        value: First minus second.
        interval: Bootstrap interval of the difference; ``None`` if undefined.
        p_value: Two-sided p-value of a permutation test over images; 1 for equal models.
    """

    value: float
    interval: Interval | None
    p_value: float


def bootstrap(per_image: Counts, measure: Measure, *, seed: int = 0) -> Interval | None:
    """Return the 95 % interval of a metric over a split.

    Args:
        per_image: Counts (N, 4, K) of each image.
        measure: Metric of the summed counts.
        seed: Random seed of the resamples.

    Returns:
        The interval; ``None`` if there are too few images, see the module.
    """
    return Bootstrap(per_image, seed=seed).interval(measure)


class Bootstrap:
    """Bootstrap resamples of a split, drawn once and used for all metrics.

    Args:
        per_image: Counts (N, 4, K) of each image.
        seed: Random seed of the resamples.
    """

    def __init__(self, per_image: Counts, *, seed: int = 0) -> None:
        self._per_image = per_image.astype(np.float64)
        self._shown = _shown(per_image.sum(0))
        many = len(per_image) > 1  # a single image has no interval
        self._sums = [sums for (sums,) in _resamples([per_image], seed)] if many else []

    def interval(self, measure: Measure) -> Interval | None:
        """Return the 95 % interval of a metric over the split; see :func:`bootstrap`."""
        if not self._sums or not _is_shown_twice(measure(self._per_image)):
            return None
        return _interval(np.concatenate([_held(measure, sums, self._shown) for sums in self._sums]))

    def class_intervals(self, measure: Measure) -> list[Interval | None]:
        """Return the 95 % interval of a metric for each class; see :func:`bootstrap`."""
        num_classes = self._per_image.shape[-1]
        if not self._sums:
            return [None] * num_classes
        values = np.concatenate([measure(sums) for sums in self._sums])
        is_enough = [_is_shown_twice(column) for column in measure(self._per_image).T]
        return [_interval(values[:, index]) if is_enough[index] else None
                for index in range(num_classes)]  # fmt: skip


def paired_bootstrap(
    first: Counts, second: Counts, measure: Measure, *, seed: int = 0
) -> Difference:
    """Compare two models on the same images.

    Args:
        first: Counts (N, 4, K) of the first model.
        second: Counts (N, 4, K) of the second model on the same images.
        measure: Metric of the summed counts.
        seed: Random seed.

    Raises:
        ValueError: The numbers of images differ.
    """
    if first.shape != second.shape:
        raise ValueError(
            f"both must have counts of the same images. Got {first.shape}, {second.shape}"
        )
    value = float(measure(first.sum(0)) - measure(second.sum(0)))
    if not _is_shown_twice(measure(first.astype(np.float64)) - measure(second.astype(np.float64))):
        return Difference(value, None, 1.0)
    shown = _shown(first.sum(0))
    values = [
        _held(measure, ours, shown) - measure(theirs)
        for ours, theirs in _resamples([first, second], seed)
    ]
    p_value = _swap_p_value(first, second, measure, seed)
    return Difference(value, _interval(np.concatenate(values)), p_value)


def _swap_p_value(first: Counts, second: Counts, measure: Measure, seed: int) -> float:
    """Return the two-sided p-value of a permutation test that swaps images between two models."""
    count = len(first)
    total = first.sum(0) + second.sum(0)
    change = (second - first).reshape(count, -1).astype(np.float64)
    observed = abs(float(measure(first.sum(0)) - measure(second.sum(0))))
    is_exact = 2**count <= NUM_SWAPS
    num_swaps = 2**count if is_exact else NUM_SWAPS
    rng = np.random.default_rng(seed)
    num_larger = 0
    for start in range(0, num_swaps, NUM_AT_ONCE):
        numbers = np.arange(start, min(start + NUM_AT_ONCE, num_swaps))
        swaps = (
            numbers[:, None] >> np.arange(count) & 1
            if is_exact
            else rng.integers(0, 2, (len(numbers), count))
        )
        ours = first.sum(0) + (swaps @ change).reshape(-1, *first.shape[1:])
        found = np.abs(measure(ours) - measure(total - ours))
        num_larger += int((found >= observed - ROUNDING).sum())
    return num_larger / num_swaps if is_exact else (1 + num_larger) / (1 + num_swaps)


def _is_shown_twice(by_image: Values) -> bool:
    return int(np.count_nonzero(~np.isnan(by_image))) > 1


def _shown(counts: Values | Counts) -> npt.NDArray[np.bool_]:
    """Return the classes (..., K) that occur in the masks, from counts (..., 4, K)."""
    shown: npt.NDArray[np.bool_] = counts[..., 0, :] + counts[..., 2, :] > 0
    return shown


def _held(measure: Measure, sums: Values, shown: npt.NDArray[np.bool_]) -> Values:
    """Return the metric (B,) of counts (B, ..., 4, K); NaN if an averaged class is missing."""
    values = measure(sums)
    if measure in _OF_PIXELS:
        return values
    is_whole = (_shown(sums) == shown).reshape(len(sums), -1).all(1)
    return np.where(is_whole, values, np.nan)


def _resamples(sets: list[Counts], seed: int) -> Iterator[list[Values]]:
    """Yield the summed counts (B, 4, K) of each set over the same resamples, in chunks."""
    rng = np.random.default_rng(seed)
    count = len(sets[0])
    # float64 is exact for integers up to 2 ** 53, and its matrix product uses BLAS.
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
    if len(defined) < MIN_DEFINED * len(values):
        return None
    low, high = np.quantile(defined, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Interval(float(low), float(high))
