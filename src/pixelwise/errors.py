"""All errors that pixelwise raises on purpose.

    PixelwiseError
    ├── ConfigError          a recipe, an option or an argument is wrong       (ValueError)
    │   └── UnknownNameError     a name is not registered
    ├── DataError            an image, a mask or a folder is wrong              (ValueError)
    │   ├── FormatError          the folder's layout cannot be read
    │   │   └── LayoutError          how to read the folder is a question
    │   └── MaskError            a mask does not fit its image or class map
    ├── ModelFileError       a model file or a checkpoint cannot be used        (ValueError)
    ├── DownloadError        a download failed or is not possible               (OSError)
    ├── OutputError          a file or folder cannot be written                 (OSError)
    ├── TrainingError        training cannot start or cannot continue           (RuntimeError)
    └── MissingExtraError    an optional dependency is not installed            (ImportError)

A message states in one line what must hold, what was found and what to do, and names the file. The
command line prints it unchanged and exits with 1; any other exception is a bug in pixelwise. Only a
``LayoutError`` has several lines, at most ten.
"""

from __future__ import annotations

import difflib
import signal
from collections.abc import Collection

ENDING_SIGNALS = tuple(
    signal.Signals[name]
    for name in ("SIGTERM", "SIGHUP", "SIGUSR1")
    if name in signal.Signals.__members__  # Windows has only the first
)
"""Signals by which a batch system or a closed terminal ends a process."""


MAX_REASON = 300
"""Number of characters of a message of foreign code that are repeated in a message."""


class PixelwiseError(Exception):
    """Base class of all errors that pixelwise raises on purpose."""


class Terminated(KeyboardInterrupt):
    """A signal asked the process to stop; whatever Ctrl-C would save is saved.

    Args:
        signum: Number of the signal, such as ``signal.SIGTERM``.
    """

    def __init__(self, signum: int) -> None:
        super().__init__(f"stopped by {signal.Signals(signum).name}")
        self.signum = signum


class PixelwiseWarning(UserWarning):
    """Something that pixelwise leaves out and continues without, in one line."""


class ConfigError(PixelwiseError, ValueError):
    """A recipe, an option or an argument is wrong."""


class UnknownNameError(ConfigError):
    """A name is not registered.

    Args:
        kind: What the name refers to, such as ``"model"``.
        name: The given name.
        known: The registered names.
        hint: How to list all names; ``None`` lists them in the message.
        may_be_own: Whether modules of the user can register names of this kind, so that a forgotten
            import is as likely as a mistyped name.
    """

    def __init__(
        self,
        kind: str,
        name: str,
        known: Collection[str],
        *,
        hint: str | None = None,
        may_be_own: bool = False,
    ) -> None:
        shown = repr(name) if len(str(name)) <= MAX_REASON else f"{str(name)[:MAX_REASON]!r}..."
        parts = [f"{kind} must be a known name. Got {shown}."]
        cutoff = 0.8 if may_be_own else 0.6
        close = difflib.get_close_matches(str(name), list(known), n=1, cutoff=cutoff)
        if close:
            parts.append(f"Did you mean {close[0]!r}?")
        parts.append(hint or f"Known: {', '.join(sorted(known))}")
        if may_be_own:
            parts[-1] += "."
            parts.append("If it is your own, import its module first: `imports=['MODULE']`")
        super().__init__(" ".join(parts))


class DataError(PixelwiseError, ValueError):
    """An image, a mask or a folder is wrong."""


class FormatError(DataError):
    """The layout of a folder is unknown or ambiguous."""


class LayoutError(FormatError):
    """It is not certain how a folder is to be read.

    The message has several lines, of which some are commands to copy.
    """


class MaskError(DataError):
    """A mask does not fit its image or its class map."""


class ModelFileError(PixelwiseError, ValueError):
    """A model file or a checkpoint cannot be used."""


class DownloadError(PixelwiseError, OSError):
    """A file must be downloaded, and that is not possible."""


class OutputError(PixelwiseError, OSError):
    """A file or a folder cannot be written."""


class TrainingError(PixelwiseError, RuntimeError):
    """Training cannot start or cannot continue."""


def in_one_line(error: BaseException) -> str:
    """Return the type and the message of an error of foreign code, for a message in one line."""
    text = " ".join(f"{type(error).__name__}: {error}".split())[:MAX_REASON]
    return text.removesuffix(".").rstrip(":")


def how_to_install(extra: str) -> str:
    """Return the command that installs an optional dependency.

    Args:
        extra: The extra of pixelwise, which is installed from its source folder.
    """
    return f"pip install '.[{extra}]' in the folder of pixelwise"


class MissingExtraError(PixelwiseError, ImportError):
    """An optional dependency is not installed.

    Args:
        package: The package that could not be imported.
        extra: The extra of pixelwise that brings it; ``None`` if there is none.
        purpose: What the package is needed for, such as ``"export to ONNX"``.
    """

    def __init__(self, package: str, extra: str | None, purpose: str) -> None:
        super().__init__(
            f"{purpose} needs the package {package!r}, which is not installed. "
            f"Install it: {how_to_install(extra) if extra else f'pip install {package}'}"
        )
