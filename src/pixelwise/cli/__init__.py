"""The command line: one file per verb; each parses, calls one public function and prints.

Results go to stdout, progress and reasons to stderr. Exit codes: 0 done, 1 a pixelwise error,
2 wrong usage, 130 interrupted.
"""

from __future__ import annotations

import os
import sys
import time
import warnings
from dataclasses import dataclass
from typing import Any

from pixelwise.errors import LayoutError, PixelwiseError, PixelwiseWarning

VERBS = {
    "data": "Make, check, show, split and convert data sets.",
    "train": "Train a model on a folder of labeled images.",
    "evaluate": "Evaluate a model on labeled images, with intervals.",
    "predict": "Segment images of any size.",
    "compare": "Train models under one budget and rank them on one page.",
    "report": "Rewrite the report of a run, or compare several runs.",
    "review": "Find likely label errors.",
    "models": "List the models with their parameters and compute.",
    "lab": "Train published systems with their own recipes.",
}
"""Every verb (the name of its module in this package) and its help text, in display order."""

OPTIONS = {
    "--debug": "Show the traceback of an error.",
    "--install-completion": "Install completion for the current shell.",
    "--show-completion": "Print the completion script for the current shell.",
    "--version": "Print the version and exit.",
    "-h, --help": "Show this message and exit.",
}
"""The global options and their help texts."""

OVERVIEW = """\
Usage: pixelwise [OPTIONS] VERB ...

  Train, evaluate and ship segmentation models from a folder of labeled images.

Verbs:
{verbs}

Options:
{options}

Run 'pixelwise VERB --help' for the options of a verb."""


class Interrupted(BaseException):
    """Ctrl-C, wrapped: Typer exits silently on a plain KeyboardInterrupt."""


def overview() -> str:
    """Return the text of ``pixelwise --help``."""
    return OVERVIEW.format(verbs=_listed(VERBS), options=_listed(OPTIONS))


def version_line() -> str:
    """Return the text of ``pixelwise --version``."""
    from importlib import metadata

    return f"pixelwise {metadata.version('pixelwise')}"


@dataclass
class Command:
    """The command that is running.

    Attributes:
        started: Start time, as returned by :func:`time.perf_counter`.
    """

    started: float = 0.0


COMMAND = Command()


def main() -> None:
    """Run the command line and exit with its code."""
    COMMAND.started = time.perf_counter()
    try:
        # Importing Typer alone takes four times as long as starting Python.
        quick = {"--help": overview, "-h": overview, "--version": version_line}
        if len(sys.argv) == 2 and sys.argv[1] in quick:
            sys.stdout.write(f"{quick[sys.argv[1]]()}\n")
            sys.stdout.flush()
            sys.exit(0)
        from pixelwise.cli.application import app

        warnings.showwarning = _show_warning
        app(prog_name="pixelwise")
    except PixelwiseError as error:
        if os.environ.get("PIXELWISE_DEBUG"):
            raise
        from pixelwise.cli.wording import in_options

        # A file name may contain a line break; only a question has lines on purpose.
        lines = str(error).split("\n") if isinstance(error, LayoutError) else [str(error)]
        text = "\n".join(" ".join(in_options(line).split()) for line in lines)
        sys.stderr.write(f"error: {text}\n")
        sys.exit(1)
    except (KeyboardInterrupt, Interrupted) as error:
        sys.stderr.write(f"{str(error) or 'interrupted'}\n")
        sys.exit(130)
    except BrokenPipeError:
        # The reading end of the pipe is closed: nothing more can be printed, not even at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)


_show_usual_warning = warnings.showwarning


def _show_warning(
    message: Warning | str, category: type[Warning], *place: Any, **more: Any
) -> None:
    """Write a warning of pixelwise as one line, without the place in the source."""
    if issubclass(category, PixelwiseWarning):
        sys.stderr.write(f"warning: {message}\n")
    else:
        _show_usual_warning(message, category, *place, **more)


def _listed(entries: dict[str, str]) -> str:
    return "\n".join(f"  {name:20}  {what}" for name, what in entries.items())
