"""Enhances images before resizing: bands, denoising, white balance, contrast.

The steps always run in this order and keep the type and the size of the image. Resizing and
normalization follow in :mod:`pixelwise.transforms.preprocessing`.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict

from pixelwise.config import Bands, Contrast, Denoise, WhiteBalance
from pixelwise.errors import DataError
from pixelwise.io.arrays import Array, Float32Array
from pixelwise.io.images import LARGEST_VALUE

STRETCH = (1.0, 99.0)
"""Percentiles of an image that become black and white when its contrast is stretched."""

CLAHE_TILES = 8
"""Number of tiles of CLAHE along each side; fewer if the image has fewer pixels."""

CLAHE_LIMIT = 2.0
"""CLAHE increases the contrast of a gray level by at most about this factor."""

CLAHE_BINS = 256
"""Number of gray levels in the histograms of CLAHE; values between two of them are interpolated."""

STRIP_PIXELS = 2**20
"""Images deeper than 8 bits are processed in strips of this many pixels, which limits memory."""

MEDIAN_PX = 3
"""Side of the median filter's window."""

NOISE_KERNEL = np.array([[1, -2, 1], [-2, 4, -2], [1, -2, 1]], np.float32)
"""Removes flat areas, slopes and edges along the axes, and leaves six times the noise
(Immerkær, Fast Noise Variance Estimation, 1996)."""

MEDIAN_TO_STD = 1.4826
"""Ratio of standard deviation to median absolute value for normally distributed noise."""


