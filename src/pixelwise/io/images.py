"""Reading image and mask files: the one place where pixels are decoded."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, TypeGuard

import numpy as np
import numpy.typing as npt
from PIL import ExifTags, Image

from pixelwise.errors import DataError, MaskError, PixelwiseError
from pixelwise.io.arrays import Array, UInt8Array
from pixelwise.io.limits import (
    PILLOW_FORMATS,
    require_decodable,
    require_decodable_picture,
    require_decodable_tiff,
)
from pixelwise.io.quiet import quietly
from pixelwise.io.tiff import shown_pixels, tiff_orientation

IMAGE_SUFFIXES = frozenset(
    {".png", ".jpg", ".jpeg", ".bmp", ".webp", ".tif", ".tiff", ".gif", ".npy"}
)
"""Files with these suffixes, in any case, are taken for images."""

MASK_SUFFIXES = frozenset({".png", ".bmp", ".tif", ".tiff", ".gif", ".npy"})
"""Formats that keep a value as it was written; JPEG does not, so it cannot hold a mask."""

TIFF_SUFFIXES = frozenset({".tif", ".tiff"})

# tifffile prints what is wrong with a file; here that is one line, and an error.
logging.getLogger("tifffile").addHandler(logging.NullHandler())

LARGEST_VALUE = {"uint8": 255.0, "uint16": 65535.0, "float32": 1.0}
"""The largest value of each type that images come in; float images are taken as 0 to 1."""


def read_image(path: Path) -> Array:
    """Read an image file whole: every bit depth, every channel but alpha, EXIF rotation applied.

    Alpha says how a picture is shown and not what was photographed, so it is left out; bands of a
    TIFF that are not declared as alpha stay.

    Args:
        path: PNG, JPEG, BMP, WebP, GIF, TIFF or ``.npy``.

    Returns:
        (H, W, C); uint8, uint16 or float32.

    Raises:
        DataError: The file is missing, empty, truncated or no image.
    """
    with decoding(path):
        pixels = with_channels(_read_pixels(path, as_stored=False), path)
        # Once here, so that tensors can share the memory afterwards.
        return np.require(pixels, requirements=["C", "W"])


def read_mask_values(path: Path) -> Array:
    """Read a mask file as the integers that are stored in it.

    Palette images give their indices, not their colors.

    Returns:
        (H, W), of the integer type that they are stored in, at most 8 bytes: as int64 a mask of
        bytes would take eight times the memory.

    Raises:
        MaskError: The mask has colors or fractions, or is not of two dimensions.
        DataError: The file cannot be read.
    """
    with decoding(path):
        values = _read_pixels(path, as_stored=True)
    values = _one_plane(values, path)
    if values.dtype.kind == "f":
        with np.errstate(invalid="ignore"):  # what is beyond int64 is told from it just below
            whole = np.nan_to_num(values, nan=0, posinf=0, neginf=0).astype(np.int64)
        if (whole != values).any():
            unknown = values[whole != values].flat[0]
            raise MaskError(
                f"{path} must hold whole class ids. Got the fraction {unknown}. "
                "Save the mask without scaling or smoothing"
            )
        return whole
    if values.dtype == np.bool_:
        return values.astype(np.uint8)
    # What no signed integer holds could be compared with no class.
    kind = np.int64 if values.dtype == np.uint64 else values.dtype.newbyteorder("=")
    return values.astype(kind, copy=False)


def read_grayscale_mask(path: Path, largest_beside: Callable[[], int] | None = None) -> UInt8Array:
    """Read a soft mask of one class, where black is no and white is yes.

    What is white follows from the depth of the file: 255, or 65535 of 16 bits. A file of 8 bits
    that holds 0 and 1 alone is taken as no and yes, unless those beside it hold more.

    Args:
        path: The file.
        largest_beside: Asked for the largest number in the masks of its folder, where its own do
            not tell how they count; ``None`` leaves it to them.

    Returns:
        uint8 (H, W), 0..255 for 0..1.

    Raises:
        MaskError: The mask has colors, fractions or more than 16 bits, or 16 bits that hold 8.
        DataError: The file cannot be read.
    """
    with decoding(path):
        values = _one_plane(_read_pixels(path, as_stored=False), path)
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
                f"{path} must count from 0 to 65535, as it has 16 bits. Got 0 to {largest}, which "
                "would be black. Save the masks with 8 bits, or scaled"
            )
        return np.asarray(values // 257, np.uint8)
    raise MaskError(
        f"{path} must hold gray of 8 or 16 bits. Got {values.dtype}, {values.min()} to "
        f"{values.max()}. Save the mask as uint8, 0 to 255"
    )


def read_mask_colors(path: Path) -> npt.NDArray[np.int32]:
    """Read a mask file as the colors that are seen in it; alpha is left out.

    Returns:
        int32 (H, W): red * 65536 + green * 256 + blue, as
        :func:`pixelwise.classes.color_code` counts.

    Raises:
        MaskError: The mask has no colors of 8 bits.
        DataError: The file cannot be read.
    """
    with decoding(path):
        pixels = _read_pixels(path, as_stored=False)
    if pixels.dtype == np.bool_:
        pixels = pixels.astype(np.uint8) * np.uint8(255)
    if pixels.ndim == 2 or pixels.shape[2:] == (1,):
        pixels = np.broadcast_to(pixels.reshape(*pixels.shape[:2], 1), (*pixels.shape[:2], 3))
    if pixels.dtype != np.uint8 or pixels.shape[2:] != (3,):
        raise MaskError(
            f"{path} must hold red, green and blue of 8 bits. Got {pixels.dtype} of the shape "
            f"{pixels.shape}. Save the mask as an RGB PNG"
        )
    codes = pixels[..., 0].astype(np.int32)
    for channel in (1, 2):
        codes <<= 8
        codes |= pixels[..., channel]
    return codes


def _one_plane(values: Array, path: Path) -> Array:
    """The numbers of a mask as (H, W); equal channels count as one."""
    if values.ndim not in (2, 3) or values.dtype.kind not in "biuf":
        raise MaskError(
            f"{path} must hold one class id per pixel. Got {values.dtype} of the shape "
            f"{values.shape}. Save the mask as integers (H, W)"
        )
    if values.ndim == 3:
        first = values[..., :1]
        if (values != first).any():
            raise MaskError(
                f"{path} must hold one class id per pixel. Got {values.shape[-1]} channels that "
                "differ, so it is a color picture. Save the mask as an index or grayscale PNG"
            )
        values = values[..., 0]
    return values


def is_rotated(path: Path) -> bool:
    """The file says by EXIF that it has to be turned to be upright."""
    if path.suffix.lower() == ".npy":
        return False
    if path.suffix.lower() in TIFF_SUFFIXES:
        import tifffile

        with tifffile.TiffFile(path) as file:
            return tiff_orientation(file) != 1
    with Image.open(path, formats=PILLOW_FORMATS) as picture:
        return _orientation(picture) != 1


def is_of_the_system(error: BaseException | None) -> TypeGuard[OSError]:
    """The system failed to read, and not the file: a disk, a network, a permission.

    Decoders raise ``OSError`` too, for files that are cut, but without the system's number.
    """
    return isinstance(error, OSError) and error.errno is not None


@contextmanager
def decoding(path: Path) -> Iterator[None]:
    """Turn whatever a decoder raises into one line that names the file, and hide its warnings.

    Raises:
        DataError: The file is missing, empty, too large, or of another kind; of our own errors
            those that the block raises.
    """
    try:
        if path.stat().st_size == 0:
            raise DataError(f"{path} must be an image. It has zero bytes. Restore or remove it")
        with quietly:  # decoders warn of metadata that is not used here
            yield
    except PixelwiseError:
        raise
    except FileNotFoundError as error:
        raise DataError(f"{path} must exist. It does not. Check the path") from error
    except MemoryError as error:
        raise DataError(f"{path} does not fit into memory. Cut it into tiles first") from error
    except Exception as error:  # decoders raise many kinds: OSError, SyntaxError, struct.error
        if is_of_the_system(error):
            raise DataError(
                f"{path} must be readable. The system says: {error.strerror}. Try again"
            ) from error
        reason = " ".join(str(error).split()) or type(error).__name__
        raise DataError(
            f"{path} must be a readable image. It is truncated or of another kind "
            f"({reason[:120]}). Restore or remove it"
        ) from error


def _read_pixels(path: Path, *, as_stored: bool) -> Array:
    """The pixels of a file, upright, in full depth and without alpha.

    Args:
        path: The file.
        as_stored: Palette pictures give their indices instead of their colors, and pictures of
            1, 2 or 4 bits the numbers in the file instead of levels up to 255.
    """
    if path.suffix.lower() == ".npy":
        return _read_npy(path)
    if path.suffix.lower() in TIFF_SUFFIXES:
        return _read_tiff(path, as_stored=as_stored)
    with Image.open(path, formats=PILLOW_FORMATS) as picture:
        is_deep = _is_deep_color_png(path)
        require_decodable_picture(path, picture, is_deep)
        raw_mode = _raw_mode(picture)  # known until something decodes, as reading EXIF may
        orientation = _orientation(picture)
        if is_deep:
            pixels = _read_deep_png(path)
        elif as_stored and picture.mode in ("1", "P", "L"):
            # Pillow spreads gray of 2 and 4 bits over 0..255: the step between two levels.
            step = {"L;2": 85, "L;4": 17}.get(raw_mode)
            pixels = np.asarray(picture) // np.uint8(step) if step else np.asarray(picture)
        else:
            pixels = _pillow_pixels(picture)
    return _upright(pixels, orientation)


def _raw_mode(picture: Image.Image) -> str:
    """How gray levels lie in the file, such as ``L;4``."""
    tiles = getattr(picture, "tile", None)  # only a picture that was opened from a file has them
    if not tiles:
        return ""
    arguments = tiles[0].args
    return str(arguments[0] if isinstance(arguments, tuple) else arguments)


def _orientation(picture: Image.Image) -> int:
    return int(picture.getexif().get(ExifTags.Base.Orientation, 1))


def _upright(pixels: Array, orientation: int) -> Array:
    """Turn stored pixels as their EXIF orientation, 1 to 8, says."""
    if orientation in (5, 6, 7, 8):
        pixels = np.swapaxes(pixels, 0, 1)
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    return pixels


def _is_deep_color_png(path: Path) -> bool:
    """A PNG of 16 bits with colors or alpha, which Pillow would cut to 8 bits."""
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


def _pillow_pixels(picture: Image.Image) -> Array:
    """The pixels of a Pillow image, in full depth and without alpha; palettes become colors."""
    mode = picture.mode
    if mode == "1":
        return np.asarray(picture.convert("L"))
    if mode == "P":
        return np.asarray(picture.convert("RGB"))
    if mode in {"RGBA", "RGBa", "RGBX", "PA"}:
        return np.asarray(picture.convert("RGB") if mode != "RGBA" else picture)[..., :3]
    if mode in {"LA", "La"}:
        return np.asarray(picture)[..., 0]
    if mode in {"L", "RGB"}:
        return np.asarray(picture)
    if mode.startswith("I;16"):
        return np.asarray(picture).astype(np.uint16)
    if mode in {"I", "F"}:
        pixels = np.asarray(picture)
        if mode == "I" and pixels.min() >= 0 and pixels.max() <= 65535:
            return pixels.astype(np.uint16)
        return pixels.astype(np.float32)
    return np.asarray(picture.convert("RGB"))


def npy_header(path: Path, file: BinaryIO) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    """Shape, whether it lies column by column, and type of a ``.npy``; its pixels begin behind.

    Raises:
        DataError: It is of a version that nobody writes.
        ValueError: It is no ``.npy``.
    """
    version = np.lib.format.read_magic(file)
    if version not in ((1, 0), (2, 0)):
        raise DataError(f"{path} must be of .npy version 1 or 2. Got {version}. Save it again")
    read_header = (
        np.lib.format.read_array_header_1_0
        if version == (1, 0)
        else np.lib.format.read_array_header_2_0
    )
    shape, is_by_column, dtype = read_header(file)
    return shape, is_by_column, dtype


def _read_npy(path: Path) -> Array:
    with path.open("rb") as file:
        shape, _, dtype = npy_header(path, file)
        require_decodable(path, shape, dtype.itemsize)
        # numpy makes room for what the header promises before it looks how much there is.
        num_missing = math.prod(shape) * dtype.itemsize - (path.stat().st_size - file.tell())
        if num_missing > 0:
            raise ValueError(f"{num_missing:,} bytes are missing")
        file.seek(0)
        return np.asarray(np.lib.format.read_array(file, allow_pickle=False))


def _read_tiff(path: Path, *, as_stored: bool) -> Array:
    import tifffile

    with tifffile.TiffFile(path) as file:
        page = require_decodable_tiff(path, file)
        pixels = shown_pixels(page, page.asarray(), as_stored=as_stored)
        return _upright(pixels, tiff_orientation(file))


def with_channels(pixels: Array, path: Path) -> Array:
    """(H, W) or (H, W, C) of any number type to (H, W, C), uint8, uint16 or float32.

    Of one bit, no and yes become black and white, 0 and 255.

    Raises:
        DataError: It is no image, or holds no numbers.
    """
    if pixels.ndim == 2:
        pixels = pixels[..., None]
    if pixels.ndim != 3 or 0 in pixels.shape:
        raise DataError(
            f"{path} must hold height, width and channels. Got the shape {pixels.shape}. "
            "Save it as (H, W) or (H, W, C)"
        )
    if pixels.dtype.kind == "u" and pixels.dtype.itemsize <= 2:
        return pixels.astype(pixels.dtype.newbyteorder("="), copy=False)
    if pixels.dtype == np.bool_:
        return np.where(pixels, np.uint8(255), np.uint8(0))
    if pixels.dtype.kind not in "iuf":
        raise DataError(f"{path} must hold numbers. Got {pixels.dtype}. Save it as float32")
    return np.nan_to_num(pixels.astype(np.float32), nan=0.0, posinf=0.0, neginf=0.0)
