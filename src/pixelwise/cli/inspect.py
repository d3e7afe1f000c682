"""``pixelwise inspect``: shows what a file says, without building a network."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pixelwise.cli.console import AsJson, print_json, say


def command(
    file: Annotated[
        Path,
        typer.Argument(help="A model file, checkpoint, dataset card, recipe or run folder."),
    ],
    as_json: AsJson = False,
) -> None:
    """Show what a model file, checkpoint, dataset card or recipe says.

    No code of the file is run and no network is built. The exit code is 1 if the checksum of the
    file is wrong.
    """
    from pixelwise.training.inspection import inspect

    found = inspect(file)
    if as_json:
        print_json(found.to_json())
    else:
        for line in found.lines():
            say(line)
    if found.is_intact is False:
        raise typer.Exit(1)
