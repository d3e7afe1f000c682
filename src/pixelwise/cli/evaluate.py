"""``pixelwise evaluate``: evaluates a model on a data set."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pixelwise.cli.console import (
    AsJson,
    DataPath,
    DeviceName,
    FormatName,
    IgnoredValues,
    ModelPath,
    UnexpectedValues,
    figures_like,
    note,
    print_json,
    print_like,
    print_metrics,
    progress_bar,
    require_convention,
    unexpected_rule,
)
from pixelwise.text import label_words

if TYPE_CHECKING:
    from pixelwise.data.dataset import Dataset
    from pixelwise.metrics.metrics import Metrics
    from pixelwise.prediction.predictor import Predictor


def command(
    model: ModelPath,
    data: DataPath,
    split: Annotated[
        str | None,
        typer.Option(
            help="train, val, test or all. [default: test, else val; all images of a new folder "
            "without splits]"
        ),
    ] = None,
    ignore: IgnoredValues = None,
    unexpected: UnexpectedValues = None,
    format: FormatName = None,  # noqa: A002  the option is called --format
    like: Annotated[
        str | None,
        typer.Option(help="Mean IoU as another library computes it; 'all' lists all of them."),
    ] = None,
    metric: Annotated[
        list[str] | None, typer.Option(help="An additional registered metric; may be repeated.")
    ] = None,
    report: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Also measure borders, objects and calibration, and write this page.",
        ),
    ] = None,
    device: DeviceName = "auto",
    as_json: AsJson = False,
) -> None:
    """Evaluate a model on labeled images at their original size, excluding ignored pixels.

    Prints the metrics; writes no file unless --report is given.
    """
    from pixelwise.evaluation.evaluate import evaluate, open_for_model
    from pixelwise.metrics.extra import create_metrics
    from pixelwise.prediction.predictor import load_model

    if like is not None:
        require_convention(like)
    extra = create_metrics(metric or ())
    predictor = load_model(model, device=device)
    dataset, chosen = open_for_model(
        predictor,
        data,
        split=split,
        ignore=ignore or (),
        unexpected=unexpected_rule(unexpected),
        format=format,
    )
    for line in dataset.notes:
        note(line)
    note(f"evaluating the split {chosen!r}")
    with progress_bar("evaluating") as on_progress:
        metrics = evaluate(
            predictor,
            dataset,
            chosen,
            detailed=report is not None,
            extra=extra,
            on_progress=on_progress,
        )
    if extra and not metrics.extra:
        note(f"no figures of {', '.join(metric or ())}: they are not defined for these labels")
    if report is not None:
        # So that the commands shown on the page repeat this evaluation.
        labels = label_words(ignore or (), unexpected, format)
        words = (str(model), data, "--split", chosen, *labels)
        _write_page(report, metrics, predictor, dataset, chosen, words)
    if as_json:
        conventions = {} if like is None else {"like": figures_like(metrics, like)}
        print_json({"split": chosen, **metrics.to_json(), **conventions})
    elif like is not None:
        print_like(metrics, like)
    else:
        print_metrics(metrics)


def _write_page(
    page: Path,
    metrics: Metrics,
    predictor: Predictor,
    dataset: Dataset,
    split: str,
    words: tuple[str, ...],
) -> None:
    """Write the report; ``words`` are the command-line words for model, data and options."""
    from pixelwise.reporting.report_page import RunFacts, write_report

    records = {record.name: record for record in dataset.split(split)}
    write_report(
        page,
        metrics,
        predictor,
        lambda name: dataset.load(records[name]),
        title=f"{predictor.card.architecture} on {dataset.path.resolve().name}",
        split=split,
        run=RunFacts(notes=dataset.notes),
        command=("pixelwise", "evaluate", *words, "--report", str(page)),
        review_command=("pixelwise", "review", *words),
    )
    note(f"report: {page}")
