"""The command line: one file per verb; each parses, calls one public function, prints.

Results go to stdout, progress and reasons to stderr. Exit codes: 0 done, 1 a pixelwise error,
2 wrong usage, 130 interrupted.
"""

from __future__ import annotations

import os
import sys
from typing import Annotated

import typer

from pixelwise.cli import compare, data, evaluate, lab, models, predict, review, train
from pixelwise.errors import PixelwiseError

app = typer.Typer(
    name="pixelwise",
    help="Semantic segmentation: a folder of labelled images in, a trusted model out.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.add_typer(data.app, name="data")
app.add_typer(lab.app, name="lab")
for verb in (train, evaluate, predict, compare, models, review):
    app.command(verb.NAME)(verb.command)


@app.callback()
def options(
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
) -> None:
    """Semantic segmentation: a folder of labelled images in, a trusted model out."""
    if debug:
        os.environ["PIXELWISE_DEBUG"] = "1"


def main() -> None:
    """Run the command line and exit with its code."""
    try:
        app(prog_name="pixelwise")
    except PixelwiseError as error:
        if os.environ.get("PIXELWISE_DEBUG"):
            raise
        line = " ".join(str(error).split())
        sys.stderr.write(f"error: {line}\n")
        sys.exit(1)
    except KeyboardInterrupt:
        sys.stderr.write("interrupted\n")
        sys.exit(130)
    except BrokenPipeError:
        # The reader of a pipe has gone: nothing is left to say, not even at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
