"""``pixelwise evaluate``: a model and a data set to scores."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pixelwise.cli.console import JSON_HELP, note, print_json, print_scores, progress_bar

NAME = "evaluate"


def command(
    model: Annotated[Path, typer.Argument(help="A model file or a run folder.")],
    data: Annotated[str, typer.Argument(help="A folder, a dataset card, or 'digits'.")],
    split: Annotated[
        str | None,
        typer.Option(help="train, val, test or all. [default: test, else val, else all]"),
    ] = None,
    ignore: Annotated[
        list[int] | None, typer.Option(help="A mask value that means void; may be repeated.")
    ] = None,
    format: Annotated[  # noqa: A002  the option is called --format
        str | None, typer.Option(help="The label format, where looking does not find it.")
    ] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or mps.")] = "auto",
    as_json: Annotated[bool, typer.Option("--json", help=JSON_HELP)] = False,
) -> None:
    """Score a model on labelled images, at their original size, void left out."""
    from pixelwise.evaluation import evaluate, open_for_model
    from pixelwise.prediction.predictor import load_model

    predictor = load_model(model, device=device)
    dataset, chosen = open_for_model(
        predictor, data, split=split, ignore=ignore or (), format=format
    )
    for line in dataset.notes:
        note(line)
    note(f"scoring the split {chosen!r}")
    with progress_bar("scoring") as on_progress:
        scores = evaluate(predictor, dataset, chosen, on_progress=on_progress)
    if as_json:
        print_json({"split": chosen, **scores.to_json()})
    else:
        print_scores(scores)
