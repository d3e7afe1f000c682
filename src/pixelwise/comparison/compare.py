"""``compare``: several models trained under one budget on the same data, and ranked.

Every model and seed is a separate run in the comparison's folder. Repeating the command resumes
the comparison: finished runs are kept, interrupted runs continue.
"""

from __future__ import annotations

import math
import statistics
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Unpack

import numpy as np
import torch

from pixelwise.comparison.candidates import Candidate, parse_candidates
from pixelwise.comparison.counts import Entry, count_entry, with_evaluated_classes
from pixelwise.comparison.schedule import Plan, budget_in_words, differences, train_or_resume
from pixelwise.config import Recipe, load_recipe, with_values
from pixelwise.data.dataset import Dataset, open_as_in, require_drawn
from pixelwise.devices import choose_device
from pixelwise.errors import ConfigError, TrainingError
from pixelwise.files import as_path, require_outside, write_json
from pixelwise.imports import import_modules
from pixelwise.io.counting import spread
from pixelwise.label_options import LabelArguments, LabelOptions, label_options
from pixelwise.metrics.formulas import Counts, iou, mean_iou
from pixelwise.metrics.intervals import bootstrap
from pixelwise.metrics.metrics import constant_prediction
from pixelwise.metrics.significance import Ranked, over_seeds, rank_models
from pixelwise.models import count_gmacs
from pixelwise.models.model_file import ModelCard
from pixelwise.prediction.costs import latencies_ms, peak_memory_mb
from pixelwise.prediction.loading import load_model
from pixelwise.prediction.predictor import Predictor
from pixelwise.reporting.comparison_page import NUM_SHOTS, ComparedModel, Comparison, write_ranking
from pixelwise.text import amount, several
from pixelwise.training.events import Listener, Message, each_once, ignore_events
from pixelwise.training.run_folder import METRICS_NAME, read_history, recipe_in

PAGE_NAME = "comparison.html"
RESULT_NAME = "comparison.json"

OPENED = {"path", *LabelOptions.model_fields, "split", "split_seed"}
"""Entries of a recipe's data that determine the images and masks; the same for all models."""

NUM_TIMED = 8
"""Number of validation images on which predictions are timed."""

METRIC = over_seeds(mean_iou)
"""Mean IoU averaged over the seeds, from counts of shape (..., S, 4, K)."""


def compare(
    data: Path | str,
    models: str | Path | Sequence[str | Path],
    *,
    minutes: float | None = None,
    epochs: int | None = None,
    seeds: int = 1,
    out: Path | str | None = None,
    split: str | None = None,
    overrides: Sequence[str] = (),
    imports: Sequence[str] = (),
    device: str | None = None,
    listener: Listener = ignore_events,
    **labels: Unpack[LabelArguments],
) -> Comparison:
    """Train models under one budget, with the same splits and batches, and rank them.

    They are ranked by mean IoU on the validation split, which each run also uses to select its
    best epoch; a test split is evaluated too, but not used for any choice. A model that cannot be
    trained is listed with its error, and the others continue.

    Args:
        data: A folder or a dataset card.
        models: Comma-separated names, or a list: registered names, optionally with arguments as in
            ``unet-elu(filters=8)``, recipe files, and folders of finished runs, which are only
            evaluated.
        minutes: Wall-clock budget of each run; give either this or ``epochs``.
        epochs: Number of epochs of each run.
        seeds: Number of training runs per model, with seeds counted from 0.
        out: The comparison's folder; ``None`` means ``runs/compare-DATA``. A comparison that is
            already there is continued; further models may be added.
        split: ``TRAIN/VAL/TEST`` or ``TRAIN/TEST`` shares for a folder without splits.
        overrides: ``section.key=value`` for all models without their own recipe; entries on reading
            and splitting the data and on the device apply to all models.
        imports: Modules to import first, as ``--import`` on the command line; the runs' recipes
            list them.
        device: ``auto``, ``cpu``, ``cuda`` or ``mps``; ``None`` means the device of the overrides.
        listener: Called with each event.
        labels: The options of :class:`~pixelwise.label_options.LabelOptions`.

    Returns:
        The ranking; the folder holds it as ``comparison.html`` and ``comparison.json``.

    Raises:
        PixelwiseError: The data or the folder cannot be used, a name is unknown, or no model could
        be trained.
        KeyboardInterrupt: It was interrupted; the same call resumes it.

    Example:
        >>> comparison = compare("my-images", "unet,unet-elu", minutes=5)  # doctest: +SKIP
        >>> [model.name for model in comparison.models]  # doctest: +SKIP
        ['unet-elu', 'unet']
    """
    import_modules(imports)
    base = load_recipe(None, overrides).model_copy(update={"imports": several(imports)})
    candidates = parse_candidates(models, base)
    _check_budget(candidates, minutes, epochs, seeds)
    # Arguments take precedence over the overrides; both apply to the runs and to the evaluation.
    opened = base.data.model_copy(
        update={
            "path": str(as_path(data, "data")),
            **dict(label_options(**labels).completed_by(base.data).options()),
            "split": split or base.data.split,
        }
    )
    device = device or base.training.device
    chosen = choose_device(device)
    dataset = open_as_in(opened)
    require_drawn(dataset, split)
    dataset.split("val")
    folder = as_path(out, "out") if out else Path("runs") / f"compare-{dataset.path.resolve().name}"
    _require_outside(folder, dataset, candidates)
    given: dict[str, dict[str, Any]] = {
        "data": opened.model_dump(include=OPENED),
        "training": {"minutes": minutes, "epochs": epochs, "device": device},
    }
    listener = each_once(listener)
    listener(Message("data", dataset.notes))
    plan = Plan(candidates, folder, given, seeds)
    plan.check_runs()
    try:
        entries = _trained(plan, listener)
        dataset = with_evaluated_classes(dataset, entries)
        for entry in entries:
            count_entry(entry, dataset, folder, chosen, listener)
    except KeyboardInterrupt:
        listener(Message("the comparison is stopped", ("repeat the same command to continue it",)))
        raise
    return _finish(
        entries, dataset, folder, chosen,
        budget=budget_in_words(epochs, minutes),
        seeds=seeds, shared=plan.shared_words(),
    )  # fmt: skip


