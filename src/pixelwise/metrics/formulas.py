"""Metrics as functions of arrays of counts.

Counts have the shape (..., 4, K): true positives, false positives, false negatives and true
negatives of K classes, for one image, a split, or many resamples of a split at once. Undefined
metrics are NaN, and classes absent from the masks are excluded from means.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

Counts = npt.NDArray[np.int64]
Values = npt.NDArray[np.float64]


def iou(counts: npt.NDArray[Any]) -> Values:
    """Return the intersection over union, (..., K); NaN for classes absent from the masks."""
    hits, extra, missed, _ = _rows(counts)
    return np.where(hits + missed > 0, _ratio(hits, hits + extra + missed), np.nan)


def dice(counts: npt.NDArray[Any]) -> Values:
    """Return the Dice coefficient (F1), (..., K); NaN for classes absent from the masks."""
    hits, extra, missed, _ = _rows(counts)
    return np.where(hits + missed > 0, _ratio(2 * hits, 2 * hits + extra + missed), np.nan)


def precision(counts: npt.NDArray[Any]) -> Values:
    """Return the precision, (..., K); NaN for classes that are never predicted."""
    hits, extra, _, _ = _rows(counts)
    return _ratio(hits, hits + extra)


def recall(counts: npt.NDArray[Any]) -> Values:
    """Return the recall, (..., K); NaN for classes absent from the masks."""
    hits, _, missed, _ = _rows(counts)
    return _ratio(hits, hits + missed)


def mean_iou(counts: npt.NDArray[Any]) -> Values:
    """Return the mean IoU over the classes in the masks."""
    return _mean(iou(counts))


def mean_dice(counts: npt.NDArray[Any]) -> Values:
    """Return the mean Dice coefficient over the classes in the masks."""
    return _mean(dice(counts))


def class_accuracy(counts: npt.NDArray[Any]) -> Values:
    """Return the mean recall over the classes in the masks."""
    return _mean(recall(counts))


def frequency_weighted_iou(counts: npt.NDArray[Any]) -> Values:
    """Return the IoU averaged with the pixel frequencies of the classes in the masks."""
    hits, _, missed, _ = _rows(counts)
    pixels = hits + missed
    return _ratio((np.nan_to_num(iou(counts)) * pixels).sum(-1), pixels.sum(-1))


def multiclass_accuracy(counts: npt.NDArray[Any]) -> Values:
    """Return the pixel accuracy of multiclass counts."""
    hits, _, missed, _ = _rows(counts)
    return _ratio(hits.sum(-1), (hits + missed).sum(-1))


def multilabel_accuracy(counts: npt.NDArray[Any]) -> Values:
    """Return the accuracy over all pairs of a pixel and a class."""
    hits, _, _, rest = _rows(counts)
    return _ratio((hits + rest).sum(-1), counts.sum((-1, -2)))


def _rows(counts: npt.NDArray[Any]) -> tuple[npt.NDArray[Any], ...]:
    return tuple(np.moveaxis(counts, -2, 0))


def _ratio(part: npt.NDArray[Any], whole: npt.NDArray[Any]) -> Values:
    part, whole = np.asarray(part, np.float64), np.asarray(whole, np.float64)
    found: Values = np.divide(part, whole, out=np.full(whole.shape, np.nan), where=whole > 0)
    return found


def _mean(values: Values) -> Values:
    """Return the mean of the defined values; NaN if there are none."""
    defined = ~np.isnan(values)
    return _ratio(np.where(defined, values, 0.0).sum(-1), defined.sum(-1))
