"""Which of several models is the best, and which of the others cannot be told apart from it.

Models are compared on the same images by the paired permutation of
:mod:`pixelwise.metrics.intervals`. The best was chosen by the same figures, so the correction is
for all pairs that could have been asked. Where a model was trained with several seeds, the
value is the mean over the seeds; the interval says what other images would give, the spread over
the seeds what another training would.

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
    """One model's place.

    Attributes:
        name: Of the model.
        value: The measure, mean over the seeds.
        by_seed: The measure of each seed.
        interval: 95 % interval of the value by bootstrap over images; ``None`` where there is none.
        behind: How much better the best model is; ``None`` for the best itself.
        p_value: Two-sided, corrected for the number of pairs of models by Holm's method; ``None``
            for the best itself.
    """

    name: str
    value: float
    by_seed: tuple[float, ...]
    interval: Interval | None
    behind: Difference | None = None
    p_value: float | None = None

    @property
    def is_like_best(self) -> bool:
        """It is the best, or no difference from the best was found."""
        return self.p_value is None or self.p_value >= 1 - LEVEL

    @property
    def spread(self) -> float:
        """Largest minus smallest value of the seeds; 0 for one seed."""
        return max(self.by_seed) - min(self.by_seed)


def rank_models(counts: Mapping[str, Counts], measure: Measure) -> list[Ranked]:
    """Rank models by a measure, and hold each against the best.

    Args:
        counts: By name, counts (N, S, 4, K) of N images, the same for all, and S seeds.
        measure: What is computed from the counts summed over the images.

    Returns:
        The best first; of equal ones the one that was given first.

    Raises:
        ValueError: The images are not equally many.
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
    """A measure of counts (..., S, 4, K): its mean over S seeds."""

    def mean(counts: Values) -> Values:
        found: Values = measure(counts).mean(-1)
        return found

    return mean


def holm(p_values: Sequence[float], num_asked: int) -> list[float]:
    """Correct p-values for being several, so that one wrong finding among them stays unlikely.

    Args:
        p_values: Of the comparisons that are reported.
        num_asked: Comparisons that could have been reported, no fewer.

    Returns:
        In the same order, each at least as large as it was, none above 1.
    """
    corrected = [0.0] * len(p_values)
    largest = 0.0
    for place, index in enumerate(np.argsort(p_values, kind="stable").tolist()):
        largest = max(largest, min(1.0, (num_asked - place) * p_values[index]))
        corrected[index] = largest
    return corrected


def _equally_many(first: Counts, second: Counts) -> tuple[Counts, Counts]:
    """Both with equally many seeds: each one's are repeated, which leaves their mean as it is."""
    common = math.lcm(first.shape[1], second.shape[1])
    alike = [np.repeat(one, common // one.shape[1], axis=1) for one in (first, second)]
    return alike[0], alike[1]