class Enhancement(BaseModel):
    """The enhancement steps, in the order in which they run.

    Attributes:
        bands: Bands to select, counted from 1, in this order; ``None`` selects all.
        denoise: ``median`` of 3 x 3 pixels, or ``nl-means`` with the strength of the noise.
        white_balance: ``gray-world`` gives all bands the same mean.
        contrast: ``stretch`` spreads the values of all bands together over the range of the type,
            ``stretch-bands`` those of each band, ``clahe`` equalizes the contrast locally.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    bands: Bands | None = None
    denoise: Denoise = "none"
    white_balance: WhiteBalance = "none"
    contrast: Contrast = "none"

    def describe(self) -> list[str]:
        """Return the active steps as text, in order."""
        bands = [f"bands {', '.join(map(str, self.bands))}"] if self.bands else []
        steps = (
            ("denoise", self.denoise),
            ("white balance", self.white_balance),
            ("contrast", self.contrast),
        )
        return bands + [f"{step} {kind}" for step, kind in steps if kind != "none"]


def enhance(image: Array, steps: Enhancement, name: str = "image") -> Array:
    """Apply the steps to one image.

    Args:
        image: (H, W, C), uint8, uint16 or float32.
        steps: The steps.
        name: The image's name, for messages.

    Returns:
        An array of the same type, height and width, with the selected bands.

    Raises:
        DataError: The image lacks a band.
    """
    image = choose_bands(image, steps.bands, name)
    if steps.denoise == "median":
        image = _by_band(image, _median)
    elif steps.denoise == "nl-means":
        image = _by_band(image, _nl_means)
    if steps.white_balance == "gray-world":
        image = balance_gray_world(image)
    if steps.contrast == "clahe":
        return equalize_locally(image)
    if steps.contrast != "none":
        return stretch_contrast(image, by_band=steps.contrast == "stretch-bands")
    return image


def choose_bands(image: Array, bands: tuple[int, ...] | None, name: str = "image") -> Array:
    """Select bands of an image in the given order.

    Args:
        image: (H, W, C).
        bands: Band numbers, counted from 1; ``None`` selects all.
        name: The image's name, for the message.

    Raises:
        DataError: The image has fewer bands.
    """
    if bands is None:
        return image
    if max(bands) > image.shape[-1]:
        raise DataError(
            f"{name} must have the bands {', '.join(map(str, bands))}. It has {image.shape[-1]}. "
            "Choose from those it has, counted from 1, or leave this image out"
        )
    return np.ascontiguousarray(image[..., [band - 1 for band in bands]])


def balance_gray_world(image: Array) -> Array:
    """Scale each band to the mean of all bands, assuming that the scene is gray on average.

    Args:
        image: (H, W, C), uint8, uint16 or float32.

    Returns:
        An array of the same shape and type; integers are rounded and clipped. A band without a
        positive mean is unchanged.

    Reference:
        Buchsbaum, A spatial processor model for object colour perception (1980).
    """
    means = image.mean((0, 1), np.float64)
    gains = np.divide(means.mean(), means, out=np.ones_like(means), where=means > 0)
    return _as_type(image * gains.clip(0).astype(np.float32), image.dtype)


def stretch_contrast(image: Array, *, by_band: bool = False) -> Array:
    """Spread the values of an image over the range of its type.

    Args:
        image: (H, W, C), uint8, uint16 or float32.
        by_band: Stretch each band separately; otherwise all bands together, which keeps colors.

    Returns:
        An array of the same shape and type. The 1st percentile becomes 0, the 99th the largest
        value of the type (1 for float32). If the two are equal, the smallest and the largest value
        are used instead; an image with a single value is returned unchanged.
    """
    axis = (0, 1) if by_band else None
    low, high = np.percentile(image, STRETCH, axis=axis)
    is_narrow = high <= low
    low, high = np.where(is_narrow, [image.min(axis), image.max(axis)], [low, high])
    largest = LARGEST_VALUE[str(image.dtype)]
    is_flat = high <= low
    gain = np.divide(largest, high - low, out=np.zeros_like(high), where=~np.asarray(is_flat))
    stretched = ((image - low.astype(np.float32)) * gain.astype(np.float32)).clip(0, largest)
    return _as_type(np.where(is_flat, image, stretched), image.dtype)


def equalize_locally(image: Array) -> Array:
    """Equalize the contrast of an image locally (CLAHE).

    Three bands are treated as red, green and blue, and only their lightness (CIE Lab) is changed.
    Otherwise each band is changed separately.

    Images deeper than 8 bits rarely use their range, so they are stretched first: the bands of a
    color image together, others separately. float32 images then range from 0 to 1.

    Args:
        image: (H, W, C), uint8, uint16 or float32.

    Returns:
        An array of the same shape and type.

    Reference:
        Zuiderveld, Contrast Limited Adaptive Histogram Equalization (Graphics Gems IV, 1994).
    """
    is_color = image.shape[-1] == 3
    if image.dtype == np.uint8:
        return _on_lightness(image) if is_color else _by_band(image, _clahe)
    if image.min() == image.max():
        return image
    image = stretch_contrast(image, by_band=not is_color)
    largest = LARGEST_VALUE[str(image.dtype)]
    unit = np.asarray(image, np.float32) / np.float32(largest)
    unit = _on_lightness(unit) if is_color else _by_band(unit, _deep_clahe)
    return _as_type(unit.clip(0, 1) * np.float32(largest), image.dtype)


def _on_lightness(image: Array) -> Array:
    """Apply CLAHE to the lightness; (H, W, 3), uint8, or float32 from 0 to 1."""
    import cv2

    lab = cv2.cvtColor(image, cv2.COLOR_RGB2Lab)
    if image.dtype == np.uint8:
        lab[..., 0] = _clahe(lab[..., 0])
    else:
        lab[..., 0] = _deep_clahe(lab[..., 0] / np.float32(100)) * np.float32(100)
    return np.asarray(cv2.cvtColor(lab, cv2.COLOR_Lab2RGB))


def _clahe(band: Array) -> Array:
    """Apply OpenCV's CLAHE, (H, W) uint8."""
    import cv2

    rows, columns = _tiles(band)
    engine = cv2.createCLAHE(clipLimit=CLAHE_LIMIT, tileGridSize=(columns, rows))
    return np.asarray(engine.apply(band))


