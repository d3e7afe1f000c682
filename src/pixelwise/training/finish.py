"""The end of a training run: metrics, calibration, pictures and report of the best epoch."""

from __future__ import annotations

import dataclasses
import math
import time
from dataclasses import dataclass
from pathlib import Path

from pixelwise.devices import Machine
from pixelwise.errors import TrainingError
from pixelwise.evaluation.evaluate import evaluate_samples
from pixelwise.files import file_names, write_json
from pixelwise.io.counting import spread
from pixelwise.metrics.extra import create_metrics
from pixelwise.metrics.metrics import Metrics
from pixelwise.models.model_file import MODEL_NAME, load_model_file, save_model_file
from pixelwise.prediction.predictor import Predictor
from pixelwise.reporting.plots import draw_class_grid, draw_segmentation
from pixelwise.reporting.report_page import REPORT_NAME
from pixelwise.training.budget import report_key
from pixelwise.training.events import FilesWritten, Listener
from pixelwise.training.loop import Trainer
from pixelwise.training.plan import Plan
from pixelwise.training.run_folder import CURVES_NAME, METRICS_NAME
from pixelwise.training.run_report import write_run_report

NUM_PICTURES = 3
"""Number of validation images drawn into the run folder."""

MIN_DETAILED = 8
"""Minimum number of validation images with detailed metrics, even without budget left; up to twice
as many images are all measured."""


@dataclass(frozen=True)
class Outcome:
    """The result of a training run.

    Attributes:
        folder: The run folder; for a dry run, the folder that would be created.
        plan: The plan with the recipe and the reasons.
        best_epoch: The best epoch, counted from 1; 0 for a dry run.
        epochs: Number of epochs trained.
        seconds: Training time including validation, without reading the data.
    """

    folder: Path
    plan: Plan
    best_epoch: int = 0
    epochs: int = 0
    seconds: float = 0.0
    _metrics: Metrics | None = None

    @property
    def metrics(self) -> Metrics:
        """Metrics of the validation split at the best epoch.

        Raises:
            TrainingError: It was a dry run.
        """
        if self._metrics is None:
            raise TrainingError("a dry run has no metrics. Train without dry_run")
        return self._metrics


def finish(plan: Plan, trainer: Trainer, machine: Machine, listener: Listener) -> Outcome:
    """Evaluate the best epoch from its file, fit the temperature, and write pictures and report.

    Args:
        plan: The plan of the training.
        trainer: The trainer after the last epoch.
        machine: Stores the duration of the report for the budget of the next training.
        listener: Called with the written files.
    """
    folder = trainer.folder
    model, card = load_model_file(folder / MODEL_NAME, plan.own.model)
    predictor = Predictor(model, plan.validation_card, device=plan.device)
    metrics = _evaluated(plan, trainer, predictor)
    assert metrics.detail is not None
    temperature = metrics.detail.temperature
    # The kept epoch was evaluated without intervals, which take too long after each epoch.
    known = {**(card.metrics or {}), "intervals": metrics.to_json()["intervals"]}
    card = card.model_copy(update={"temperature": temperature, "metrics": known})
    save_model_file(folder / MODEL_NAME, model, card)
    began = time.perf_counter()
    places = {record.name: place for place, record in enumerate(plan.dataset.split("val"))}
    write_run_report(
        folder,
        metrics,
        predictor,
        plan.dataset,
        plan.recipe,
        lambda name: plan.validation[places[name]],
    )
    pictures = _draw_pictures(plan, predictor, folder)
    key = report_key(plan.dataset.class_map.num_classes, plan.measured.statistics.median_size)
    machine.keep(key, round(time.perf_counter() - began, 1))
    # Written last: a run with this file is finished.
    content = {"split": "val", **metrics.to_json()}
    write_json(folder / METRICS_NAME, content)
    listener(FilesWritten((folder / REPORT_NAME, folder / CURVES_NAME, *pictures)))
    return _outcome(plan, trainer, metrics)


def is_finished(trainer: Trainer) -> bool:
    """Whether the run of the trainer has ended and all its files are written."""
    return trainer.progress.is_done and (trainer.folder / METRICS_NAME).is_file()


def evaluate_again(plan: Plan, trainer: Trainer) -> Outcome:
    """Return the outcome of a finished run; writes nothing."""
    model, _ = load_model_file(trainer.folder / MODEL_NAME, plan.own.model)
    predictor = Predictor(model, plan.validation_card, device=plan.device)
    return _outcome(plan, trainer, _evaluated(plan, trainer, predictor))


def _outcome(plan: Plan, trainer: Trainer, metrics: Metrics) -> Outcome:
    progress = trainer.progress
    assert progress.best_epoch is not None
    num_epochs, seconds = progress.epoch, progress.elapsed_s
    return Outcome(trainer.folder, plan, progress.best_epoch + 1, num_epochs, seconds, metrics)


def _evaluated(plan: Plan, trainer: Trainer, predictor: Predictor) -> Metrics:
    """Return detailed metrics; near the end of a budget, details cover only some images."""
    samples = plan.validation
    count = len(samples)
    kept = trainer.kept_metrics
    if trainer.budget is not None and kept is not None:
        per_image = trainer.budget.finish_s_per_image
        fixed_s = max(0.0, trainer.budget.finish_s - per_image * len(samples))
        left = trainer.budget.left_s - trainer.budget.report_s - fixed_s
        fitting = count if per_image <= 0 else math.floor(left / per_image)
        if count > 2 * MIN_DETAILED:
            count = min(count, max(MIN_DETAILED, fitting))
    is_whole = count == len(samples)
    chosen = samples.in_parallel() if is_whole else iter(spread(samples, count))
    extra = create_metrics(plan.recipe.training.metrics)
    metrics = evaluate_samples(predictor, chosen, count, detailed=True, extra=extra)
    if kept is not None and not is_whole:
        metrics = dataclasses.replace(kept.with_intervals(), detail=metrics.detail)
    return dataclasses.replace(metrics, selected_on=len(samples))


def _draw_pictures(plan: Plan, predictor: Predictor, folder: Path) -> list[Path]:
    """Draw some validation images into the run folder."""
    pictures = []
    some = spread(plan.validation, NUM_PICTURES)
    for sample, stem in zip(some, file_names([one.name for one in some]), strict=True):
        probabilities = predictor.probabilities(sample.image)
        for draw, kind in ((draw_segmentation, "segmentation"), (draw_class_grid, "classes")):
            path = folder / "pictures" / f"{stem}-{kind}.png"
            draw(sample, probabilities, plan.dataset.class_map, path)
            pictures.append(path)
    return pictures
