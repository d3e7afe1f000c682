"""Metrics of a split, each with its definition."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from pixelwise.classes import ClassMap, LabelMode
from pixelwise.label_modes import mode_of
from pixelwise.metrics import formulas
from pixelwise.metrics.confusion import PixelCounts
from pixelwise.metrics.details import Details
from pixelwise.metrics.intervals import Interval, Measure, bootstrap, bootstrap_classes


@dataclass(frozen=True)
class ClassMetrics:
    """The metrics of one class; ``None`` where it is not defined.

    Attributes:
        name: The class.
        iou: Intersection over union. ``None`` for a class that the masks never show.
        dice: Dice coefficient, which is F1; ``None`` likewise.
        precision: Share of what was predicted as it that is it. ``None`` when never predicted.
        recall: Share of it that was predicted as it. ``None`` when the masks never show it.
        pixels: How many pixels of the masks are of it.
        iou_interval: 95 % interval of the IoU by bootstrap over images, where it was asked for.
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
        images: How many images.
        label_mode: ``multiclass`` or ``multilabel``.
        mean_iou: Mean IoU over the classes that the masks show.
        pixel_accuracy: Share of the labeled pixels (multilabel: of pixels times classes) that
            are right.
        class_accuracy: Mean recall over the classes that the masks show.
        frequency_weighted_iou: IoU weighted by how many pixels of the masks are of each class.
        mean_dice: Mean Dice coefficient, which is F1, over the classes that the masks show.
        image_mean_iou: Mean over the images of the mean IoU over the classes that each one's mask
            shows; images without any are left out.
        intervals: 95 % intervals by bootstrap over images of the numbers above, by their names,
            where they were asked for.
        detail: Borders, objects, certainty and every image, where they were asked for.
        per_class: One entry per class, in the order of the class map.
        absent_classes: Classes that the masks never show; they count in no mean.
        seen_in_training: How many of the images the model was trained on; ``None`` where unknown.
        selected_on: By how many of the images epoch or temperature of the model were chosen, as by
            those of validation; ``None`` where unknown.
        loss: Mean cross-entropy per labeled pixel (multilabel: binary, per pixel and class).
        extra: Figures of further metrics that were asked for, by name; see
            :mod:`pixelwise.metrics.extra`.
        precision_of_model: ``float32`` or ``bfloat16``: in what the network computed.
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

    @property
    def constant_prediction(self) -> str | None:
        """What every pixel is predicted as; see :func:`said_everywhere`."""
        return said_everywhere(
            [row.name for row in self.per_class],
            [row.pixels > 0 for row in self.per_class],
            [row.precision is not None for row in self.per_class],
            self.label_mode,
        )

    def to_json(self) -> dict[str, Any]:
        """Plain data; ``extra`` and ``detail`` are left out where there is none."""
        content = {**asdict(self), "definition": mode_of(self.label_mode).definition}
        if not self.extra:
            del content["extra"]
        del content["detail"]
        return content if self.detail is None else {**content, "detail": self.detail.to_json()}


def said_everywhere(
    names: Sequence[str],
    shown: Iterable[bool],
    predicted: Iterable[bool],
    label_mode: LabelMode,
) -> str | None:
    """What every pixel is predicted as, where that is the same for all and should not be.

    Args:
        names: Of the classes.
        shown: Of each class, whether the masks show it.
        predicted: Of each class, whether a pixel is predicted as it.
        label_mode: ``multiclass`` or ``multilabel``.

    Returns:
        A class, or ``nothing`` for multilabel masks; ``None`` where pixels are told apart.
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
"""The numbers of a whole split, by their names in :class:`Metrics`; accuracy is beside them."""


def summarize(
    counts: PixelCounts,
    class_map: ClassMap,
    *,
    with_intervals: bool = False,
) -> Metrics:
    """Make metrics of counts.

    Args:
        counts: Of all images of the split.
        class_map: The classes.
        with_intervals: Draw the 95 % intervals too.
    """
    per_image = counts.per_image
    total = per_image.sum(0)
    headlines: dict[str, Measure] = {**HEADLINES, "pixel_accuracy": counts.accuracy}
    found = {name: float(np.nan_to_num(measure(total))) for name, measure in headlines.items()}
    by_image = formulas.mean_iou(per_image)
    shown = by_image[~np.isnan(by_image)]
    per_class = _per_class(per_image, class_map, with_intervals=with_intervals)
    intervals: dict[str, Interval] = {}
    if with_intervals:
        drawn = {name: bootstrap(per_image, measure) for name, measure in headlines.items()}
        intervals = {name: interval for name, interval in drawn.items() if interval}
    return Metrics(
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
        intervals=intervals,
    )


def _per_class(
    per_image: formulas.Counts, class_map: ClassMap, *, with_intervals: bool
) -> tuple[ClassMetrics, ...]:
    total = per_image.sum(0)
    columns = {
        name: [None if math.isnan(value) else float(value) for value in measure(total)]
        for name, measure in (
            ("iou", formulas.iou), ("dice", formulas.dice),
            ("precision", formulas.precision), ("recall", formulas.recall),
        )
    }  # fmt: skip
    pixels = (total[0] + total[2]).tolist()
    intervals: list[Interval | None] = [None] * class_map.num_classes
    if with_intervals:
        intervals = bootstrap_classes(per_image, formulas.iou)
    return tuple(
        ClassMetrics(
            name=name,
            **{column: values[index] for column, values in columns.items()},
            pixels=pixels[index],
            iou_interval=intervals[index],
        )
        for index, name in enumerate(class_map.names)
    )
