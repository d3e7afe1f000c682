"""Ranks models and tests which of them differ significantly from the best.

Models are compared on the same images by the paired permutation test of
:mod:`pixelwise.metrics.intervals`. Because the best model is selected on the same data, p-values
are corrected for all pairs of models. With several seeds, the value is the mean over the seeds;
the interval covers the choice of images, the spread over seeds covers the training.

Reference:
    Holm, A simple sequentially rejective multiple test procedure (1979).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from pixelwise.metrics.formulas import Counts, Values
from pixelwise.metrics.intervals import (
    LEVEL,
    Difference,
    Interval,
    Measure,
    bootstrap,
    paired_bootstrap,
)


@dataclass(frozen=True)
class Ranked:
    """A model in the ranking.

    Attributes:
        name: Name of the model.
        value: The metric, averaged over the seeds.
        by_seed: The metric of each seed.
        interval: 95 % interval of the value by bootstrap over images; ``None`` if undefined.
        behind: Difference of the best model to this one; ``None`` for the best itself.
        p_value: Two-sided p-value, corrected for the number of pairs by Holm's method; ``None`` for
            the best itself.
    """

    name: str
    value: float
    by_seed: tuple[float, ...]
    interval: Interval | None
    behind: Difference | None = None
    p_value: float | None = None

    @property
    def is_tied_with_best(self) -> bool:
        """Whether it is the best or does not differ significantly from the best."""
        return self.p_value is None or self.p_value >= 1 - LEVEL

    @property
    def spread(self) -> float:
        """Largest minus smallest value over the seeds; 0 for one seed."""
        return max(self.by_seed) - min(self.by_seed)


def rank_models(counts: Mapping[str, Counts], measure: Measure) -> list[Ranked]:
    """Rank models by a metric and compare each with the best.

    Args:
        counts: By model name, counts (N, S, 4, K) of the same N images and S seeds.
        measure: Metric of the counts summed over the images.

    Returns:
        The models, best first; ties keep the given order.

    Raises:
        ValueError: The numbers of images differ.
    """
    mean = over_seeds(measure)
    entries = []
    for name, per_image in counts.items():
        by_seed = [float(value) for value in measure(per_image.sum(0))]
        interval = bootstrap(per_image, mean)
        entries.append(Ranked(name, math.fsum(by_seed) / len(by_seed), tuple(by_seed), interval))
    best, *others = sorted(entries, key=lambda entry: -entry.value)
    differences = [
        paired_bootstrap(*_equally_many(counts[best.name], counts[entry.name]), mean)
        for entry in others
    ]
    num_pairs = math.comb(len(entries), 2)
    corrected = holm([difference.p_value for difference in differences], num_pairs)
    return [
        best,
        *(
            Ranked(entry.name, entry.value, entry.by_seed, entry.interval, difference, p_value)
            for entry, difference, p_value in zip(others, differences, corrected, strict=True)
        ),
    ]


def over_seeds(measure: Measure) -> Measure:
    """Return the mean of a metric over S seeds, from counts (..., S, 4, K)."""

    def mean(counts: Values) -> Values:
        found: Values = measure(counts).mean(-1)
        return found

    return mean


def holm(p_values: Sequence[float], num_asked: int) -> list[float]:
    """Correct p-values for multiple tests by Holm's method.

    Args:
        p_values: P-values of the reported comparisons.
        num_asked: Number of possible comparisons, at least that of ``p_values``.

    Returns:
        The corrected p-values in the same order, at most 1.
    """
    corrected = [0.0] * len(p_values)
    largest = 0.0
    for place, index in enumerate(np.argsort(p_values, kind="stable").tolist()):
        largest = max(largest, min(1.0, (num_asked - place) * p_values[index]))
        corrected[index] = largest
    return corrected


def _equally_many(first: Counts, second: Counts) -> tuple[Counts, Counts]:
    """Repeat the seeds of both to a common number, which keeps their means."""
    common = math.lcm(first.shape[1], second.shape[1])
    alike = [np.repeat(one, common // one.shape[1], axis=1) for one in (first, second)]
    return alike[0], alike[1]
