"""Finds sets of files whose names correspond one to one: candidates for images and their masks.

A candidate is a pair of templates. It is found by comparing folders that differ in one part of
their path, or that are the same, and by stripping one affix per folder and ending on either side.
Nothing is opened here: which side holds the masks is decided by ``contents``.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain

from pixelwise.io.members import split_ending
from pixelwise.pairing.matching import Families, File, Folder, Match, infixed, matches_of
from pixelwise.pairing.split_names import SPLIT_FOLDERS
from pixelwise.pairing.templates import (
    ANY_ENDING,
    FOLDER,
    NAME,
    SPLIT,
    SUBFOLDER,
)

MAX_SIBLINGS = 40
"""Folders beside each other that may have different roles; of more, each holds a part of the data,
such as a subject or a tile."""

MAX_COMPARED = 60
"""Up to this many folders, each is compared with each, also at different depths."""

_WORD = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])")


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
        in_folder[split_ending(path)[0].rpartition("/")[0]].append(path)
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
    first: list[File] = []
    second: list[File] = []
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
            matches = matches_of(ours, theirs, is_same_family=is_same_family)
            for match in chain(matches, infixed(ours, theirs)):
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


def _files(
    paths: Iterable[str], folder: Folder, start: int, role: Folder, *, with_split: bool
) -> Iterator[File]:
    above, below = folder[:start], "/".join(folder[start + len(role) :])
    parent, split = None, ""
    for path in paths:
        stem, ending = split_ending(path)
        at, inner = stem.rfind("/") + 1, ""
        if "/" in ending:  # arrays of different splits in one file
            inner = _split_in(ending)
            ending = "/".join(_with_split(ending))
        if with_split and path[:at] != parent:  # the files of a folder follow each other
            parent = path[:at]
            split = _split_in(parent)
        yield File(above, split or inner, below, stem[at:], ending, path)


def _split_in(folder: str) -> str:
    """Return the split that a folder names first, as pixelwise calls it."""
    words = (word[0].lower() for word in _WORD.finditer(folder))
    return next((SPLIT_FOLDERS[word] for word in words if word in SPLIT_FOLDERS), "")


def _by_ending(files: Sequence[File], *, with_all: bool) -> Iterator[tuple[Families, str]]:
    """Yield files by their ending, and all of them together if asked."""
    endings: defaultdict[str, list[File]] = defaultdict(list)
    for file in files:
        endings[file.ending].append(file)
    if with_all and len(endings) > 1:
        yield Families(files), ANY_ENDING
    for ending, some in sorted(endings.items()):
        yield Families(some), ending


def _template(match: Match, side: int, role: Folder, ending: str) -> str:
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
