"""``pixelwise models``: what can be trained."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from pixelwise.cli.console import AsJson, print_json

NAME = "models"


def command(
    channels: Annotated[int, typer.Option(help="Channels of the images.", min=1)] = 3,
    classes: Annotated[int, typer.Option(help="Number of classes.", min=1)] = 2,
    as_json: AsJson = False,
) -> None:
    """List the models: article, parameters at the given channels and classes, label modes."""
    from pixelwise.models import summarise_models

    summaries = summarise_models(classes, channels)
    if as_json:
        print_json([asdict(summary) for summary in summaries])
        return
    from rich.console import Console
    from rich.table import Table

    table = Table("name", "article", box=None, pad_edge=False)
    table.add_column(f"parameters ({channels} channels, {classes} classes)", justify="right")
    table.add_column("labels")
    for summary in summaries:
        modes = ", ".join(summary.label_modes)
        table.add_row(summary.name, summary.article, f"{summary.parameters:,}", modes)
    Console().print(table)
