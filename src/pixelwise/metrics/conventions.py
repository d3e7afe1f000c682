"""Scores that other libraries would report for the same predictions.

They differ in the treatment of absent classes and in averaging over images or pixels. All are
computed from per-image counts.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from pixelwise.errors import UnknownNameError
from pixelwise.io.arrays import UInt8Array
from pixelwise.metrics.extra import extra_metrics
from pixelwise.metrics.formulas import Counts, Values

TINY = 1e-6
"""Smoothing term that milesial's Dice adds to numerator and denominator."""


def figure_like(name: str, per_image: Counts, *, has_background: bool = True) -> float:
    """Compute the metric in another library's convention.

    Args:
        name: One of :func:`convention_names`.
        per_image: Counts (N, 4, K) of each image.
        has_background: Whether class 0 is the background, as in multiclass masks; conventions that
            exclude class 0 then exclude it.

    Returns:
        The score; NaN if the library's code would return NaN.

    Raises:
        UnknownNameError: The convention is unknown.
    """
    if name not in _CONVENTIONS:
        raise UnknownNameError("`like`", name, _CONVENTIONS)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # they return the mean of an empty array
        figure = _CONVENTIONS[name][1]
        if figure in _WITHOUT_BACKGROUND and has_background:
            per_image = per_image[..., 1:]
        return float(figure(per_image))


def convention_names() -> dict[str, str]:
    """Return every convention by name, with its description."""
    return {name: words for name, (words, _) in _CONVENTIONS.items()}


def _union_share(counts: Counts) -> Values:
    """Return the IoU (..., K); NaN for classes that are neither in the masks nor predicted."""
    hits, extra, missed, _ = np.moveaxis(counts.astype(np.float64), -2, 0)
    whole = hits + extra + missed
    shares: Values = np.divide(hits, whole, out=np.full(whole.shape, np.nan), where=whole > 0)
    return shares


def _nan_skipped(per_image: Counts) -> float:
    return float(np.nanmean(_union_share(per_image.sum(0))))


def _absent_is_0(per_image: Counts) -> float:
    return float(np.nan_to_num(_union_share(per_image.sum(0))).mean())


def _absent_is_1(per_image: Counts) -> float:
    shares = _union_share(per_image.sum(0))
    return float(_nan_as_1(shares).mean())


def _nan_as_1(shares: Values) -> Values:
    return np.where(np.isnan(shares), 1.0, shares)


def _nan_spreads(per_image: Counts) -> float:
    return float(_union_share(per_image.sum(0)).mean())


def _pooled(per_image: Counts) -> float:
    hits, extra, missed, _ = per_image.sum((0, 2)).astype(np.float64)
    return float(hits / (hits + extra + missed))


def _smp_pooled(per_image: Counts) -> float:
    return float(_nan_as_1(_union_share(per_image.sum((0, 2))[:, None])).mean())


def _pooled_by_image(per_image: Counts) -> float:
    return float(_nan_as_1(_union_share(per_image.sum(2)[..., None])).mean())


def _absent_is_1_by_image(per_image: Counts) -> float:
    return float(_nan_as_1(_union_share(per_image)).mean())


def _monai(per_image: Counts) -> float:
    hits, _, missed, _ = np.moveaxis(per_image, 1, 0)
    shares = np.where(hits + missed > 0, _union_share(per_image), np.nan)
    return float(np.nanmean(np.nanmean(shares, axis=1)))


def _nnunet(per_image: Counts) -> float:
    return float(np.nanmean(_union_share(per_image), axis=0).mean())


def _milesial(per_image: Counts) -> float:
    hits, extra, missed, _ = np.moveaxis(per_image.astype(np.float64), 1, 0)
    inter, whole = 2 * hits, 2 * hits + extra + missed
    whole = np.where(whole == 0, inter, whole)
    return float(((inter + TINY) / (whole + TINY)).mean())


_CONVENTIONS: dict[str, tuple[str, Callable[[Counts], float]]] = {
    "mmseg": (
        "IoU over the split, without classes that are absent and not predicted (also HF, Keras)",
        _nan_skipped,
    ),
    "smp-macro": (
        "IoU over the split; a class that is absent and not predicted counts as 1",
        _absent_is_1,
    ),
    "smp-micro": ("micro IoU over the pixels of all classes", _smp_pooled),
    "smp-macro-imagewise": (
        "IoU per image; a class that is absent from it counts as 1",
        _absent_is_1_by_image,
    ),
    "smp-micro-imagewise": (
        "micro IoU over the pixels of all classes, per image",
        _pooled_by_image,
    ),
    "torchvision": ("IoU over the split; NaN if a class is absent and not predicted", _nan_spreads),
    "torchgeo": ("micro IoU over the pixels of all classes", _pooled),
    "paddleseg": (
        "IoU over the split; a class that is absent and not predicted counts as 0",
        _absent_is_0,
    ),
    "monai": ("IoU per image over the classes in its mask", _monai),
    "nnunet": ("IoU per image without class 0, averaged over images, then over classes", _nnunet),
    "keras-segmentation": (
        "IoU over the split; a class that is absent and not predicted counts as 0",
        _absent_is_0,
    ),
    "milesial": (
        "Dice per image without class 0; a class that is absent from it counts as 1",
        _milesial,
    ),
}

_WITHOUT_BACKGROUND = (_nnunet, _milesial)


@extra_metrics.register("keras")
class KerasCounts:
    """Recall, precision and binary accuracy of soft masks, as computed by Keras.

    For recall and precision, every target above 0 is positive. For accuracy, a decision is correct
    only if it equals the target, which must be exactly 0 or 1, so soft edge pixels are never
    correct.
    Only multilabel masks can be soft; multiclass masks are not counted.
    """

    name = "keras"

    def __init__(self) -> None:
        self._equal = self._decisions = 0
        self._true_positives = self._predicted = self._positives = 0

    def add(
        self, prediction: npt.NDArray[Any], probabilities: npt.NDArray[np.float32], mask: UInt8Array
    ) -> None:
        """Count one image.

        Args:
            prediction: bool (K, H, W), a probability above 1/2.
            probabilities: float32 (K, H, W); not used.
            mask: uint8 (K, H, W), 0..255 for 0..1.
        """
        del probabilities
        if mask.ndim != 3:
            return
        positive = mask > 0
        self._equal += int((prediction & (mask == 255)).sum() + (~prediction & ~positive).sum())
        self._decisions += mask.size
        self._true_positives += int((prediction & positive).sum())
        self._predicted += int(prediction.sum())
        self._positives += int(positive.sum())

    def figures(self) -> dict[str, float]:
        """Return ``binary_accuracy``, ``recall`` and ``precision``; empty before the first mask."""
        if not self._decisions:
            return {}
        return {
            "binary_accuracy": self._equal / self._decisions,
            "recall": self._true_positives / max(1, self._positives),
            "precision": self._true_positives / max(1, self._predicted),
        }
