"""The command line: one file per verb; each parses, calls one public function, prints.

Results go to stdout, progress and reasons to stderr. Exit codes: 0 done, 1 a pixelwise error,
2 wrong usage, 130 interrupted.
"""

from __future__ import annotations

import os
import sys
import time
from dataclasses import dataclass

from pixelwise.errors import PixelwiseError

VERBS = {
    "data": "Make, check, show, split and convert data sets.",
    "train": "Train a model on a folder of labeled images.",
    "evaluate": "Evaluate a model on labeled images, with intervals.",
    "predict": "Segment images of any size.",
    "compare": "Train models under one budget and rank them on one page.",
    "report": "Write a run's report again, or put several side by side.",
    "review": "Find where the labels are likely wrong.",
    "models": "List the models and what they cost.",
    "lab": "Train published systems by their own recipes.",
}
"""Every verb, which is a module here, and what it does; in the order of a project."""

OPTIONS = {
    "--debug": "Show the traceback of an error.",
    "--install-completion": "Install completion for the current shell.",
    "--show-completion": "Show that completion, to copy or change it.",
    "--version": "Print the version and exit.",
    "-h, --help": "Show this message and exit.",
}
"""What may stand before the verb."""

OVERVIEW = """\
Usage: pixelwise [OPTIONS] VERB ...

  Semantic segmentation: a folder of labeled images in, a trusted model out.

Verbs:
{verbs}

Options:
{options}

What a verb takes: pixelwise VERB --help"""


class Interrupted(BaseException):
    """Ctrl-C under a name of its own: Typer ends the process without a word for the usual one."""


def overview() -> str:
    """What ``pixelwise --help`` prints."""
    return OVERVIEW.format(verbs=_listed(VERBS), options=_listed(OPTIONS))


def version_line() -> str:
    """What ``pixelwise --version`` prints."""
    from importlib import metadata

    return f"pixelwise {metadata.version('pixelwise')}"


@dataclass
class Command:
    """The command that is running.

    Attributes:
        started: When it began, on the clock of :func:`time.perf_counter`.
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

        app(prog_name="pixelwise")
    except PixelwiseError as error:
        if os.environ.get("PIXELWISE_DEBUG"):
            raise
        line = " ".join(str(error).split())
        sys.stderr.write(f"error: {line}\n")
        sys.exit(1)
    except (KeyboardInterrupt, Interrupted) as error:
        sys.stderr.write(f"{str(error) or 'interrupted'}\n")
        sys.exit(130)
    except BrokenPipeError:
        # The reader of a pipe has gone: nothing is left to say, not even at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)


def _listed(entries: dict[str, str]) -> str:
    return "\n".join(f"  {name:20}  {what}" for name, what in entries.items())
