"""The report of a model on a split: metrics, curves, example images and label review."""

from __future__ import annotations

import shlex
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pixelwise.classes import ClassMap, Color
from pixelwise.data.sample import Sample
from pixelwise.io.arrays import UInt8Array
from pixelwise.io.counting import spread
from pixelwise.label_modes import mode_of
from pixelwise.metrics.conventions import convention_names
from pixelwise.metrics.details import Details, ImageMetrics
from pixelwise.metrics.metrics import Metrics
from pixelwise.models import count_gmacs
from pixelwise.models.adapter import AdaptedModel
from pixelwise.models.base import SegmentationModel
from pixelwise.models.model_file import ModelCard
from pixelwise.prediction.predictor import Predictor
from pixelwise.prediction.writers import viewable
from pixelwise.reporting.charts import Line, bar_chart, line_chart
from pixelwise.reporting.curves import points_of
from pixelwise.reporting.html import data_uri, shrunk, write_page
from pixelwise.reporting.label_caveats import review_worst
from pixelwise.reporting.plots import color_ground_truth, color_prediction
from pixelwise.reporting.verdict import calibration_errors, verdict
from pixelwise.text import amount, rounded

REPORT_NAME = "report.html"

NUM_SHOTS = 3
"""Number of images shown from each of the worst, median and best."""

NUM_MEASURED = 9
"""Number of images whose median size stands for all."""

MAX_MATRIX = 40
"""The confusion matrix is left out for more classes: it would be unreadable."""

WRONG_COLOR: Color = (255, 0, 255)
"""Color of the error maps: magenta, which is rare in palettes and photographs."""
MISSED_COLOR: Color = (255, 170, 0)


@dataclass(frozen=True)
class RunFacts:
    """The training part of a report.

    Attributes:
        history: The rows of ``history.csv``.
        best_epoch: The kept epoch, counted from 1.
        seconds: Training time.
        recipe: As YAML.
        notes: Findings about the data and the choices made from it.
        problems: Messages of the watchdog.
        temperature: Temperature in the run's model file; the metrics were computed without it.
    """

    history: Sequence[dict[str, Any]] = ()
    best_epoch: int | None = None
    seconds: float | None = None
    recipe: str = ""
    notes: Sequence[str] = ()
    problems: Sequence[str] = ()
    temperature: float | None = None


@dataclass(frozen=True)
class Shot:
    """An example image of the page.

    Attributes:
        caption: Its name and mean IoU.
        pictures: (caption, data URI) of input, ground truth, prediction and errors.
    """

    caption: str
    pictures: list[tuple[str, str]]


def write_report(
    path: Path,
    metrics: Metrics,
    predictor: Predictor,
    load: Callable[[str], Sample],
    *,
    title: str,
    split: str,
    run: RunFacts | None = None,
    command: Sequence[str],
    review_command: Sequence[str],
) -> None:
    """Write the report of a model on a split.

    Args:
        path: The HTML file.
        metrics: Detailed metrics of the split.
        predictor: The model.
        load: Returns the sample with a name of the metrics.
        title: Title of the page: model and data.
        split: The evaluated split.
        run: The training, if any.
        command: Words of the command that writes the same page; empty if none does.
        review_command: Words of the command that reviews the labels of all images; empty if none
            does.

    Raises:
        OutputError: The page cannot be written.
    """
    card, detail = predictor.card, metrics.detail
    assert detail is not None
    run = run or RunFacts()
    class_map = card.class_map
    classes = _occurring_classes(metrics)
    write_page(
        path,
        "report.html",
        title=title,
        subtitle=(
            f"{amount(metrics.images, 'image')} of the split {split!r}, {card.label_mode} masks"
        ),
        verdict=verdict(metrics, run.temperature),
        problems=run.problems,
        headlines=_headlines(metrics, detail),
        definition=mode_of(metrics.label_mode).definition,
        further=[(name.replace("_", " "), value) for name, value in metrics.extra.items()],
        curves=_curves(run),
        classes=[
            (row, color, border[1])
            for row, color, border in zip(
                metrics.per_class, class_map.colors, detail.boundary_per_class, strict=True
            )
        ],
        names=[class_map.names[index] for index in classes],
        matrix=_matrix(detail, class_map, classes),
        shots=_shots(detail, predictor, load),
        legend=_legend(card, classes),
        review=review_worst(metrics, predictor, load, review_command),
        measures=_measures(detail),
        objects=detail.objects,
        like=[(name, detail.like[name], words) for name, words in convention_names().items()],
        facts=_facts(metrics, predictor, run, command, _cost_size(predictor, detail, load)),
        recipe=run.recipe,
    )


