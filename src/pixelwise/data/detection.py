"""Detects the label format of a folder, and pairs its pictures where no layout is known."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pixelwise.data.formats import Format, formats, mistakes_named
from pixelwise.data.masks.color_tables import find_color_table
from pixelwise.data.masks.kinds import Look, look_at_masks
from pixelwise.data.pairing.opening import (
    Pairing,
    find_clean_pairing,
    find_pairing,
    pairing_by_templates,
)
from pixelwise.errors import ConfigError, FormatError


def detect_format(
    folder: Path, name: str | None = None, *, ignore_mask: str | None = None, **options: Any
) -> tuple[Format, str]:
    """Detect the format of a folder.

    Args:
        folder: The data set.
        name: The format, if known; ``None`` detects it.
        ignore_mask: Template of pictures that are no labels.
        options: Arguments of the format, see :class:`Format`; ``None`` stands for the default.

    Returns:
        The format and the reason as text.

    Raises:
        FormatError: No format fits, or two fit equally well.
        ConfigError: The format does not support an option.
    """
    given = {key: value for key, value in options.items() if value is not None}
    _check_templates(given)
    if "images" in given:
        pairing = pairing_by_templates(folder, given["images"], given["masks"], ignore_mask)
        return _paired(folder, pairing, name, given)
    if name is not None:
        return _named(folder, name, given, ignore_mask)
    answers = []
    for candidate in map(formats.create, formats.names()):
        with mistakes_named(candidate, "detect", folder):
            answers.append((candidate, candidate.detect(folder)))
    answers = sorted(
        (answer for answer in answers if answer[1].score > 0), key=lambda answer: -answer[1].score
    )
    if not answers:
        pairing = find_pairing(folder, ignore_mask, is_known=_is_known)
        return _paired(folder, pairing, None, given)
    if len(answers) > 1 and answers[0][1].score == answers[1][1].score:
        seen = "; ".join(f"{answer.name} ({sure.reason})" for answer, sure in answers)
        raise FormatError(f"{folder} fits several formats: {seen}. Choose one with `format`")
    best, sure = answers[0]
    if best.has_other_names(folder) and (found := find_clean_pairing(folder, ignore_mask)):
        return _paired(folder, found, None, given)
    return _create(best.name, given), sure.reason


_OF_MASK_FILES = ("images", "masks", "unlabeled", "resize_masks", "class_from")
_NOT_TAKEN = {
    "buffer": "in which points and lines have no half width to choose",
    **dict.fromkeys(_OF_MASK_FILES, "which does not have one mask file per image"),
}


def _check_templates(given: Mapping[str, Any]) -> None:
    if ("images" in given) != ("masks" in given):
        here, lacking = ("images", "masks") if "images" in given else ("masks", "images")
        raise ConfigError(
            f"`{lacking}` must be given with `{here}`: a template such as {lacking}/{{name}}.png. "
            f"Got only {given[here]!r}"
        )


def _create(name: str, given: Mapping[str, Any]) -> Format:
    """Make a format; options of some formats are refused by those that do not take them."""
    for key in sorted(given.keys() & _NOT_TAKEN.keys() - formats.create(name).takes):
        raise ConfigError(
            f"`{key}` must be left out for {name}, {_NOT_TAKEN[key]}. Got {given[key]!r}"
        )
    return formats.create(name, **given)


def _named(
    folder: Path, name: str, given: Mapping[str, Any], ignore_mask: str | None
) -> tuple[Format, str]:
    """Make the format of a name; where it does not know the layout, the pairs are looked for."""
    found = _create(name, given)
    if not found.takes_templates or not folder.is_dir() or found.knows(folder):
        return found, "as asked"
    return _paired(folder, find_pairing(folder, ignore_mask, is_known=_is_known), name, given)


def _is_known(folder: Path) -> bool:
    return any(formats.create(name).detect(folder).score > 0 for name in formats.names())


def _paired(
    folder: Path, pairing: Pairing, name: str | None, given: Mapping[str, Any]
) -> tuple[Format, str]:
    """Make the format for masks of this kind, with the templates of the pairing."""
    has_table = find_color_table(folder) is not None
    look = look_at_masks(pairing.masks, has_table=has_table) or Look("index")
    names = [one for one in formats.names() if formats.create(one).holds(look)]
    templates = {"images": pairing.images_template, "masks": pairing.masks_template}
    return _create(name or names[0], {**given, **templates}), pairing.reason
