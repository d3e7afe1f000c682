"""The page of a comparison: which model is the best, at what cost, and what each one predicts."""

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

NUM_SHOTS = 5
"""Validation images that every model predicts on the page."""

SHOT_PX = 900
"""Longest side of a picture: a page of many models stays one that can be sent."""

MIN_IMAGES = 6
"""On fewer images no permutation of two models is rarer than 5 %."""

COSTS = {
    "ms_per_image": ("time", "ms to predict an image"),
    "parameters": ("size", "parameters"),
    "memory_mb": ("memory", "MB to predict an image"),
}
"""What mean IoU is drawn against, and its unit, by the fields of :class:`ComparedModel`."""


@dataclass(frozen=True)
class ComparedModel:
    """One model of a comparison.

    Attributes:
        ranked: Its place by mean IoU on the validation split.
        test: Mean IoU on the test split, mean over the seeds, where there is one.
        test_interval: Its 95 % interval by bootstrap over images.
        per_class: IoU by class on the validation split, mean over the seeds; ``None`` where the
            masks do not show it.
        parameters: Trained weights.
        gmacs: Of one image of the training size, in 10 ** 9.
        ms_per_image: Median time of a prediction on the device of the comparison.
        memory_mb: 10 ** 6 bytes for weights and one prediction of the largest validation image;
            ``None`` where this system does not tell.
        epochs: Trained, mean over the seeds; ``None`` for a model file without its run.
        seconds: Of training, validation included, mean over the seeds.
        images_per_s: Of training, median.
        runs: Where the models lie.
        remarks: What should be known when it is compared.
        num_seen: By split, images that it was trained on: its metrics on them are not quoted.
        num_selected_on: By split, images by which its epoch or temperature was chosen, ``None``
            where that is not known: of test images likewise.
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
        """What it is called."""
        return self.ranked.name


@dataclass(frozen=True)
class Comparison:
    """Several models under one budget.

    Attributes:
        data: The folder of the data.
        budget: What each was trained for, in words.
        num_seeds: Trainings of each model that was trained.
        num_images: Of the validation split, by which they are ranked.
        num_test_images: Of the test split; 0 where there is none.
        device: That computed.
        shared: What was chosen once for all, in words.
        models: The best first.
        failed: (name, error) of what could not be trained or evaluated.
        folder: Where the runs and the page are.
        page: The page.
        differences: By ``section.key`` of the recipes, the value of each model, where they differ;
            of several seeds, that of the first.
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
        """The models that none beats in mean IoU and in a cost, the cheapest first.

        Args:
            cost: A key of :data:`COSTS`.
        """
        known = [model for model in self.models if getattr(model, cost) is not None]
        points = [(float(getattr(model, cost)), model.ranked.value) for model in known]
        return [known[index].name for index in pareto_front(points)]

    def to_json(self) -> dict[str, Any]:
        """Plain data."""
        content = asdict(self)
        for entry, model in zip(content["models"], self.models, strict=True):
            ranked = entry.pop("ranked")
            ranked["mean_iou"] = ranked.pop("value")
            entry.update({**ranked, "is_like_best": model.ranked.is_like_best})
        content["failed"] = [{"name": name, "error": error} for name, error in self.failed]
        return {
            **content,
            "split": "val",
            "verdict": verdict(self),
            "pareto_fronts": {cost: self.front(cost) for cost in COSTS},
        }


def verdict(comparison: Comparison) -> list[str]:
    """What a person should know first.

    Args:
        comparison: Of at least one model.
    """
    return [*_ranking(comparison), *_caution(comparison), *_test(comparison)]


def _ranking(comparison: Comparison) -> Iterator[str]:
    seen = [model.name for model in comparison.models if model.num_seen.get("val")]
    if seen:
        yield (
            f"No model is named best: {_listed(seen)} trained on images of this split. Compare "
            "again without it."
        )
        return
    best, *others = comparison.models
    images = f"on {comparison.num_images} validation images"
    score = f"mean IoU {best.ranked.value:.3f}{_range(best.ranked.interval)}"
    alike = [model for model in comparison.models if model.ranked.is_like_best]
    if not others:
        yield f"{best.name} reaches {score} {images}."
        return
    if comparison.num_images < MIN_IMAGES:
        yield (
            f"{comparison.num_images} images are too few to compare models: the highest figure is "
            f"{best.name}'s, {score}."
        )
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
            f"No difference could be shown between {names} {images}: the highest figure "
            f"is {best.name}'s, {score}."
        )
    else:
        yield (
            f"No difference could be shown between the best, {names}, {images}; the others are "
            f"behind. The highest figure is {best.name}'s, {score}."
        )
    fastest = min(alike, key=lambda model: model.ms_per_image)
    smallest = min(alike, key=lambda model: model.parameters)
    size = f"{with_unit(smallest.parameters)} parameters"
    also = "the smallest too" if smallest is fastest else f"the smallest {smallest.name}"
    yield (
        f"Of those alike, the fastest is {fastest.name}, {fastest.ms_per_image:.3g} ms an image, "
        f"{'and ' if smallest is fastest else ''}{also}, {size}."
    )


def _caution(comparison: Comparison) -> Iterator[str]:
    best = comparison.models[0]
    if MIN_IMAGES <= comparison.num_images < FEW_IMAGES:
        yield f"{comparison.num_images} images are few: the intervals are rough ones."
    if len(comparison.models) > 1 and all(
        len(model.ranked.by_seed) == 1 for model in comparison.models
    ):
        yield (
            "One training of each: the intervals say what other images would give, not what "
            "another seed would."
        )
    for model in comparison.models[1:]:
        behind = model.ranked.behind
        spread = max(model.ranked.spread, best.ranked.spread)
        if behind and not model.ranked.is_like_best and behind.value < spread:
            yield (
                f"{model.name} is behind by {behind.value:.3f}, less than seeds of one model "
                f"differ ({spread:.3f}): more seeds would tell."
            )
    if comparison.failed:
        yield f"Not ranked: {_listed([name for name, _ in comparison.failed])}; see below."


def _test(comparison: Comparison) -> Iterator[str]:
    best = comparison.models[0]
    is_untouched = not any(best.num_seen.values()) and best.num_selected_on.get("test", 0) == 0
    if best.test is not None and is_untouched:
        yield (
            f"On the {comparison.num_test_images} test images, by which nothing was chosen, "
            f"{best.name} reaches {best.test:.3f}{_range(best.test_interval)}: the figure to quote."
        )


def against_best(ranked: Ranked, *, is_short: bool = False) -> str:
    """How a model stands to the best one, in words.

    Args:
        ranked: Its place.
        is_short: Without interval and p-value.
    """
    if ranked.behind is None or ranked.p_value is None:
        return "highest"
    if ranked.is_like_best:
        return (
            "not told apart"
            if is_short
            else f"no difference shown ({-ranked.behind.value:+.3f}, p = {ranked.p_value:.2g})"
        )
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
        comparison: What is said; its ``page`` is written.
        predictors: One per model, in the same order.
        samples: Images that each of them predicts.
        histories: By the model's name, the rows of ``history.csv`` of each of its runs.

    Raises:
        OutputError: The page cannot be written.
    """
    class_map = predictors[0].card.class_map
    models = comparison.models
    write_page(
        Path(comparison.page),
        "comparison.html",
        comparison=comparison,
        title=f"{len(models)} models on {Path(comparison.data).name}",
        verdict=verdict(comparison),
        rows=[(place, model, against_best(model.ranked))
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
    """(words, data URI) of the image, its mask, and what each model says."""
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