def _deep_clahe(band: Float32Array) -> Float32Array:
    """Apply CLAHE to values of more than 8 bits, (H, W) float32 from 0 to 1.

    OpenCV counts 16-bit values in 65,536 bins, far more than a tile has pixels: either no bin
    reaches the limit or all do, so noise is amplified without bound or nothing changes. Here, 256
    bins are counted and values between two of them are interpolated, so none are merged.
    """
    from scipy.ndimage import map_coordinates

    curves = _tone_curves(band)
    places = [
        (np.arange(side) + 0.5) * tiles / side - 0.5
        for side, tiles in zip(band.shape, curves.shape, strict=False)
    ]
    changed = np.empty_like(band)
    height = max(1, STRIP_PIXELS // band.shape[1])
    for top in range(0, len(band), height):
        strip = band[top : top + height]
        rows, columns = np.meshgrid(places[0][top : top + height], places[1], indexing="ij")
        where = np.stack([rows, columns, strip.astype(np.float64) * CLAHE_BINS])
        changed[top : top + height] = map_coordinates(curves, where, order=1, mode="nearest")
    return changed


def _tone_curves(band: Float32Array) -> npt.NDArray[np.float64]:
    """Return the tone curve of each tile for 257 levels from 0 to 1: (rows, columns, 257)."""
    rows, columns = _tiles(band)
    row, column = (
        np.arange(side) * tiles // side
        for side, tiles in zip(band.shape, (rows, columns), strict=True)
    )
    level = np.minimum((band * CLAHE_BINS).astype(np.int64), CLAHE_BINS - 1)
    place = (row[:, None] * columns + column) * CLAHE_BINS + level
    counts = np.bincount(place.ravel(), minlength=rows * columns * CLAHE_BINS)
    shares = counts.reshape(rows, columns, CLAHE_BINS).astype(np.float64)
    shares /= shares.sum(-1, keepdims=True)
    limited = np.minimum(shares, CLAHE_LIMIT / CLAHE_BINS)
    limited += (1 - limited.sum(-1, keepdims=True)) / CLAHE_BINS
    return np.concatenate([np.zeros((rows, columns, 1)), limited.cumsum(-1)], axis=-1)


def _tiles(band: Array) -> tuple[int, int]:
    """Return the number of CLAHE tiles along the height and the width, (H, W)."""
    return min(CLAHE_TILES, band.shape[0]), min(CLAHE_TILES, band.shape[1])


def _median(band: Array) -> Array:
    import cv2

    return np.asarray(cv2.medianBlur(band, MEDIAN_PX))


def _nl_means(band: Array) -> Array:
    """Apply non-local means with the estimated noise as strength, (H, W).

    OpenCV only accepts integers: float32 is converted to 65,536 levels between its smallest and
    largest value, and back.

    Reference:
        Buades, Coll, Morel, A non-local algorithm for image denoising (2005).
    """
    import cv2

    if band.dtype == np.float32:
        low, span = band.min(), np.ptp(band)
        if span == 0:
            return band
        levels = np.rint((band - low) / span * np.float32(65535)).astype(np.uint16)
        return np.asarray(_nl_means(levels) / np.float32(65535) * span + low, np.float32)
    noise = _noise_std(band)
    if noise == 0:
        return band
    norm = cv2.NORM_L2 if band.dtype == np.uint8 else cv2.NORM_L1  # all it supports for uint16
    return np.asarray(cv2.fastNlMeansDenoising(band, h=[noise], normType=norm))


def _noise_std(band: Array) -> float:
    """Estimate the standard deviation of the noise in a band, (H, W), despite edges and texture."""
    import cv2

    response = np.abs(cv2.filter2D(band.astype(np.float32), -1, NOISE_KERNEL))
    return float(np.median(response)) * MEDIAN_TO_STD / 6


def _by_band(image: Array, step: Callable[[Array], Array]) -> Array:
    """Apply a step to each band separately."""
    bands = [step(np.ascontiguousarray(band)) for band in np.moveaxis(image, -1, 0)]
    return np.stack(bands, axis=-1)


def _as_type(values: Array, dtype: np.dtype[np.generic]) -> Array:
    """Convert numbers to an image type; integers are rounded and clipped."""
    if dtype == np.float32:
        return np.asarray(values, np.float32)
    return np.asarray(np.rint(values).clip(0, LARGEST_VALUE[str(dtype)]), dtype)
