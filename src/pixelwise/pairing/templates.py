"""Templates of paths, such as ``images/{name}_image.png``, which pair images with masks."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

from pixelwise.errors import ConfigError
from pixelwise.io.images import IMAGE_SUFFIXES
from pixelwise.io.members import CONTAINER_ENDINGS, STACK_ENDINGS, VOLUME_ENDINGS, split_ending
from pixelwise.pairing.split_names import SPLIT_FOLDERS
from pixelwise.text import amount

NAME, FOLDER, SUBFOLDER, SPLIT = "{name}", "{folder}", "{subfolder}", "{split}"

ANY_ENDING = ".*"
"""At the end of a template, it stands for the ending of any image format."""

_VARIABLE = re.compile(r"\{([a-z_]+)\}")
_NUMBER = re.compile(r"\d+")
_PATTERNS = {
    "name": "(?P<name>.+)",
    "folder": "(?P<folder>.+)",
    "subfolder": "(?P<subfolder>.+)",
    "split": f"(?P<split>(?i:{'|'.join(sorted(SPLIT_FOLDERS, key=len, reverse=True))}))",
}
"""``{name}`` and ``{folder}`` may contain further folders; any other variable is part of a name."""

Key = tuple[str, ...]


@dataclass(frozen=True)
class Template:
    """A pattern of relative paths.

    ``{name}`` stands for what image and mask have in common, which may include folders;
    ``{split}`` for the name of a split; ``{folder}`` and any other variable for further parts that
    they have in common. ``.*`` at the end stands for the ending of any image. The path of one file
    that holds all images, such as ``images.npy``, needs no variable.

    Attributes:
        text: The pattern.
    """

    text: str

    def __post_init__(self) -> None:
        names = [found[1] for found in _VARIABLE.finditer(self.text)]
        if self._is_one_stack and not names:
            return
        if "name" not in names or len(set(names)) < len(names):
            raise ConfigError(
                f"a template must contain {NAME} once and no other variable twice, such as "
                f"images/{NAME}.png. Got {self.text!r}"
            )

    @property
    def _is_one_stack(self) -> bool:
        """Whether it may be the path of one file that holds all images, or all masks."""
        ending = split_ending(self.text)[1].lower()
        return ending.startswith((*CONTAINER_ENDINGS, *STACK_ENDINGS))

    @cached_property
    def variables(self) -> frozenset[str]:
        """The names of its variables."""
        return frozenset(found[1] for found in _VARIABLE.finditer(self.text))

    @cached_property
    def num_fixed(self) -> int:
        """Number of characters that are the same in all paths: the more, the more specific."""
        return len(_VARIABLE.sub("", self.text.removesuffix(ANY_ENDING)))

    @cached_property
    def _expression(self) -> re.Pattern[str]:
        text, parts, start = self.text.removeprefix("./"), [], 0
        has_any_ending = text.endswith(ANY_ENDING)
        text = text.removesuffix(ANY_ENDING)
        for found in _VARIABLE.finditer(text):
            parts.append(re.escape(text[start : found.start()]))
            parts.append(_PATTERNS.get(found[1], f"(?P<{found[1]}>[^/]+)"))
            start = found.end()
        parts.append(re.escape(text[start:]))
        if has_any_ending:
            endings = sorted({*IMAGE_SUFFIXES, *VOLUME_ENDINGS})
            parts.append(f"(?i:{'|'.join(map(re.escape, endings))})")
        return re.compile("".join(parts))

    def match(self, path: str) -> dict[str, str] | None:
        """Return the values of the variables in a path; ``None`` if it does not fit."""
        found = self._expression.fullmatch(path)
        return found.groupdict() if found else None


@dataclass(frozen=True)
class Pair:
    """An image with its mask, as relative paths.

    Attributes:
        image: The image.
        mask: Its mask.
        split: The split that the templates give.
        further: Further masks of the image, which are named after the first one and numbered.
    """

    image: str
    mask: str
    split: str | None = None
    further: tuple[str, ...] = ()


@dataclass(frozen=True)
class Pairs:
    """What two templates find in a folder.

    Attributes:
        pairs: Sorted by image.
        unlabeled: Images without a mask, with their split.
        orphans: Masks without an image.
        repeated: Files of which another one has the same name.
        companions: Files that are named after an image and are neither image nor mask.
    """

    pairs: tuple[Pair, ...]
    unlabeled: tuple[tuple[str, str | None], ...] = ()
    orphans: tuple[str, ...] = ()
    repeated: tuple[str, ...] = ()
    companions: tuple[str, ...] = field(default=(), repr=False)

    @property
    def num_images(self) -> int:
        """Number of images, with and without a mask."""
        return len(self.pairs) + len(self.unlabeled)

    def in_words(self, images: str, masks: str) -> str:
        """Return what two templates pair: ``paired 60 of 60: images/{name}.jpg with ...``."""
        joined = sum(bool(pair.further) for pair in self.pairs)
        several = f"; {amount(joined, 'image')} with several masks, which are joined"
        said = f"paired {len(self.pairs):,} of {self.num_images:,}: {images} with {masks}"
        return said + (several if joined else "")


def pair_by_templates(paths: Iterable[str], images: Template, masks: Template) -> Pairs:
    """Pair the images that fit one template with the masks that fit another.

    Names are compared exactly. Those that find no partner are compared as a person reads them,
    without regard to case and leading zeros, if that leaves no choice.

    Args:
        paths: Relative paths of pictures.
        images: The template of the images.
        masks: That of the masks; a file that fits both belongs to the more specific template.
    """
    shared = sorted(images.variables & masks.variables)
    found_images: defaultdict[Key, list[tuple[str, str | None]]] = defaultdict(list)
    found_masks: defaultdict[Key, list[str]] = defaultdict(list)
    for path in paths:
        as_image, as_mask = images.match(path), masks.match(path)
        if as_image is not None and as_mask is not None:
            if masks.num_fixed >= images.num_fixed:
                as_image = None
            else:
                as_mask = None
        if as_mask is not None:
            found_masks[_key(as_mask, shared)].append(path)
        if as_image is not None:
            found_images[_key(as_image, shared)].append((path, _split_of(as_image)))
    partner = {key: key for key in found_images if key in found_masks}
    partner |= _as_read(found_images.keys() - partner.keys(), found_masks.keys() - partner.keys())
    pairs, repeated = [], []
    for key, mask_key in partner.items():
        files, mask_list = found_images[key], found_masks[mask_key]
        if len(files) > 1 or len(mask_list) > 1:
            repeated += [*(path for path, _ in files), *mask_list]
        else:
            pairs.append(Pair(files[0][0], mask_list[0], files[0][1]))
    lonely = {key: files for key, files in found_images.items() if key not in partner}
    pairs = _with_further(pairs, lonely)
    companions = _companions(lonely, partner)
    unlabeled = [entry for key, files in lonely.items() if key not in companions for entry in files]
    taken = set(partner.values())
    return Pairs(
        tuple(sorted(pairs, key=lambda pair: pair.image)),
        tuple(sorted(unlabeled)),
        tuple(sorted(path for key in found_masks.keys() - taken for path in found_masks[key])),
        tuple(sorted(repeated)),
        tuple(sorted(path for key in companions for path, _ in lonely[key])),
    )


_NUMBERED = re.compile(r"(.+?)[ _.-]*\(?[0-9]{1,3}\)?")


def _with_further(
    pairs: Sequence[Pair], lonely: dict[Key, list[tuple[str, str | None]]]
) -> list[Pair]:
    """Return the pairs with the numbered masks among the lonely images, which are taken out.

    ``benign (4)_mask_1.png`` is such a mask beside ``benign (4)_mask.png``: it fits a template of
    images that is no more than ``{name}.png``.
    """
    owners = {pair.mask.rpartition(".")[0]: number for number, pair in enumerate(pairs)}
    further: defaultdict[int, list[str]] = defaultdict(list)
    for key, files in list(lonely.items()):
        numbered = _NUMBERED.fullmatch(files[0][0].rpartition(".")[0])
        if numbered and numbered[1] in owners:
            further[owners[numbered[1]]] += [path for path, _ in lonely.pop(key)]
    return [
        replace(pair, further=tuple(sorted(further[number]))) if number in further else pair
        for number, pair in enumerate(pairs)
    ]


def _key(values: Mapping[str, str], shared: Sequence[str]) -> Key:
    return tuple(
        SPLIT_FOLDERS[values[name].lower()] if name == "split" else values[name] for name in shared
    )


def _split_of(values: Mapping[str, str]) -> str | None:
    return SPLIT_FOLDERS[values["split"].lower()] if "split" in values else None


def _as_read(images: Iterable[Key], masks: Iterable[Key]) -> dict[Key, Key]:
    """Pair keys that differ in case or leading zeros only, where there is one of each."""
    by_reading: defaultdict[Key, tuple[list[Key], list[Key]]] = defaultdict(lambda: ([], []))
    for side, keys in enumerate((images, masks)):
        for key in keys:
            by_reading[tuple(map(as_read, key))][side].append(key)
    return {
        ours[0]: theirs[0]
        for ours, theirs in by_reading.values()
        if len(ours) == 1 and len(theirs) == 1
    }


def as_read(name: str) -> str:
    """Return a name in lower case, without leading zeros of its numbers."""
    return _NUMBER.sub(lambda found: found[0].lstrip("0") or "0", name).lower()


def _companions(lonely: Iterable[Key], partner: Iterable[Key]) -> set[Key]:
    """Return the keys that only add an affix to the key of a pair, as ``7_preview`` does to ``7``.

    The affix has to occur with at least half of the pairs; else the file may be an image that lost
    its mask.
    """
    keys = set(partner)
    affixes: defaultdict[tuple[str, str], list[Key]] = defaultdict(list)
    for key in lonely:
        for start, name, end in strippings(key[-1]) if key else ():
            if (start or end) and (*key[:-1], name) in keys:
                affixes[(start, end)].append(key)
    counts = Counter({affix: len(found) for affix, found in affixes.items()})
    return {
        key for affix, count in counts.items() if 2 * count >= len(keys) for key in affixes[affix]
    }


_TOKEN = re.compile(r"[0-9]+|[A-Z]?[a-z]+|[A-Z]+(?![a-z])|[()\[\]]|[^0-9A-Za-z()\[\]]+")
MAX_TOKENS = 9
"""Largest number of words, numbers and separators in an affix."""


def strippings(name: str) -> list[tuple[str, str, str]]:
    """Return the ways to strip one affix: (prefix, rest, suffix), one of the affixes empty.

    An affix is made of whole words and includes the separator between it and the rest. The first
    way strips nothing. A folder in the name is never stripped.
    """
    folder, slash, stem = name.rpartition("/")
    ends = [found.end() for found in _TOKEN.finditer(stem)]
    starts = [0, *ends[:-1]]
    ways = [("", name, "")]
    for cut in ends[:MAX_TOKENS]:
        if cut < len(stem) and stem[cut - 1].isalnum() and not stem[cut].isalnum():
            continue  # the separator after it belongs to the affix
        if cut < len(stem):
            ways.append((stem[:cut], folder + slash + stem[cut:], ""))
    for cut in starts[-MAX_TOKENS:]:
        if cut > 0 and stem[cut].isalnum() and not stem[cut - 1].isalnum():
            continue
        if cut > 0:
            ways.append(("", folder + slash + stem[:cut], stem[cut:]))
    return ways
