"""Measure calibration: reliability, temperature scaling, risk and coverage."""

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
"""Bins of the reliability curve and of the expected calibration error, as Guo et al. take them."""

FINE_BINS = 1500
"""Bins that are counted in; the curve of risk against coverage is drawn from them."""

TEMPERATURES = (0.05, 20.0)
"""The range in which the temperature is sought."""

FloatArray = npt.NDArray[np.floating]


class Reliability:
    """How sure the model was, and how often it was right, over a split."""

    def __init__(self) -> None:
        # Whole numbers up to 2 ** 53 are exact in float64.
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
            confidence: Probability of what was decided, 0 to 1, any shape; ignored pixels left out.
            is_right: Whether that was right, the same shape.
            weights: How many decisions each stands for, (N,); one where there are none.
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
        """(mean confidence, share that is right, decisions) of each bin that holds any."""
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
        """Mean distance of confidence and accuracy, weighted by decisions; 0 is perfect.

        Reference:
            Guo et al., On Calibration of Modern Neural Networks (2017), arXiv:1706.04599.
        """
        total = max(1.0, float(self._pixels.sum()))
        return math.fsum(abs(sure - right) * count / total for sure, right, count in self.curve)

    @property
    def overconfidence(self) -> float:
        """Mean confidence less the share that is right; above 0, it is too sure of itself."""
        surplus = self._confidence.sum() - self._right.sum()
        return float(surplus / max(1.0, float(self._pixels.sum())))

    @property
    def risk_coverage(self) -> tuple[Values, Values]:
        """(coverage, risk): of the surest share of the decisions, how many are wrong."""
        pixels, right = self._pixels[::-1].cumsum(), self._right[::-1].cumsum()
        kept = pixels > 0
        coverage = pixels[kept] / max(1.0, float(pixels[-1]))
        return coverage, 1 - right[kept] / pixels[kept]


class TemperatureFit:
    """Collects a sample of logits and finds the one number that they should be divided by.

    Which pixels are drawn hangs on the names of the images and not on their order, and however many
    images there are, no more than the budget is kept.

    Args:
        per_image: Pixels that are drawn from each image, so that large ones do not rule.
        in_all: Pixels that are kept of all images.
    """

    def __init__(self, per_image: int = 2000, in_all: int = 200_000) -> None:
        self._per_image = per_image
        self._in_all = in_all
        self._logits: list[npt.NDArray[np.float32]] = []
        self._targets: list[npt.NDArray[np.float32]] = []
        self._lots: list[npt.NDArray[np.float64]] = []
        self._weights: list[npt.NDArray[np.float64]] = []

    def add(self, logits: FloatArray, target: npt.NDArray[np.generic], name: str) -> None:
        """Draw from one image.

        Args:
            logits: Multiclass: (K, N) of the labeled pixels. Multilabel: (N,) of any decisions.
            target: Multiclass: class ids (N,). Multilabel: (N,), 0 to 1.
            name: Of the image.
        """
        self.draw(lambda drawn: (logits[..., drawn], target[drawn]), logits.shape[-1], name)

    def draw(
        self,
        take: Callable[
            [npt.NDArray[np.int64]], tuple[npt.NDArray[np.floating], npt.NDArray[np.generic]]
        ],
        num_decisions: int,
        name: str,
    ) -> None:
        """Draw from one image, of which only what is drawn is looked at.

        Args:
            take: Gives logits and targets, as for :meth:`add`, of the decisions of some numbers.
            num_decisions: N; they are numbered from 0.
            name: Of the image.
        """
        rng = np.random.default_rng(crc32(name.encode()))
        drawn = rng.permutation(num_decisions)[: self._per_image]
        logits, target = take(drawn)
        self._logits.append(logits.astype(np.float32))
        self._targets.append(target.astype(np.float32))
        self._lots.append(rng.random(len(drawn)))
        self._weights.append(np.full(len(drawn), num_decisions / max(1, len(drawn))))
        if sum(map(len, self._lots)) > 2 * self._in_all:
            self._keep_lowest_lots()

    def _keep_lowest_lots(self) -> None:
        """Put what was collected together: in the order of the lots, as many as are kept."""
        lots = np.concatenate(self._lots)
        kept = lots.argsort()[: self._in_all]
        self._lots = [lots[kept]]
        self._weights = [np.concatenate(self._weights)[kept]]
        self._logits = [np.concatenate(self._logits, axis=-1)[..., kept]]
        self._targets = [np.concatenate(self._targets)[kept]]

    def temperature(self) -> float:
        """The temperature with the least cross-entropy; 1 where the sample does not tell it.

        It does not where nothing was collected or nothing is wrong: the colder, the less the
        cross-entropy is then. Nor does one whose least is at an end of the range.

        Reference:
            Guo et al., On Calibration of Modern Neural Networks (2017), arXiv:1706.04599.
        """
        if not sum(map(len, self._lots)):
            return 1.0
        self._keep_lowest_lots()
        logits, target = self._logits[0], self._targets[0]
        # How far the logit of the true class is behind the highest; soft targets are never reached.
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
        # The search never returns an end itself, only what is next to it.
        is_inside = found.fun < min(map(loss, bounds))
        return float(math.exp(found.x)) if is_inside else 1.0

    def calibration_error_at(self, temperature: float) -> float:
        """The expected calibration error that a temperature leaves of all pixels, by the sample.

        Each drawn pixel stands for as many as were not drawn of its image.
        """
        reliability = Reliability()
        if sum(map(len, self._lots)):
            self._keep_lowest_lots()
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
        """Where the logits of the labeled classes are."""
        target = self._targets[0].astype(np.intp)
        return target, np.arange(target.size)
