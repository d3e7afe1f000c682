"""``report``: finished runs to pages, without any training: one again, or several side by side."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from pixelwise.comparison.compare import compare_runs
from pixelwise.comparison.schedule import budget_in_words
from pixelwise.config import Recipe
from pixelwise.data.dataset import open_as_in
from pixelwise.errors import ConfigError, DataError
from pixelwise.evaluation.evaluate import evaluate, fit_to_model
from pixelwise.metrics.metrics import Metrics
from pixelwise.models.base import SegmentationModel
from pixelwise.models.model_file import ModelCard, load_model_file
from pixelwise.prediction.predictor import Predictor
from pixelwise.reporting.comparison_page import Comparison
from pixelwise.training.events import Listener, Message, ignore_events
from pixelwise.training.run_folder import require_run
from pixelwise.training.run_report import write_run_report

CHANGED = (
    "the data set is not as it was in the training: files or their sizes have changed, and so may "
    "have the metrics"
)


@dataclass(frozen=True)
class RunReport:
    """A report that was written again.

    Attributes:
        page: The file.
        metrics: Of the validation split, detailed.
        notes: What was found of the data, in words.
    """

    page: Path
    metrics: Metrics
    notes: tuple[str, ...]


def report_run(
    run: Path | str,
    *,
    data: Path | str | None = None,
    out: Path | str | None = None,
    device: str = "auto",
    on_progress: Callable[[int, int], None] | None = None,
) -> RunReport:
    """Write the report of a run again: its validation split is evaluated again, nothing is trained.

    Args:
        run: The folder of a training, also of one that was stopped after its first epoch.
        data: Where its data lie now; ``None`` takes the path of its recipe.
        out: The page; ``None`` takes ``report.html`` in the run's folder.
        device: ``auto``, ``cpu``, ``cuda`` or ``mps``.
        on_progress: Called with how many images are evaluated and how many there are.

    Raises:
        PixelwiseError: It is no run, its data are gone or do not fit it, or the page cannot be
            written.

    Example:
        >>> report_run("runs/first").page  # doctest: +SKIP
        PosixPath('runs/first/report.html')
    """
    folder = Path(run)
    recipe, model, card = _opened(folder, data)
    # As at the end of the training: the temperature that it found is part of what is reported.
    plain = card.model_copy(update={"temperature": 1.0})
    predictor = Predictor(model, plain, device=device)
    dataset = fit_to_model(predictor, open_as_in(recipe.data))
    metrics = evaluate(predictor, dataset, "val", detailed=True, on_progress=on_progress)
    records = {record.name: record for record in dataset.split("val")}
    changed = () if dataset.fingerprint == card.data.fingerprint else (CHANGED,)
    page = write_run_report(
        folder,
        metrics,
        predictor,
        dataset,
        recipe,
        lambda name: dataset.load(records[name]),
        path=Path(out) if out else None,
        notes=changed,
    )
    return RunReport(page, metrics, (*dataset.notes, *changed))


def report_runs(
    runs: Sequence[Path | str],
    *,
    data: Path | str | None = None,
    out: Path | str | None = None,
    device: str = "auto",
    listener: Listener = ignore_events,
) -> Comparison:
    """Put runs side by side on one page: ranking, curves, and in what their recipes differ.

    Args:
        runs: Folders of trainings on the same data with the same splits, at least two.
        data: Where the data lie now; ``None`` takes the path of the first run's recipe.
        out: The folder for ``comparison.html``; ``None`` takes ``runs/report-DATA``.
        device: ``auto``, ``cpu``, ``cuda`` or ``mps``.
        listener: Told of what happens.

    Raises:
        DataError: They were trained on other data, splits or classes.
        PixelwiseError: One is no run, the data are gone, or the folder cannot be written.
    """
    folders = [Path(run) for run in runs]
    places = [folder.resolve() for folder in folders]
    if len(folders) < 2 or len(set(places)) < len(places):
        raise ConfigError(
            "runs side by side must be two or more, each given once. Got "
            f"{', '.join(map(str, runs)) or 'none'}"
        )
    opened = [_opened(folder, data) for folder in folders]
    recipes, models, cards = zip(*opened, strict=True)
    for folder, card in zip(folders[1:], cards[1:], strict=True):
        _require_alike(folders[0], cards[0], folder, card)
    predictor = Predictor(models[0], cards[0], device=device)
    dataset = fit_to_model(predictor, open_as_in(recipes[0].data))
    listener(Message("data", dataset.notes))
    if dataset.fingerprint != cards[0].data.fingerprint:
        listener(Message("data", (CHANGED,)))
    return compare_runs(
        folders,
        dataset,
        Path(out) if out else Path("runs") / f"report-{dataset.path.resolve().name}",
        budget=_budget(recipes),
        device=device,
        listener=listener,
    )


def _opened(folder: Path, data: Path | str | None) -> tuple[Recipe, SegmentationModel, ModelCard]:
    """A run's recipe, with the data where they lie now, its model and its card."""
    recipe = require_run(folder)
    if data is not None:
        recipe.data.path = str(data)
    return recipe, *load_model_file(folder)


def _require_alike(first: Path, one: ModelCard, second: Path, other: ModelCard) -> None:
    """Refuse runs whose metrics would not be of the same images and classes."""
    ours, theirs = one.data, other.data
    checks = (
        ("images and masks", ours.fingerprint == theirs.fingerprint),
        ("training images", set(ours.images) == set(theirs.images)),
        (
            "classes",
            (one.class_map.names, one.label_mode) == (other.class_map.names, other.label_mode),
        ),
    )
    unlike = next((words for words, is_alike in checks if not is_alike), None)
    if unlike:
        raise DataError(
            f"runs side by side must have the same data, splits and classes. The {unlike} of "
            f"{second} are not those of {first}. Report them one by one, or train them alike with: "
            "pixelwise compare"
        )


def _budget(recipes: Sequence[Recipe]) -> str:
    lengths = {(recipe.training.epochs, recipe.training.minutes) for recipe in recipes}
    if len(lengths) > 1:
        return "finished runs, each with its own budget"
    ((epochs, minutes),) = lengths
    return budget_in_words(epochs, minutes)
