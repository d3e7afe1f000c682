"""The page of a comparison: ranking, costs and predictions of the models."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from pixelwise.data.sample import Sample
from pixelwise.metrics.intervals import Interval
from pixelwise.metrics.significance import Ranked
from pixelwise.prediction.predictor import Predictor
from pixelwise.prediction.writers import viewable
from pixelwise.reporting.charts import Dot, pareto_front, scatter_chart, with_unit
from pixelwise.reporting.curves import History, color_of, curve_charts
from pixelwise.reporting.html import data_uri, shrunk, write_page
from pixelwise.reporting.plots import color_ground_truth, color_prediction
from pixelwise.reporting.verdict import FEW_IMAGES
from pixelwise.text import amount, rounded

NUM_SHOTS = 5
"""Number of validation images shown with the predictions of every model."""

SHOT_PX = 900
"""Longest side of a picture, which keeps pages of many models small enough to send."""

MIN_IMAGES = 6
"""On fewer images, a permutation test of two models cannot reach p < 5 %."""

COSTS = {
    "ms_per_image": ("time", "ms to predict an image"),
    "parameters": ("size", "parameters"),
    "memory_mb": ("memory", "MB to predict an image"),
}
"""The cost axes of the charts, by field of :class:`ComparedModel`."""


@dataclass(frozen=True)
class ComparedModel:
    """A model of a comparison.

    Attributes:
        ranked: Its rank by mean IoU on the validation split.
        test: Mean IoU on the test split, averaged over the seeds; ``None`` without a test split.
        test_interval: Its 95 % interval by bootstrap over images.
        per_class: IoU by class on the validation split, averaged over the seeds; ``None`` for
            classes that are absent from the masks.
        parameters: Number of trained weights.
        gmacs: Compute for one image of the training size, in 10 ** 9 multiply-adds.
        ms_per_image: Median prediction time on the device of the comparison.
        memory_mb: 10 ** 6 bytes for weights and one prediction of the largest validation image;
            ``None`` if this system does not report it.
        epochs: Number of trained epochs, averaged over the seeds; ``None`` for a model file without
            its run.
        seconds: Training time including validation, averaged over the seeds.
        images_per_s: Median training speed.
        runs: Paths of the runs.
        remarks: Remarks to show beside its result.
        num_seen: By split, the number of images it was trained on; metrics on them are not quoted.
        num_selected_on: By split, the number of images on which its epoch or temperature was
            selected; ``None`` if unknown. Such test metrics are not quoted either.
    """

    ranked: Ranked
    test: float | None
    test_interval: Interval | None
    per_class: dict[str, float | None]
    parameters: int
    gmacs: float
    ms_per_image: float
    memory_mb: float | None
    epochs: float | None
    seconds: float | None
    images_per_s: float | None
    runs: tuple[str, ...]
    remarks: tuple[str, ...] = ()
    num_seen: dict[str, int] = field(default_factory=dict)
    num_selected_on: dict[str, int | None] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """Name of the model."""
        return self.ranked.name


@dataclass(frozen=True)
class Comparison:
    """The result of comparing several models under one budget.

    Attributes:
        data: The folder of the data.
        budget: Training budget of each model, in words.
        num_seeds: Number of training runs per model.
        num_images: Number of validation images, on which the models are ranked.
        num_test_images: Number of test images; 0 without a test split.
        device: The device used.
        shared: Choices shared by all models, in words.
        models: The best first.
        failed: (name, error) of models that could not be trained or evaluated.
        folder: Folder of the runs and the page.
        page: Path of the page.
        differences: Recipe entries (``section.key``) in which the models differ, with the value of
            each model (of its first seed).
    """

    data: str
    budget: str
    num_seeds: int
    num_images: int
    num_test_images: int
    device: str
    shared: tuple[str, ...]
    models: tuple[ComparedModel, ...]
    failed: tuple[tuple[str, str], ...]
    folder: str
    page: str
    differences: dict[str, dict[str, Any]] = field(default_factory=dict)

    def front(self, cost: str) -> list[str]:
        """Return the Pareto-optimal models in mean IoU and a cost, the cheapest first.

        Args:
            cost: A key of :data:`COSTS`.
        """
        known = [model for model in self.models if getattr(model, cost) is not None]
        points = [(float(getattr(model, cost)), model.ranked.value) for model in known]
        return [known[index].name for index in pareto_front(points)]

    def to_json(self) -> dict[str, Any]:
        """Return plain data for JSON."""
        content = asdict(self)
        for entry, model in zip(content["models"], self.models, strict=True):
            ranked = entry.pop("ranked")
            ranked["mean_iou"] = ranked.pop("value")
            entry.update({**ranked, "is_tied_with_best": model.ranked.is_tied_with_best})
        content["failed"] = [{"name": name, "error": error} for name, error in self.failed]
        return {
            **content,
            "split": "val",
            "verdict": verdict(self),
            "pareto_fronts": {cost: self.front(cost) for cost in COSTS},
        }


def verdict(comparison: Comparison) -> list[str]:
    """Summarize the comparison in a few sentences.

    Args:
        comparison: A comparison of at least one model.
    """
    return [*_ranking(comparison), *_caution(comparison), *_test(comparison)]


def _ranking(comparison: Comparison) -> Iterator[str]:
    seen = [model.name for model in comparison.models if model.num_seen.get("val")]
    if seen:
        verb = "was" if len(seen) == 1 else "were"
        yield (
            f"No model is named the best, because {_listed(seen)} {verb} trained on images of this "
            "split. "
            "Compare again without it."
        )
        return
    best, *others = comparison.models
    images = f"on {amount(comparison.num_images, 'validation image')}"
    score = f"mean IoU {best.ranked.value:.3f}{_range(best.ranked.interval)}"
    alike = [model for model in comparison.models if model.ranked.is_tied_with_best]
    if not others:
        yield f"{best.name} reaches {score} {images}."
        return
    if comparison.num_images < MIN_IMAGES:
        few = amount(comparison.num_images, "image")
        verb = "is" if comparison.num_images == 1 else "are"
        yield (f"{few} {verb} too few to compare models. {_highest(comparison)}, {score}.")
        return
    if len(alike) == 1:
        second = others[0]
        assert second.ranked.behind is not None
        is_one = all(len(model.ranked.by_seed) == 1 for model in comparison.models)
        behind = second.ranked.behind
        what = "these weights score higher on these images" if is_one else "is the best"
        yield (
            f"{best.name}{':' if is_one else ''} {what}: {score} {images}, ahead of "
            f"{second.name} by {behind.value:.3f}{_range(behind.interval)}."
        )
        return
    names = _listed([model.name for model in alike])
    if len(alike) == len(comparison.models):
        yield (
            f"No significant difference was found between {names} {images}. "
            f"{_highest(comparison)}, {score}."
        )
    else:
        yield (
            f"No significant difference was found between the best models, {names}, {images}; the "
            f"others are behind. {_highest(comparison)}, {score}."
        )
    if len({(model.ms_per_image, model.parameters) for model in alike}) == 1:
        return  # they cost the same
    fastest = min(alike, key=lambda model: model.ms_per_image)
    smallest = min(alike, key=lambda model: model.parameters)
    size = f"{with_unit(smallest.parameters)} parameters"
    also = "the smallest as well" if smallest is fastest else f"the smallest {smallest.name}"
    yield (
        f"Among them, the fastest is {fastest.name}, {rounded(fastest.ms_per_image)} ms per image, "
        f"{'and ' if smallest is fastest else ''}{also}, {size}."
    )


def _highest(comparison: Comparison) -> str:
    """Name the models with the highest score, which may be several."""
    best = comparison.models[0].ranked.value
    names = [model.name for model in comparison.models if model.ranked.value == best]
    if len(names) > 1:
        return f"{_listed(names)} share the highest score"
    return f"The highest score is {names[0]}'s"


def _caution(comparison: Comparison) -> Iterator[str]:
    best = comparison.models[0]
    if MIN_IMAGES <= comparison.num_images < FEW_IMAGES:
        yield f"With only {amount(comparison.num_images, 'image')}, the intervals are rough."
    if len(comparison.models) > 1 and all(
        len(model.ranked.by_seed) == 1 for model in comparison.models
    ):
        yield (
            "Each model was trained once: the intervals cover the choice of images, not the "
            "choice of the seed."
        )
    for model in comparison.models[1:]:
        behind = model.ranked.behind
        spread = max(model.ranked.spread, best.ranked.spread)
        if behind and not model.ranked.is_tied_with_best and behind.value < spread:
            yield (
                f"{model.name} is behind by {behind.value:.3f}, less than the spread over seeds of "
                f"one model ({spread:.3f}): train more seeds to decide."
            )
    if comparison.failed:
        yield f"Not ranked: {_listed([name for name, _ in comparison.failed])}, for these reasons."


def _test(comparison: Comparison) -> Iterator[str]:
    best = comparison.models[0]
    is_untouched = not any(best.num_seen.values()) and best.num_selected_on.get("test", 0) == 0
    if best.test is not None and is_untouched:
        yield (
            f"On the {comparison.num_test_images} test images, which were not used for any choice, "
            f"{best.name} reaches {best.test:.3f}{_range(best.test_interval)}: quote this score."
        )


def compared_with_best(ranked: Ranked, *, is_short: bool = False) -> str:
    """Describe how a model compares with the best one.

    Args:
        ranked: Its rank.
        is_short: Leave out interval and p-value.
    """
    if ranked.behind is None or ranked.p_value is None:
        return "highest"
    if ranked.is_tied_with_best:
        words = f" ({0 - ranked.behind.value:+.3f}, p = {ranked.p_value:.2g})"
        return "no significant difference" + ("" if is_short else words)
    if is_short:
        return f"behind by {ranked.behind.value:.3f}"
    p_value = "p < 0.01" if ranked.p_value < 0.01 else f"p = {ranked.p_value:.2g}"
    return f"behind by {ranked.behind.value:.3f}{_range(ranked.behind.interval)}, {p_value}"


def write_ranking(
    comparison: Comparison,
    predictors: Sequence[Predictor],
    samples: Sequence[Sample],
    histories: Mapping[str, Sequence[History]] | None = None,
) -> None:
    """Write the page of a comparison.

    Args:
        comparison: The comparison; its ``page`` is written.
        predictors: One predictor per model, in the same order.
        samples: Samples to predict with each model.
        histories: By model name, the rows of ``history.csv`` of each of its runs.

    Raises:
        OutputError: The page cannot be written.
    """
    class_map = predictors[0].card.class_map
    models = comparison.models
    write_page(
        Path(comparison.page),
        "comparison.html",
        comparison=comparison,
        title=f"{amount(len(models), 'model')} on {Path(comparison.data).name}",
        verdict=verdict(comparison),
        rows=[(place, model, compared_with_best(model.ranked))
              for place, model in enumerate(models, start=1)],
        has_test=any(model.test is not None for model in models),
        has_seeds=any(len(model.ranked.by_seed) > 1 for model in models),
        charts=[(f"Mean IoU against {words}", _chart(comparison, cost, unit))
                for cost, (words, unit) in COSTS.items() if comparison.front(cost)],
        curves=curve_charts([(histories or {}).get(model.name, ()) for model in models]),
        lines=[(model.name, color_of(place)) for place, model in enumerate(models)],
        differences=[(key, [values[model.name] for model in models])
                     for key, values in comparison.differences.items()],
        names=[model.name for model in models],
        classes=[(name, color, [model.per_class[name] for model in models])
                 for name, color in zip(class_map.names, class_map.colors, strict=True)],
        legend=list(zip(class_map.names, class_map.colors, strict=True)),
        shots=[(sample.name, _pictures(sample, models, predictors)) for sample in samples],
    )  # fmt: skip


def _chart(comparison: Comparison, cost: str, unit: str) -> str:
    dots = []
    for model in comparison.models:
        value, interval = getattr(model, cost), model.ranked.interval
        if value is not None:
            whisker = (interval.low, interval.high) if interval else None
            dots.append(Dot(model.name, max(float(value), 1e-6), model.ranked.value, whisker))
    return scatter_chart(dots, unit, "mean IoU")


def _pictures(
    sample: Sample, models: Sequence[ComparedModel], predictors: Sequence[Predictor]
) -> list[tuple[str, str]]:
    """Return (caption, data URI) of the image, its mask, and each model's prediction."""
    class_map = predictors[0].card.class_map
    pictures = [
        ("image", viewable(sample.image)),
        ("ground truth", color_ground_truth(sample, class_map)),
    ]
    for model, predictor in zip(models, predictors, strict=True):
        probabilities = predictor.probabilities(sample.image)
        pictures.append((model.name, color_prediction(sample, probabilities, class_map)))
    return [(words, data_uri(shrunk(pixels, SHOT_PX))) for words, pixels in pictures]


def _range(interval: Interval | None) -> str:
    return f" (95 %: {interval.low:.3f} to {interval.high:.3f})" if interval else ""


def _listed(names: Sequence[str]) -> str:
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)
