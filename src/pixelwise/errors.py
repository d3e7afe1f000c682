"""Every error pixelwise raises on purpose.

    PixelwiseError
    ├── ConfigError          a recipe, an option or an argument is wrong       (ValueError)
    │   └── UnknownNameError     a name that nothing is registered under
    ├── DataError            an image, a mask or a folder is wrong              (ValueError)
    │   ├── FormatError          the folder's layout cannot be read
    │   └── MaskError            a mask does not fit its image or class map
    ├── ModelFileError       a model file or a checkpoint cannot be used        (ValueError)
    ├── DownloadError        something must be fetched, and cannot be           (OSError)
    ├── OutputError          a file or folder cannot be written                 (OSError)
    ├── TrainingError        training cannot start or cannot continue           (RuntimeError)
    └── MissingExtraError    an optional dependency is not installed            (ImportError)

A message says what must hold, what was got, and what to do, in one line, and names the file. The
command line prints it as it is and exits with 1; anything else that escapes is a bug of ours.
"""

from __future__ import annotations

import difflib
from collections.abc import Collection


class PixelwiseError(Exception):
    """Base of every error that pixelwise raises on purpose."""


class ConfigError(PixelwiseError, ValueError):
    """A recipe, an option or an argument is wrong."""


class UnknownNameError(ConfigError):
    """A name that nothing is registered under.

    Args:
        kind: What the name should name, such as ``"model"``.
        name: The name that was got.
        known: The names that exist.
        hint: What to do to see them all; ``None`` lists them here.
    """

    def __init__(
        self, kind: str, name: str, known: Collection[str], *, hint: str | None = None
    ) -> None:
        parts = [f"{kind} must be a known name. Got {name!r}."]
        close = difflib.get_close_matches(name, list(known), n=1, cutoff=0.6)
        if close:
            parts.append(f"Did you mean {close[0]!r}?")
        parts.append(hint or f"Known: {', '.join(sorted(known))}")
        super().__init__(" ".join(parts))


class DataError(PixelwiseError, ValueError):
    """An image, a mask or a folder is wrong."""


class FormatError(DataError):
    """The layout of a folder is not one that can be read, or is ambiguous."""


class MaskError(DataError):
    """A mask does not fit its image or its class map."""


class ModelFileError(PixelwiseError, ValueError):
    """A model file or a checkpoint cannot be used."""


class DownloadError(PixelwiseError, OSError):
    """Something must be fetched from the network, and cannot be."""


class OutputError(PixelwiseError, OSError):
    """A file or a folder cannot be written."""


class TrainingError(PixelwiseError, RuntimeError):
    """Training cannot start or cannot continue."""


def how_to_install(extra: str) -> str:
    """The command that brings an optional dependency, in words.

    Args:
        extra: Of pixelwise, which is installed from its folder and not from an index.
    """
    return f"pip install '.[{extra}]' in the folder of pixelwise"


class MissingExtraError(PixelwiseError, ImportError):
    """An optional dependency is not installed.

    Args:
        package: The package that could not be imported.
        extra: The extra of pixelwise that brings it.
        purpose: What it is needed for, such as ``"export to ONNX"``.
    """

    def __init__(self, package: str, extra: str, purpose: str) -> None:
        super().__init__(
            f"{purpose} needs the package {package!r}, which is not installed. "
            f"Install it: {how_to_install(extra)}"
        )
