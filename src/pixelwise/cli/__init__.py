"""The command line: one file per verb; each parses, calls one public function and prints.

Results go to stdout, progress and reasons to stderr. Exit codes: 0 done, 1 a pixelwise error,
2 wrong usage, 130 interrupted by Ctrl-C, 143 terminated (128 + the number of the signal).
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
import warnings
from dataclasses import dataclass
from typing import Any

from pixelwise.cli.streams import give_up, is_of_a_stream, repair_streams, write_error
from pixelwise.errors import (
    ENDING_SIGNALS,
    LayoutError,
    OutputError,
    PixelwiseError,
    PixelwiseWarning,
    Terminated,
)
from pixelwise.text import printable

VERBS = {
    "data": "Make, check, show, split and convert data sets.",
    "train": "Train a model on a folder of labeled images.",
    "evaluate": "Evaluate a model on labeled images, with intervals.",
    "predict": "Segment images of any size.",
    "compare": "Train models under one budget and rank them on one page.",
    "report": "Rewrite the report of a run, or compare several runs.",
    "review": "Find likely label errors.",
    "inspect": "Show what a model, card or recipe file says.",
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
    """Ctrl-C or a signal, wrapped: Typer exits silently on a plain KeyboardInterrupt.

    Args:
        reason: The wrapped exception.
    """

    def __init__(self, reason: KeyboardInterrupt) -> None:
        super().__init__(*reason.args)
        self.reason = reason


def overview() -> str:
    """Return the text of ``pixelwise --help``."""
    return OVERVIEW.format(verbs=_listed(VERBS), options=_listed(OPTIONS))


def version_line() -> str:
    """Return the text of ``pixelwise --version``."""
    import pixelwise

    return f"pixelwise {pixelwise.__version__}"


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
    repair_streams()
    _handle_signals()
    try:
        try:
            _run()
        finally:
            sys.stdout.flush()  # only now may it turn out that a disk is full
    except PixelwiseError as error:
        if os.environ.get("PIXELWISE_DEBUG"):
            raise
        from pixelwise.cli.wording import in_options

        # A file name may contain a line break; only a question has lines on purpose.
        lines = str(error).split("\n") if isinstance(error, LayoutError) else [str(error)]
        text = "\n".join(printable(" ".join(in_options(line).split())) for line in lines)
        write_error(f"error: {text}\n")
        sys.exit(1)
    except (KeyboardInterrupt, Interrupted) as error:
        write_error(f"{str(error) or 'interrupted'}\n")
        reason = error.reason if isinstance(error, Interrupted) else error
        sys.exit(128 + (reason.signum if isinstance(reason, Terminated) else signal.SIGINT))
    except OSError as error:
        if not is_of_a_stream(error):
            raise
        give_up(sys.stdout)
        if not isinstance(error, BrokenPipeError):  # the reader of a pipe has seen enough
            write_error(f"error: cannot write the results to stdout: {error.strerror}\n")
        sys.exit(1)


def _run() -> None:
    # Importing Typer alone takes four times as long as starting Python.
    quick = {"--help": overview, "-h": overview, "--version": version_line}
    if len(sys.argv) == 2 and sys.argv[1] in quick:
        sys.stdout.write(f"{quick[sys.argv[1]]()}\n")
        sys.exit(0)
    _require_current_folder()
    from pixelwise.cli.application import app

    warnings.showwarning = _show_warning
    app(prog_name="pixelwise")


def _require_current_folder() -> None:
    """Check that the current folder exists; in one that was deleted, torch ends the process."""
    from pathlib import Path

    try:
        Path.cwd()
    except FileNotFoundError as error:
        raise OutputError(
            "the current folder must exist. It was deleted or moved away. Change to another folder "
            "(cd) and run the command again"
        ) from error


def _handle_signals() -> None:
    """Let the signals that end a process do so like Ctrl-C, so that files are not left half."""
    if threading.current_thread() is not threading.main_thread():
        return  # only the main thread receives signals
    for signum in ENDING_SIGNALS:
        if signal.getsignal(signum) is signal.SIG_DFL:  # nohup has one ignored
            signal.signal(signum, _terminate)


def _terminate(signum: int, _frame: object) -> None:
    raise Terminated(signum)


_show_usual_warning = warnings.showwarning


def _show_warning(
    message: Warning | str, category: type[Warning], *place: Any, **more: Any
) -> None:
    """Write a warning of pixelwise as one line, without the place in the source."""
    if issubclass(category, PixelwiseWarning):
        write_error(f"warning: {printable(str(message))}\n")
    else:
        _show_usual_warning(message, category, *place, **more)


def _listed(entries: dict[str, str]) -> str:
    return "\n".join(f"  {name:20}  {what}" for name, what in entries.items())
