"""Divides volumes, stacks and arrays into one record per picture."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from pixelwise.data.problems import report_problem
from pixelwise.data.sample import Record
from pixelwise.errors import DataError, FormatError
from pixelwise.io.containers import Layout, as_pair, inside, layout_of, pictures_in
from pixelwise.io.containers.dicom import DICOM_ENDING, dicom_header
from pixelwise.io.counting import spread
from pixelwise.io.images import is_inside
from pixelwise.io.members import ARRAY_ENDINGS, STACK_ENDINGS, ending_of, file_of, name_of
from pixelwise.pairing.split_names import SPLIT_FOLDERS
from pixelwise.pairing.templates import Pair

NUM_LOOKED_AT = 20
"""Pictures by which a folder of single pictures is told from one of stacks."""

MIN_GROUPS = 3
"""Of fewer files of arrays, the pictures are samples of their own: the files cannot be divided."""

SUBJECT = re.compile(r"(?:^|[/_])(sub-[0-9A-Za-z]+)(?=[/_.])")
"""The subject in a path, as BIDS writes it."""


def with_sections(records: Sequence[Record], folder: Path) -> list[Record]:
    """Return one record for each picture that the files of some records hold.

    The slices of a volume and the pages of a stack are one group, with those of other volumes of
    the same subject.

    Args:
        records: Records of whole files, or of arrays in files.
        folder: The data set.

    Raises:
        FormatError: An image and its mask hold different numbers of pictures, or their axes have
            other directions.
        DataError: A file cannot be read.
    """
    paths = [path for record in records for path in (record.image, *record.masks)]
    if not any(map(is_inside, paths)):
        may_be = [path for path in paths if ending_of(path) in STACK_ENDINGS]
        # Thousands of single pictures are not opened just to see that each is single.
        if not any(map(_may_be_stack, spread(may_be, NUM_LOOKED_AT))):
            return list(records)
    found: list[list[Record]] = []
    for record in records:
        try:
            found.append(_sections(record, folder))
        except DataError as error:
            report_problem("unlike-parts", error, record.image, *record.masks)
    stacks = [some for some in found if some[0].image != file_of(some[0].image)]
    are_samples = len(stacks) < MIN_GROUPS
    for stack in stacks:
        # One or two arrays hold whole data sets; of more, each holds the pictures of one case.
        if are_samples and _is_of_arrays(stack):
            stack[:] = [replace(record, group=None) for record in stack]
    return [record for stack in _split_by_names(found) for record in stack]


def _split_by_names(found: list[list[Record]]) -> list[list[Record]]:
    """Return the records with the splits that the names of all arrays tell, as ``X_train.npy``."""
    if any(record.split for some in found for record in some):
        return found
    splits = [
        next(filter(None, map(SPLIT_FOLDERS.get, _words(some[0].image))), None) for some in found
    ]
    if not all(splits) or not all(map(_is_of_arrays, found)):
        return found
    return [
        [replace(record, split=split) for record in some]
        for some, split in zip(found, splits, strict=True)
    ]


def _words(picture: Path) -> list[str]:
    return [word.lower() for word in re.findall("[A-Za-z]+", name_of(picture))]


def _is_of_arrays(stack: Sequence[Record]) -> bool:
    return len(stack) > 1 and ending_of(stack[0].image) in (".npy", *ARRAY_ENDINGS)


def some_pictures(folder: Path, pairs: Sequence[Pair]) -> tuple[Path, ...]:
    """Return the masks of some pairs; of files that hold several pictures, some of these.

    Args:
        folder: The data set.
        pairs: Images and masks as relative paths.
    """
    found: list[Path] = []
    for pair in spread(pairs, NUM_LOOKED_AT):
        try:
            parts = pictures_in(folder / pair.mask, folder / pair.image)
        except DataError:  # reported when it is read
            continue
        found += spread(parts, NUM_LOOKED_AT)
    return tuple(found)


def _may_be_stack(path: Path) -> bool:
    try:
        layout = layout_of(path)
    except DataError:  # reported when it is read
        return False
    return layout is not None and bool(layout.sections or layout.as_stack)


def _sections(record: Record, folder: Path) -> list[Record]:
    layouts = [layout_of(path) for path in (record.image, *record.masks)]
    image, masks = layouts[0], layouts[1:]
    if len(masks) == 1 and image and masks[0]:
        image, masks[0] = as_pair(image, masks[0])
    for path, mask in zip(record.masks, masks, strict=True):
        _require_alike(record.image, image, path, mask)
    pictures = inside(record.image, image)
    if pictures == [record.image]:
        is_slice = ending_of(record.image) == DICOM_ENDING
        return [replace(record, group=_patient_of(record.image)) if is_slice else record]
    parts = [inside(path, mask) for path, mask in zip(record.masks, masks, strict=True)]
    group = _group_of(record.image, folder)
    return [
        replace(
            record,
            name=f"{record.name}_{picture.name}",
            image=picture,
            masks=tuple(own),
            group=group,
        )
        for picture, *own in zip(pictures, *parts, strict=True)
    ]


def _require_alike(image: Path, layout: Layout | None, mask: Path, other: Layout | None) -> None:
    """Refuse a mask whose pictures do not correspond to those of its image.

    Raises:
        FormatError: They do not.
    """
    if other and len(other.shape) == 3 and other.shape[2] not in (1, 3):
        raise FormatError(
            f"{mask} must hold one class id per pixel. Got {other.shape[2]} masks in an array of "
            f"the shape {other.shape}, as of one class or one annotator each. Save one of them, "
            "or the classes as one array (H, W)"
        )
    ours, theirs = (one.sections if one else () for one in (layout, other))
    if ours != theirs:
        advice = "Export the mask again"
        if not theirs:
            advice = "Save a mask for each picture, or the pictures as bands of one"
        raise FormatError(
            f"{mask} must hold as many pictures as its image {name_of(image)}, across the same "
            f"axis. Got {_counted(theirs)} for {_counted(ours)}. {advice}"
        )
    directions = [one.orientation if one else "" for one in (layout, other)]
    if all(directions) and directions[0] != directions[1]:
        raise FormatError(
            f"{mask} must have the axes of its image {name_of(image)}, {directions[0]}. Got "
            f"{directions[1]}, so that its voxels lie elsewhere. Save the mask with the affine of "
            "its image"
        )


def _counted(sections: tuple[str, ...]) -> str:
    return f"{len(sections)} ({sections[0]} to {sections[-1]})" if sections else "one picture"


def _patient_of(image: Path) -> str:
    """Return the patient of a slice, or else its folder."""
    return dicom_header(image).patient or image.parent.as_posix()


def _group_of(image: Path, folder: Path) -> str:
    """Return the subject in the path of a volume, or else its file."""
    file = file_of(image)
    path = (file.relative_to(folder) if file.is_relative_to(folder) else file).as_posix()
    subject = SUBJECT.search(path)
    return subject[1] if subject else path
