"""Finds the images named in annotation files from other machines, and their splits."""

from __future__ import annotations

import os
import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath

from pixelwise.data.formats.annotation_files import NUM_EXAMPLES
from pixelwise.data.pairing import SPLIT_FOLDERS
from pixelwise.data.problems import report_problem
from pixelwise.data.sample import Record
from pixelwise.errors import FormatError
from pixelwise.io.images import IMAGE_SUFFIXES


def files_below(folder: Path, suffixes: frozenset[str]) -> Iterator[Path]:
    """Yield the files in a folder and its subfolders, sorted, without hidden ones.

    Linked folders are followed once.

    Args:
        folder: The folder to search; if it does not exist, nothing is found.
        suffixes: Suffixes in lower case, with the dot.
    """
    visited = set()
    endings = tuple(suffixes)
    for place, folders, files in os.walk(folder, followlinks=True):
        true_place = os.path.realpath(place)
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        if true_place in visited:
            folders.clear()
            continue
        visited.add(true_place)
        for name in sorted(files):
            # Plain names: making paths of 100,000 other files takes ten times as long.
            if name.lower().endswith(endings) and not name.startswith("."):
                yield Path(place, name)


def files_of_tool(
    folder: Path, suffixes: tuple[str, ...], is_wanted: Callable[[Path], bool], depth: int = 3
) -> list[Path]:
    """Return the annotation files of a tool in a folder and its subfolders, sorted by path.

    Args:
        folder: The data set.
        suffixes: Suffixes in lower case, with the dot.
        is_wanted: Returns whether a file is of the tool, by its content. In a folder of thousands
            of files of another tool, only some are examined.
        depth: Number of levels of folders to search.
    """
    files, places = [], []
    # Plain names: making paths of 100,000 images takes ten times as long.
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.startswith("."):
                continue
            if entry.name.lower().endswith(suffixes):
                files.append(entry.name)
            elif entry.is_dir():
                places.append(entry.name)
    found = []
    num_others = 0
    for path in (folder / name for name in sorted(files)):
        is_found = path.is_file() and is_wanted(path)
        found += [path] if is_found else []
        num_others += not is_found
        if num_others >= NUM_EXAMPLES:
            break
    for name in sorted(places) if depth > 1 else ():
        found += files_of_tool(folder / name, suffixes, is_wanted, depth - 1)
    return found


def split_in_folders(folders: Iterable[str]) -> str | None:
    """Return the split in the first matching folder name, such as ``val2017`` or ``train``."""
    for name in folders:
        split = SPLIT_FOLDERS.get(re.sub(r"[-_]?\d+$", "", name.lower()))
        if split:
            return split
    return None


def split_in_words(stem: str) -> str | None:
    """Return the split in a word of a file name, such as ``instances_train2017``."""
    words = {SPLIT_FOLDERS[word] for word in re.findall("[a-z]+", stem.lower()) if _is_split(word)}
    return words.pop() if len(words) == 1 else None


def _is_split(word: str) -> bool:
    return word in SPLIT_FOLDERS


def split_of_file(path: Path, folder: Path) -> str | None:
    """Return the split in the name of an annotation file, else in the nearest of its folders."""
    parents = reversed(path.relative_to(folder).parts[:-1])
    return split_in_words(path.stem) or split_in_folders(parents)


def records_of_file(
    path: Path,
    names: Mapping[str, str],
    find: Callable[[str], tuple[Path, ...]],
    finder: ImageFinder,
    split: str | None,
) -> list[Record]:
    """Return a record for each image that an annotation file names.

    If the file is of no split, the folders of the images give the splits, if all have one. An image
    that is not found is reported as a problem.

    Args:
        path: The annotation file.
        names: The name of each image as the file writes it, by its key in the file.
        find: Returns the image of a key, and the files of its labels.
        finder: The images of the data set.
        split: The split of the file, if known.
    """
    records = []
    for key, shown in names.items():
        try:
            image, *masks = find(key)
        except FormatError as error:
            report_problem("listed-file-missing", error, path, name=shown[:80])
            continue
        name = image.relative_to(finder.folder).with_suffix("").as_posix()
        records.append(Record(name, image, tuple(masks), split, entry=key))
    splits = [finder.split_of(record.image) for record in records] if split is None else [None]
    if None in splits:
        return records
    return [replace(record, split=own) for record, own in zip(records, splits, strict=True)]


class ImageFinder:
    """Finds image files below a folder by the end of a path.

    Args:
        folder: The data set.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._by_name: dict[str, list[Path]] = defaultdict(list)
        self._by_stem: dict[str, list[Path]] = defaultdict(list)
        for path in files_below(folder, IMAGE_SUFFIXES):
            self._by_name[path.name].append(path)
            self._by_stem[path.stem].append(path)

    def alike(self, name: str, *, is_stem: bool) -> list[Path]:
        """Return the image files of a name, or of a name without its ending, in any folder."""
        return list((self._by_stem if is_stem else self._by_name).get(name, ()))

    def find(
        self,
        entry: str,
        origin: Path,
        split: str | None = None,
        *,
        num_bytes: int | None = None,
    ) -> Path:
        """Return the image file whose path has the longest common end with the entry.

        Ties are resolved first by the path relative to the folder of ``origin`` or of the data set,
        then by the size of the file, and then by the folder of the split.

        Args:
            entry: A path from another machine; files outside the folder are not accepted.
            origin: The file that contains the entry.
            split: The split of ``origin``, if known.
            num_bytes: The size of the file in bytes, if known.

        Raises:
            FormatError: There is no such file, or there are several.
        """
        parts = PurePosixPath(entry.replace("\\", "/")).parts
        candidates = self._by_name.get(parts[-1], []) if parts else []
        if not candidates:
            raise FormatError(
                f"{origin} must name images below {self.folder}. Got {entry[:200]!r}, which does "
                "not exist. Add it, or remove it from the annotations"
            )
        lengths = [self._common_parts(path, parts) for path in candidates]
        best = [
            path for path, length in zip(candidates, lengths, strict=True) if length == max(lengths)
        ]
        for start in (origin.parent, self.folder):
            if len(best) > 1 and (direct := Path(os.path.normpath(start.joinpath(*parts)))) in best:
                best = [direct]
        if len(best) > 1 and num_bytes is not None:
            best = [path for path in best if path.stat().st_size == num_bytes] or best
        if len(best) > 1 and split:
            best = [path for path in best if self.split_of(path) == split] or best
        if len(best) > 1:
            raise FormatError(
                f"{origin} must name its images uniquely. Got {entry[:200]!r}, which may be "
                f"{best[0]} or {best[1]}. Add the folder to the name, or move one of them"
            )
        return best[0]

    def split_of(self, path: Path) -> str | None:
        """Return the split in the folder names of an image."""
        return split_in_folders(path.relative_to(self.folder).parts[:-1])

    def _common_parts(self, path: Path, parts: Sequence[str]) -> int:
        """Count the parts at the end of the path that equal those at the end of an entry."""
        inside = path.relative_to(self.folder).parts
        length = 0
        for own, wanted in zip(reversed(inside), reversed(parts), strict=False):
            if own != wanted:
                break
            length += 1
        return length
