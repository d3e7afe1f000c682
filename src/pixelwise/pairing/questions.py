"""Says what was found in a folder that cannot be read, and how it could be."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Sequence
from pathlib import Path

from pixelwise.pairing.readings import Found, Reading
from pixelwise.pairing.tree import FileTree
from pixelwise.text import amount, listed

MAX_FILES = 6
"""Up to this many files are named; of more, the kinds are counted."""

MAX_READINGS = 4
"""Number of readings that a message offers."""

PAGE = "docs/data/layouts.md"
"""The page that shows every layout."""


def question(tree: FileTree, found: Found, subfolders: Sequence[Path] = ()) -> str:
    """Return the message for a folder that is not certain to be read in one way.

    It has at most ten lines: what was found, the likeliest readings as commands to copy, the
    folder inside that would open, and a list file as a way out.

    Args:
        tree: The files of the folder.
        found: The readings; none, several, or one that is not certain.
        subfolders: Folders inside that a label format knows.
    """
    root = tree.root
    readings = [(reading, "") for reading in found.readings]
    readings += [(reading, f"; set aside: {why}") for reading, why in found.set_aside]
    readings = readings[:MAX_READINGS]
    if found.readings:
        lines = [_heading(root, found.readings)]
    else:
        files = (*tree.pictures, *tree.others)
        few = len(files) <= MAX_FILES
        contents = listed(files if few else tree.kinds, MAX_FILES + 1) or "nothing"
        lines = [f"{root} must contain images with masks. Got {contents}", *_refused(tree)]
    lines += [f"  {command(root, one)}  # {_described(one)}{aside}" for one, aside in readings]
    lines += [f"  {_check(folder)}  # a data set of its own" for folder in subfolders]
    if readings or subfolders:
        lines.append("Copy the command that is right; `write='dataset.yaml'` keeps it as a card.")
    lines.append(
        f"Otherwise list the pairs in {root / 'train.txt'}, an image and its mask per line, or "
        f"arrange the files as one of the layouts: pixelwise data formats, or {PAGE}"
    )
    # A refusal without a command is one line, as all others.
    is_short = not (readings or subfolders)
    return (". " if is_short else "\n").join(lines)


def _refused(tree: FileTree) -> list[str]:
    """Say which file looks like a picture and cannot be read, and why."""
    if not tree.refused:
        return []
    path, reason = tree.refused[0]
    others = len(tree.refused) - 1
    also = f", nor can {amount(others, 'other file')}" if others else ""
    return [f"{path} cannot be read{also}: {reason}"]


def command(root: Path, reading: Reading) -> str:
    """Return the command that reads a folder in one way."""
    resized = "" if reading.sizes is None else " `resize_masks='nearest'`"
    return f"{_check(root)} `images='{reading.images}'` `masks='{reading.masks}'`{resized}"


def _check(folder: Path) -> str:
    return f"pixelwise data check {shlex.quote(str(folder))}"


def _heading(root: Path, readings: Sequence[Reading]) -> str:
    """Say what is not certain about the readings."""
    first = readings[0]
    if first.sizes is not None:
        (width, height), (mask_width, mask_height) = first.sizes
        return (
            f"{root} must have masks as large as their images. Got {width} x {height} with masks "
            f"of {mask_width} x {mask_height}, as in {first.pairs.pairs[0].mask}. Export them at "
            "the size of the images, or have them resized:"
        )
    images, masks = (
        _names(reading.images for reading in readings),
        _names(reading.masks for reading in readings),
    )
    if len(readings) == 1:
        return (
            f"{root} must have masks that can be told from the images. {first.images} and "
            f"{first.masks} both hold few values. Say which is which:"
        )
    if len(images) == 1:
        got = f"{len(masks)} sets of masks for {images[0]}: {listed(masks, MAX_READINGS)}"
    elif len(masks) == 1:
        got = f"{len(images)} sets of images for {masks[0]}: {listed(images, MAX_READINGS)}"
    else:
        got = f"{len(readings)} sets of images with masks side by side"
    return f"{root} must have one set of images with one set of masks. Got {got}. Choose one:"


def _names(templates: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(templates))


def _described(reading: Reading) -> str:
    return f"{amount(len(reading.pairs.pairs), 'pair')}, masks of {reading.held.in_words}"
