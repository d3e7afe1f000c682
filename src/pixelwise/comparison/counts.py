"""What each compared model gets right, image by image: counted once, and kept in a file."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from pixelwise.comparison.candidates import Candidate
from pixelwise.comparison.schedule import failure
from pixelwise.data.dataset import Dataset
from pixelwise.errors import DataError, ModelFileError, OutputError, PixelwiseError
from pixelwise.evaluation.evaluate import evaluate, fit_to_model
from pixelwise.files import write_text
from pixelwise.metrics.formulas import Counts
from pixelwise.models.model_file import MODEL_NAME
from pixelwise.prediction.predictor import load_model
from pixelwise.training.events import Listener, Message

METRICS_FOLDER = "metrics"

BY_SPLIT = ("counts", "num_seen", "num_selected_on")
"""What a kept file says of each split; one of before that lacks some of it is counted again."""


@dataclass
class Entry:
    """One candidate and how far it has come.

    Attributes:
        candidate: What is compared.
        runs: Its runs that are trained; after the evaluation those that could be evaluated.
        errors: Of its other runs, in words.
        remarks: What should be known when it is compared.
        counts: By split, (N, S, 4, K) of N images and S runs.
        num_seen: By split, the most images that one of its runs was trained on.
        num_selected_on: By split, the most images by which epoch or temperature of one of its runs
            were chosen; ``None`` where a model file does not say.
    """

    candidate: Candidate
    runs: list[Path] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)
    counts: dict[str, Counts] = field(default_factory=dict)
    num_seen: dict[str, int] = field(default_factory=dict)
    num_selected_on: dict[str, int | None] = field(default_factory=dict)


def with_evaluated_classes(dataset: Dataset, entries: Sequence[Entry]) -> Dataset:
    """The data set with the classes that all are evaluated by.

    They are its own where models are trained on it here. Finished runs alone may know them better:
    index masks that nobody named do not say how many classes there are, so that the first run that
    fits decides.
    """
    if any(entry.candidate.recipe for entry in entries):
        return dataset
    for run in (run for entry in entries for run in entry.runs):
        try:
            return fit_to_model(load_model(run, device="cpu"), dataset)
        except PixelwiseError:
            continue  # it is listed with this error when its turn comes
    return dataset


def count_entry(
    entry: Entry, dataset: Dataset, folder: Path, device: torch.device, listener: Listener
) -> None:
    """Count, image by image, what each run's model gets right on validation and test images."""
    splits = [name for name in ("val", "test") if any(r.split == name for r in dataset.records)]
    by_split: dict[str, list[Counts]] = {name: [] for name in splits}
    evaluated = []
    for run in entry.runs:
        name = entry.candidate.folder_name if entry.candidate.run else run.name
        kept = folder / METRICS_FOLDER / f"{name}.json"
        try:
            content = _counts(run, dataset, splits, kept, device, listener)
        except (PixelwiseError, RuntimeError, MemoryError) as error:
            if isinstance(error, OutputError):
                raise
            entry.errors.append(failure(error))
            continue
        evaluated.append(run)
        for name in splits:
            by_split[name].append(np.array(content["counts"][name], np.int64))
            entry.num_seen[name] = max(entry.num_seen.get(name, 0), content["num_seen"][name])
            most, number = entry.num_selected_on.get(name, 0), content["num_selected_on"][name]
            is_known = most is not None and number is not None
            entry.num_selected_on[name] = max(most or 0, number) if is_known else None
    entry.runs = evaluated
    if evaluated:
        entry.counts = {name: np.stack(found, axis=1) for name, found in by_split.items()}


def _counts(
    run: Path,
    dataset: Dataset,
    splits: Sequence[str],
    kept: Path,
    device: torch.device,
    listener: Listener,
) -> dict[str, Any]:
    """The counts of a run's model by split, kept so that they are counted once."""
    file = run / MODEL_NAME if run.is_dir() else run
    if not file.is_file():
        raise ModelFileError(f"a run must hold its model. {file} is missing. Remove {run}")
    status = file.stat()
    key = [dataset.state, status.st_size, status.st_mtime_ns]
    if kept.is_file():
        try:
            content: dict[str, Any] = json.loads(kept.read_text("utf-8"))
            if content["key"] == key and all(
                content[part].keys() == set(splits) for part in BY_SPLIT
            ):
                return content
        except (ValueError, KeyError, TypeError, AttributeError):
            pass  # cut by a kill, or of another version: it is counted again
    listener(Message("evaluating", (f"{run} on {' and '.join(splits)}",)))
    predictor = load_model(run, device=str(device))
    _require_same_classes(run, fit_to_model(predictor, dataset), dataset)
    content = {"key": key, **{part: {} for part in BY_SPLIT}}
    for name in splits:
        metrics = evaluate(predictor, dataset, name)
        assert metrics.counts is not None
        content["counts"][name] = metrics.counts.tolist()
        content["num_seen"][name] = metrics.seen_in_training or 0
        content["num_selected_on"][name] = metrics.selected_on
    write_text(kept, json.dumps(content) + "\n")
    return content


def _require_same_classes(run: Path, fitted: Dataset, dataset: Dataset) -> None:
    """Refuse a model whose counts would be of other classes than those of the others.

    By itself it could be evaluated: masks that nobody named are read with the classes of any model.
    """
    theirs, ours = fitted.class_map.names, dataset.class_map.names
    if theirs != ours:
        raise DataError(
            f"{run} must have the {len(ours)} classes that are compared, {', '.join(ours[:8])}. "
            f"Got {len(theirs)}: {', '.join(theirs[:8])}. Train it again on {dataset.path}, or "
            "evaluate it by itself with: pixelwise evaluate"
        )
