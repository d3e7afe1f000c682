"""Writes images and masks to files; shared by the label formats."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from pixelwise.classes import Color
from pixelwise.data.sample import Record, Sample
from pixelwise.io.arrays import Array, UInt8Array
from pixelwise.io.images import IMAGE_SUFFIXES, is_rotated


def stem_of(record: Record) -> str:
    """Return the stem of the files that are written for a record."""
    return record.name.rsplit("/", 1)[-1]


def write_image(
    folder: Path, record: Record, sample: Sample, suffixes: frozenset[str] = IMAGE_SUFFIXES
) -> Path:
    """Write an image into a folder: a copy of its file if possible, otherwise its pixels.

    An image with an EXIF rotation is written upright, as some tools ignore the rotation.

    Args:
        folder: The folder; it is created if it is missing.
        record: The record with the image file.
        sample: The decoded sample.
        suffixes: Suffixes of files that may be copied; others are converted to PNG or TIFF.

    Returns:
        The written file.
    """
    folder.mkdir(parents=True, exist_ok=True)
    source = record.image
    is_whole = record.window is None
    if is_whole and source.suffix.lower() in suffixes and not is_rotated(source):
        target = folder / f"{stem_of(record)}{source.suffix}"
        shutil.copyfile(source, target)
        return target
    return write_pixels(folder / stem_of(record), sample.image)


def write_pixels(target: Path, pixels: Array) -> Path:
    """Write pixels of any type and number of channels without loss.

    Args:
        target: Path without a suffix.
        pixels: (H, W, C).

    Returns:
        The written file: PNG if it can hold the pixels, else TIFF.
    """
    if pixels.dtype == np.uint8 and pixels.shape[-1] in (1, 3):
        path = target.with_name(f"{target.name}.png")
        Image.fromarray(pixels[..., 0] if pixels.shape[-1] == 1 else pixels).save(path)
        return path
    import tifffile

    path = target.with_name(f"{target.name}.tif")
    planes = pixels[..., 0] if pixels.shape[-1] == 1 else pixels
    bands = None if planes.ndim == 2 else "contig"  # otherwise two bands become a page per row
    tifffile.imwrite(path, planes, photometric="minisblack", planarconfig=bands, compression="zlib")
    return path


def write_mask(target: Path, ids: UInt8Array, palette: Sequence[Color] | None = None) -> Path:
    """Write values as a grayscale PNG, or as the indices of a palette PNG.

    Args:
        target: Path without a suffix; its folder is created if it is missing.
        ids: uint8 (H, W).
        palette: A color for each value; ``None`` writes grayscale.

    Returns:
        The written file.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    path = target.with_name(f"{target.name}.png")
    picture = Image.fromarray(ids) if palette is None else index_picture(ids, palette)
    picture.save(path)
    return path


def index_picture(classes: UInt8Array, palette: Sequence[Color]) -> Image.Image:
    """Return class ids (H, W) as a palette image whose indices are the ids."""
    picture = Image.fromarray(classes)
    picture = Image.frombytes("P", picture.size, picture.tobytes())
    picture.putpalette([level for color in palette for level in color])
    return picture
