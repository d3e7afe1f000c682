"""Calibration metrics: reliability diagram, temperature scaling, risk-coverage curve."""

from __future__ import annotations

import math
from collections.abc import Callable
from zlib import crc32

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize_scalar
from scipy.special import expit, logsumexp, softmax

from pixelwise.metrics.formulas import Values

NUM_BINS = 15
"""Bins of the reliability diagram and the expected calibration error, as in Guo et al."""

FINE_BINS = 1500
"""Bins of the confidence histogram, from which the risk-coverage curve is computed."""

TEMPERATURES = (0.05, 20.0)
"""Search range of the temperature."""

FloatArray = npt.NDArray[np.floating]


class Reliability:
    """Confidence histogram of correct and wrong decisions over a split."""

    def __init__(self) -> None:
        # Integers up to 2 ** 53 are exact in float64.
        self._pixels = np.zeros(FINE_BINS, np.float64)
        self._right = np.zeros(FINE_BINS, np.float64)
        self._confidence = np.zeros(FINE_BINS, np.float64)

    def add(
        self,
        confidence: FloatArray,
        is_right: npt.NDArray[np.bool_],
        weights: FloatArray | None = None,
    ) -> None:
        """Count decisions.

        Args:
            confidence: Probability of the decision, 0 to 1, any shape, without ignored pixels.
            is_right: Whether the decision is correct, same shape.
            weights: Number of decisions that each stands for, (N,); ``None`` means one.
        """
        sure = confidence.ravel().astype(np.float64)
        bins = np.minimum((sure * FINE_BINS).astype(np.intp), FINE_BINS - 1)
        hits = is_right.ravel()
        own = None if weights is None else weights[hits]
        self._pixels += np.bincount(bins, weights, FINE_BINS)
        self._right += np.bincount(bins[hits], own, FINE_BINS)
        self._confidence += np.bincount(
            bins, sure if weights is None else sure * weights, FINE_BINS
        )

    def merge(self, other: Reliability) -> None:
        """Add what was counted elsewhere, of other images."""
        self._pixels += other._pixels
        self._right += other._right
        self._confidence += other._confidence

    @property
    def curve(self) -> list[tuple[float, float, int]]:
        """Return (mean confidence, accuracy, number of decisions) of each non-empty bin."""
        pixels, right, confidence = (
            values.reshape(NUM_BINS, -1).sum(1)
            for values in (self._pixels, self._right, self._confidence)
        )
        return [
            (float(sure / count), float(hits / count), round(count))
            for count, hits, sure in zip(pixels, right, confidence, strict=True)
            if count
        ]

    @property
    def expected_calibration_error(self) -> float:
        """Return the expected calibration error (ECE); 0 is perfect.

        Reference:
            Guo et al., On Calibration of Modern Neural Networks (2017), arXiv:1706.04599.
        """
        total = max(1.0, float(self._pixels.sum()))
        return math.fsum(abs(sure - right) * count / total for sure, right, count in self.curve)

    @property
    def overconfidence(self) -> float:
        """Return mean confidence minus accuracy; above 0, the model is overconfident."""
        surplus = self._confidence.sum() - self._right.sum()
        return float(surplus / max(1.0, float(self._pixels.sum())))

    @property
    def risk_coverage(self) -> tuple[Values, Values]:
        """Return (coverage, risk), the error rate of the most confident fraction of decisions."""
        pixels, right = self._pixels[::-1].cumsum(), self._right[::-1].cumsum()
        kept = pixels > 0
        coverage = pixels[kept] / max(1.0, float(pixels[-1]))
        return coverage, 1 - right[kept] / pixels[kept]


