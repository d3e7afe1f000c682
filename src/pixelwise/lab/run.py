"""Train an entry with its article's recipe, and put its figures beside the article's."""

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
from pixelwise.files import write_text
from pixelwise.lab.catalog import MEASURES, load_entry
from pixelwise.metrics.extra import create_metrics
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
    """An article's figures and ours.

    Attributes:
        name: Of the entry.
        article: It is from.
        title: In words.
        data: Folder that was trained on.
        article_figures: As the article states them.
        our_figures: Of the validation split at the kept epoch; more of them than the article has.
        per_class: IoU by class; ``None`` where the masks do not show it.
        parameters: Trained weights.
        gmacs: Of one image of the training size, in 10 ** 9 multiplications and additions.
        size: Height and width in pixels that were trained on.
        epochs: Trained.
        asked_epochs: Of the article's recipe; ``None`` where a budget replaced them.
        seconds: Of training, validation included.
        seed: Of everything random.
        device: That computed.
        cores: Of the processor, that computed or fed the device.
        remarks: What differs.
        folder: The run.
        cited: The article and the papers, as they are cited.
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
        """How many were trained, and of how many where the article's are more."""
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
        name: Of the entry.
        data: A folder of the entry's kind; ``None`` makes digits for those that run on them.
        minutes: A wall-clock budget in place of the article's epochs and patience.
        out: The run's folder; ``None`` takes ``runs/lab/NAME``, numbered where it exists.
        overrides: ``section.key=value`` in place of the article's, the value in YAML.
        listener: Told of what happens.

    Returns:
        Both figures; they are also written into the run's folder as ``lab.json``.

    Raises:
        PixelwiseError: The entry, the data or the folder cannot be used.
    """
    entry = load_entry(name)
    if data is None:
        if entry.data != "digits":
            raise DataError(
                f"lab entry {name} needs --data with a folder like {entry.data}. Got none"
            )
        data = "digits"
    content = entry.recipe.model_dump()
    if minutes is not None:
        content["training"]["patience"] = None  # it is in epochs, and would end the budget early
    recipe = overridden(content, overrides, f"lab entry {name}")
    folder = out or _free_folder(Path("runs") / "lab" / name)
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
    write_text(folder / RESULT_NAME, json.dumps(asdict(result), indent=2) + "\n")
    return result


def _as_the_article_counts(
    metrics: Metrics, recipe: Recipe, predictor: Predictor
) -> dict[str, float]:
    """The figures of the article's framework, by the keys of :data:`MEASURES`."""
    figures = metrics.extra
    if recipe.training.metrics and not figures:  # the training evaluated without them
        further = create_metrics(recipe.training.metrics)
        figures = evaluate(predictor, open_as_in(recipe.data), "val", extra=further).extra
    return {name.removeprefix("keras_"): value for name, value in figures.items()}


def _changes(articles: Recipe, ours: Recipe, minutes: float | None) -> Iterator[str]:
    """What was asked for in place of the article's, in words."""
    if minutes is not None:
        budget = amount(minutes, "minute")
        yield f"a budget of {budget} in place of {articles.training.epochs} epochs"
    changed = ours.model_dump(mode="json")
    for section, entries in articles.model_dump(mode="json").items():
        for key, value in entries.items():
            if changed[section][key] != value:
                yield f"{section}.{key} is {changed[section][key]} in place of {value}"


def _free_folder(base: Path) -> Path:
    folder, number = base, 1
    while folder.exists():
        number += 1
        folder = base.with_name(f"{base.name}-{number}")
    return folder


def load_results(folder: Path) -> list[LabResult]:
    """Every result below a folder, in the order of the entries; of two of an entry the later one.

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
            f"{folder} must hold runs of lab entries. Got none. Make one: pixelwise lab run NAME"
        )
    return [results[name] for name in sorted(results)]


def side_by_side(result: LabResult) -> list[tuple[str, float | None, float | None]]:
    """(measure, the article's figure, ours) of every measure that either has."""
    article, ours = result.article_figures, result.our_figures
    return [
        (title, article.get(key), ours.get(key))
        for key, title in MEASURES.items()
        if key in article or key in ours
    ]
