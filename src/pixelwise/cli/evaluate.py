"""``pixelwise evaluate``: a model and a data set to metrics."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pixelwise.cli.console import (
    AsJson,
    DataPath,
    DeviceName,
    FormatName,
    IgnoredValues,
    ModelPath,
    UnexpectedValues,
    note,
    print_json,
    print_like,
    print_metrics,
    progress_bar,
    require_convention,
    unexpected_rule,
)
from pixelwise.text import label_words


def command(
    model: ModelPath,
    data: DataPath,
    split: Annotated[
        str | None,
        typer.Option(help="train, val, test or all. [default: test, else val, else all]"),
    ] = None,
    ignore: IgnoredValues = None,
    unexpected: UnexpectedValues = None,
    format: FormatName = None,  # noqa: A002  the option is called --format
    like: Annotated[
        str | None,
        typer.Option(help="The figure that another library's code would give; 'all' lists them."),
    ] = None,
    metric: Annotated[
        list[str] | None, typer.Option(help="A further registered metric; may be repeated.")
    ] = None,
    report: Annotated[
        Path | None,
        typer.Option(help="The page to write. [default: report-SPLIT.html beside the model]"),
    ] = None,
    device: DeviceName = "auto",
    as_json: AsJson = False,
) -> None:
    """Evaluate a model on labeled images, at their original size, ignored pixels left out."""
    from pixelwise.evaluation.evaluate import evaluate, open_for_model
    from pixelwise.metrics.extra import create_metrics
    from pixelwise.prediction.predictor import load_model
    from pixelwise.reporting.report_page import RunFacts, write_report

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
            predictor, dataset, chosen, detailed=True, extra=extra, on_progress=on_progress
        )
    if extra and not metrics.extra:
        note(f"no figures of {', '.join(metric or ())}: they are not defined for these labels")
    page = report or model.parent / f"report-{chosen}.html"
    if report is None and model.is_dir():
        page = model / f"report-{chosen}.html"
    # So that the page's commands do what this one did.
    words = (str(model), data, "--split", chosen, *label_words(ignore or (), unexpected, format))
    records = {record.name: record for record in dataset.split(chosen)}
    write_report(
        page,
        metrics,
        predictor,
        lambda name: dataset.load(records[name]),
        title=f"{predictor.card.architecture} on {dataset.path.resolve().name}",
        split=chosen,
        run=RunFacts(notes=dataset.notes),
        command=("pixelwise", "evaluate", *words),
        review_command=("pixelwise", "review", *words),
    )
    note(f"report: {page}")
    if like is not None and not as_json:
        print_like(metrics, like)
    elif as_json:
        print_json({"split": chosen, **metrics.to_json()})
    else:
        print_metrics(metrics)
