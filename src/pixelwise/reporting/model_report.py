"""The report of any model on any data set, outside a training."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Unpack

from pixelwise.data.dataset import Dataset
from pixelwise.evaluation.evaluate import evaluate, open_as_given
from pixelwise.files import as_path
from pixelwise.label_options import LabelArguments, label_options
from pixelwise.metrics.extra import MetricSource
from pixelwise.metrics.metrics import Metrics
from pixelwise.prediction.loading import as_predictor
from pixelwise.prediction.predictor import Predictor
from pixelwise.reporting.report_page import REPORT_NAME, RunFacts, write_report
from pixelwise.text import import_words


@dataclass(frozen=True)
class Report:
    """A report that was written.

    Attributes:
        page: The file.
        metrics: Detailed metrics of the split.
        notes: Notes on the data.
    """

    page: Path
    metrics: Metrics
    notes: tuple[str, ...]


def report_model(
    model: Predictor | Path | str,
    data: Dataset | Path | str,
    split: str | None = None,
    *,
    out: Path | str = REPORT_NAME,
    metrics: Sequence[MetricSource] = (),
    device: str = "auto",
    on_progress: Callable[[int, int], None] | None = None,
    **labels: Unpack[LabelArguments],
) -> Report:
    """Evaluate a model in detail and write its report page, as ``evaluate --report`` does.

    Args:
        model: A run folder, a model file, or a :class:`Predictor`, also of a network of your own.
        data: A folder, a dataset card, or an opened data set.
        split: ``train``, ``val``, ``test`` or ``all``; ``None`` chooses as :func:`evaluate` does.
        out: The HTML file.
        metrics: Additional metrics; see :func:`evaluate`.
        device: The device of a model that is given by its path.
        on_progress: Called with the number of evaluated images and the total number.
        labels: How the labels of a path are read; see
            :class:`~pixelwise.label_options.LabelOptions`.

    Raises:
        PixelwiseError: The model or the data cannot be used, or the page cannot be written.
    """
    predictor = as_predictor(model, device)
    dataset, chosen = open_as_given(predictor, data, split, **labels)
    found = evaluate(
        predictor, dataset, chosen, detailed=True, metrics=metrics, on_progress=on_progress
    )
    words: tuple[str, ...] = ()
    if not isinstance(model, Predictor) and not isinstance(data, Dataset):
        options = label_options(**labels).words()
        first = import_words((), predictor.card.defined_in)
        words = (str(model), str(data), "--split", chosen, *options, *first)
    page = write_model_report(as_path(out, "out"), found, predictor, dataset, chosen, words)
    return Report(page, found, dataset.notes)


def write_model_report(
    page: Path,
    metrics: Metrics,
    predictor: Predictor,
    dataset: Dataset,
    split: str,
    words: tuple[str, ...],
) -> Path:
    """Write the report of an evaluation.

    Args:
        page: The HTML file.
        metrics: Detailed metrics of the split.
        predictor: The model.
        dataset: The data set.
        split: The evaluated split.
        words: Model, data and options by which the command line repeats the evaluation; empty if
            no command can.

    Returns:
        The page.

    Raises:
        OutputError: The page cannot be written.
    """
    records = {record.name: record for record in dataset.split(split)}
    write_report(
        page,
        metrics,
        predictor,
        lambda name: dataset.load(records[name]),
        title=f"{predictor.card.architecture} on {dataset.path.resolve().name}",
        split=split,
        run=RunFacts(notes=dataset.notes),
        command=("pixelwise", "evaluate", *words, "--report", str(page)) if words else (),
        review_command=("pixelwise", "review", *words) if words else (),
    )
    return page
