"""Detailed metrics of a report: boundaries, object recall, calibration and per-image metrics."""

from __future__ import annotations

import math
from collections.abc import Callable
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
"""Coverages at which the risk is given."""


@dataclass(frozen=True)
class ImageMetrics:
    """The metrics of one image.

    Attributes:
        name: Name of its record.
        mean_iou: Mean IoU over the classes in its mask; ``None`` without any.
        accuracy: Fraction of correct decisions; ``None`` if no pixel is labeled.
        disagreement: How strongly the model disagrees with the labels; see
            :meth:`Confidence.disagreement`.
    """

    name: str
    mean_iou: float | None
    accuracy: float | None
    disagreement: float


@dataclass(frozen=True)
class Details:
    """Detailed metrics of a split, in addition to :class:`pixelwise.metrics.metrics.Metrics`.

    Attributes:
        boundary_iou: Class mean of the IoU of bands inside the edges, 2 % of the diagonal wide.
        trimap_iou: Class mean of the IoU of the pixels within 5 px of a border.
        surface_dice: Class mean of the fraction of borders within 2 px of each other.
        boundary_per_class: (name, boundary IoU, trimap IoU, surface Dice) by class.
        accuracy_by_distance: (distance to the nearest border in px, accuracy, pixels).
        objects: Recall of connected objects by class and size.
        calibration_error: Expected calibration error, 15 bins.
        reliability: (mean confidence, accuracy, number of decisions) of each bin.
        overconfidence: Mean confidence minus accuracy; below 0, the model is underconfident.
        model_temperature: Temperature by which the model divides its logits.
        temperature: Fitted temperature, with which confidence matches accuracy best.
        calibration_error_left: Calibration error with the fitted temperature, on a sample of
            pixels.
        risk_coverage: (coverage, error rate among the most confident decisions).
        per_image: Metrics of every image, in the order of evaluation.
        confusion: Confusion matrix, rows: ground truth; ``None`` for multilabel masks.
        like: Scores in the conventions of other libraries.
        counts: int64 (N, 4, K) of the same images, as in :mod:`pixelwise.metrics.formulas`, for
            paired comparisons of models; left out of plain data.
        confidence: Confidence thresholds of the model, for a review of the labels; left out of
            plain data.
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
        """Return plain data for JSON."""
        content = asdict(self)
        del content["counts"], content["confidence"]
        return content


class DetailsCounts:
    """Accumulates the detailed metrics of a split over its images.

    Args:
        class_map: The classes.
        label_mode: Label mode of the masks.
        temperature: Temperature by which the model divides its logits.
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
        self._disagreements: list[float] = []

    def draw_logits(
        self,
        name: str,
        take: Callable[[tuple[npt.NDArray[np.intp], ...]], npt.NDArray[np.float32]],
        mask: UInt8Array,
    ) -> None:
        """Sample the logits of one image for fitting the temperature.

        Args:
            name: Name of its record.
            take: Returns float32 logits at given indices: (K, N) for rows and columns of multiclass
                labels; (N,) for classes, rows and columns of multilabel labels.
            mask: As in a sample.
        """

        def drawn_of(
            drawn: npt.NDArray[np.int64],
        ) -> tuple[npt.NDArray[np.float32], npt.NDArray[Any]]:
            places = self._mode.places(mask, drawn)
            return take(places), self._mode.target(mask[places])

        self._fit.draw(drawn_of, self._mode.num_decisions(mask), name)

    def merge(self, other: DetailsCounts) -> None:
        """Add the counts of other images; only this object samples logits."""
        for ours, theirs in zip(self._borders, other._borders, strict=True):
            ours.merge(theirs)
        self._objects.merge(other._objects)
        self._reliability.merge(other._reliability)
        self._confidence.merge(other._confidence)
        self._names += other._names
        self._disagreements += other._disagreements

    def add(
        self,
        name: str,
        probabilities: npt.NDArray[np.float32],
        prediction: npt.NDArray[Any],
        mask: UInt8Array,
    ) -> None:
        """Count one image.

        Args:
            name: Name of its record.
            probabilities: float32 (K, H, W).
            prediction: uint8 (H, W) class ids, or bool (K, H, W) for multilabel masks.
            mask: As in a sample.
        """
        self._names.append(name)
        self._confidence.add(probabilities, mask)
        self._disagreements.append(self._confidence.disagreement(probabilities, mask))
        choices = map(self._mode.choices, (prediction, mask))
        for borders, said, labeled in zip(self._borders, *choices, strict=True):
            borders.add(said, labeled)
        self._objects.add(prediction, mask)
        self._reliability.add(*self._mode.confidences(probabilities, prediction, mask))

    def detail(self, per_image: Counts, confusion: Counts | None) -> Details:
        """Return the detailed metrics.

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
                ImageMetrics(name, _number(mean), _number(right), disagreement)
                for name, mean, right, disagreement in zip(
                    self._names, per_image_iou, accuracy, self._disagreements, strict=True
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
        """Return the accuracy by distance to the nearest border, over all multilabel classes."""
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
