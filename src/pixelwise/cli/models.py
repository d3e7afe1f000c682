"""``pixelwise models``: lists the registered models."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from pixelwise.cli.console import (
    AsJson,
    Imports,
    import_first,
    parse_size,
    print_json,
    print_table,
)


def command(
    channels: Annotated[int, typer.Option(help="Number of image channels.", min=1)] = 3,
    classes: Annotated[int, typer.Option(help="Number of classes.", min=1)] = 2,
    size: Annotated[
        str, typer.Option(help="Image size for which the compute is counted.", metavar="HxW")
    ] = "256x256",
    imports: Imports = None,
    as_json: AsJson = False,
) -> None:
    """List the models with reference, parameters, compute per image and label modes."""
    import_first(imports)
    from pixelwise.models import summarize_models
    from pixelwise.models.base import models

    height, width = parse_size(size)
    summaries = summarize_models(classes, channels, (height, width))
    if as_json:
        print_json([asdict(summary) for summary in summaries])
        return
    from rich.table import Table

    table = Table("name", "reference", box=None, pad_edge=False)
    table.add_column(f"parameters\n{channels} channels, {classes} classes", justify="right")
    table.add_column(f"GMAC\n{height} x {width}", justify="right")
    table.add_column("labels")
    for summary in summaries:
        modes = ", ".join(summary.label_modes)
        table.add_row(
            summary.name,
            summary.reference,
            "" if summary.parameters is None else f"{summary.parameters:,}",
            "" if summary.gmacs is None else f"{summary.gmacs:.3f}",
            modes,
        )
    for shape in models.families():
        table.add_row(shape, "segmentation_models.pytorch", "", "", "multiclass, multilabel")
    print_table(table)
