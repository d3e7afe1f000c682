"""Finds lists of pairs: text and CSV files with a column of images and a column of masks."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from pixelwise.files import text_lines
from pixelwise.io.members import split_ending
from pixelwise.pairing.contents import Looker
from pixelwise.pairing.roles import is_derived, role_of
from pixelwise.pairing.split_names import SPLIT_FOLDERS
from pixelwise.pairing.templates import Pair
from pixelwise.pairing.tree import FileTree

LIST_SUFFIXES = (".txt", ".csv", ".tsv")
MAX_LISTS = 40
MAX_BYTES = 64 * 1024**2
"""Larger files are no lists, and further files are not tried."""

MIN_RESOLVED = 0.9
"""At least this share of a column has to name pictures; the rest is reported as missing."""

MAX_COLUMNS = 100

NUM_TRIED = 50
"""Lines by which a file is judged before all are read."""

DELIMITERS = (",", ";", "\t", " ")
"""Tried in this order; the last one stands for any blanks, and names may contain blanks too."""


@dataclass(frozen=True)
class Listing:
    """Pairs that files of the folder list.

    Attributes:
        files: The lists, as relative paths.
        pairs: Sorted by image, each image once.
        missing: Lines that name a missing file: the list, the number of the line, and the entry.
        unlabeled: Images whose mask is an empty cell, with their split.
    """

    files: tuple[str, ...]
    pairs: tuple[Pair, ...]
    missing: tuple[tuple[str, int, str], ...]
    unlabeled: tuple[tuple[str, str | None], ...] = ()

    @property
    def in_words(self) -> str:
        """The listing for the user."""
        return f"{len(self.pairs):,} pairs listed in {', '.join(self.files)}"


def find_listing(tree: FileTree) -> Listing | None:
    """Return the pairs that lists of a folder name; ``None`` if there are none.

    A list has two columns of pictures of the folder, in either order, with or without a header.
    Leading folders of another machine are dropped. A list named after a split gives the split.
    Of several lists, those that list an image with another mask make the whole uncertain: then
    ``None`` is returned too.
    """
    resolve = _Resolver(tree.pictures)
    looker = Looker(tree.root)
    entries: list[_Entry] = []
    files: list[str] = []
    for path in _list_files(tree):
        rows = _rows(tree.root / path, path, resolve)
        columns = _columns(rows, path, resolve, looker)
        if columns is not None:
            files.append(path)
            entries += _entries(rows, columns, path, resolve)
    found: dict[str, Pair] = {}
    for entry in entries:
        if entry.image is None or entry.mask is None:
            continue
        known = found.setdefault(entry.image, Pair(entry.image, entry.mask, entry.split))
        if known.mask != entry.mask:
            return None
        if known.split is None and entry.split:  # a list of all images beside those of the splits
            found[entry.image] = Pair(entry.image, entry.mask, entry.split)
    if not found:
        return None
    pairs = [found[image] for image in sorted(found)]
    if not all(pair.split for pair in pairs):
        pairs = [Pair(pair.image, pair.mask) for pair in pairs]
    unlabeled = {
        entry.image: entry.split
        for entry in entries
        if entry.is_unlabeled and entry.image and entry.image not in found
    }
    missing = tuple(
        (entry.path, entry.number, entry.text)
        for entry in entries
        if not entry.is_unlabeled and (entry.image is None or entry.mask is None)
    )
    return Listing(tuple(files), tuple(pairs), missing, tuple(sorted(unlabeled.items())))


class _Entry(NamedTuple):
    """A line of a list: the pictures that exist, and the text of the one that does not."""

    path: str
    number: int
    image: str | None
    mask: str | None
    is_unlabeled: bool
    text: str
    split: str | None


def _entries(
    rows: Rows, columns: tuple[int, int], path: str, resolve: _Resolver
) -> Iterator[_Entry]:
    split = SPLIT_FOLDERS.get(split_word(path))
    for number, cells in rows:
        image, mask = (cells[column] if column < len(cells) else "" for column in columns)
        image_path, mask_path = resolve(image, path), resolve(mask, path)
        if number == 1 and image_path is None and mask_path is None:
            continue  # a header
        is_unlabeled = image_path is not None and not mask.strip()
        text = mask if image_path else image
        yield _Entry(path, number, image_path, mask_path, is_unlabeled, text, split)


def _list_files(tree: FileTree) -> list[str]:
    paths = [path for path in tree.others if path.lower().endswith(LIST_SUFFIXES)]
    ordered = sorted(paths, key=lambda path: (path.count("/"), path))[:MAX_LISTS]
    return [path for path in ordered if (tree.root / path).stat().st_size <= MAX_BYTES]


def split_word(path: str) -> str:
    """Return the first word of a list's name: ``train`` of ``train_dataset.csv``."""
    stem = PurePosixPath(path).stem.lower()
    return next((word for word in stem.replace("-", "_").split("_") if word in SPLIT_FOLDERS), "")


