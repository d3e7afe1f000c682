"""How sure a number is: bootstrap over images, for one model and for the difference of two.

Images are drawn with replacement, as many as there are; the interval holds the middle 95 % of what
the measure then gives (the percentile method). Pixels of an image go together, for they are not
independent; so do the two models' counts of an image, in the paired form.

A resample that lacks a class of the split would be another mean: it is left out. There is no
interval where fewer than two images show what is measured, or more than 5 % of the resamples are
left out: so few images show a class that these resamples cannot say how sure it is.

The p-value of two models is that of a permutation: were they alike, each image's two counts could
be swapped. It is the share of such swaps that give a difference at least as large.

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
"""Permutations; all of them where there are no more, which is up to 13 images."""

MIN_DEFINED = 0.95
"""Share of the resamples that must be defined."""

NUM_AT_ONCE = 200
"""Resamples whose counts are held at once, which bounds the memory."""

Measure = Callable[[Values], Values]
"""Of counts (..., 4, K), in any leading shape."""

ROUNDING = 1e-12
"""Differences closer than this are equal."""

_OF_PIXELS: tuple[Measure, ...] = (
    formulas.multiclass_accuracy,
    formulas.multilabel_accuracy,
    formulas.frequency_weighted_iou,
)
"""Measures that are no mean over classes: one that is missing does not shift them."""


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
        interval: Of the difference by bootstrap; ``None`` where there is none.
        p_value: Two-sided, by permutation of whole images; 1 for equal ones.
    """

    value: float
    interval: Interval | None
    p_value: float


def bootstrap(per_image: Counts, measure: Measure, *, seed: int = 0) -> Interval | None:
    """The 95 % interval of a measure over a split.

    Args:
        per_image: Counts (N, 4, K) of each image.
        measure: What is computed from summed counts.
        seed: Of the draw; the same one gives the same interval.

    Returns:
        The interval; ``None`` where the images do not suffice, see the module.
    """
    return Bootstrap(per_image, seed=seed).interval(measure)


class Bootstrap:
    """Resamples of a split, drawn once for every measure of it.

    Args:
        per_image: Counts (N, 4, K) of each image.
        seed: Of the draw; the same one gives the same intervals.
    """

    def __init__(self, per_image: Counts, *, seed: int = 0) -> None:
        self._per_image = per_image.astype(np.float64)
        self._shown = _shown(per_image.sum(0))
        many = len(per_image) > 1  # one image alone has no interval
        self._sums = [sums for (sums,) in _resamples([per_image], seed)] if many else []

    def interval(self, measure: Measure) -> Interval | None:
        """The 95 % interval of a measure over the split; see :func:`bootstrap`."""
        if not self._sums or not _is_shown_twice(measure(self._per_image)):
            return None
        return _interval(np.concatenate([_held(measure, sums, self._shown) for sums in self._sums]))

    def class_intervals(self, measure: Measure) -> list[Interval | None]:
        """The 95 % interval of a measure of each class; see :func:`bootstrap`."""
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
        second: Counts (N, 4, K) of the second one, image by image the same.
        measure: What is computed from summed counts.
        seed: Of the draw.

    Raises:
        ValueError: The images are not equally many.
    """
    if first.shape != second.shape:
        raise ValueError(f"both must be of the same images. Got {first.shape}, {second.shape}")
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
    """Share of the swaps of images between two models that differ as much, two-sided."""
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
    """Classes (..., K) of which counts (..., 4, K) hold a pixel of the masks."""
    shown: npt.NDArray[np.bool_] = counts[..., 0, :] + counts[..., 2, :] > 0
    return shown


def _held(measure: Measure, sums: Values, shown: npt.NDArray[np.bool_]) -> Values:
    """The measure (B,) of counts (B, ..., 4, K); NaN where a class is missing that it averages."""
    values = measure(sums)
    if measure in _OF_PIXELS:
        return values
    is_whole = (_shown(sums) == shown).reshape(len(sums), -1).all(1)
    return np.where(is_whole, values, np.nan)


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
    if len(defined) < MIN_DEFINED * len(values):
        return None
    low, high = np.quantile(defined, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Interval(float(low), float(high))