class TemperatureFit:
    """Fits the temperature of the logits on a random sample of pixels.

    The sampled pixels depend on the names of the images, not on their order, and the sample size is
    bounded for any number of images.

    Args:
        per_image: Maximum number of sampled pixels per image, so that large images do not dominate.
        max_total: Maximum number of sampled pixels in total.
    """

    def __init__(self, per_image: int = 2000, max_total: int = 200_000) -> None:
        self._per_image = per_image
        self._max_total = max_total
        self._logits: list[npt.NDArray[np.float32]] = []
        self._targets: list[npt.NDArray[np.float32]] = []
        self._keys: list[npt.NDArray[np.float64]] = []
        self._weights: list[npt.NDArray[np.float64]] = []

    def draw(
        self,
        take: Callable[
            [npt.NDArray[np.int64]], tuple[npt.NDArray[np.floating], npt.NDArray[np.generic]]
        ],
        num_decisions: int,
        name: str,
    ) -> None:
        """Sample the decisions of one image, and read only those that are sampled.

        Args:
            take: Returns logits and targets of the n decisions with given indices. Multiclass:
                logits (K, n) and class ids (n,). Multilabel: logits (n,) and targets (n,), 0 to 1.
            num_decisions: N, the number of decisions.
            name: Of the image.
        """
        rng = np.random.default_rng(crc32(name.encode()))
        drawn = rng.permutation(num_decisions)[: self._per_image]
        logits, target = take(drawn)
        self._logits.append(logits.astype(np.float32))
        self._targets.append(target.astype(np.float32))
        self._keys.append(rng.random(len(drawn)))
        self._weights.append(np.full(len(drawn), num_decisions / max(1, len(drawn))))
        if sum(map(len, self._keys)) > 2 * self._max_total:
            self._keep_smallest_keys()

    def _keep_smallest_keys(self) -> None:
        """Concatenate the sample in the order of its random keys, up to the limit."""
        keys = np.concatenate(self._keys)
        kept = keys.argsort()[: self._max_total]
        self._keys = [keys[kept]]
        self._weights = [np.concatenate(self._weights)[kept]]
        self._logits = [np.concatenate(self._logits, axis=-1)[..., kept]]
        self._targets = [np.concatenate(self._targets)[kept]]

    def temperature(self) -> float:
        """Return the temperature with the lowest cross-entropy; 1 if it is undetermined.

        It is undetermined if the sample is empty or without errors, where the cross-entropy falls
        with the temperature, or if the minimum is at an end of the range.

        Reference:
            Guo et al., On Calibration of Modern Neural Networks (2017), arXiv:1706.04599.
        """
        if not sum(map(len, self._keys)):
            return 1.0
        self._keep_smallest_keys()
        logits, target = self._logits[0], self._targets[0]
        # Margin of the correct class to the highest logit; soft targets are never reached.
        if logits.ndim == 1:
            shortfall = np.maximum(logits, 0) - target * logits
        else:
            shortfall = logits.max(0) - logits[self._chosen]
        if not shortfall.any():
            return 1.0

        def loss(log_temperature: float) -> float:
            scaled = logits / np.float32(math.exp(log_temperature))
            if logits.ndim == 1:
                each = np.logaddexp(0, scaled) - target * scaled
            else:
                each = logsumexp(scaled, axis=0) - scaled[self._chosen]
            return float(each.mean(dtype=np.float64))

        bounds = tuple(math.log(edge) for edge in TEMPERATURES)
        found = minimize_scalar(loss, bounds=bounds, method="bounded")
        # The search never returns an end of the range itself, only values next to it.
        is_inside = found.fun < min(map(loss, bounds))
        return float(math.exp(found.x)) if is_inside else 1.0

    def calibration_error_at(self, temperature: float) -> float:
        """Estimate the expected calibration error of all pixels with a temperature.

        Each sampled pixel is weighted by the number of pixels that it represents in its image.
        """
        reliability = Reliability()
        if sum(map(len, self._keys)):
            self._keep_smallest_keys()
            scaled, target = self._logits[0] / np.float32(temperature), self._targets[0]
            if scaled.ndim == 1:
                is_right = (scaled > 0) == (target >= 0.5)
                reliability.add(expit(np.abs(scaled)), is_right, self._weights[0])
            else:
                is_right = scaled.argmax(0) == target
                reliability.add(softmax(scaled, axis=0).max(0), is_right, self._weights[0])
        return reliability.expected_calibration_error

    @property
    def _chosen(self) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]:
        """Return the indices of the logits of the labeled classes."""
        target = self._targets[0].astype(np.intp)
        return target, np.arange(target.size)
