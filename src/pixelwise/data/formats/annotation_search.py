"""Finding the images that an annotation file of another machine names, and what split they are."""

from __future__ import annotations

import os
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path, PurePosixPath

from pixelwise.data.pairing import SPLIT_FOLDERS
from pixelwise.errors import FormatError
from pixelwise.io.images import IMAGE_SUFFIXES


def files_below(folder: Path, suffixes: frozenset[str]) -> Iterator[Path]:
    """The files in a folder and in all its folders, sorted; hidden ones are left out.

    Linked folders are followed, each once.

    Args:
        folder: Where to look; where it is no folder, nothing is found.
        suffixes: In lower case, with the dot.
    """
    visited = set()
    for place, folders, files in os.walk(folder, followlinks=True):
        true_place = os.path.realpath(place)
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        if true_place in visited:
            folders.clear()
            continue
        visited.add(true_place)
        for name in sorted(files):
            path = Path(place, name)
            if path.suffix.lower() in suffixes and not name.startswith("."):
                yield path


def split_in_folders(folders: Iterable[str]) -> str | None:
    """The split that the first of some folder names says, such as ``val2017`` or ``train``."""
    for name in folders:
        split = SPLIT_FOLDERS.get(re.sub(r"[-_]?\d+$", "", name.lower()))
        if split:
            return split
    return None


def split_in_words(stem: str) -> str | None:
    """The split that a word of a file's name says, such as ``instances_train2017``."""
    words = {SPLIT_FOLDERS[word] for word in re.findall("[a-z]+", stem.lower()) if _is_split(word)}
    return words.pop() if len(words) == 1 else None


def _is_split(word: str) -> bool:
    return word in SPLIT_FOLDERS


class ImageFinder:
    """The image files below a folder, found by the end of a path.

    Args:
        folder: The data set.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._by_name: dict[str, list[Path]] = defaultdict(list)
        for path in files_below(folder, IMAGE_SUFFIXES):
            self._by_name[path.name].append(path)

    def find(self, entry: str, origin: Path, split: str | None = None) -> Path:
        """The image file whose path ends as the entry does, with most parts in common.

        Of equals it is the one that the entry leads to from the origin's folder or from the data
        set's, else the one in the folder of the split.

        Args:
            entry: A path as another machine wrote it; it leads nowhere outside the folder.
            origin: The file that names it.
            split: What the origin is for, where that is known.

        Raises:
            FormatError: There is no such file, or there are several.
        """
        parts = PurePosixPath(entry.replace("\\", "/")).parts
        candidates = self._by_name.get(parts[-1], []) if parts else []
        if not candidates:
            raise FormatError(
                f"{origin} must name images below {self._folder}. Got {entry[:200]!r}, and there "
                "is no such file. Add it, or remove it from the annotations"
            )
        lengths = [self._common_parts(path, parts) for path in candidates]
        best = [
            path for path, length in zip(candidates, lengths, strict=True) if length == max(lengths)
        ]
        for start in (origin.parent, self._folder):
            if len(best) > 1 and (direct := Path(os.path.normpath(start.joinpath(*parts)))) in best:
                best = [direct]
        if len(best) > 1 and split:
            best = [path for path in best if self.split_of(path) == split] or best
        if len(best) > 1:
            raise FormatError(
                f"{origin} must say which image it means. Got {entry[:200]!r}, which may be "
                f"{best[0]} or {best[1]}. Write the folder before the name, or move one of them"
            )
        return best[0]

    def split_of(self, path: Path) -> str | None:
        """The split that the folders of an image say."""
        return split_in_folders(path.relative_to(self._folder).parts[:-1])

    def _common_parts(self, path: Path, parts: Sequence[str]) -> int:
        """How many parts at the end of the path are those at the end of an entry."""
        inside = path.relative_to(self._folder).parts
        length = 0
        for own, wanted in zip(reversed(inside), reversed(parts), strict=False):
            if own != wanted:
                break
            length += 1
        return length
