"""Trains an entry with its article's recipe and compares its figures with the article's."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import torch

from pixelwise.config import Recipe, overridden
from pixelwise.data.dataset import open_as_in
from pixelwise.devices import choose_device
from pixelwise.errors import ConfigError, DataError
from pixelwise.evaluation.evaluate import evaluate
from pixelwise.files import free_folder, write_json
from pixelwise.lab.catalog import MEASURES, load_entry
from pixelwise.metrics.metrics import Metrics
from pixelwise.models import count_gmacs
from pixelwise.models.model_file import load_model_file
from pixelwise.prediction.predictor import Predictor
from pixelwise.text import amount
from pixelwise.training.events import Listener, ignore_events
from pixelwise.training.run_folder import require_run
from pixelwise.training.train import train

RESULT_NAME = "lab.json"


@dataclass(frozen=True)
class LabResult:
    """The figures of an article and of our training.

    Attributes:
        name: Name of the entry.
        article: Its article.
        title: Short description.
        data: Folder of the training data.
        article_figures: Figures stated in the article.
        our_figures: Figures of the validation split at the kept epoch; may include figures that the
            article does not state.
        per_class: IoU by class; ``None`` for classes that are absent from the masks.
        parameters: Number of trained weights.
        gmacs: Compute for one image of the training size, in 10 ** 9 multiply-adds.
        size: Height and width of the training crops in pixels.
        epochs: Number of trained epochs.
        asked_epochs: Epochs of the article's recipe; ``None`` if a budget replaced them.
        seconds: Training time, including validation.
        seed: Random seed.
        device: The device used.
        cores: Number of processor cores.
        remarks: Differences from the article.
        folder: The run folder.
        cited: Citations of the article and the papers.
    """

    name: str
    article: str
    title: str
    data: str
    article_figures: dict[str, float]
    our_figures: dict[str, float]
    per_class: dict[str, float | None]
    parameters: int
    gmacs: float
    size: tuple[int, int]
    epochs: int
    asked_epochs: int | None
    seconds: float
    seed: int
    device: str
    cores: int
    remarks: tuple[str, ...]
    folder: str
    cited: tuple[str, ...] = ()

    @property
    def epochs_in_words(self) -> str:
        """The number of trained epochs, such as ``3 of 30`` if the article has more."""
        asked = self.asked_epochs or 0
        return f"{self.epochs} of {asked}" if self.epochs < asked else f"{self.epochs}"


def run_entry(
    name: str,
    *,
    data: Path | str | None = None,
    minutes: float | None = None,
    out: Path | None = None,
    overrides: Sequence[str] = (),
    listener: Listener = ignore_events,
) -> LabResult:
    """Train one system with its article's recipe.

    Args:
        name: Name of the entry.
        data: A folder with the entry's kind of data; ``None`` generates digits for entries that use
            them.
        minutes: Wall-clock budget that replaces the article's epochs and patience.
        out: The run folder; ``None`` means ``runs/lab/NAME``, numbered if it exists.
        overrides: ``section.key=value`` that replace entries of the recipe, values in YAML.
        listener: Called with each event.

    Returns:
        Both sets of figures; they are also written to ``lab.json`` in the run folder.

    Raises:
        PixelwiseError: The entry, the data or the folder cannot be used.
    """
    entry = load_entry(name)
    if data is None:
        if entry.data != "digits":
            raise DataError(
                f"lab entry {name} needs `data` with a folder like {entry.data}. Got none"
            )
        data = "digits"
    content = entry.recipe.model_dump()
    if minutes is not None:
        content["training"]["patience"] = (
            None  # patience is in epochs and could end the training before the budget
        )
    recipe = overridden(content, overrides, f"lab entry {name}")
    folder = out or free_folder(Path("runs") / "lab" / name)
    outcome = train(
        data,
        recipe=recipe,
        minutes=minutes,
        out=folder,
        listener=listener,
    )
    model, card = load_model_file(folder)
    used = require_run(folder)
    device = used.training.device
    metrics = outcome.metrics
    ours = {
        "loss": metrics.loss,
        "mean_iou": metrics.mean_iou,
        "pixel_accuracy": metrics.pixel_accuracy,
        **_as_the_article_counts(metrics, used, Predictor(model, card, device=device)),
    }
    result = LabResult(
        name=name,
        article=entry.article,
        title=entry.title,
        data=Path(data).name,
        article_figures=entry.figures,
        our_figures={key: value for key, value in ours.items() if value is not None},
        per_class={row.name: row.iou for row in metrics.per_class},
        parameters=sum(weights.numel() for weights in model.parameters()),
        gmacs=count_gmacs(model, card.training_size),
        size=card.training_size,
        epochs=outcome.epochs,
        asked_epochs=None if used.training.minutes else entry.recipe.training.epochs,
        seconds=round(outcome.seconds, 1),
        seed=used.training.seed,
        device=choose_device(device).type,
        cores=torch.get_num_threads(),
        remarks=(*entry.remarks, *_changes(entry.recipe, recipe, minutes)),
        folder=str(folder),
        cited=tuple(work.cited_as for work in entry.works),
    )
    write_json(folder / RESULT_NAME, asdict(result))
    return result


def _as_the_article_counts(
    metrics: Metrics, recipe: Recipe, predictor: Predictor
) -> dict[str, float]:
    """Return the figures as the article's framework computes them, by key of :data:`MEASURES`."""
    figures = metrics.extra
    if (
        recipe.training.metrics and not figures
    ):  # the evaluation at the end of training does not include them
        named = recipe.training.metrics
        figures = evaluate(predictor, open_as_in(recipe.data), "val", metrics=named).extra
    return {name.removeprefix("keras_"): value for name, value in figures.items()}


def _changes(articles: Recipe, ours: Recipe, minutes: float | None) -> Iterator[str]:
    """Describe the settings that replace the article's."""
    if minutes is not None:
        budget = amount(minutes, "minute")
        yield f"a budget of {budget} instead of {articles.training.epochs} epochs"
    changed = ours.sections()
    for section, entries in articles.sections().items():
        for key, value in entries.items():
            if changed[section][key] != value:
                yield f"{section}.{key} is {changed[section][key]} instead of {value}"


def load_results(folder: Path) -> list[LabResult]:
    """Return the results below a folder in the order of the entries, the latest of each entry.

    Raises:
        ConfigError: There is none.
    """
    results: dict[str, LabResult] = {}
    paths = sorted(folder.rglob(RESULT_NAME), key=lambda path: path.stat().st_mtime)
    for path in paths:
        content = json.loads(path.read_text(encoding="utf-8"))
        results[content["name"]] = LabResult(**content)
    if not results:
        raise ConfigError(
            f"{folder} must contain runs of lab entries. Got none. Make one: pixelwise lab run NAME"
        )
    return [results[name] for name in sorted(results)]


def side_by_side(result: LabResult) -> list[tuple[str, float | None, float | None]]:
    """Return (measure, the article's figure, ours) for every measure in either."""
    article, ours = result.article_figures, result.our_figures
    return [
        (title, article.get(key), ours.get(key))
        for key, title in MEASURES.items()
        if key in article or key in ours
    ]
