"""Scores of a split, each with its definition."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from pixelwise.classes import ClassMap, LabelMode
from pixelwise.scoring.confusion import ConfusionMatrix, Counts, KerasCounts, OverlapCounts

DEFINITION = {
    "exclusive": (
        "one confusion matrix over all labelled pixels of the split at original size, void left "
        "out; mean IoU over the classes that the masks show"
    ),
    "overlapping": (
        "per class, pixels with mask >= 1/2 against probability > 1/2, summed over the split at "
        "original size; mean IoU over the classes that the masks show"
    ),
}
"""What the numbers mean, said beside them."""


@dataclass(frozen=True)
class ClassScores:
    """The scores of one class; ``None`` where it is not defined.

    Attributes:
        name: The class.
        iou: Intersection over union. ``None`` for a class that the masks never show.
        precision: Share of what was predicted as it that is it. ``None`` when never predicted.
        recall: Share of it that was predicted as it. ``None`` when the masks never show it.
        pixels: How many pixels of the masks are of it.
    """

    name: str
    iou: float | None
    precision: float | None
    recall: float | None
    pixels: int


@dataclass(frozen=True)
class Scores:
    """The scores of a split.

    Attributes:
        images: How many images.
        label_mode: ``exclusive`` or ``overlapping``.
        mean_iou: Mean IoU over the classes that the masks show.
        pixel_accuracy: Share of the labelled pixels (overlapping: of pixels times classes) that
            are right.
        per_class: One entry per class, in the order of the class map.
        absent_classes: Classes that the masks never show; they count in no mean.
        keras: A1's figures as its framework counts them; ``None`` for exclusive labels.
        seen_in_training: How many of the images the model was trained on; ``None`` where unknown.
        loss: Mean cross-entropy per labelled pixel (overlapping: binary, per pixel and class).
    """

    images: int
    label_mode: LabelMode
    mean_iou: float
    pixel_accuracy: float
    per_class: tuple[ClassScores, ...]
    absent_classes: tuple[str, ...]
    keras: dict[str, float] | None
    loss: float | None = None
    seen_in_training: int | None = None

    def to_json(self) -> dict[str, Any]:
        """Plain data; ``keras`` is left out for exclusive labels."""
        content = {**asdict(self), "definition": DEFINITION[self.label_mode]}
        if self.keras is None:
            del content["keras"]
        return content


def summarise(
    counts: ConfusionMatrix | OverlapCounts,
    class_map: ClassMap,
    *,
    images: int,
    keras: KerasCounts | None = None,
) -> Scores:
    """Make scores of counts.

    Args:
        counts: Of all images of the split.
        class_map: The classes.
        images: How many images were counted.
        keras: A1's counts, for overlapping labels.
    """
    hits, extra, missed = counts.true_positives, counts.false_positives, counts.false_negatives
    pixels = hits + missed
    per_class = tuple(
        ClassScores(
            name=name,
            iou=_ratio(hits, pixels + extra, index) if pixels[index] else None,
            precision=_ratio(hits, hits + extra, index),
            recall=_ratio(hits, pixels, index),
            pixels=int(pixels[index]),
        )
        for index, name in enumerate(class_map.names)
    )
    present = [entry.iou for entry in per_class if entry.iou is not None]
    right, total = counts.right
    return Scores(
        images=images,
        label_mode="exclusive" if isinstance(counts, ConfusionMatrix) else "overlapping",
        mean_iou=float(np.mean(present)) if present else 0.0,
        pixel_accuracy=right / max(1, total),
        per_class=per_class,
        absent_classes=tuple(entry.name for entry in per_class if not entry.pixels),
        keras=keras.figures() if keras else None,
    )


def _ratio(part: Counts, whole: Counts, index: int) -> float | None:
    return float(part[index] / whole[index]) if whole[index] else None