def _headlines(metrics: Metrics, detail: Details) -> list[tuple[str, float | None, Any]]:
    names = {
        "mean_iou": "mean IoU",
        "pixel_accuracy": "pixel accuracy",
        "mean_dice": "mean Dice (F1)",
        "class_accuracy": "class accuracy",
        "frequency_weighted_iou": "frequency-weighted IoU",
    }
    found: list[tuple[str, float | None, Any]] = [
        (words, getattr(metrics, name), metrics.intervals.get(name))
        for name, words in names.items()
    ]
    return [
        *found,
        ("mean IoU per image", metrics.image_mean_iou, None),
        ("boundary IoU", detail.boundary_iou, None),
        ("surface Dice, 2 px", detail.surface_dice, None),
        *((name, error, None) for name, error in calibration_errors(detail)),
    ]


def _curves(run: RunFacts) -> list[str]:
    if not run.history:
        return []

    def column(name: str) -> list[tuple[float, float]]:
        return points_of(run.history, "epoch", name)

    ious = column("val_mean_iou")
    best = next((point for point in ious if point[0] == run.best_epoch), None)
    losses = [Line("training", column("train_loss"), "two"), Line("validation", column("val_loss"))]
    losses = [line for line in losses if line.points]
    charts = [line_chart(losses, "epoch", "loss")] if losses else []
    if ious:
        charts.append(line_chart([Line("", ious)], "epoch", "validation mean IoU", mark=best))
    return charts


def _occurring_classes(metrics: Metrics) -> list[int]:
    """Return the classes that occur in the masks or in the predictions."""
    rows = enumerate(metrics.per_class)
    return [index for index, row in rows if row.pixels or row.precision is not None]


def _matrix(
    detail: Details, class_map: ClassMap, classes: Sequence[int]
) -> list[tuple[str, list[float]]]:
    """Return the row-normalized confusion matrix, by class."""
    if detail.confusion is None or len(classes) > MAX_MATRIX:
        return []
    rows = [(class_map.names[index], detail.confusion[index]) for index in classes]
    return [(name, [row[index] / max(1, sum(row)) for index in classes]) for name, row in rows]


def _measures(detail: Details) -> list[tuple[str, str]]:
    """Return (title, chart) for borders, calibration and risk."""
    charts = []
    bands = [(name, share) for name, share, _ in detail.accuracy_by_distance if share is not None]
    if bands:
        across = "distance to the nearest border, px"
        charts.append(("Accuracy near borders", bar_chart(bands, across, "accuracy")))
    if detail.reliability:
        points = [(confidence, accuracy) for confidence, accuracy, _ in detail.reliability]
        whole = (0.0, 1.0)
        lines = [Line("perfect", [(0, 0), (1, 1)], "aid"), Line("this model", points)]
        chart = line_chart(lines, "confidence", "accuracy", x_range=whole, y_range=whole)
        charts.append((f"Reliability diagram; fitted temperature {detail.temperature:.2f}", chart))
    if detail.risk_coverage:
        chart = line_chart(
            [Line("", detail.risk_coverage)],
            "coverage (most confident first)",
            "risk (error rate)",
            x_range=(0, 1),
        )
        charts.append(("Risk-coverage curve", chart))
    return charts


def _legend(card: ModelCard, classes: Sequence[int]) -> list[tuple[str, Color]]:
    class_map = card.class_map
    return [
        *((class_map.names[index], class_map.colors[index]) for index in classes),
        *zip(mode_of(card.label_mode).error_names, (WRONG_COLOR, MISSED_COLOR), strict=False),
    ]


