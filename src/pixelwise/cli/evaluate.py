"""``pixelwise evaluate``: evaluates a model on a data set."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pixelwise.cli.console import (
    AsJson,
    DataPath,
    DeviceName,
    Imports,
    ModelPath,
    figures_like,
    import_first,
    note,
    print_json,
    print_like,
    print_metrics,
    progress_bar,
    require_convention,
)
from pixelwise.cli.reading_options import Labels, takes_label_options
from pixelwise.text import import_words


@takes_label_options
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
    *,
    labels: Labels,
    like: Annotated[
        str | None,
        typer.Option(help="Mean IoU as another library computes it; 'all' lists all of them."),
    ] = None,
    metrics: Annotated[
        list[str] | None,
        typer.Option("--metric", help="An additional registered metric; may be repeated."),
    ] = None,
    report: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Also measure borders, objects and calibration, and write this page.",
        ),
    ] = None,
    device: DeviceName = "auto",
    imports: Imports = None,
    as_json: AsJson = False,
) -> None:
    """Evaluate a model on labeled images at their original size, excluding ignored pixels.

    Prints the metrics; writes no file unless --report is given.
    """
    import_first(imports)
    from pixelwise.data.split_assignment import check_part
    from pixelwise.devices import choose_device
    from pixelwise.evaluation.evaluate import evaluate, open_for_model
    from pixelwise.files import require_file
    from pixelwise.label_options import label_options
    from pixelwise.metrics.extra import create_metrics
    from pixelwise.prediction.loading import imports_named, load_model
    from pixelwise.reporting.model_report import write_model_report

    if like is not None:
        require_convention(like)
    with imports_named(model):
        create_metrics(metrics or ())  # unknown names are refused before anything is read
    check_part(split)
    if report is not None:
        require_file(report)
    choose_device(device)
    predictor = load_model(model, device=device)
    with imports_named(model):
        dataset, chosen = open_for_model(
            predictor,
            data,
            split=split,
            **labels,
        )
    for line in dataset.notes:
        note(line)
    note(f"evaluating the split {chosen!r}")
    with progress_bar("evaluating") as on_progress:
        found = evaluate(
            predictor,
            dataset,
            chosen,
            detailed=report is not None,
            metrics=metrics or (),
            on_progress=on_progress,
        )
    if report is not None:
        # So that the commands shown on the page repeat this evaluation.
        options = label_options(**labels).words()
        first = import_words(imports or (), predictor.card.defined_in)
        words = (str(model), data, "--split", chosen, *options, *first)
        write_model_report(report, found, predictor, dataset, chosen, words)
        note(f"report: {report}")
    if as_json:
        conventions = {} if like is None else {"like": figures_like(found, like)}
        print_json({"split": chosen, **found.to_json(), **conventions})
    elif like is not None:
        print_like(found, like)
    else:
        print_metrics(found)
