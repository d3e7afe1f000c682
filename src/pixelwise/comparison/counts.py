"""Per-image confusion counts of each compared model, cached in a file."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pydantic_core import from_json

from pixelwise.comparison.candidates import Candidate
from pixelwise.comparison.schedule import failure
from pixelwise.data.dataset import Dataset
from pixelwise.errors import DataError, ModelFileError, OutputError, PixelwiseError
from pixelwise.evaluation.evaluate import evaluate, fit_to_model
from pixelwise.files import write_text
from pixelwise.metrics.formulas import Counts
from pixelwise.models.model_file import MODEL_NAME
from pixelwise.prediction.loading import load_model
from pixelwise.training.events import Listener, Message

METRICS_FOLDER = "metrics"

BY_SPLIT = ("counts", "num_seen", "num_selected_on")
"""Entries of the cached file for each split; older files that lack some are recomputed."""


@dataclass
class Entry:
    """A candidate and its progress.

    Attributes:
        candidate: The model, recipe or run.
        runs: Its trained runs; after the evaluation, those that could be evaluated.
        errors: Error messages of its other runs.
        remarks: Remarks to show beside its result.
        counts: By split, (N, S, 4, K) of N images and S runs.
        num_seen: By split, the largest number of images that one of its runs was trained on.
        num_selected_on: By split, the largest number of images on which the epoch or temperature of
            one of its runs was selected; ``None`` if a model file does not record it.
    """

    candidate: Candidate
    runs: list[Path] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)
    counts: dict[str, Counts] = field(default_factory=dict)
    num_seen: dict[str, int] = field(default_factory=dict)
    num_selected_on: dict[str, int | None] = field(default_factory=dict)


def with_evaluated_classes(dataset: Dataset, entries: Sequence[Entry]) -> Dataset:
    """Return the data set with the classes used for all evaluations.

    These are the data set's own classes if models are trained on it here. With finished runs only,
    the first run that fits determines them, because index masks without class names do not define
    the number of classes.
    """
    if any(entry.candidate.recipe for entry in entries):
        return dataset
    for run in (run for entry in entries for run in entry.runs):
        try:
            return fit_to_model(load_model(run, device="cpu"), dataset)
        except PixelwiseError:
            continue  # this run's own evaluation reports the error later
    return dataset


def count_entry(
    entry: Entry, dataset: Dataset, folder: Path, device: torch.device, listener: Listener
) -> None:
    """Compute the per-image counts of each run's model on the validation and test images."""
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
    """Return the counts of a run's model by split, from the cached file if possible."""
    file = run / MODEL_NAME if run.is_dir() else run
    if not file.is_file():
        raise ModelFileError(f"a run must contain its model. {file} is missing. Remove {run}")
    status = file.stat()
    key = [dataset.state, status.st_size, status.st_mtime_ns]
    if kept.is_file():
        try:
            content: dict[str, Any] = from_json(kept.read_bytes())
            if content["key"] == key and all(
                content[part].keys() == set(splits) for part in BY_SPLIT
            ):
                return content
        except (ValueError, KeyError, TypeError, AttributeError):
            pass  # truncated by a kill, or from another version: recompute it
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
    """Check that a model has the classes that are compared.

    A separate evaluation would accept it, because masks without class names are read with the
    classes of any model.
    """
    theirs, ours = fitted.class_map.names, dataset.class_map.names
    if theirs != ours:
        raise DataError(
            f"{run} must have the {len(ours)} classes that are compared, {', '.join(ours[:8])}. "
            f"Got {len(theirs)}: {', '.join(theirs[:8])}. Train it again on {dataset.path}, or "
            "evaluate it by itself with: pixelwise evaluate"
        )
