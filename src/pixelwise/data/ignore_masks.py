"""Masks of the part of each image that counts, such as a field of view: the rest is ignored."""

from __future__ import annotations

from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from dataclasses import replace
from pathlib import Path

import numpy as np

from pixelwise.data.problems import report_problem
from pixelwise.data.sample import Record, Sample, check_sizes
from pixelwise.errors import ConfigError, FormatError
from pixelwise.io.image_windows import image_size, in_window
from pixelwise.io.images import is_exact, read_image
from pixelwise.label_modes import mode_of
from pixelwise.pairing.families import find_candidates
from pixelwise.pairing.templates import Template
from pixelwise.pairing.tree import list_tree

HALF = 128
"""Pixels of a smoothed ignore mask count from this value on."""


def with_ignore_masks(folder: Path, records: Sequence[Record], template: str) -> list[Record]:
    """Return the records with the ignore mask of each, which a template finds.

    The name of an ignore mask may differ from that of its image by one affix, as in
    :mod:`pixelwise.pairing`. Test images without labels may lack one.

    Args:
        folder: The data set.
        records: Its records.
        template: The template of the ignore masks, such as ``mask/{name}_mask.gif``.

    Raises:
        ConfigError: The template is not valid, finds no file, or finds the masks.
        FormatError: An image has no ignore mask.
    """
    wanted = Template(template)
    files = {path for path in list_tree(folder).pictures if wanted.match(path)}
    images = {
        record.image.relative_to(folder).as_posix(): record.image
        for record in records
        if record.image.is_relative_to(folder)
    }
    files -= images.keys()
    if not files:
        raise ConfigError(
            f"`ignore_mask` must be the template of pictures in {folder}. {template} finds none. "
            "Correct it"
        )
    shared = {record.masks[0] for record in records if record.masks} & {
        folder / path for path in files
    }
    if shared:
        raise ConfigError(
            f"`ignore_mask` must be other files than the masks. {min(shared)} is both. Give the "
            "templates `images` and `masks` too"
        )
    partners = _partners(images.keys(), files)
    for name in images.keys() - partners.keys():
        error = FormatError(
            f"{images[name]} must have an ignore mask {template}. There is none. Add it, or move "
            "the image elsewhere"
        )
        report_problem("image-without-ignore-mask", error, images[name])
    found = {images[name]: folder / path for name, path in partners.items()}
    return [replace(record, ignore_mask=found.get(record.image)) for record in records]


def _partners(images: AbstractSet[str], files: AbstractSet[str]) -> dict[str, str]:
    """Return the file of each image, by the correspondence of names that gives the most."""
    best: dict[str, str] = {}
    for candidate in find_candidates(sorted({*images, *files})):
        pairs = [pair if pair[0] in images else pair[::-1] for pair in candidate.pairs]
        found = {image: file for image, file in pairs if image in images and file in files}
        if len(found) > len(best):
            best = found
    return best


def ignoring_outside(sample: Sample, record: Record) -> Sample:
    """Return a sample in which the pixels outside of its ignore mask are ignored.

    Outside is where the ignore mask is 0; of JPEG files, whose values are smoothed, below 128.

    Raises:
        DataError: The file cannot be read.
        MaskError: It differs from the image in size.
    """
    path = record.ignore_mask
    if path is None:
        return sample
    check_sizes(record.image, image_size(record.image), path, image_size(path))
    pixels = read_image(path, in_window(record.window))[..., 0]
    sample = replace(sample, mask=np.array(sample.mask))
    mode_of(sample.label_mode).ignore(sample.mask, pixels < (1 if is_exact(path) else HALF))
    return sample
