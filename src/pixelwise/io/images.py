"""Reads image and mask files into arrays."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np
import numpy.typing as npt
from PIL import Image

from pixelwise.errors import DataError, MaskError
from pixelwise.io.arrays import Array, BoolArray, UInt8Array
from pixelwise.io.containers import read_member
from pixelwise.io.containers.tiff_pages import is_banded, read_bands, stack_of
from pixelwise.io.decoding import decoding
from pixelwise.io.limits import (
    PILLOW_FORMATS,
    require_decodable_picture,
    require_decodable_tiff,
)
from pixelwise.io.members import CONTAINER_ENDINGS, ending_of, split_member
from pixelwise.io.npy import read_npy
from pixelwise.io.pillow_pixels import orientation_of, pillow_pixels, raw_mode_of, upright
from pixelwise.io.tiff import nodata_of, shown_pixels, tiff_orientation, where_nodata
from pixelwise.text import amount

if TYPE_CHECKING:
    import tifffile

IMAGE_SUFFIXES = frozenset(
    {".png", ".jpg", ".jpeg", ".jp2", ".bmp", ".webp", ".tif", ".tiff", ".gif", ".npy"}
)
"""Suffixes of image files, in lower case; files are matched in any case."""

MASK_SUFFIXES = frozenset({".png", ".bmp", ".tif", ".tiff", ".gif", ".npy"})
"""Suffixes of lossless formats; JPEG alters values, so it cannot hold a mask."""

_HEIC = "it is a HEIC picture, which needs a codec that pixelwise does not bring. Convert it to PNG"
UNREADABLE = {".heic": _HEIC, ".heif": _HEIC}
"""Endings of pictures that are not read, in lower case, and why, as a sentence without a stop."""

TIFF_SUFFIXES = frozenset({".tif", ".tiff"})

_TIFF_STARTS = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
"""First bytes of a TIFF or a BigTIFF, in either byte order."""

# tifffile logs problems of a file; here they are reported as one error message instead.
logging.getLogger("tifffile").addHandler(logging.NullHandler())

LARGEST_VALUE = {"uint8": 255.0, "uint16": 65535.0, "float32": 1.0}
"""Largest value of each image type; float images are expected to range from 0 to 1."""


class PixelReader(Protocol):
    """Decodes a file, or a part of it: upright, at full depth and without alpha."""

    def __call__(self, path: Path, *, as_stored: bool) -> Array:
        """Return the pixels, (H, W) or (H, W, C).

        Args:
            path: The file.
            as_stored: Return the indices of palette images instead of their colors, and the stored
                numbers of images with 1, 2 or 4 bits instead of levels up to 255.
        """


def read_image(path: Path, reader: PixelReader | None = None) -> Array:
    """Read an image file at full bit depth, without alpha and with EXIF rotation applied.

    Alpha describes how an image is displayed and not what it shows, so it is dropped. Bands of a
    TIFF that are not declared as alpha are kept.

    Args:
        path: PNG, JPEG, JPEG 2000, BMP, WebP, GIF, TIFF or ``.npy``, or the path of a picture
            inside a file, see :mod:`pixelwise.io.members`.
        reader: Decodes a part of the file; ``None`` decodes all of it, as in the other functions.

    Returns:
        (H, W, C); uint8, uint16 or float32.

    Raises:
        DataError: The file is missing, empty, truncated or not an image.
    """
    with decoding(path):
        pixels = with_channels((reader or whole_pixels)(path, as_stored=False), path)
        # Copied here once, so that tensors can share the memory afterwards.
        return np.require(pixels, requirements=["C", "W"])


def read_mask_values(path: Path, reader: PixelReader | None = None) -> Array:
    """Read the integers that a mask file stores.

    Palette images give their indices, not their colors.

    Returns:
        (H, W), of the stored integer type, at most 8 bytes. It is not converted to int64, which
        would take eight times the memory for uint8 masks.

    Raises:
        MaskError: The mask has colors or fractions, or is not two-dimensional.
        DataError: The file cannot be read.
    """
    with decoding(path):
        values = (reader or whole_pixels)(path, as_stored=True)
    values = _one_plane(values, path)
    if values.dtype.kind == "f":
        with np.errstate(invalid="ignore"):  # values beyond int64 are detected below
            whole = values.astype(np.int64)
        if (whole != values).any():
            unknown = values[whole != values].flat[0]
            raise MaskError(
                f"{path} must contain whole class ids. Got the fraction {unknown}. "
                "Save the mask without scaling or smoothing"
            )
        return whole
    if values.dtype == np.bool_:
        return values.astype(np.uint8)
    # Values beyond int64 cannot be class ids, so uint64 can be converted safely.
    kind = np.int64 if values.dtype == np.uint64 else values.dtype.newbyteorder("=")
    return values.astype(kind, copy=False)


def read_grayscale_mask(path: Path, largest_beside: Callable[[], int] | None = None) -> UInt8Array:
    """Read a soft mask of one class, where black means no and white means yes.

    White is 255 in a file of 8 bits and 65535 in a file of 16 bits. A file of 8 bits that holds
    only 0 and 1 is read as no and yes, unless other masks of its folder hold larger values.

    Args:
        path: The file.
        largest_beside: Returns the largest value of all masks in the folder; called only if the
            values of this mask are ambiguous. ``None`` uses this mask alone.

    Returns:
        uint8 (H, W), 0..255 for 0..1.

    Raises:
        MaskError: The mask has colors, fractions or more than 16 bits, or it has 16 bits and only
            values up to 255.
        DataError: The file cannot be read.
    """
    with decoding(path):
        values = _one_plane(whole_pixels(path, as_stored=False), path)
    if values.dtype == np.bool_:
        return values.astype(np.uint8) * np.uint8(255)
    largest = int(values.max(initial=0))

    def are_all_within(limit: int) -> bool:
        return largest <= limit and (largest_beside is None or largest_beside() <= limit)

    if values.dtype == np.uint8:
        return values * np.uint8(255) if largest == 1 and are_all_within(1) else values
    if values.dtype.kind == "u" and values.dtype.itemsize == 2:
        if largest and are_all_within(255):
            raise MaskError(
                f"{path} must use the range 0 to 65535, as it has 16 bits. Got 0 to {largest}, "
                "which would be read as black. Save the masks with 8 bits, or scale them to 16"
            )
        return np.asarray(values // 257, np.uint8)
    raise MaskError(
        f"{path} must contain gray levels of 8 or 16 bits. Got {values.dtype}, {values.min()} to "
        f"{values.max()}. Save the mask as uint8, 0 to 255"
    )


def read_mask_colors(path: Path, reader: PixelReader | None = None) -> npt.NDArray[np.int32]:
    """Read the displayed colors of a mask file; alpha is dropped.

    Returns:
        int32 (H, W): red * 65536 + green * 256 + blue, as :func:`pixelwise.classes.color_code`
        computes it.

    Raises:
        MaskError: The mask does not have colors of 8 bits.
        DataError: The file cannot be read.
    """
    with decoding(path):
        pixels = (reader or whole_pixels)(path, as_stored=False)
    if pixels.dtype == np.bool_:
        pixels = pixels.astype(np.uint8) * np.uint8(255)
    if pixels.ndim == 2 or pixels.shape[2:] == (1,):
        pixels = np.broadcast_to(pixels.reshape(*pixels.shape[:2], 1), (*pixels.shape[:2], 3))
    if pixels.dtype != np.uint8 or pixels.shape[2:] != (3,):
        raise MaskError(
            f"{path} must contain red, green and blue of 8 bits. Got {pixels.dtype} of the shape "
            f"{pixels.shape}. Save the mask as an RGB PNG"
        )
    codes = pixels[..., 0].astype(np.int32)
    for channel in (1, 2):
        codes <<= 8
        codes |= pixels[..., channel]
    return codes


def _one_plane(values: Array, path: Path) -> Array:
    """Return the finite values of a mask as (H, W); several equal channels become one."""
    if values.ndim not in (2, 3) or values.dtype.kind not in "biuf":
        raise MaskError(
            f"{path} must contain one class id per pixel. Got {values.dtype} of the shape "
            f"{values.shape}. Save the mask as integers (H, W)"
        )
    if values.dtype.kind == "f" and not np.isfinite(values).all():
        unknown = values[~np.isfinite(values)]
        raise MaskError(
            f"{path} must contain one class id per pixel. Got {unknown[0]} in "
            f"{amount(unknown.size, 'pixel')}. Save the mask as integers (H, W)"
        )
    if values.ndim == 3:
        first = values[..., :1]
        if (values != first).any():
            raise MaskError(
                f"{path} must contain one class id per pixel. Got {values.shape[-1]} channels that "
                "differ, so it is a color image. Save the mask as an index or grayscale PNG"
            )
        values = values[..., 0]
    return values


def is_rotated(path: Path) -> bool:
    """Whether the EXIF orientation of the file requires a rotation or a flip."""
    if path.suffix.lower() == ".npy" or is_inside(path):
        return False
    if is_tiff(path):
        import tifffile

        with tifffile.TiffFile(path) as file:
            return tiff_orientation(file) != 1
    with Image.open(path, formats=PILLOW_FORMATS) as picture:
        return orientation_of(picture) != 1


def is_inside(path: Path) -> bool:
    """Whether a picture is part of a file, or a file of its own that is no plain picture."""
    file, member = split_member(path)
    return bool(member) or ending_of(file) in CONTAINER_ENDINGS


def is_exact(path: Path) -> bool:
    """Whether the file of a picture keeps the values of a mask, by its ending."""
    return ending_of(path) in MASK_SUFFIXES or is_inside(path)


def is_tiff(path: Path) -> bool:
    """Whether a file is a TIFF by its first bytes; published folders have TIFFs named ``.jpg``.

    Raises:
        OSError: The file cannot be read.
    """
    with path.open("rb") as file:
        return file.read(4) in _TIFF_STARTS


def whole_pixels(path: Path, *, as_stored: bool) -> Array:
    """Decode a whole file; see :class:`PixelReader`."""
    inside = read_member(path, as_stored=as_stored)
    if inside is not None:
        return inside
    if path.suffix.lower() == ".npy":
        return read_npy(path)
    if is_tiff(path):
        return _read_tiff(path, as_stored=as_stored)
    with Image.open(path, formats=PILLOW_FORMATS) as picture:
        is_deep = _is_deep_color_png(path)
        require_decodable_picture(path, picture, is_deep)
        raw_mode = raw_mode_of(picture)  # must be read first: reading EXIF may decode the image
        orientation = orientation_of(picture)
        if is_deep:
            pixels = _read_deep_png(path)
        elif as_stored and picture.mode in ("1", "P", "L"):
            # Pillow scales gray levels of 2 and 4 bits to 0..255; this is the step between two.
            step = {"L;2": 85, "L;4": 17}.get(raw_mode)
            pixels = np.asarray(picture) // np.uint8(step) if step else np.asarray(picture)
        else:
            pixels = pillow_pixels(picture)
    return upright(pixels, orientation)


def _is_deep_color_png(path: Path) -> bool:
    """Whether the file is a 16-bit PNG with colors or alpha, which Pillow reduces to 8 bits."""
    with path.open("rb") as file:
        header = file.read(26)
    return header.startswith(b"\x89PNG") and header[24] == 16 and header[25] != 0


def _read_deep_png(path: Path) -> Array:
    import torch
    from torchvision.io import ImageReadMode, decode_png

    content = torch.frombuffer(bytearray(path.read_bytes()), dtype=torch.uint8)
    pixels = decode_png(content, ImageReadMode.UNCHANGED).permute(1, 2, 0).numpy()
    has_alpha = pixels.shape[-1] in (2, 4)
    return np.asarray(pixels[..., :-1] if has_alpha else pixels)


def _read_tiff(path: Path, *, as_stored: bool) -> Array:
    import tifffile

    with tifffile.TiffFile(path) as file:
        _, pixels = _only_picture(path, file, as_stored=as_stored)
        return upright(pixels, tiff_orientation(file))


def _only_picture(
    path: Path, file: tifffile.TiffFile, *, as_stored: bool
) -> tuple[tifffile.TiffPage, Array]:
    """Return the picture of a TIFF of one page, or of one page for each band, and its page."""
    stack = stack_of(file) if len(file.pages) > 1 else None
    if stack is not None and is_banded(stack):
        return stack.keyframe, read_bands(path, file, stack, as_stored=as_stored)
    page = require_decodable_tiff(path, file)
    return page, shown_pixels(page, page.asarray(), as_stored=as_stored)


def read_nodata(path: Path) -> BoolArray | None:
    """Return where a TIFF has no data: where every band is its nodata value, or NaN.

    Returns:
        bool (H, W), upright; ``None`` if the file is no TIFF, or has data everywhere by its header.

    Raises:
        DataError: The file cannot be decoded.
    """
    if path.suffix.lower() not in TIFF_SUFFIXES:
        return None
    import tifffile

    with decoding(path), tifffile.TiffFile(path) as file:
        if nodata_of(file.pages[0].aspage()) is None:
            return None
        nothing = where_nodata(*_only_picture(path, file, as_stored=True))
        return None if nothing is None else np.asarray(upright(nothing, tiff_orientation(file)))


def with_channels(pixels: Array, path: Path) -> Array:
    """Convert numbers (H, W) or (H, W, C) to (H, W, C) of uint8, uint16 or float32.

    False and True become 0 and 255.

    Raises:
        DataError: The shape is not that of an image, or the values are not numbers.
    """
    if pixels.ndim == 2:
        pixels = pixels[..., None]
    if pixels.ndim != 3 or 0 in pixels.shape:
        raise DataError(
            f"{path} must contain height, width and channels. Got the shape {pixels.shape}. "
            "Save it as (H, W) or (H, W, C)"
        )
    if pixels.dtype.kind == "u" and pixels.dtype.itemsize <= 2:
        return pixels.astype(pixels.dtype.newbyteorder("="), copy=False)
    if pixels.dtype == np.bool_:
        return np.where(pixels, np.uint8(255), np.uint8(0))
    if pixels.dtype.kind not in "iuf":
        raise DataError(f"{path} must contain numbers. Got {pixels.dtype}. Save it as float32")
    return np.nan_to_num(pixels.astype(np.float32), nan=0.0, posinf=0.0, neginf=0.0)
