"""Lists the files of a folder and its subfolders once."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePosixPath

from pixelwise.io.images import IMAGE_SUFFIXES
from pixelwise.pairing.split_names import MAX_DEPTH

SYSTEM_FOLDERS = frozenset({"__macosx", "@eadir", "$recycle.bin"})
"""Folders, in lower case, that systems create beside the data; hidden ones are skipped too."""

MAX_KINDS = 6
"""Number of kinds of files that a message describes."""


@dataclass(frozen=True)
class FileTree:
    """The files of a folder.

    Attributes:
        root: The folder.
        pictures: Relative paths, with ``/``, of all files with the suffix of an image, sorted.
        others: The same for all other files.
    """

    root: Path
    pictures: tuple[str, ...]
    others: tuple[str, ...]

    @cached_property
    def kinds(self) -> tuple[str, ...]:
        """What there is, the most frequent first: ``60 .png in masks/``."""
        counts = Counter(map(kind_of, (*self.pictures, *self.others)))
        lines = [
            f"{count:,} {ending or 'files'} in {folder + '/' if folder else 'the folder itself'}"
            for (folder, ending), count in counts.most_common(MAX_KINDS)
        ]
        return (*lines, *(["..."] if len(counts) > MAX_KINDS else []))


def list_tree(root: Path) -> FileTree:
    """List a folder; hidden files and the folders of the system are left out."""
    pictures: list[str] = []
    others: list[str] = []
    endings = tuple(IMAGE_SUFFIXES)
    for path in _files(root):
        (pictures if path.lower().endswith(endings) else others).append(path)
    return FileTree(root, tuple(sorted(pictures)), tuple(sorted(others)))


def kind_of(path: str) -> tuple[str, str]:
    """Return the folder of a relative path and its ending in lower case."""
    folder, _, name = path.rpartition("/")
    return folder, "".join(PurePosixPath(name).suffixes[-1:]).lower()


def _files(root: Path) -> Iterator[str]:
    """Yield the relative paths of all files; a folder that is linked twice is listed once."""
    seen: set[tuple[int, int]] = set()
    waiting = [("", 0)]
    while waiting:
        folder, depth = waiting.pop()
        place = root / folder
        state = place.stat()
        if (state.st_dev, state.st_ino) in seen or depth > MAX_DEPTH:
            continue
        seen.add((state.st_dev, state.st_ino))
        # The listing includes the file type; checking thousands of paths takes three times as long.
        with os.scandir(place) as entries:
            for entry in entries:
                path = f"{folder}/{entry.name}" if folder else entry.name
                if entry.name.startswith(".") or entry.name.lower() in SYSTEM_FOLDERS:
                    continue
                if entry.is_file():
                    yield path
                elif entry.is_dir():
                    waiting.append((path, depth + 1))
