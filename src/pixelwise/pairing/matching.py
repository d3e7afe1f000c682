"""Matches the names of two sets of files: equal names, or names that differ in one affix."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from typing import NamedTuple

from pixelwise.io.counting import spread
from pixelwise.pairing.templates import as_read, strippings

MAX_AFFIXES = 24
"""Number of affixes of a family that are tried, the most frequent first."""

NUM_COUNTED = 2000
"""Files of a family by which its affixes are found."""

NUM_SAMPLED = 60
"""Files of a family by which an affix is tried before all are compared."""

MIN_FREQUENCY, ALMOST_ALL = 0.05, 0.9
"""Smallest share of the files of a folder that have an affix of words, or one of digits."""

MIN_REPEATED = 4
"""Of this many files, at least two have the same affix."""

MIN_SHARE = 0.5
"""Smallest share of the smaller family that must have a partner."""

MAX_INFIXES = 6
"""Number of words inside of names that are tried, the most frequent first."""

PART = "{part}"
"""What stands before a word inside of names."""

_INNER = re.compile(r"(?<=_)[A-Za-z]+_|(?<=-)[A-Za-z]+-")

Folder = tuple[str, ...]
Affix = tuple[str, str]
BARE: Affix = ("", "")
"""The affix of files whose whole name counts."""


class File(NamedTuple):
    """A file, divided by a rule: folders above the role, the split, and the name with folders."""

    above: Folder
    split: str
    below: str
    stem: str
    ending: str
    path: str


class Match(NamedTuple):
    """Files of two families that correspond when these affixes are stripped."""

    affix: Affix
    other_affix: Affix
    pairs: list[tuple[File, File]]


Stripped = dict[tuple[Folder, str, str, str], File]


class Families:
    """The files of some folders with one ending, by their affix.

    Args:
        files: The files.
    """

    def __init__(self, files: Sequence[File]) -> None:
        self.files = files
        self._stripped: dict[Affix, Stripped] = {}
        sample = spread(files, NUM_COUNTED)
        counts = Counter(
            (start, end) for file in sample for start, rest, end in strippings(file.stem) if rest
        )
        # Frequent affixes first, then short ones: the simplest template wins.
        self.affixes = sorted(
            (affix for affix, count in counts.items() if _is_affix(affix, count, len(sample))),
            key=lambda affix: (affix != BARE, -counts[affix], len(affix[0] + affix[1])),
        )[:MAX_AFFIXES]

    @cached_property
    def infixes(self) -> dict[str, dict[str, tuple[str, str]]]:
        """By frequent word inside of names, such as ``road_``, what is left and right of it."""
        sample = spread(self.files, NUM_COUNTED)
        counts = Counter(word for file in sample for word in set(_INNER.findall(file.stem)))
        least = max(2, MIN_FREQUENCY * len(sample))
        frequent = [word for word, count in counts.most_common(MAX_INFIXES) if count >= least]
        return {
            word: {
                file.stem: (file.stem[:at], file.stem[at + len(word) :])
                for file in self.files
                if (at := file.stem.find(word[-1] + word) + 1) > 0
            }
            for word in frequent
        }

    def stripped(self, affix: Affix) -> Stripped:
        """Return the files that have an affix, by what is left of their path without it."""
        if affix not in self._stripped:
            start, end = affix
            first, last = len(start), -len(end) or None
            self._stripped[affix] = {
                (file.above, file.split, file.below, file.stem[first:last]): file
                for file in self.files
                if file.stem.startswith(start)
                and file.stem.endswith(end)
                and len(file.stem) > len(start) + len(end)
            }
        return self._stripped[affix]


def matches_of(ours: Families, theirs: Families, *, is_same_family: bool) -> Iterator[Match]:
    """Yield the affixes with which the names of two sets of files correspond."""
    done: set[tuple[str, str, int]] = set()
    for affix in ours.affixes:
        for other_affix in theirs.affixes:
            if affix == other_affix and (is_same_family or affix != BARE):
                continue
            if is_same_family and affix > other_affix:
                continue
            pairs = _correspond(ours.stripped(affix), theirs.stripped(other_affix))
            if not pairs:
                continue
            signature = (pairs[0][0].path, pairs[0][1].path, len(pairs))
            if signature not in done:
                done.add(signature)
                yield Match(affix, other_affix, pairs)


def infixed(ours: Families, theirs: Families) -> Iterator[Match]:
    """Yield the matches of names that differ by words inside, as ``um_1`` and ``um_road_1``."""
    for infix, names in (("", None), *ours.infixes.items()):
        for other, other_names in (("", None), *theirs.infixes.items()):
            if infix == other or (ours is theirs and infix > other):
                continue
            pairs = _correspond(
                _renamed(ours.files, names, is_marked=bool(other)),
                _renamed(theirs.files, other_names, is_marked=bool(infix)),
            )
            if pairs:
                separator = (infix or other)[-1]
                start, other_start = (PART + separator + one for one in (infix, other))
                yield Match((start, ""), (other_start, ""), pairs)


def _renamed(
    files: Sequence[File], names: Mapping[str, tuple[str, str]] | None, *, is_marked: bool
) -> Stripped:
    """Return files by their path without an infix, whose place is marked if asked."""
    mark = "\0" if is_marked and names is not None else ""
    return {
        (file.above, file.split, file.below, mark.join(names[file.stem]) if names else file.stem): (
            file
        )
        for file in files
        if names is None or file.stem in names
    }


def _is_affix(affix: Affix, count: int, num_files: int) -> bool:
    """Whether an affix that some of the files have may tell what they are."""
    text = "".join(affix)
    if not text or count >= ALMOST_ALL * num_files > 1:
        return True
    if any(character.isdigit() for character in text):
        return False  # it belongs to the name, as in 0016E5_07959
    least = max(1 if num_files < MIN_REPEATED else 2, MIN_FREQUENCY * num_files)
    return any(map(str.isalpha, text)) and count >= least


def _correspond(first: Stripped, second: Stripped) -> list[tuple[File, File]]:
    """Return the pairs of two families; empty if too few files have a partner."""
    few, many = sorted((first, second), key=len)
    sample = spread(list(few), NUM_SAMPLED)
    least = MIN_SHARE * len(few)
    if sum(key in many for key in sample) < MIN_SHARE * len(sample) / 2:
        return _correspond_as_read(first, second) if len(few) > 0 else []
    pairs = [
        (first[key], second[key])
        for key in few
        if key in many and first[key].path != second[key].path
    ]
    return pairs if len(pairs) >= max(least, 1) else []


def _correspond_as_read(first: Stripped, second: Stripped) -> list[tuple[File, File]]:
    """Return the pairs that differ in case and leading zeros, as :func:`_correspond` does."""

    def by_reading(family: Stripped) -> dict[tuple[object, ...], list[File]]:
        found: defaultdict[tuple[object, ...], list[File]] = defaultdict(list)
        for (above, split, below, name), file in family.items():
            found[(above, split, below, as_read(name))].append(file)
        return found

    few, many = sorted((first, second), key=len)
    sample = {as_read(key[3]) for key in spread(list(few), NUM_SAMPLED)}
    if not sample & {as_read(key[3]) for key in spread(list(many), 10 * NUM_SAMPLED)}:
        return []
    ours, theirs = by_reading(first), by_reading(second)
    pairs = [
        (ours[key][0], theirs[key][0])
        for key in ours
        if len(ours[key]) == 1
        and len(theirs.get(key, ())) == 1
        and ours[key][0].path != theirs[key][0].path
    ]
    return pairs if len(pairs) >= max(1, MIN_SHARE * len(few)) else []
