"""Splits that text files of a data set list by the names of images: ``train.txt``, ``val.txt``."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath

from pixelwise.data.sample import Record
from pixelwise.files import text_lines
from pixelwise.io.images import IMAGE_SUFFIXES
from pixelwise.pairing.listings import LIST_SUFFIXES, MAX_BYTES, MAX_LISTS, split_word
from pixelwise.pairing.split_names import SPLIT_FOLDERS
from pixelwise.text import amount, listed

MAX_LIST_DEPTH = 3
"""Lists are looked for this many folders deep, outside the folders of images and masks."""

MIN_KNOWN = 0.9
"""At least this share of the lines of a list must name an image."""

TRAINVAL = "trainval"
"""Name of a list of the training and validation images together."""


def splits_of_lists(folder: Path, records: Sequence[Record]) -> tuple[list[Record], str] | None:
    """Return the records with the splits that lists in the folder give, and what was found.

    A list has one image per line, by its name with or without ending and leading folders; further
    columns are not read. Images that no list names are left out.

    Args:
        folder: The data set.
        records: Its records.

    Returns:
        ``None`` if records have splits already, if there are no lists of at least two splits, or
        if they contradict each other.
    """
    if any(record.split for record in records):
        return None
    names = _Names(records)
    lists: dict[str, dict[str, set[int]]] = defaultdict(dict)
    for path in _list_files(folder, records):
        split = _split_of(path)
        if split and (found := names.in_list(path)):
            lists[split][path.relative_to(folder).as_posix()] = found
    if TRAINVAL in lists:
        both = lists.pop(TRAINVAL)
        if not {"train", "val"} <= lists.keys():
            lists["train"] |= both
    chosen: dict[int, str] = {}
    for split, by_list in lists.items():
        for index in set().union(*by_list.values()):
            if chosen.setdefault(index, split) != split:
                return None
    if len(set(chosen.values())) < 2:
        return None
    files = sorted(name for by_list in lists.values() for name in by_list)
    left = len(records) - len(chosen)
    more = f", which leave out {amount(left, 'image')}" if left else ""
    kept = [replace(records[index], split=chosen[index]) for index in sorted(chosen)]
    return kept, f"{listed(files, 4)}{more}"


def _split_of(path: Path) -> str | None:
    word = split_word(path.name)
    return TRAINVAL if TRAINVAL in path.stem.lower() else SPLIT_FOLDERS.get(word)


def _list_files(folder: Path, records: Sequence[Record]) -> Iterator[Path]:
    """Yield text files that are named after a split; folders of images are not searched."""
    full = {path.parent for record in records for path in (record.image, *record.masks)}
    waiting, count = [(folder, 0)], 0
    while waiting:
        place, depth = waiting.pop()
        with os.scandir(place) as entries:
            for entry in sorted(entries, key=lambda one: one.name):
                path = place / entry.name
                if entry.name.startswith("."):
                    continue
                if entry.is_dir() and depth < MAX_LIST_DEPTH and path not in full:
                    waiting.append((path, depth + 1))
                elif (
                    path.suffix.lower() in LIST_SUFFIXES
                    and _split_of(path)
                    and entry.is_file()
                    and entry.stat().st_size <= MAX_BYTES
                ):
                    count += 1
                    if count > MAX_LISTS:
                        return
                    yield path


class _Names:
    """Finds the record that a line names."""

    def __init__(self, records: Sequence[Record]) -> None:
        self._by_end: defaultdict[str, list[int]] = defaultdict(list)
        for index, record in enumerate(records):
            self._by_end[PurePosixPath(record.name).name].append(index)
        self._names = [record.name for record in records]

    def in_list(self, path: Path) -> set[int]:
        """Return the records that a list names; empty if too many of its lines name none."""
        lines = [line for line in text_lines(path) if line.strip() and not line.startswith("#")]
        found = [self._find(line) for line in lines]
        known = {index for index in found if index is not None}
        num_known = sum(index is not None for index in found)
        # The first line may be a header.
        return known if lines and num_known >= MIN_KNOWN * (len(lines) - 1) else set()

    def _find(self, line: str) -> int | None:
        """Return the record of a line: the whole line is a name, or its first cell."""
        whole = line.strip()
        for entry in (whole, whole.split(",")[0], whole.split(";")[0], whole.split()[0]):
            index = self._named(entry.strip().strip("\"'").replace("\\", "/"))
            if index is not None:
                return index
        return None

    def _named(self, entry: str) -> int | None:
        path = PurePosixPath(entry)
        if path.suffix.lower() in IMAGE_SUFFIXES:
            path = path.with_suffix("")
        parts = [part for part in path.parts if part not in (".", "/")]
        if not parts:
            return None
        near = self._by_end.get(parts[-1], [])
        if len(near) == 1:
            return near[0]
        # Of several images of this name, the one with the longest equal path is meant.
        for start in range(len(parts)):
            end = "/" + "/".join(parts[start:])
            fitting = [index for index in near if f"/{self._names[index]}".endswith(end)]
            if len(fitting) == 1:
                return fitting[0]
        return None
