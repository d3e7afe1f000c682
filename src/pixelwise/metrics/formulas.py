"""What is computed from counts: every measure as one function of arrays of counts.

Counts are arrays (..., 4, K): true positives, false positives, false negatives and true negatives
of K classes, of one image, of a split, or of many resamples of a split at once. A measure that is
not defined is NaN, and a class that the masks never show counts in no mean.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

Counts = npt.NDArray[np.int64]
Values = npt.NDArray[np.float64]


def iou(counts: npt.NDArray[Any]) -> Values:
    """Intersection over union, (..., K); NaN for a class that the masks never show."""
    hits, extra, missed, _ = _rows(counts)
    return np.where(hits + missed > 0, _ratio(hits, hits + extra + missed), np.nan)


def dice(counts: npt.NDArray[Any]) -> Values:
    """Dice coefficient, which is F1, (..., K); NaN for a class that the masks never show."""
    hits, extra, missed, _ = _rows(counts)
    return np.where(hits + missed > 0, _ratio(2 * hits, 2 * hits + extra + missed), np.nan)


def precision(counts: npt.NDArray[Any]) -> Values:
    """Share of what was predicted as a class that is it, (..., K); NaN when never predicted."""
    hits, extra, _, _ = _rows(counts)
    return _ratio(hits, hits + extra)


def recall(counts: npt.NDArray[Any]) -> Values:
    """Share of a class that was predicted as it, (..., K); NaN for one that is never shown."""
    hits, _, missed, _ = _rows(counts)
    return _ratio(hits, hits + missed)


def mean_iou(counts: npt.NDArray[Any]) -> Values:
    """Mean IoU over the classes that the masks show."""
    return _mean(iou(counts))


def mean_dice(counts: npt.NDArray[Any]) -> Values:
    """Mean Dice coefficient over the classes that the masks show."""
    return _mean(dice(counts))


def class_accuracy(counts: npt.NDArray[Any]) -> Values:
    """Mean recall over the classes that the masks show."""
    return _mean(recall(counts))


def frequency_weighted_iou(counts: npt.NDArray[Any]) -> Values:
    """IoU weighted by how many pixels of the masks are of each class."""
    hits, _, missed, _ = _rows(counts)
    pixels = hits + missed
    return _ratio((np.nan_to_num(iou(counts)) * pixels).sum(-1), pixels.sum(-1))


def multiclass_accuracy(counts: npt.NDArray[Any]) -> Values:
    """Share of the labeled pixels whose one class is right."""
    hits, _, missed, _ = _rows(counts)
    return _ratio(hits.sum(-1), (hits + missed).sum(-1))


def multilabel_accuracy(counts: npt.NDArray[Any]) -> Values:
    """Share of the decisions, a pixel and a class, that are right."""
    hits, _, _, rest = _rows(counts)
    return _ratio((hits + rest).sum(-1), counts.sum((-1, -2)))


def _rows(counts: npt.NDArray[Any]) -> tuple[npt.NDArray[Any], ...]:
    return tuple(np.moveaxis(counts, -2, 0))


def _ratio(part: npt.NDArray[Any], whole: npt.NDArray[Any]) -> Values:
    part, whole = np.asarray(part, np.float64), np.asarray(whole, np.float64)
    found: Values = np.divide(part, whole, out=np.full(whole.shape, np.nan), where=whole > 0)
    return found


def _mean(values: Values) -> Values:
    """The mean of what is defined; NaN of nothing."""
    defined = ~np.isnan(values)
    return _ratio(np.where(defined, values, 0.0).sum(-1), defined.sum(-1))
