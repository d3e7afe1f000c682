"""``report``: rewrites the report of a finished run, or compares several; trains nothing."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from pixelwise.comparison.compare import compare_runs
from pixelwise.comparison.schedule import budget_in_words
from pixelwise.config import Recipe
from pixelwise.data.dataset import open_as_in
from pixelwise.errors import ConfigError, DataError
from pixelwise.evaluation.evaluate import evaluate, fit_to_model
from pixelwise.files import as_path
from pixelwise.metrics.extra import extra_metrics
from pixelwise.models.base import SegmentationModel
from pixelwise.models.model_file import ModelCard, load_model_file
from pixelwise.prediction.predictor import Predictor
from pixelwise.reporting.comparison_page import Comparison
from pixelwise.reporting.model_report import Report
from pixelwise.text import several
from pixelwise.training.events import Listener, Message, ignore_events
from pixelwise.training.run_folder import require_run
from pixelwise.training.run_report import write_run_report

CHANGED = (
    "the data set has changed since the training (files or their sizes): the metrics may differ "
    "from those of the training"
)


def report_run(
    run: Path | str,
    *,
    data: Path | str | None = None,
    out: Path | str | None = None,
    device: str = "auto",
    on_progress: Callable[[int, int], None] | None = None,
) -> Report:
    """Rewrite the report of a run: evaluate its validation split again, without any training.

    Args:
        run: The run folder; the training may have been stopped after its first epoch.
        data: Current path of its data; ``None`` means the path of its recipe.
        out: The page; ``None`` means ``report.html`` in the run's folder.
        device: ``auto``, ``cpu``, ``cuda`` or ``mps``.
        on_progress: Called with the number of evaluated images and the total number.

    Raises:
        PixelwiseError: The folder is not a run, its data are missing or do not fit it, or the page
        cannot be written.

    Example:
        >>> report_run("runs/first").page  # doctest: +SKIP
        PosixPath('runs/first/report.html')
    """
    folder = as_path(run, "run")
    recipe, model, card = _opened(folder, data)
    # As at the end of training: the report includes the temperature fitted there.
    plain = card.model_copy(update={"temperature": 1.0})
    predictor = Predictor(model, plain, device=device)
    dataset = fit_to_model(predictor, open_as_in(recipe.data))
    # Metrics of the user are left out where the module that registers them is not imported.
    known = [name for name in recipe.training.metrics if name in extra_metrics.names()]
    metrics = evaluate(
        predictor, dataset, "val", detailed=True, metrics=known, on_progress=on_progress
    )
    records = {record.name: record for record in dataset.split("val")}
    changed = () if dataset.fingerprint == card.data.fingerprint else (CHANGED,)
    page = write_run_report(
        folder,
        metrics,
        predictor,
        dataset,
        recipe,
        lambda name: dataset.load(records[name]),
        path=as_path(out, "out") if out else None,
        notes=changed,
    )
    return Report(page, metrics, (*dataset.notes, *changed))


def report_runs(
    runs: Sequence[Path | str],
    *,
    data: Path | str | None = None,
    out: Path | str | None = None,
    device: str = "auto",
    listener: Listener = ignore_events,
) -> Comparison:
    """Compare runs on one page: ranking, curves, and the differences of their recipes.

    Args:
        runs: Folders of training runs on the same data with the same splits, at least two.
        data: Current path of the data; ``None`` means the path of the first run's recipe.
        out: The folder for ``comparison.html``; ``None`` means ``runs/report-DATA``.
        device: ``auto``, ``cpu``, ``cuda`` or ``mps``.
        listener: Called with each event.

    Raises:
        DataError: They were trained on different data, splits or classes.
        PixelwiseError: One is not a run, the data are missing, or the folder cannot be written.
    """
    folders = [as_path(run, "runs") for run in several(runs)]
    places = [folder.resolve() for folder in folders]
    if len(folders) < 2 or len(set(places)) < len(places):
        raise ConfigError(
            "a report on several runs needs at least two different runs. Got "
            f"{', '.join(map(str, folders)) or 'none'}"
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
        as_path(out, "out") if out else Path("runs") / f"report-{dataset.path.resolve().name}",
        budget=_budget(recipes),
        device=device,
        listener=listener,
    )


def _opened(folder: Path, data: Path | str | None) -> tuple[Recipe, SegmentationModel, ModelCard]:
    """Return a run's recipe with the current path of the data, its model and its card."""
    recipe = require_run(folder)
    if data is not None:
        recipe.data.path = str(as_path(data, "data"))
    return recipe, *load_model_file(folder)


def _require_alike(first: Path, one: ModelCard, second: Path, other: ModelCard) -> None:
    """Check that the metrics of two runs refer to the same images and classes."""
    ours, theirs = one.data, other.data
    checks = (
        ("images and masks", ours.fingerprint == theirs.fingerprint),
        ("training images", set(ours.images or ()) == set(theirs.images or ())),
        (
            "classes",
            (one.class_map.names, one.label_mode) == (other.class_map.names, other.label_mode),
        ),
    )
    unlike = next((words for words, is_alike in checks if not is_alike), None)
    if unlike:
        raise DataError(
            f"runs that are compared must have the same data, splits and classes. The {unlike} of "
            f"{second} differ from those of {first}. Report them one by one, or train them with: "
            "pixelwise compare"
        )


def _budget(recipes: Sequence[Recipe]) -> str:
    lengths = {(recipe.training.epochs, recipe.training.minutes) for recipe in recipes}
    if len(lengths) > 1:
        return "finished runs, each with its own budget"
    ((epochs, minutes),) = lengths
    return budget_in_words(epochs, minutes)
