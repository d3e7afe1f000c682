"""Finds sets of files whose names correspond one to one: candidates for images and their masks.

A candidate is a pair of templates. It is found by comparing folders that differ in one part of
their path, or that are the same, and by stripping one affix per folder and ending on either side.
Nothing is opened here: which side holds the masks is decided by ``contents``.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from pixelwise.io.counting import spread
from pixelwise.pairing.split_names import SPLIT_FOLDERS
from pixelwise.pairing.templates import (
    ANY_ENDING,
    FOLDER,
    NAME,
    SPLIT,
    SUBFOLDER,
    as_read,
    strippings,
)

MAX_SIBLINGS = 40
"""Folders beside each other that may have different roles; of more, each holds a part of the data,
such as a subject or a tile."""

MAX_COMPARED = 60
"""Up to this many folders, each is compared with each, also at different depths."""

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

_WORD = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])")

Folder = tuple[str, ...]
Affix = tuple[str, str]
BARE: Affix = ("", "")
"""The affix of files whose whole name counts."""


@dataclass(frozen=True)
class Candidate:
    """Two families of files whose names correspond.

    Attributes:
        first: The template of one family.
        second: That of the other one.
        pairs: The paths that correspond, sorted.
    """

    first: str
    second: str
    pairs: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class _Rule:
    """Two folders with different roles: all of the path but these parts is equal."""

    first: Folder
    second: Folder


def find_candidates(paths: Sequence[str]) -> list[Candidate]:
    """Return the pairs of families among some relative paths, the largest first."""
    in_folder: defaultdict[str, list[str]] = defaultdict(list)
    for path in paths:
        in_folder[path.rpartition("/")[0]].append(path)
    by_folder: defaultdict[Folder, list[str]] = defaultdict(list)
    for folder, inside in in_folder.items():
        by_folder[_with_split(folder)] += inside
    found: dict[tuple[object, ...], Candidate] = {}
    for rule, places in _rules(by_folder).items():
        for candidate in _candidates_of(rule, places, by_folder):
            # The same pairs are found under several rules; the first one is the simplest.
            signature = (len(candidate.pairs), candidate.pairs[0], candidate.pairs[-1])
            swapped = (len(candidate.pairs), candidate.pairs[0][::-1], candidate.pairs[-1][::-1])
            if swapped not in found:
                found.setdefault(signature, candidate)
    return sorted(found.values(), key=lambda one: -len(one.pairs))


def _with_split(folder: str) -> Folder:
    """Return the parts of a folder, with ``{split}`` for the first name of a split among them."""
    parts = folder.split("/") if folder else []
    for number, part in enumerate(parts):
        for word in _WORD.finditer(part):
            if word[0].lower() in SPLIT_FOLDERS:
                parts[number] = part[: word.start()] + SPLIT + part[word.end() :]
                return tuple(parts)
    return tuple(parts)


def _rules(folders: Mapping[Folder, object]) -> dict[_Rule, list[tuple[Folder, Folder]]]:
    """Return the rules that may hold, each with the folders that it pairs."""
    rules: defaultdict[_Rule, list[tuple[Folder, Folder]]] = defaultdict(list)
    if not folders:
        return rules
    rules[_Rule((), ())] = [(folder, folder) for folder in sorted(folders)]
    if len(folders) <= MAX_COMPARED:
        ordered = sorted(folders)
        pairs: Iterable[tuple[Folder, Folder]] = (
            (one, other) for number, one in enumerate(ordered) for other in ordered[number + 1 :]
        )
    else:
        pairs = _differing_in_one_part(folders)
    for one, other in pairs:
        rules[_difference(one, other)].append((one, other))
    return rules


def _differing_in_one_part(folders: Iterable[Folder]) -> Iterator[tuple[Folder, Folder]]:
    """Yield folders that differ in one part of their path, or of which one has a part more."""
    known = set(folders)
    siblings: defaultdict[tuple[Folder, Folder], set[str]] = defaultdict(set)
    for folder in known:
        for number, part in enumerate(folder):
            siblings[(folder[:number], folder[number + 1 :])].add(part)
    for (above, below), parts in siblings.items():
        if above + below in known and len(parts) <= MAX_SIBLINGS:
            for part in parts:
                yield (*above, *below), (*above, part, *below)
        if 1 < len(parts) <= MAX_SIBLINGS:
            ordered = sorted(parts)
            for number, part in enumerate(ordered):
                for other in ordered[number + 1 :]:
                    yield (*above, part, *below), (*above, other, *below)


def _difference(one: Folder, other: Folder) -> _Rule:
    """Return what differs between two folders when equal parts at both ends are taken away."""
    start = 0
    while start < min(len(one), len(other)) and one[start] == other[start]:
        start += 1
    end = 0
    while end < min(len(one), len(other)) - start and one[-1 - end] == other[-1 - end]:
        end += 1
    return _Rule(one[start : len(one) - end], other[start : len(other) - end])


def _candidates_of(
    rule: _Rule,
    places: Sequence[tuple[Folder, Folder]],
    by_folder: Mapping[Folder, Sequence[str]],
) -> Iterator[Candidate]:
    is_same_folder = rule == _Rule((), ())
    # A split counts as part of the name if both sides have it; else it is that of the images.
    with_split = all(SPLIT in "/".join(folder) for folder in places[0])
    first: list[_File] = []
    second: list[_File] = []
    for one, other in places:
        start = _num_equal(one, other) if not is_same_folder else len(one)
        first += _files(by_folder[one], one, start, rule.first, with_split=with_split)
        if not is_same_folder:
            second += _files(by_folder[other], other, start, rule.second, with_split=with_split)
    families = list(_by_ending(first, with_all=not is_same_folder))
    others = families if is_same_folder else list(_by_ending(second, with_all=True))
    for ours, ending in families:
        for theirs, other_ending in others:
            if is_same_folder and other_ending < ending:
                continue
            is_same_family = is_same_folder and ending == other_ending
            for match in _matches(ours, theirs, is_same_family=is_same_family):
                yield Candidate(
                    _template(match, 0, rule.first, ending),
                    _template(match, 1, rule.second, other_ending),
                    tuple(sorted((one.path, other.path) for one, other in match.pairs)),
                )


def _num_equal(one: Folder, other: Folder) -> int:
    """Return how many parts at the start of two folders are equal."""
    return next(
        (
            number
            for number, (ours, theirs) in enumerate(zip(one, other, strict=False))
            if ours != theirs
        ),
        min(len(one), len(other)),
    )


class _File(NamedTuple):
    """A file, divided by a rule: folders above the role, the split, and the name with folders."""

    above: Folder
    split: str
    below: str
    stem: str
    ending: str
    path: str


def _files(
    paths: Iterable[str], folder: Folder, start: int, role: Folder, *, with_split: bool
) -> Iterator[_File]:
    above, below = folder[:start], "/".join(folder[start + len(role) :])
    parent, split = None, ""
    for path in paths:
        at, dot = path.rfind("/") + 1, path.rfind(".")
        if with_split and path[:at] != parent:  # the files of a folder follow each other
            parent = path[:at]
            split = _split_in(parent)
        yield _File(above, split, below, path[at:dot], path[dot:], path)


def _split_in(folder: str) -> str:
    """Return the split that a folder names first, as pixelwise calls it."""
    words = (word[0].lower() for word in _WORD.finditer(folder))
    return next((SPLIT_FOLDERS[word] for word in words if word in SPLIT_FOLDERS), "")


def _by_ending(files: Sequence[_File], *, with_all: bool) -> Iterator[tuple[_Families, str]]:
    """Yield files by their ending, and all of them together if asked."""
    endings: defaultdict[str, list[_File]] = defaultdict(list)
    for file in files:
        endings[file.ending].append(file)
    if with_all and len(endings) > 1:
        yield _Families(files), ANY_ENDING
    for ending, some in sorted(endings.items()):
        yield _Families(some), ending


class _Match(NamedTuple):
    """Files of two families that correspond when these affixes are stripped."""

    affix: Affix
    other_affix: Affix
    pairs: list[tuple[_File, _File]]


Stripped = dict[tuple[Folder, str, str, str], _File]


class _Families:
    """The files of some folders with one ending, by their affix.

    Args:
        files: The files.
    """

    def __init__(self, files: Sequence[_File]) -> None:
        self._files = files
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

    def stripped(self, affix: Affix) -> Stripped:
        """Return the files that have an affix, by what is left of their path without it."""
        if affix not in self._stripped:
            start, end = affix
            first, last = len(start), -len(end) or None
            self._stripped[affix] = {
                (file.above, file.split, file.below, file.stem[first:last]): file
                for file in self._files
                if file.stem.startswith(start)
                and file.stem.endswith(end)
                and len(file.stem) > len(start) + len(end)
            }
        return self._stripped[affix]


def _matches(ours: _Families, theirs: _Families, *, is_same_family: bool) -> Iterator[_Match]:
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
                yield _Match(affix, other_affix, pairs)


def _is_affix(affix: Affix, count: int, num_files: int) -> bool:
    """Whether an affix that some of the files have may tell what they are."""
    text = "".join(affix)
    if not text or count >= ALMOST_ALL * num_files > 1:
        return True
    if any(character.isdigit() for character in text):
        return False  # it belongs to the name, as in 0016E5_07959
    least = max(1 if num_files < MIN_REPEATED else 2, MIN_FREQUENCY * num_files)
    return any(map(str.isalpha, text)) and count >= least


def _correspond(first: Stripped, second: Stripped) -> list[tuple[_File, _File]]:
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


def _correspond_as_read(first: Stripped, second: Stripped) -> list[tuple[_File, _File]]:
    """Return the pairs that differ in case and leading zeros, as :func:`_correspond` does."""

    def by_reading(family: Stripped) -> dict[tuple[object, ...], list[_File]]:
        found: defaultdict[tuple[object, ...], list[_File]] = defaultdict(list)
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


def _template(match: _Match, side: int, role: Folder, ending: str) -> str:
    """Return the template of one side; folders that vary become ``{folder}``."""
    above = {pair[0].above for pair in match.pairs}
    below = {pair[0].below for pair in match.pairs}
    parts = [*_varying(above), *role]
    if len(below) == 1:
        parts += [part for part in below if part]
    elif match.affix[0] or match.other_affix[0]:
        # The name follows its prefix, so the folders between need a variable of their own.
        parts.append(FOLDER if len(above) == 1 else SUBFOLDER)
    start, end = (match.affix, match.other_affix)[side]
    endings = {pair[side].ending for pair in match.pairs}
    only = next(iter(endings)) if len(endings) == 1 else ending
    return "/".join([*parts, start + NAME + end + only])


def _varying(folders: Iterable[Folder]) -> list[str]:
    """Return the parts that some folders share, with ``{folder}`` for what varies between them."""
    ordered = sorted(folders)
    start = _num_equal(ordered[0], ordered[-1])
    if len(ordered) == 1:
        return list(ordered[0])
    shortest = min(map(len, ordered))
    end = 0
    while end < shortest - start - 1 and len({folder[-1 - end] for folder in ordered}) == 1:
        end += 1
    last = ordered[0]
    return [*last[:start], FOLDER, *last[len(last) - end :]]
