"""Finds the pairs of a folder that no known layout fits, and turns pairs into records."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from pixelwise.classes import Unlabeled
from pixelwise.data.pairing.folders import is_lossless, subfolders
from pixelwise.data.pairing.sections import some_pictures
from pixelwise.data.problems import report_problem
from pixelwise.data.sample import Record
from pixelwise.errors import FormatError, LayoutError
from pixelwise.io.members import split_ending
from pixelwise.pairing.listings import Listing, find_listing
from pixelwise.pairing.questions import question
from pixelwise.pairing.readings import FIELD_OF_VIEW, Found, Reading, find_readings
from pixelwise.pairing.templates import Pairs, Template, pair_by_templates
from pixelwise.pairing.tree import FileTree, kind_of, list_tree
from pixelwise.text import amount, listed

MAX_FOLDERS = 30
"""Number of folders that are tried for a hint where the given folder is refused."""

MAX_LEFT = 3
"""Kinds of files that are named as not used."""


@dataclass(frozen=True)
class Pairing:
    """How a folder is paired.

    Attributes:
        masks: Its mask files.
        reason: What was decided, as text for the user.
        images_template: The template of the images; ``None`` if the pairs are listed in a file.
        masks_template: That of the masks.
    """

    masks: tuple[Path, ...]
    reason: str
    images_template: str | None = None
    masks_template: str | None = None


def find_pairing(
    folder: Path,
    ignore_mask: str | None = None,
    *,
    is_known: Callable[[Path], bool] = lambda _: False,
) -> Pairing:
    """Find the images and masks of a folder by lists, names and contents.

    Args:
        folder: The data set.
        ignore_mask: Template of pictures that are neither.
        is_known: Whether a folder has a known label format, for the message.

    Raises:
        LayoutError: Nothing is found, or more than one reading is possible.
    """
    tree = _without(list_tree(folder), ignore_mask)
    listing = find_listing(tree)
    if listing is not None:
        return Pairing(some_pictures(folder, listing.pairs), listing.in_words)
    found = find_readings(tree)
    if found.only is None:
        inside = [] if found.readings else [path for path in _inside(folder) if is_known(path)]
        raise LayoutError(question(tree, found, inside[:3]))
    return _of_reading(folder, found.only, tree, found)


def _without(tree: FileTree, ignore_mask: str | None) -> FileTree:
    """Return the files of a folder without ignore masks."""
    if ignore_mask is None:
        return tree
    ours = Template(ignore_mask)
    return replace(tree, pictures=tuple(path for path in tree.pictures if not ours.match(path)))


def find_clean_pairing(folder: Path, ignore_mask: str | None = None) -> Pairing | None:
    """Return the pairing of a folder if it is certain and leaves no image and no mask alone.

    Raises:
        LayoutError: More than one reading is possible.
    """
    tree = _without(list_tree(folder), ignore_mask)
    found = find_readings(tree)
    if len(found.readings) > 1:
        raise LayoutError(question(tree, found))
    reading = found.only
    if reading is None or reading.pairs.unlabeled or reading.pairs.orphans:
        return None
    return _of_reading(folder, reading, tree, found)


def pairing_by_templates(
    folder: Path, images: str, masks: str, ignore_mask: str | None = None
) -> Pairing:
    """Return the pairing that two templates give.

    Raises:
        ConfigError: A template is not valid.
        FormatError: They find no pair.
    """
    tree = _without(list_tree(folder), ignore_mask)
    pairs = pair_by_templates(tree.pictures, Template(images), Template(masks))
    if not pairs.pairs:
        raise FormatError(
            f"{folder} must contain images {images} with masks {masks}. They give no pair: "
            f"{amount(len(pairs.unlabeled), 'image')}, {amount(len(pairs.orphans), 'mask')}. "
            f"There is {listed(tree.kinds, len(tree.kinds)) or 'nothing'}. Fix `images` or `masks`"
        )
    return Pairing(
        some_pictures(folder, pairs.pairs),
        pairs.in_words(images, masks) + _left(tree, pairs),
        images,
        masks,
    )


def _of_reading(folder: Path, reading: Reading, tree: FileTree, found: Found) -> Pairing:
    reason = reading.in_words + _left(tree, reading.pairs)
    for other, why in found.set_aside:
        template = other.masks if other.masks != reading.masks else other.images
        way_out = f", which `ignore_mask={template!r}` uses" if why == FIELD_OF_VIEW else ""
        reason += f"; not {template} ({why}{way_out})"
    masks = some_pictures(folder, reading.pairs.pairs)
    return Pairing(masks, reason, reading.images, reading.masks)


def _left(tree: FileTree, pairs: Pairs) -> str:
    """Name the pictures that are neither images nor masks."""
    used = {path for pair in pairs.pairs for path in (pair.image, pair.mask, *pair.further)}
    used |= {path for path, _ in pairs.unlabeled} | {*pairs.orphans, *pairs.repeated}
    left: dict[str, int] = {}
    for path in tree.pictures:
        if path not in used:
            name = kind_of(path)[0]
            left[name] = left.get(name, 0) + 1
    if not left:
        return ""
    kinds = [f"{count:,} in {name or '.'}/" for name, count in sorted(left.items())]
    return f"; not used: {listed(kinds, MAX_LEFT)}"


def _inside(folder: Path) -> list[Path]:
    """Return folders inside a folder, the nearest first."""
    found = subfolders(folder)[:MAX_FOLDERS]
    return [*found, *(path for one in found for path in subfolders(one))][:MAX_FOLDERS]


def records_by_templates(
    folder: Path, images: str, masks: str, unlabeled: Unlabeled, *, takes_lossy: bool
) -> list[Record]:
    """Return the records that two templates give; what has no partner is a problem.

    Args:
        folder: The data set.
        images: The template of the images.
        masks: That of the masks.
        unlabeled: What becomes of images without a mask; those of the test split are left out.
        takes_lossy: Whether masks in lossy formats are accepted.

    Raises:
        FormatError: An image has no mask, a mask has no image, or names are not unique.
        DataError: A mask has a lossy format.
    """
    tree = list_tree(folder)
    pairs = pair_by_templates(tree.pictures, Template(images), Template(masks))
    if pairs.repeated:
        error = FormatError(
            f"{folder} must contain one image and one mask per name. Got "
            f"{listed(pairs.repeated, 4)}. Remove the others, or fix `images` or `masks`"
        )
        report_problem("paired-twice", error, *(folder / path for path in pairs.repeated))
    for path in pairs.orphans:
        error = FormatError(
            f"{folder / path} must have an image {images}. There is none. Add the image, or move "
            "the mask elsewhere"
        )
        report_problem("mask-without-image", error, folder / path)
    lonely = [(path, split) for path, split in pairs.unlabeled if split != "test"]
    records = [
        _record(
            folder,
            pair.image,
            tuple(folder / mask for mask in (pair.mask, *pair.further)),
            pair.split,
        )
        for pair in pairs.pairs
        if takes_lossy or is_lossless(folder / pair.mask)
    ]
    return sorted(
        records + _unlabeled_records(folder, lonely, masks, unlabeled),
        key=lambda record: record.name,
    )


def listed_pairs(folder: Path, unlabeled: Unlabeled, *, takes_lossy: bool) -> list[Record]:
    """Return the records that the lists of a folder name; see :func:`records_by_templates`."""
    listing = find_listing(list_tree(folder))
    if listing is None:
        return []
    _report_missing(folder, listing)
    records = [
        _record(folder, pair.image, (folder / pair.mask,), pair.split)
        for pair in listing.pairs
        if takes_lossy or is_lossless(folder / pair.mask)
    ]
    lonely = [(path, split) for path, split in listing.unlabeled if split != "test"]
    return sorted(
        records + _unlabeled_records(folder, lonely, listing.files[0], unlabeled),
        key=lambda record: record.name,
    )


def _report_missing(folder: Path, listing: Listing) -> None:
    for path, number, entry in listing.missing:
        error = FormatError(
            f"{folder / path} line {number} must name a file in {folder}. Got {entry}, which is "
            "not found there, even without its leading folders. Fix the list or add the file"
        )
        report_problem("listed-file-missing", error, folder / path, name=f"line {number}")


def _unlabeled_records(
    folder: Path, lonely: Sequence[tuple[str, str | None]], where: str, unlabeled: Unlabeled
) -> list[Record]:
    if unlabeled == "background":
        return [_record(folder, path, (), split) for path, split in lonely]
    if unlabeled == "error":
        for path, _ in lonely:
            error = FormatError(
                f"{folder / path} must have a mask in {where}. There is none. Add the mask, move "
                "the image elsewhere, or choose `unlabeled='skip'` or `unlabeled='background'`"
            )
            report_problem("image-without-mask", error, folder / path)
    return []


def _record(folder: Path, image: str, masks: tuple[Path, ...], split: str | None) -> Record:
    name, ending = split_ending(image)
    if split and "/" in ending:  # arrays of several splits in one file
        name += f"_{split}"
    return Record(name, folder / image, masks, split)