def compare_runs(
    runs: Sequence[Path],
    dataset: Dataset,
    folder: Path,
    *,
    budget: str,
    device: str = "auto",
    listener: Listener = ignore_events,
) -> Comparison:
    """Rank existing runs that were trained under one budget, and write their page.

    Args:
        runs: Their folders. A run is named after its folder; a repeated name gets a number.
        dataset: The data set they were trained on, with the same splits and classes.
        folder: Output folder for the page and the metrics.
        budget: Training budget of each run, in words.
        device: ``auto``, ``cpu``, ``cuda`` or ``mps``.
        listener: Called with each event.

    Raises:
        PixelwiseError: None of them can be evaluated, or the folder cannot be written.
    """
    chosen = choose_device(device)
    # An absolute path cannot be mistaken for the name of a model.
    candidates = parse_candidates([run.resolve() for run in runs], Recipe())
    _require_outside(folder, dataset, candidates)
    entries = [Entry(one, [run]) for one, run in zip(candidates, runs, strict=True)]
    for entry in entries:
        count_entry(entry, dataset, folder, chosen, listener)
    return _finish(entries, dataset, folder, chosen, budget=budget, seeds=1, shared=())


def _require_outside(folder: Path, dataset: Dataset, candidates: Sequence[Candidate]) -> None:
    """Check that the page is not written into the data set or into a run that is compared.

    Raises:
        ConfigError: It is.
    """
    require_outside(folder, dataset.path, "the data set")
    for candidate in candidates:
        if candidate.run is not None:
            require_outside(folder, candidate.run, "the compared runs")


def _check_budget(
    candidates: Sequence[Candidate], minutes: float | None, epochs: int | None, seeds: int
) -> None:
    is_trained = any(candidate.recipe for candidate in candidates)
    if minutes is not None and epochs is not None:
        raise ConfigError("a comparison needs either epochs or minutes. Got both. Remove one")
    if is_trained and minutes is None and epochs is None:
        raise ConfigError(
            "a comparison needs a budget for its runs. Got none. Give `minutes` or `epochs`"
        )
    if seeds < 1:
        raise ConfigError(f"seeds must be at least 1. Got {seeds}")
    with_values(Recipe(), {"training.minutes": minutes, "training.epochs": epochs}, "compare")


def _trained(plan: Plan, listener: Listener) -> list[Entry]:
    """Train the runs that are missing; record failures and continue with the other runs."""
    entries = {candidate.name: Entry(candidate) for candidate in plan.candidates}
    runs = list(plan.runs())
    for number, (candidate, seed, run) in enumerate(runs, start=1):
        entry = entries[candidate.name]
        if (run / METRICS_NAME).is_file():
            entry.runs.append(run)
            continue
        title = f"run {number} of {len(runs)}"
        listener(Message(title, (f"{candidate.name}, seed {seed}, in {run}",)))
        error = train_or_resume(plan.recipe(candidate, seed), run, listener)
        if error is None:
            entry.runs.append(run)
        else:
            listener(Message(f"{candidate.name}, seed {seed}, failed", (error,)))
            entry.errors.append(error)
    for entry in entries.values():
        if entry.candidate.run:
            entry.runs.append(entry.candidate.run)
            entry.remarks.append("a run that was finished before, with its own budget")
        elif entry.candidate.is_own_recipe:
            entry.remarks.append("with its own recipe")
    return list(entries.values())


