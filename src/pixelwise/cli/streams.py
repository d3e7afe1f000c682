"""Keeps stdout and stderr usable when they are closed, full, or know only ASCII."""

from __future__ import annotations

import errno
import os
import sys
from typing import TextIO

STREAM_ERRORS = (errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EPIPE, errno.EBADF)


def repair_streams() -> None:
    """Open closed streams on the null device, and write what a stream cannot encode as escapes.

    A file that is opened later would otherwise get the number of a closed stream, and messages of
    libraries would be written into that file.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest free number
    sys.stdout = sys.stdout or open(1, "w", encoding="utf-8", closefd=False)  # noqa: SIM115
    sys.stderr = sys.stderr or open(2, "w", encoding="utf-8", closefd=False)  # noqa: SIM115
    for stream in (sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)  # a test may have put something else
        if reconfigure is not None:
            reconfigure(errors="backslashreplace")


def write_error(text: str) -> None:
    """Write to stderr, or nowhere if it is full: a message is no reason to stop."""
    try:
        sys.stderr.write(text)
        sys.stderr.flush()
    except OSError:
        give_up(sys.stderr)


def is_of_a_stream(error: OSError) -> bool:
    """Whether an error is that of a stream that takes no more, such as a file on a full disk.

    Errors of other files have a name, or are told as :class:`pixelwise.errors.OutputError`.
    """
    return error.filename is None and error.errno in STREAM_ERRORS


def give_up(stream: TextIO) -> None:
    """Let all that is written to a stream from now on vanish, also at the end of the process."""
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, stream.fileno())
    os.close(null)
