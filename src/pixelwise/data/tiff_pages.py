"""What the values of a TIFF stand for: colours, levels, alpha, and which side is up."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from PIL import ExifTags

if TYPE_CHECKING:
    import tifffile

Array = npt.NDArray[Any]


def tiff_orientation(file: tifffile.TiffFile) -> int:
    """How a TIFF has to be turned to be upright, 1 to 8; 1 is not at all."""
    return int(file.pages[0].aspage().tags.valueof(ExifTags.Base.Orientation.value, default=1))


def shown_pixels(page: tifffile.TiffPage, pixels: Array, *, as_stored: bool = False) -> Array:
    """Decoded values of a TIFF, of all its rows or of some, as the picture that they stand for.

    Args:
        page: What the values mean.
        pixels: (H, W) or (H, W, S); where samples are stored apart, (S, H, W).
        as_stored: Palette pictures give their indices instead of their colours.

    Returns:
        (H, W) or (H, W, C): white is bright, palettes are colours, alpha is left out.
    """
    import tifffile

    if page.planarconfig == tifffile.PLANARCONFIG.SEPARATE and pixels.ndim == 3:
        pixels = np.moveaxis(pixels, 0, -1)
    if page.photometric == tifffile.PHOTOMETRIC.MINISWHITE:
        white = True if pixels.dtype == np.bool_ else np.iinfo(pixels.dtype).max
        pixels = white ^ pixels
    is_palette = page.photometric == tifffile.PHOTOMETRIC.PALETTE
    if is_palette and not as_stored and page.colormap is not None:
        pixels = np.moveaxis(page.colormap[:, pixels] // 256, 0, -1).astype(np.uint8)
    if has_alpha(page) and pixels.ndim == 3:
        pixels = pixels[..., :-1]
    return np.asarray(pixels)


def has_alpha(page: tifffile.TiffPage) -> bool:
    """The last sample of a TIFF's pixels is declared as alpha."""
    import tifffile

    alpha = {int(tifffile.EXTRASAMPLE.UNASSALPHA), int(tifffile.EXTRASAMPLE.ASSOCALPHA)}
    return bool(page.extrasamples) and int(page.extrasamples[-1]) in alpha
