"""What the values of a TIFF stand for: colors, levels, alpha, and which side is up."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import ExifTags

if TYPE_CHECKING:
    import tifffile

    from pixelwise.io.arrays import Array, BoolArray

NODATA_TAG = 42113
"""GDAL's: the value of pixels that hold nothing, as text."""


def tiff_orientation(file: tifffile.TiffFile) -> int:
    """How a TIFF has to be turned to be upright, 1 to 8; 1 is not at all."""
    return int(file.pages[0].aspage().tags.valueof(ExifTags.Base.Orientation.value, default=1))


def shown_pixels(page: tifffile.TiffPage, pixels: Array, *, as_stored: bool = False) -> Array:
    """Decoded values of a TIFF, of all its rows or of some, as the picture that they stand for.

    Args:
        page: What the values mean.
        pixels: (H, W) or (H, W, S); where samples are stored apart, (S, H, W).
        as_stored: Numbers of more than one bit stay what they are: no palette, no white that is 0.

    Returns:
        (H, W) or (H, W, C): white is bright, palettes are colors, alpha is left out, and pixels
        without data are 0. Of bytes they stay: there, 255 is white to all but GDAL.
    """
    import tifffile

    if page.planarconfig == tifffile.PLANARCONFIG.SEPARATE and pixels.ndim == 3:
        pixels = np.moveaxis(pixels, 0, -1)
    alpha = alpha_samples(page)
    if alpha and pixels.ndim == 3:
        pixels = np.delete(pixels, alpha, -1)
    # Which of two levels is white is how a fax is packed, and says nothing of a mask.
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
    """The largest number of this many bits in an integer type that may have more."""
    return int(np.iinfo(dtype).max) >> 8 * dtype.itemsize - num_bits


def alpha_samples(page: tifffile.TiffPage) -> list[int]:
    """Which samples of a TIFF's pixels are declared as alpha."""
    import tifffile

    alpha = {int(tifffile.EXTRASAMPLE.UNASSALPHA), int(tifffile.EXTRASAMPLE.ASSOCALPHA)}
    first = page.samplesperpixel - len(page.extrasamples)
    return [at for at, kind in enumerate(page.extrasamples, first) if int(kind) in alpha]


def nodata_of(page: tifffile.TiffPage) -> float | None:
    """The value of pixels that hold nothing, where the file names one."""
    try:
        return float(str(page.tags.valueof(NODATA_TAG, default="")).strip("\0 ").replace(",", "."))
    except ValueError:
        return None


def where_nodata(page: tifffile.TiffPage, samples: Array) -> BoolArray | None:
    """Where every band of stored samples, (H, W) or (H, W, S), holds nothing: bool (H, W).

    Returns:
        ``None`` where the file names no such value.
    """
    nodata = nodata_of(page)
    if nodata is None:
        return None
    is_nothing = np.isnan(samples) if math.isnan(nodata) else samples == nodata
    return np.asarray(is_nothing if is_nothing.ndim == 2 else is_nothing.all(-1))
