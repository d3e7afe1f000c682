"""The metrics of a split and their definitions."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np

from pixelwise.classes import ClassMap, LabelMode
from pixelwise.label_modes import mode_of
from pixelwise.metrics import formulas
from pixelwise.metrics.confusion import COUNTS, PixelCounts
from pixelwise.metrics.details import Details
from pixelwise.metrics.intervals import Bootstrap, Interval, Measure


@dataclass(frozen=True)
class ClassMetrics:
    """The metrics of one class; undefined metrics are ``None``.

    Attributes:
        name: Name of the class.
        iou: Intersection over union; ``None`` for a class absent from the masks.
        dice: Dice coefficient (F1); ``None`` likewise.
        precision: Fraction of its predicted pixels that are correct; ``None`` if never predicted.
        recall: Fraction of its pixels that were predicted; ``None`` if absent from the masks.
        pixels: Number of its pixels in the masks.
        iou_interval: 95 % interval of the IoU by bootstrap over images, if requested.
    """

    name: str
    iou: float | None
    dice: float | None
    precision: float | None
    recall: float | None
    pixels: int
    iou_interval: Interval | None = None


@dataclass(frozen=True)
class Metrics:
    """The metrics of a split.

    Attributes:
        images: Number of images.
        label_mode: ``multiclass`` or ``multilabel``.
        mean_iou: Mean IoU over the classes in the masks.
        pixel_accuracy: Fraction of correct labeled pixels (multilabel: of pixels times classes).
        class_accuracy: Mean recall over the classes in the masks.
        frequency_weighted_iou: IoU averaged with the pixel frequencies of the classes.
        mean_dice: Mean Dice coefficient (F1) over the classes in the masks.
        image_mean_iou: Mean over images of the mean IoU over the classes in each mask; images
            without labeled classes are left out.
        intervals: 95 % intervals by bootstrap over images of the metrics above, by name, if
            requested.
        detail: Boundary, object, calibration and per-image metrics, if requested.
        per_class: One entry per class, in the order of the class map.
        absent_classes: Classes absent from the masks; they are excluded from all means.
        seen_in_training: Number of images the model was trained on; ``None`` if unknown.
        selected_on: Number of images on which the epoch or temperature of the model was selected,
            such as validation images; ``None`` if unknown.
        loss: Mean cross-entropy per labeled pixel (multilabel: binary, per pixel and class).
        extra: Values of additional metrics, by name; see :mod:`pixelwise.metrics.extra`.
        undefined: Names of the additional metrics that have no value for these masks.
        precision_of_model: Precision of the network, ``float32`` or ``bfloat16``.
        counts: int64 (N, 4, K) of each image, as in :mod:`pixelwise.metrics.formulas`, for paired
            comparisons of models; left out of plain data.
    """

    images: int
    label_mode: LabelMode
    mean_iou: float
    pixel_accuracy: float
    class_accuracy: float
    frequency_weighted_iou: float
    mean_dice: float
    image_mean_iou: float
    per_class: tuple[ClassMetrics, ...]
    absent_classes: tuple[str, ...]
    loss: float | None = None
    precision_of_model: str = "float32"
    seen_in_training: int | None = None
    selected_on: int | None = None
    intervals: dict[str, Interval] = field(default_factory=dict)
    detail: Details | None = None
    extra: dict[str, float] = field(default_factory=dict)
    undefined: tuple[str, ...] = ()
    counts: formulas.Counts | None = field(default=None, repr=False, compare=False)

    @property
    def constant_prediction(self) -> str | None:
        """The class that is predicted for every pixel; see :func:`constant_prediction`."""
        return constant_prediction(
            [row.name for row in self.per_class],
            [row.pixels > 0 for row in self.per_class],
            [row.precision is not None for row in self.per_class],
            self.label_mode,
        )

    def with_intervals(self) -> Metrics:
        """Return the same metrics with 95 % intervals, by bootstrap over the images."""
        assert self.counts is not None
        resamples = Bootstrap(self.counts)
        drawn = {
            name: resamples.interval(measure)
            for name, measure in _headlines(self.label_mode).items()
        }
        by_class = resamples.class_intervals(formulas.iou)
        per_class = tuple(
            replace(row, iou_interval=interval)
            for row, interval in zip(self.per_class, by_class, strict=True)
        )
        intervals = {name: interval for name, interval in drawn.items() if interval}
        return replace(self, per_class=per_class, intervals=intervals)

    def to_json(self) -> dict[str, Any]:
        """Return plain data; ``extra``, ``undefined`` and ``detail`` are left out if empty."""
        content = {**asdict(self), "definition": mode_of(self.label_mode).definition}
        for name in ("extra", "undefined"):
            if not content[name]:
                del content[name]
        del content["detail"], content["counts"]
        return content if self.detail is None else {**content, "detail": self.detail.to_json()}


def constant_prediction(
    names: Sequence[str],
    shown: Iterable[bool],
    predicted: Iterable[bool],
    label_mode: LabelMode,
) -> str | None:
    """Return the class that is wrongly predicted for every pixel, if any.

    Args:
        names: Names of the classes.
        shown: For each class, whether the masks contain it.
        predicted: For each class, whether any pixel is predicted as it.
        label_mode: ``multiclass`` or ``multilabel``.

    Returns:
        A class name, or ``nothing`` for multilabel masks; ``None`` if predictions vary or are
        right.
    """
    said = [name for name, is_predicted in zip(names, predicted, strict=True) if is_predicted]
    is_constant = len(said) < mode_of(label_mode).min_classes
    if not is_constant or sum(map(bool, shown)) <= len(said):
        return None
    return said[0] if said else "nothing"


HEADLINES: dict[str, Measure] = {
    "mean_iou": formulas.mean_iou,
    "class_accuracy": formulas.class_accuracy,
    "frequency_weighted_iou": formulas.frequency_weighted_iou,
    "mean_dice": formulas.mean_dice,
}
"""Metrics of a split by their names in :class:`Metrics`, except accuracy."""


def summarize(
    counts: PixelCounts,
    class_map: ClassMap,
    *,
    with_intervals: bool = False,
) -> Metrics:
    """Compute metrics from counts.

    Args:
        counts: Counts of all images of the split.
        class_map: The classes.
        with_intervals: Also compute the 95 % intervals.
    """
    per_image = counts.per_image
    total = per_image.sum(0)
    headlines = _headlines(counts.label_mode)
    found = {name: float(np.nan_to_num(measure(total))) for name, measure in headlines.items()}
    by_image = formulas.mean_iou(per_image)
    shown = by_image[~np.isnan(by_image)]
    per_class = _per_class(total, class_map)
    metrics = Metrics(
        images=len(per_image),
        label_mode=counts.label_mode,
        mean_iou=found["mean_iou"],
        pixel_accuracy=found["pixel_accuracy"],
        class_accuracy=found["class_accuracy"],
        frequency_weighted_iou=found["frequency_weighted_iou"],
        mean_dice=found["mean_dice"],
        image_mean_iou=math.fsum(shown) / max(1, len(shown)),
        per_class=per_class,
        absent_classes=tuple(entry.name for entry in per_class if not entry.pixels),
        counts=per_image,
    )
    return metrics.with_intervals() if with_intervals else metrics


def _headlines(label_mode: LabelMode) -> dict[str, Measure]:
    return {**HEADLINES, "pixel_accuracy": COUNTS[label_mode].accuracy}


def _per_class(total: formulas.Counts, class_map: ClassMap) -> tuple[ClassMetrics, ...]:
    columns = {
        name: [None if math.isnan(value) else float(value) for value in measure(total)]
        for name, measure in (
            ("iou", formulas.iou), ("dice", formulas.dice),
            ("precision", formulas.precision), ("recall", formulas.recall),
        )
    }  # fmt: skip
    pixels = (total[0] + total[2]).tolist()
    return tuple(
        ClassMetrics(
            name=name,
            iou=columns["iou"][index],
            dice=columns["dice"][index],
            precision=columns["precision"][index],
            recall=columns["recall"][index],
            pixels=pixels[index],
        )
        for index, name in enumerate(class_map.names)
    )
