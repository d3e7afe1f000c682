"""Checks what a label format from outside pixelwise loads, and names the image if it fails."""

from __future__ import annotations

import numpy as np

from pixelwise.classes import IGNORE_INDEX, ClassMap
from pixelwise.data.formats import Format, formats
from pixelwise.data.sample import Record, Sample
from pixelwise.errors import DataError, MaskError, PixelwiseError, in_one_line
from pixelwise.io.images import LARGEST_VALUE
from pixelwise.label_modes import mode_of


def checked_sample(record: Record, found: Format, class_map: ClassMap) -> Sample:
    """Decode a sample, and check it if the format is not pixelwise's own.

    Args:
        record: The record.
        found: The format that decodes it.
        class_map: The classes.

    Raises:
        DataError: The sample cannot be loaded; the message names the image.
        MaskError: Its mask does not match the image or the class map.
    """
    if formats.is_own(type(found)):  # its errors are complete, and tests check its samples
        return found.sample(record, class_map)
    try:
        sample = found.sample(record, class_map)
    except DataError as error:
        if record.image.name in str(error):
            raise
        kind = MaskError if isinstance(error, MaskError) else DataError
        raise kind(f"{_described(record)}: {error}") from error
    except (PixelwiseError, MemoryError):
        raise
    except Exception as error:  # whatever the code of a user raises
        raise DataError(
            f"{_described(record)}: `load` of the format {found.name!r} raised "
            f"{in_one_line(error)}. Correct the file, or the format"
        ) from error
    _check(sample, record, found, class_map)
    return sample


def _described(record: Record) -> str:
    """Return the name of a record and the file of its labels."""
    return f"{record.name} ({(record.masks or (record.image,))[0].name})"


def _check(sample: Sample, record: Record, found: Format, class_map: ClassMap) -> None:
    """Check the contract of :class:`pixelwise.Sample`.

    Raises:
        DataError: The sample or its image is wrong.
        MaskError: Its mask is wrong.
    """
    must = f"{_described(record)}: `load` of the format {found.name!r} must return"
    if not isinstance(sample, Sample):
        raise DataError(f"{must} a Sample. Got {type(sample).__name__}")
    own = (sample.name, sample.label_mode)
    if own != (record.name, found.label_mode):
        raise DataError(
            f"{must} a Sample with the name of its record, {record.name!r}, and the label mode of "
            f"the format, {found.label_mode!r}. Got {own[0]!r} and {own[1]!r}"
        )
    image, mask = sample.image, sample.mask
    if (
        not isinstance(image, np.ndarray)
        or image.ndim != 3
        or str(image.dtype) not in LARGEST_VALUE
    ):
        types = ", ".join(LARGEST_VALUE)
        raise DataError(
            f"{must} an image (height, width, channels) of type {types}. Got {_words(image)}. "
            "A gray image has one channel: image[..., None]"
        )
    mode = mode_of(sample.label_mode)
    wanted = mode.blank(image.shape[:2], class_map.num_classes, 0)
    if not isinstance(mask, np.ndarray) or _words(mask) != _words(wanted):
        raise MaskError(
            f"{must} a mask of the image's size, {_words(wanted)}. Got {_words(mask)}. Convert its "
            "type with mask.astype('uint8')"
        )
    if not mode.holds_ids:
        return
    ids = np.flatnonzero(np.bincount(mask.ravel()))
    beyond = ids[(ids >= class_map.num_classes) & (ids != IGNORE_INDEX)].tolist()
    if beyond:
        raise MaskError(
            f"{must} a mask of class ids below {class_map.num_classes}, or {IGNORE_INDEX} where it "
            f"is ignored. Got {', '.join(map(str, beyond[:5]))}. Convert the stored values to ids"
        )


def _words(array: object) -> str:
    if not isinstance(array, np.ndarray):
        return type(array).__name__
    return f"{array.dtype} {array.shape}"
