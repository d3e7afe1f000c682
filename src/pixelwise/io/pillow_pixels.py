"""Pixels of Pillow images at full depth: without alpha, and upright."""

from __future__ import annotations

import numpy as np
from PIL import ExifTags, Image

from pixelwise.io.arrays import Array


def array_of_picture(picture: Image.Image) -> Array:
    """Return an open Pillow image as :func:`read_image` returns the file that it was read from.

    Args:
        picture: An image of any mode.

    Returns:
        (H, W, C), uint8, uint16 or float32, without alpha and with EXIF rotation applied.
    """
    pixels = upright(pillow_pixels(picture), orientation_of(picture))
    return pixels[..., None] if pixels.ndim == 2 else pixels


def pillow_pixels(picture: Image.Image) -> Array:
    """Return the pixels of a Pillow image at full depth without alpha; palettes become colors."""
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


def raw_mode_of(picture: Image.Image) -> str:
    """Return the storage mode of the pixels, such as ``L;4``."""
    tiles = getattr(picture, "tile", None)  # only images opened from a file have it
    if not tiles:
        return ""
    arguments = tiles[0].args
    return str(arguments[0] if isinstance(arguments, tuple) else arguments)


def orientation_of(picture: Image.Image) -> int:
    """Return the EXIF orientation of an image, 1 to 8."""
    return int(picture.getexif().get(ExifTags.Base.Orientation, 1))


def upright(pixels: Array, orientation: int) -> Array:
    """Turn stored pixels upright according to their EXIF orientation, 1 to 8."""
    if orientation in (5, 6, 7, 8):
        pixels = np.swapaxes(pixels, 0, 1)
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    return pixels
