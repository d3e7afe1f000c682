"""Turns whatever a decoder raises into one error that names the file."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeGuard

from pixelwise.errors import DataError, PixelwiseError
from pixelwise.io.members import file_of
from pixelwise.io.quiet import quietly


def is_of_the_system(error: BaseException | None) -> TypeGuard[OSError]:
    """Whether reading failed because of the disk, the network or a permission, not the content.

    Decoders also raise ``OSError`` for truncated files, but without an error number.
    """
    return isinstance(error, OSError) and error.errno is not None


@contextmanager
def decoding(path: Path) -> Iterator[None]:
    """Turn any exception of a decoder into a one-line ``DataError`` that names the file.

    Warnings of the decoder are hidden.

    Raises:
        DataError: The file is missing, empty, too large or of another kind. Errors of pixelwise
            raised inside the block are passed on.
    """
    try:
        if file_of(path).stat().st_size == 0:
            raise DataError(f"{path} must be an image. It has zero bytes. Restore or remove it")
        with quietly:  # decoders warn about metadata that is not used here
            yield
    except PixelwiseError:
        raise
    except FileNotFoundError as error:
        raise DataError(f"{path} must exist. It does not. Check the path") from error
    except MemoryError as error:
        raise DataError(f"{path} does not fit into memory. Cut it into tiles first") from error
    except Exception as error:  # decoders raise OSError, SyntaxError, struct.error and others
        if is_of_the_system(error):
            raise DataError(
                f"{path} must be readable. The system reports: {error.strerror}. Try again"
            ) from error
        reason = " ".join(str(error).split()) or type(error).__name__
        raise DataError(
            f"{path} must be a readable image. It is truncated or of another kind "
            f"({reason[:120]}). Restore or remove it"
        ) from error