def _finish(
    entries: Sequence[Entry],
    dataset: Dataset,
    folder: Path,
    device: torch.device,
    *,
    budget: str,
    seeds: int,
    shared: tuple[str, ...],
) -> Comparison:
    """Rank, measure the costs, and write the page."""
    failed = tuple((entry.candidate.name, entry.errors[0]) for entry in entries if not entry.runs)
    by_name = {entry.candidate.name: entry for entry in entries if entry.runs}
    if not by_name:
        raise TrainingError(
            f"at least one model must be trained or evaluated. None could be. First: {failed[0][1]}"
        )
    ranking = rank_models({name: entry.counts["val"] for name, entry in by_name.items()}, mean_iou)
    predictors, costs = _costs([by_name[ranked.name] for ranked in ranking], dataset, device)
    models = tuple(
        _compared(ranked, by_name[ranked.name], predictor, cost)
        for ranked, predictor, cost in zip(ranking, predictors, costs, strict=True)
    )
    comparison = Comparison(
        data=str(dataset.path),
        budget=budget,
        num_seeds=seeds,
        num_images=len(dataset.split("val")),
        num_test_images=sum(record.split == "test" for record in dataset.records),
        device=device.type,
        shared=tuple(line for line in shared if line),
        models=models,
        differences=differences({model.name: recipe_in(Path(model.runs[0])) for model in models}),
        failed=failed,
        folder=str(folder),
        page=str(folder / PAGE_NAME),
    )
    records = dataset.split("val")
    shown = spread(records, NUM_SHOTS)
    histories = {model.name: [read_history(Path(run)) for run in model.runs] for model in models}
    write_ranking(comparison, predictors, [dataset.load(record) for record in shown], histories)
    write_json(folder / RESULT_NAME, comparison.to_json())
    return comparison


def _costs(
    entries: Sequence[Entry], dataset: Dataset, device: torch.device
) -> tuple[list[Predictor], list[tuple[float | None, float]]]:
    """Return a predictor for each model with its memory in MB and its time in ms per image."""
    records = dataset.split("val")
    images = [dataset.load(record).image for record in spread(records, NUM_TIMED)]
    largest = max(images, key=lambda image: image.size)
    predictors = [load_model(entry.runs[0], device=str(device)) for entry in entries]
    memory = [
        peak_memory_mb(entry.runs[0], largest, device, predictor.model.defined_in)
        for entry, predictor in zip(entries, predictors, strict=True)
    ]
    times = latencies_ms(predictors, images)
    return predictors, list(zip(memory, times, strict=True))


def _compared(
    ranked: Ranked,
    entry: Entry,
    predictor: Predictor,
    cost: tuple[float | None, float],
) -> ComparedModel:
    remarks = [*entry.remarks]
    if entry.errors:
        number = f"{len(entry.errors)} of {amount(len(entry.errors) + len(entry.runs), 'seed')}"
        remarks.append(f"{number} failed: {entry.errors[0]}")
    if num_seen := sum(entry.num_seen.values()):
        remarks.append(f"trained on {num_seen} of these images: its metrics are too optimistic")
    remarks += _selection(entry.num_selected_on.get("test", 0))
    remarks += _everywhere(entry.counts["val"], predictor.card)
    test = entry.counts.get("test")
    by_class = iou(entry.counts["val"].sum(0)).mean(0)
    histories = [rows for run in entry.runs if (rows := read_history(run))]
    speeds = [row["images_per_s"] for rows in histories for row in rows]
    speeds = [speed for speed in speeds if math.isfinite(speed)]  # an epoch may have no step
    return ComparedModel(
        ranked=ranked,
        test=None if test is None else float(METRIC(test.sum(0))),
        test_interval=None if test is None else bootstrap(test, METRIC),
        per_class={
            name: None if np.isnan(value) else float(value)
            for name, value in zip(predictor.card.class_map.names, by_class, strict=True)
        },
        parameters=sum(weights.numel() for weights in predictor.model.parameters()),
        gmacs=count_gmacs(predictor.model, predictor.card.training_size),
        memory_mb=cost[0],
        ms_per_image=cost[1],
        epochs=statistics.fmean(map(len, histories)) if histories else None,
        seconds=statistics.fmean(rows[-1]["elapsed_s"] for rows in histories)
        if histories
        else None,
        images_per_s=statistics.median(speeds) if speeds else None,
        runs=tuple(map(str, entry.runs)),
        remarks=tuple(remarks),
        num_seen=dict(entry.num_seen),
        num_selected_on=dict(entry.num_selected_on),
    )


def _selection(num_test_images: int | None) -> Iterator[str]:
    """Explain why a test metric is biased if test images selected the epoch or temperature."""
    if num_test_images is None:
        yield "the images that selected its epoch are unknown: its test metric may be optimistic"
    elif num_test_images:
        yield (
            f"its epoch or temperature was selected on {num_test_images} of the test images: its "
            "test metric is optimistic"
        )


def _everywhere(counts: Counts, card: ModelCard) -> Iterator[str]:
    """Name the seeds that predict a single class; a sum over seeds would hide such a model."""
    names, num_seeds = card.class_map.names, counts.shape[1]
    found = [
        constant_prediction(names, hits + missed > 0, hits + extra > 0, card.label_mode)
        for hits, extra, missed, _ in counts.sum(0)
    ]
    for what, number in Counter(name for name in found if name is not None).items():
        seeds = f"{number} of {num_seeds} seeds " if num_seeds > 1 else ""
        yield f"{seeds}{'predicts' if number == 1 else 'predict'} {what} everywhere"