def _shots(detail: Details, predictor: Predictor, load: Callable[[str], Sample]) -> list[Shot]:
    """Return the worst, the median and the best images without duplicates."""
    ranked = sorted(
        (row for row in detail.per_image if row.mean_iou is not None),
        key=lambda row: row.mean_iou or 0.0,
    )
    middle = max(0, len(ranked) // 2 - NUM_SHOTS // 2)
    chosen: dict[str, tuple[str, ImageMetrics]] = {}
    for word, rows in (
        ("worst", ranked[:NUM_SHOTS]),
        ("best", ranked[::-1][:NUM_SHOTS]),
        ("median", ranked[middle : middle + NUM_SHOTS]),
    ):
        for row in rows:
            chosen.setdefault(row.name, (word, row))
    order = {"worst": 0, "median": 1, "best": 2}
    shown = sorted(chosen.values(), key=lambda pair: (order[pair[0]], pair[1].mean_iou))
    return [_shot(word, row, predictor, load(row.name)) for word, row in shown]


def _shot(word: str, row: ImageMetrics, predictor: Predictor, sample: Sample) -> Shot:
    class_map = predictor.card.class_map
    probabilities = predictor.probabilities(sample.image)
    pictures: list[tuple[str, UInt8Array]] = [
        ("image", viewable(sample.image)),
        ("ground truth", color_ground_truth(sample, class_map)),
        ("prediction", color_prediction(sample, probabilities, class_map)),
        ("errors", error_map(sample, probabilities)),
    ]
    uris = [(words, data_uri(shrunk(pixels))) for words, pixels in pictures]
    return Shot(f"{word}: {row.name}, mean IoU {row.mean_iou:.3f}", uris)


def error_map(sample: Sample, probabilities: np.ndarray) -> UInt8Array:
    """Return the image in gray with wrong pixels in color; ignored pixels are black.

    Args:
        sample: The image and its mask.
        probabilities: float32 (K, H, W).

    Returns:
        uint8 (H, W, 3).
    """
    gray = viewable(sample.image).mean(-1, keepdims=True) * 0.5 + 64
    picture = np.repeat(gray.astype(np.uint8), 3, axis=-1)
    mode = mode_of(sample.label_mode)
    wrong, missed = mode.errors(probabilities, sample.mask)
    picture[missed] = MISSED_COLOR
    picture[wrong] = WRONG_COLOR
    picture[mode.ignored(sample.mask)] = 0
    return picture


def _facts(
    metrics: Metrics,
    predictor: Predictor,
    run: RunFacts,
    command: Sequence[str],
    cost_size: tuple[int, int],
) -> list[tuple[str, list[tuple[str, str]]]]:
    card, model = predictor.card, predictor.model
    arguments = ", ".join(f"{key}={value}" for key, value in card.arguments.items())
    parameters = sum(values.numel() for values in model.parameters())
    facts = [
        ("architecture", f"{card.architecture}" + (f" ({arguments})" if arguments else "")),
        ("parameters", f"{parameters:,}"),
        *_compute(model, cost_size),
        ("images", _preprocessing(card)),
        ("versions", ", ".join(f"{name} {version}" for name, version in card.versions.items())),
    ]
    how = [("command", shlex.join(command))] if command else []
    if run.seconds is not None:
        how.append(("training", f"{amount(len(run.history), 'epoch')} in {run.seconds:.0f} s"))
    if run.best_epoch is not None:
        how.append(("kept epoch", f"{run.best_epoch}"))
    if metrics.seen_in_training is not None:
        how.append(("seen in training", f"{metrics.seen_in_training} of these images"))
    data = [("", note) for note in run.notes]
    return [
        *([("Data", data)] if data else []),
        ("Model", facts),
        *([("How this page was made", how)] if how else []),
    ]


def _cost_size(
    predictor: Predictor, detail: Details, load: Callable[[str], Sample]
) -> tuple[int, int]:
    """Return the height and width for which the cost is counted: a crop of the training, if any.

    For a network that pixelwise did not train, the median of some images at working size.
    """
    card = predictor.card
    if card.data.images is not None or not detail.per_image:
        return card.training_size
    shapes = [load(row.name).image.shape for row in spread(detail.per_image, NUM_MEASURED)]
    sizes = [card.preprocessing.fitted_size(height, width) for height, width, _ in shapes]
    height, width = (int(statistics.median(sides)) for sides in zip(*sizes, strict=True))
    return min(height, card.training_size[0]), min(width, card.training_size[1])


def _compute(model: SegmentationModel, size: tuple[int, int]) -> list[tuple[str, str]]:
    """Return the cost and the receptive field of a model, as far as they are known."""
    cost = f"{rounded(count_gmacs(model, size), 4)} GMAC for an image of {size[0]} x {size[1]}"
    facts = [("multiplications", cost)]
    if not isinstance(model, AdaptedModel):  # of which the receptive field is not known
        facts.append(("receptive field", _receptive_field(model.sees_px)))
    return facts


def _receptive_field(sees_px: int | None) -> str:
    return "the whole image" if sees_px is None else f"{sees_px} x {sees_px} pixels"


def _preprocessing(card: ModelCard) -> str:
    steps = card.preprocessing.model_dump(exclude_defaults=True, mode="json")
    shown = [f"{key} {value}" for key, value in steps.items() if key not in ("mean", "std")]
    return f"{amount(card.in_channels, 'channel')}, " + ", ".join(shown)
