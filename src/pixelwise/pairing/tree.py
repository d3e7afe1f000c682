"""Lists the files of a folder and its subfolders once."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from pixelwise.errors import DataError, MissingExtraError
from pixelwise.io.containers import arrays_in
from pixelwise.io.images import IMAGE_SUFFIXES, UNREADABLE
from pixelwise.io.members import ARRAY_ENDINGS, VOLUME_ENDINGS, split_ending
from pixelwise.pairing.split_names import MAX_DEPTH

SYSTEM_FOLDERS = frozenset({"__macosx", "@eadir", "$recycle.bin"})
"""Folders, in lower case, that systems create beside the data; hidden ones are skipped too."""

MAX_NAMES = 40
"""Largest number of different names of arrays in the files of a folder."""

MAX_KINDS = 6
"""Number of kinds of files that a message describes."""


@dataclass(frozen=True)
class FileTree:
    """The files of a folder.

    Attributes:
        root: The folder.
        pictures: Relative paths, with ``/``, of all files with the suffix of an image, sorted.
            A file of named arrays stands there with each of its arrays, as ``7.mat/mask``.
        others: The same for all other files.
        refused: Files that look like pictures and cannot be read, and why.
    """

    root: Path
    pictures: tuple[str, ...]
    others: tuple[str, ...]
    refused: tuple[tuple[str, str], ...] = ()

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
    refused: list[tuple[str, str]] = []
    arrays: dict[str, tuple[str, ...]] = {}
    endings = (*IMAGE_SUFFIXES, *VOLUME_ENDINGS)
    for path in _files(root):
        lower = path.lower()
        if lower.endswith(ARRAY_ENDINGS):
            arrays[path], reason = _arrays(root / path)
            if not arrays[path]:
                others.append(path)
                refused.append((path, reason))
        elif lower.endswith(endings):
            pictures.append(path)
        else:
            others.append(path)
            reason = next((text for end, text in UNREADABLE.items() if lower.endswith(end)), "")
            refused += [(path, reason)] if reason else []
    inside, unlike = _named(arrays)
    pictures += inside
    others += unlike
    refused += [(path, "its arrays have other names than those of other files") for path in unlike]
    return FileTree(root, tuple(sorted(pictures)), tuple(sorted(others)), tuple(sorted(refused)))


def _named(arrays: Mapping[str, Sequence[str]]) -> tuple[list[str], list[str]]:
    """Return the arrays of some files, and files whose arrays cannot be told apart by names.

    If every file holds one array with a name of its own, the file alone stands for its array.
    """
    names = Counter(name for inside in arrays.values() for name in inside)
    if (
        len(names) > 1
        and set(names.values()) == {1}
        and all(len(one) < 2 for one in arrays.values())
    ):
        return [path for path, inside in arrays.items() if inside], []
    if len(names) > MAX_NAMES:
        return [], [path for path, inside in arrays.items() if inside]
    return [f"{path}/{name}" for path, inside in arrays.items() for name in inside], []


def _arrays(file: Path) -> tuple[tuple[str, ...], str]:
    """Return the names of the arrays in a file, or why there are none."""
    try:
        found = arrays_in(file)
    except (DataError, MissingExtraError) as error:  # it may be no part of the data set at all
        return (), str(error)
    return (found.names, found.refused) if found else ((), "")


def kind_of(path: str) -> tuple[str, str]:
    """Return the folder of a relative path and its ending in lower case."""
    stem, ending = split_ending(path)
    return stem.rpartition("/")[0], ending.lower()


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