class _Resolver:
    """Finds the picture that an entry names, whatever folders stand before it."""

    def __init__(self, pictures: Sequence[str]) -> None:
        self._pictures = set(pictures)
        # A list names the file of an array, and not the array in it.
        files: dict[str, list[str]] = {}
        for picture in pictures:
            stem, ending = split_ending(picture)
            if "/" in ending:
                files.setdefault(stem + ending.partition("/")[0], []).append(picture)
        self._only = {file: arrays[0] for file, arrays in files.items() if len(arrays) == 1}

    def __call__(self, entry: str, list_path: str) -> str | None:
        entry = entry.strip().strip("\"'").split("?")[0].replace("\\", "/")
        parts = [part for part in PurePosixPath(entry).parts if part not in (".", "/")]
        if not parts or ".." in parts or "." not in parts[-1]:
            return None
        home = PurePosixPath(list_path).parent
        for start in range(len(parts)):
            end = "/".join(parts[start:])
            for candidate in (end, *(str(place / end) for place in (home, *home.parents))):
                candidate = self._only.get(candidate, candidate)
                if candidate in self._pictures:
                    return candidate
        return self._below(parts)

    def _below(self, parts: Sequence[str]) -> str | None:
        """Return the only picture that ends with the entry, in any folder."""
        end = "/" + "/".join(parts)
        found = self._ends.get(parts[-1], [])
        fitting = [path for path in found if f"/{path}".endswith(end)]
        return fitting[0] if len(fitting) == 1 else None

    @property
    def _ends(self) -> dict[str, list[str]]:
        if not hasattr(self, "_by_name"):
            self._by_name: dict[str, list[str]] = {}
            for path in self._pictures:
                self._by_name.setdefault(path.rpartition("/")[2], []).append(path)
        return self._by_name


Rows = list[tuple[int, list[str]]]


def _rows(file: Path, path: str, resolve: _Resolver) -> Rows:
    """Return the lines of a list as cells, by the delimiter that finds most pictures."""
    lines = text_lines(file)
    numbered = [(number, line) for number, line in enumerate(lines, 1) if line.strip()]

    def num_found(delimiter: str) -> int:
        return sum(
            resolve(cell, path) is not None
            for _, line in numbered[:NUM_TRIED]
            for cell in _cells(line, delimiter, path, resolve)
        )

    best = max(DELIMITERS, key=num_found)
    return [(number, _cells(line, best, path, resolve)) for number, line in numbered]


def _cells(line: str, delimiter: str, path: str, resolve: _Resolver) -> list[str]:
    if delimiter != " ":
        return next(csv.reader([line], delimiter=delimiter, skipinitialspace=True), [])
    words = line.split()
    if len(words) > 2:  # a name may contain blanks
        for _, one, other in _halves(line.strip()):
            if resolve(one, path) and resolve(other, path):
                return [one, other]
    return words


def _halves(line: str) -> Iterator[tuple[int, str, str]]:
    for at, character in enumerate(line):
        if character.isspace():
            yield at, line[:at], line[at + 1 :]


def _columns(rows: Rows, path: str, resolve: _Resolver, looker: Looker) -> tuple[int, int] | None:
    """Return the column of the images and that of the masks; ``None`` if it is not a list."""
    sample = [cells for _, cells in rows[: NUM_TRIED + 1]]
    width = max(map(len, sample), default=0)
    if not 2 <= width <= MAX_COLUMNS:
        return None
    named: dict[int, list[str]] = {}
    for column in range(width):
        # The first line may be a header, and an unlabeled image has an empty cell.
        cells = [row[column] for row in sample if column < len(row) and row[column].strip()]
        found = [picture for cell in cells if (picture := resolve(cell, path))]
        if found and len(found) >= MIN_RESOLVED * (len(cells) - 1):
            named[column] = found
    header = sample[0]
    plain = [column for column in named if not is_derived(header[column])] or list(named)
    if len(plain) != 2:
        return None
    one, other = plain
    roles = {role_of(header[column]): column for column in plain}
    if resolve(header[one], path) is None and {"image", "mask"} <= roles.keys():
        return roles["image"], roles["mask"]
    looks = [looker.look_at_all(named[column]).kind == "many" for column in plain]
    if looks[0] == looks[1]:
        return None
    return (one, other) if looks[0] else (other, one)
