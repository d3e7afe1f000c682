"""Interprets the values of a TIFF: colors, levels, alpha, nodata and orientation."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import ExifTags

if TYPE_CHECKING:
    import tifffile

    from pixelwise.io.arrays import Array, BoolArray

NODATA_TAG = 42113
"""The tag in which GDAL stores the nodata value as text."""


def tiff_orientation(file: tifffile.TiffFile) -> int:
    """Return the EXIF orientation of a TIFF, 1 to 8; 1 is upright."""
    return int(file.pages[0].aspage().tags.valueof(ExifTags.Base.Orientation.value, default=1))


def shown_pixels(page: tifffile.TiffPage, pixels: Array, *, as_stored: bool = False) -> Array:
    """Convert decoded values of a TIFF, of all rows or some, to the image that they represent.

    Args:
        page: Describes the meaning of the values.
        pixels: (H, W) or (H, W, S); (S, H, W) with separate planes.
        as_stored: Keep numbers of more than one bit: do not apply a palette, and do not invert
            images in which 0 is white.

    Returns:
        (H, W) or (H, W, C) without alpha, where white is bright and palettes are replaced by their
        colors. Pixels without data are 0, except in uint8 images, where a nodata value of 255 is
        white to all programs but GDAL.
    """
    import tifffile

    if page.planarconfig == tifffile.PLANARCONFIG.SEPARATE and pixels.ndim == 3:
        pixels = np.moveaxis(pixels, 0, -1)
    alpha = alpha_samples(page)
    if alpha and pixels.ndim == 3:
        pixels = np.delete(pixels, alpha, -1)
    # In files of one bit, which level is white depends on the fax encoding, not on the mask.
    if page.photometric == tifffile.PHOTOMETRIC.MINISWHITE and pixels.dtype == np.bool_:
        pixels = ~pixels
    if as_stored:
        return pixels
    is_ignored = None if pixels.dtype in (np.uint8, np.bool_) else where_nodata(page, pixels)
    if page.photometric == tifffile.PHOTOMETRIC.MINISWHITE and pixels.dtype != np.bool_:
        pixels = white_of(pixels.dtype, page.bitspersample) - pixels
    elif page.photometric == tifffile.PHOTOMETRIC.PALETTE and page.colormap is not None:
        pixels = np.moveaxis(page.colormap[:, pixels] // 256, 0, -1).astype(np.uint8)
    if is_ignored is not None and is_ignored.any():
        pixels = pixels.copy()
        pixels[is_ignored] = 0
    return pixels


def white_of(dtype: np.dtype[Any], num_bits: int) -> int:
    """Return the largest number of ``num_bits`` bits in an integer type of at least that size."""
    return int(np.iinfo(dtype).max) >> 8 * dtype.itemsize - num_bits


def alpha_samples(page: tifffile.TiffPage) -> list[int]:
    """Return the indices of the samples that are declared as alpha."""
    import tifffile

    alpha = {int(tifffile.EXTRASAMPLE.UNASSALPHA), int(tifffile.EXTRASAMPLE.ASSOCALPHA)}
    first = page.samplesperpixel - len(page.extrasamples)
    return [at for at, kind in enumerate(page.extrasamples, first) if int(kind) in alpha]


def nodata_of(page: tifffile.TiffPage) -> float | None:
    """Return the nodata value of the file; ``None`` if it has none."""
    try:
        return float(str(page.tags.valueof(NODATA_TAG, default="")).strip("\0 ").replace(",", "."))
    except ValueError:
        return None


def where_nodata(page: tifffile.TiffPage, samples: Array) -> BoolArray | None:
    """Return bool (H, W), True where every band of the samples, (H, W) or (H, W, S), is nodata.

    Returns:
        ``None`` if the file has no nodata value.
    """
    nodata = nodata_of(page)
    if nodata is None:
        return None
    is_nothing = np.isnan(samples) if math.isnan(nodata) else samples == nodata
    return np.asarray(is_nothing if is_nothing.ndim == 2 else is_nothing.all(-1))
