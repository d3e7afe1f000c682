"""``pixelwise compare``: trains several models under one budget and ranks them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pixelwise.cli.console import (
    AsJson,
    DataPath,
    Imports,
    print_json,
    print_table,
    say,
)
from pixelwise.cli.progress import listening
from pixelwise.cli.reading_options import Labels, takes_label_options
from pixelwise.cli.wording import in_options
from pixelwise.text import rounded

if TYPE_CHECKING:
    from pixelwise.reporting.comparison_page import Comparison


@takes_label_options
def command(
    data: DataPath,
    models: Annotated[
        str,
        typer.Option(
            help="Registered names, optionally with arguments as in 'unet-elu(filters=8)'; recipe "
            "files; folders of finished runs, which are only evaluated.",
            metavar="A,B,...",
            show_default=False,
        ),
    ],
    minutes: Annotated[
        float | None, typer.Option(help="Wall-clock budget of each run.", min=0.001)
    ] = None,
    epochs: Annotated[
        int | None, typer.Option(help="Budget of each run in epochs instead.", min=1)
    ] = None,
    seeds: Annotated[
        int, typer.Option(help="Number of training runs (seeds) per model.", min=1)
    ] = 1,
    out: Annotated[
        Path | None,
        typer.Option(help="Output folder. [default: runs/compare-DATA]"),
    ] = None,
    split: Annotated[
        str | None,
        typer.Option(help="70/15/15 (train/val/test) or 70/30 (train/test).", metavar="SHARES"),
    ] = None,
    *,
    labels: Labels,
    overrides: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            help="Override a recipe value for all models; may be repeated.",
            metavar="SECTION.KEY=VALUE",
        ),
    ] = None,
    device: Annotated[
        str | None, typer.Option(help="auto, cpu, cuda or mps. [default: auto]")
    ] = None,
    imports: Imports = None,
    as_json: AsJson = False,
) -> None:
    """Train models with the same budget, splits and batches, and rank them on one page.

    The ranking is by mean IoU on the validation images; a test split, if any, is evaluated too.
    Repeat the command to continue an interrupted comparison, or to add models. If a model fails,
    the others are still ranked, and the exit code is 1.
    """
    from pixelwise.comparison.compare import compare
    from pixelwise.devices import keep_freed_memory

    keep_freed_memory()
    with listening() as listener:
        comparison = compare(
            data,
            models,
            minutes=minutes,
            epochs=epochs,
            seeds=seeds,
            out=out,
            split=split,
            **labels,
            overrides=overrides or (),
            imports=imports or (),
            device=device,
            listener=listener,
        )
    print_comparison(comparison, as_json=as_json)


def print_comparison(comparison: Comparison, *, as_json: bool) -> None:
    """Print a comparison, as one JSON document or as a table with remarks.

    Raises:
        Exit: A model could not be ranked; the exit code is 1.
    """
    if as_json:
        print_json(comparison.to_json())
    else:
        _print_ranking(comparison)
    if comparison.failed:
        raise typer.Exit(1)


def _print_ranking(comparison: Comparison) -> None:
    """Print the ranking as a table, the remarks on it, and the path of the page."""
    from rich.table import Table

    from pixelwise.reporting.charts import with_unit
    from pixelwise.reporting.comparison_page import compared_with_best, verdict

    table = Table(box=None, pad_edge=False)
    table.add_column("model")
    table.add_column("mean IoU", justify="right", no_wrap=True)
    table.add_column("95 %", justify="right", no_wrap=True)
    table.add_column("", no_wrap=True)
    for title in ("ms/image", "weights", "MB"):
        table.add_column(title, justify="right", no_wrap=True)
    for model in comparison.models:
        ranked, memory = model.ranked, model.memory_mb
        interval = ranked.interval
        table.add_row(
            model.name,
            f"{ranked.value:.3f}",
            f"{interval.low:.3f} to {interval.high:.3f}" if interval else "-",
            compared_with_best(ranked, is_short=True),
            rounded(model.ms_per_image),
            with_unit(model.parameters),
            "-" if memory is None else rounded(memory, 4),
        )
    print_table(table)
    for model in comparison.models:
        if model.remarks:
            say(f"{model.name}: {'; '.join(model.remarks)}")
    say()
    for sentence in verdict(comparison):
        say(sentence)
    for name, error in comparison.failed:
        say(f"  {name}: {in_options(error)}")
    say(f"page: {comparison.page}")
