"""Paths of pictures inside a file, such as ``scan.nii.gz/z012`` and ``set.npz/masks/n0007``.

A picture of a volume, a stack or a file of arrays is named like a file in a folder: the path of the
file, the name of the array if the file has several, and the section if the array holds several
pictures. Such a path is an ordinary ``Path``, and whatever takes the path of a picture takes it.
"""

from __future__ import annotations

import re
from pathlib import Path

ARRAY_ENDINGS = (".h5", ".hdf5", ".mat", ".npz")
"""Endings of files that hold arrays of any name, in lower case."""

VOLUME_ENDINGS = (".dcm", ".nii", ".nii.gz")
"""Endings of files that hold one volume or one slice, in lower case."""

STACK_ENDINGS = (".npy", ".tif", ".tiff")
"""Endings of pictures of which one file may hold a stack, in lower case."""

CONTAINER_ENDINGS = (*ARRAY_ENDINGS, *VOLUME_ENDINGS)
"""Endings of files that are no plain pictures."""


def _any_of(endings: tuple[str, ...]) -> str:
    return "|".join(re.escape(ending) for ending in sorted(endings, key=len, reverse=True))


_INSIDE = re.compile(rf"(?i)(?:{_any_of((*CONTAINER_ENDINGS, *STACK_ENDINGS))})/")
_ENDING = re.compile(rf"(?i)(?:{_any_of(ARRAY_ENDINGS)})/.+$|(?:{_any_of(VOLUME_ENDINGS)})$")


def split_member(path: Path) -> tuple[Path, str]:
    """Divide the path of a picture into its file and its place inside, with ``/``.

    Returns:
        The path itself and an empty string for a picture that is a file of its own.
    """
    if not _INSIDE.search(path.as_posix()):
        return path, ""
    for parent in path.parents:
        if _INSIDE.search(f"{parent.name}/") and parent.is_file():
            return parent, path.relative_to(parent).as_posix()
    return path, ""


def file_of(path: Path) -> Path:
    """Return the file that holds a picture."""
    return split_member(path)[0]


def name_of(path: Path) -> str:
    """Return the name of a picture for a message: ``scan.nii.gz/z012``, or that of its file."""
    file, member = split_member(path)
    return f"{file.name}/{member}" if member else file.name


def ending_of(path: Path) -> str:
    """Return the ending of the file that holds a picture, in lower case: ``.png``, ``.nii.gz``."""
    name = file_of(path).name.lower()
    return ".nii.gz" if name.endswith(".nii.gz") else Path(name).suffix


def split_ending(path: str) -> tuple[str, str]:
    """Divide a relative path of a file, or of an array in a file, into its stem and its ending.

    The name of an array belongs to the ending, as in ``a/7.mat/mask``: what the arrays of one name
    hold corresponds between files.

    Returns:
        Such as ``("a/7", ".png")``, ``("a/7", ".nii.gz")`` or ``("a/7", ".mat/mask")``.
    """
    found = _ENDING.search(path)
    if found:
        return path[: found.start()], found[0]
    start = path.rfind("/") + 1
    dot = path.rfind(".")
    return (path[:dot], path[dot:]) if dot >= start else (path, "")


def is_container(name: str) -> bool:
    """Whether a file is no plain picture, by its name."""
    return name.lower().endswith(CONTAINER_ENDINGS)
