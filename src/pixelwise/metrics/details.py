"""What a report needs beside the headline numbers: borders, objects, certainty, every image."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from pixelwise.classes import ClassMap, LabelMode
from pixelwise.io.arrays import UInt8Array
from pixelwise.label_modes import mode_of
from pixelwise.metrics import formulas
from pixelwise.metrics.boundary import BoundaryCounts
from pixelwise.metrics.calibration import Reliability, TemperatureFit
from pixelwise.metrics.confusion import COUNTS
from pixelwise.metrics.conventions import convention_names, figure_like
from pixelwise.metrics.formulas import Counts, Values
from pixelwise.metrics.label_quality import Confidence
from pixelwise.metrics.objects import ObjectCounts, ObjectRow

COVERAGES = tuple(number / 20 for number in range(1, 21))
"""Shares of the surest decisions for which the risk is given."""


@dataclass(frozen=True)
class ImageMetrics:
    """One image of the split.

    Attributes:
        name: Of its record.
        mean_iou: Over the classes that its mask shows; ``None`` where that is none.
        accuracy: Share of its decisions that are right; ``None`` where none is labeled.
        doubt: How much of its labels the model denies; see :meth:`Confidence.doubt`.
    """

    name: str
    mean_iou: float | None
    accuracy: float | None
    doubt: float


@dataclass(frozen=True)
class Details:
    """Numbers of a split beside :class:`pixelwise.metrics.metrics.Metrics`.

    Attributes:
        boundary_iou: Mean over the classes, IoU of bands of 2 % of the diagonal inside the edges.
        trimap_iou: Mean over the classes, IoU of the pixels within 5 px of a border.
        surface_dice: Mean over the classes, share of the borders within 2 px of each other.
        boundary_per_class: (name, boundary IoU, trimap IoU, surface Dice) by class.
        accuracy_by_distance: (distance to the nearest border in px, accuracy, pixels).
        objects: Recall of connected objects by class and size.
        calibration_error: Expected calibration error, 15 bins.
        reliability: (mean confidence, share that is right, decisions) of each bin.
        overconfidence: Mean confidence less accuracy; below 0 the model is too timid.
        model_temperature: What the model divides its logits by.
        temperature: What they should be divided by so that confidence means accuracy.
        calibration_error_left: The calibration error with that temperature, on a sample of pixels.
        risk_coverage: (share of the surest decisions, share of those that is wrong).
        per_image: Every image, in the order in which it was evaluated.
        confusion: Row the mask's class, column the predicted one; ``None`` for multilabel masks.
        like: The figures by other libraries' conventions.
        counts: int64 (N, 4, K) of the same images, as :mod:`pixelwise.metrics.formulas` takes them,
            so that models can be compared image by image; left out of plain data.
        confidence: How sure the model was of what is labeled, for a review of the labels; left out
            of plain data.
    """

    boundary_iou: float | None
    trimap_iou: float | None
    surface_dice: float | None
    boundary_per_class: tuple[tuple[str, float | None, float | None, float | None], ...]
    accuracy_by_distance: tuple[tuple[str, float | None, int], ...]
    objects: tuple[ObjectRow, ...]
    calibration_error: float
    reliability: tuple[tuple[float, float, int], ...]
    overconfidence: float
    model_temperature: float
    temperature: float
    calibration_error_left: float
    risk_coverage: tuple[tuple[float, float], ...]
    per_image: tuple[ImageMetrics, ...]
    confusion: tuple[tuple[int, ...], ...] | None
    like: dict[str, float | None]
    counts: Counts = field(repr=False, compare=False)
    confidence: Confidence = field(repr=False, compare=False)

    def to_json(self) -> dict[str, Any]:
        """Plain data."""
        content = asdict(self)
        del content["counts"], content["confidence"]
        return content


class DetailsCounts:
    """Collects the detail of a split, image by image.

    Args:
        class_map: The classes.
        label_mode: Of the masks.
        temperature: What the model divides its logits by for its probabilities.
    """

    def __init__(
        self, class_map: ClassMap, label_mode: LabelMode, temperature: float = 1.0
    ) -> None:
        self._class_map = class_map
        self._mode = mode_of(label_mode)
        num_questions, num_answers = self._mode.choice_shape(class_map.num_classes)
        self._borders = [BoundaryCounts(num_answers) for _ in range(num_questions)]
        self._objects = ObjectCounts(class_map, label_mode)
        self._reliability = Reliability()
        self._model_temperature = temperature
        self._fit = TemperatureFit()
        self._confidence = Confidence(class_map, label_mode)
        self._names: list[str] = []
        self._doubts: list[float] = []

    def add(
        self,
        name: str,
        logits: npt.NDArray[np.float32],
        probabilities: npt.NDArray[np.float32],
        prediction: npt.NDArray[Any],
        mask: UInt8Array,
    ) -> None:
        """Count one image.

        Args:
            name: Of its record.
            logits: float32 (K, H, W), as the network gives them.
            probabilities: float32 (K, H, W).
            prediction: uint8 (H, W) class ids, or bool (K, H, W) for multilabel masks.
            mask: As in a sample.
        """
        self._names.append(name)
        self._confidence.add(probabilities, mask)
        self._doubts.append(self._confidence.doubt(probabilities, mask))
        choices = map(self._mode.choices, (prediction, mask))
        for borders, said, labeled in zip(self._borders, *choices, strict=True):
            borders.add(said, labeled)
        self._objects.add(prediction, mask)
        self._reliability.add(*self._mode.confidences(probabilities, prediction, mask))
        self._fit.add(*self._mode.labeled_logits(logits, mask), name)

    def detail(self, per_image: Counts, confusion: Counts | None) -> Details:
        """What was collected.

        Args:
            per_image: Counts (N, 4, K) of the same images, in the same order.
            confusion: int64 (K, K), for multiclass masks.
        """
        rows = [self._by_class(name) for name in ("boundary_iou", "trimap_iou", "surface_dice")]
        coverage, risk = self._reliability.risk_coverage
        accuracy = COUNTS[self._mode.name].accuracy(per_image)
        per_image_iou = formulas.mean_iou(per_image)
        temperature = self._fit.temperature()
        return Details(
            boundary_iou=_mean(rows[0]),
            trimap_iou=_mean(rows[1]),
            surface_dice=_mean(rows[2]),
            boundary_per_class=tuple(
                (name, *(_number(row[index]) for row in rows))  # type: ignore[misc]
                for index, name in enumerate(self._class_map.names)
            ),
            accuracy_by_distance=self._by_distance(),
            objects=tuple(self._objects.rows),
            calibration_error=self._reliability.expected_calibration_error,
            reliability=tuple(self._reliability.curve),
            overconfidence=self._reliability.overconfidence,
            model_temperature=self._model_temperature,
            temperature=temperature,
            calibration_error_left=self._fit.calibration_error_at(temperature),
            risk_coverage=tuple(
                (share, float(np.interp(share, coverage, risk))) for share in COVERAGES
            )
            if len(coverage)
            else (),
            per_image=tuple(
                ImageMetrics(name, _number(mean), _number(right), doubt)
                for name, mean, right, doubt in zip(
                    self._names, per_image_iou, accuracy, self._doubts, strict=True
                )
            ),
            confusion=None if confusion is None else tuple(map(tuple, confusion.tolist())),
            like={
                name: _number(
                    figure_like(name, per_image, has_background=self._mode.needs_background)
                )
                for name in convention_names()
            },
            counts=per_image,
            confidence=self._confidence,
        )

    def _by_class(self, name: str) -> Values:
        return self._mode.per_class(np.stack([getattr(each, name) for each in self._borders]))

    def _by_distance(self) -> tuple[tuple[str, float | None, int], ...]:
        """Accuracy by distance to the nearest border, of multilabel classes all together."""
        rows = [borders.accuracy_by_distance for borders in self._borders]
        found = []
        for bands in zip(*rows, strict=True):
            pixels = sum(count for _, _, count in bands)
            right = math.fsum(share * count for _, share, count in bands if count)
            found.append((bands[0][0], right / pixels if pixels else None, pixels))
        return tuple(found)


def _mean(values: Values) -> float | None:
    defined = values[~np.isnan(values)]
    return float(defined.mean()) if len(defined) else None


def _number(value: float) -> float | None:
    return None if math.isnan(value) else float(value)
