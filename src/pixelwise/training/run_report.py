"""Writes the report of a run from its validation metrics and its run folder."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from pixelwise.config import Recipe
from pixelwise.data.dataset import Dataset
from pixelwise.data.sample import Sample
from pixelwise.metrics.metrics import Metrics
from pixelwise.models.model_file import load_card
from pixelwise.prediction.predictor import Predictor
from pixelwise.reporting.report_page import REPORT_NAME, RunFacts, write_report
from pixelwise.text import import_words
from pixelwise.training.events import WarningRaised
from pixelwise.training.run_folder import RECIPE_NAME, load_notes, read_history


def write_run_report(
    folder: Path,
    metrics: Metrics,
    predictor: Predictor,
    dataset: Dataset,
    recipe: Recipe,
    load: Callable[[str], Sample],
    *,
    path: Path | None = None,
    notes: tuple[str, ...] = (),
) -> Path:
    """Write the report page of a run.

    Args:
        folder: The run folder, with the final model file.
        metrics: Detailed metrics of the validation split, without the model file's temperature.
        predictor: The run's model.
        dataset: Its data set.
        recipe: Its recipe.
        load: Returns the validation sample with a name.
        path: The page; ``None`` means ``report.html`` in the run folder.
        notes: Additional notes on the data.

    Returns:
        The page.

    Raises:
        OutputError: It cannot be written.
        ModelFileError: The run's history or its model file is damaged.
    """
    path = path or folder / REPORT_NAME
    history, kept = read_history(folder), load_notes(folder)
    data = recipe.data
    # Computed here, because a training run that was stopped has not written them.
    card = load_card(folder)
    write_report(
        path,
        metrics,
        predictor,
        load,
        title=f"{recipe.model.name} on {dataset.path.resolve().name}",
        split="val",
        run=RunFacts(
            history=history,
            best_epoch=max((int(row["epoch"]) for row in history if row["is_best"]), default=None),
            seconds=history[-1]["elapsed_s"] if history else None,
            recipe=recipe.to_yaml(),
            notes=(*dataset.notes, *notes, *kept.reasons),
            problems=tuple(map(_words, kept.problems)),
            temperature=card.temperature,
        ),
        command=("pixelwise", "train", "--recipe", str(folder / RECIPE_NAME)),
        review_command=(
            *("pixelwise", "review", str(folder), str(data.path)),
            *data.words(),
            *import_words(recipe.imports, card.defined_in),
        ),
    )
    return path


def _words(problem: WarningRaised) -> str:
    return f"{problem.text} (after epoch {problem.epoch})" if problem.epoch else problem.text
