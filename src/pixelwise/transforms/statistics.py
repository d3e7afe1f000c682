"""Measures training images: sizes, channels, means and class frequencies."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from pixelwise.classes import ClassMap
from pixelwise.errors import DataError, MaskError
from pixelwise.io.arrays import Array
from pixelwise.label_modes import Mode, mode_of
from pixelwise.text import amount
from pixelwise.transforms.labeled_image import LabeledImage


@dataclass(frozen=True)
class DatasetStatistics:
    """Properties of the training images, from which defaults are chosen.

    Attributes:
        num_images: Number of images.
        in_channels: Channels to which every image is converted: 1, 3, or the number all have.
        dtype: ``uint8``, ``uint16`` or ``float32``, the same for all images.
        mean: Mean per channel, in stored units.
        std: Standard deviation per channel, in stored units, above 0.
        heights: Height of every image in pixels.
        widths: Width of every image in pixels.
        class_frequencies: Share of each class in the labeled pixels. Multilabel: mean coverage of
            each class, so the sum may differ from 1.
        ignored_share: Share of ignored pixels.
        unevenness: Largest difference of a class between the upper and lower halves of the images,
            from 0 (equal) to 1 (only in one half). It is near 1 for road scenes and near 0 for
            aerial and microscope images.
    """

    num_images: int
    in_channels: int
    dtype: str
    mean: tuple[float, ...]
    std: tuple[float, ...]
    heights: tuple[int, ...]
    widths: tuple[int, ...]
    class_frequencies: tuple[float, ...]
    ignored_share: float
    unevenness: float

    @property
    def median_size(self) -> tuple[int, int]:
        """Median height and median width in pixels."""
        return int(np.median(self.heights)), int(np.median(self.widths))


def conform_channels(image: Array, in_channels: int, name: str) -> Array:
    """Convert an image to a number of channels; grayscale is repeated in each channel.

    Args:
        image: (H, W, C).
        in_channels: Number of channels.
        name: The image's name, for the message.

    Raises:
        DataError: The numbers differ and neither is that of a grayscale image.
    """
    channels = image.shape[-1]
    if channels == in_channels:
        return image
    if channels == 1 and in_channels == 3:
        return np.repeat(image, in_channels, axis=-1)
    if channels == 3 and in_channels == 1 and bool((image == image[..., :1]).all()):
        return image[..., :1]
    raise DataError(
        f"{name} must have {amount(in_channels, 'channel')}. Got {channels}. "
        "Convert it, or train a model on such images"
    )


def measure(samples: Iterable[LabeledImage], class_map: ClassMap) -> DatasetStatistics:
    """Measure decoded samples in one pass.

    Args:
        samples: The training samples.
        class_map: Their classes.

    Raises:
        DataError: Bit depths or numbers of channels cannot be combined.
        MaskError: No pixel is labeled, or all are of one class, so there is nothing to learn.
    """
    heights, widths, names, moments = [], [], [], []
    dtypes: dict[str, str] = {}
    counts, upper_counts = np.zeros(class_map.num_classes), np.zeros(class_map.num_classes)
    ignored = labeled = 0.0
    for sample in samples:
        height, width, channels = sample.image.shape
        heights.append(height)
        widths.append(width)
        names.append(sample.name)
        dtypes.setdefault(str(sample.image.dtype), sample.name)
        pixels = sample.image.reshape(-1, channels)
        moments.append((len(pixels), pixels.mean(0, np.float64), pixels.var(0, dtype=np.float64)))
        mode = mode_of(sample.label_mode)
        (upper, upper_ignored), (lower, lower_ignored) = (
            mode.coverage(sample.mask[..., rows, :], class_map.num_classes)
            for rows in (slice(height // 2), slice(height // 2, None))
        )
        counts += upper + lower
        upper_counts += upper
        ignored += upper_ignored + lower_ignored
        labeled += height * width
    if not heights:
        raise DataError("the training split must contain at least one image. Got none")
    if len(dtypes) > 1:
        seen = ", ".join(f"{dtype} in {name}" for dtype, name in dtypes.items())
        raise DataError(
            f"images must share one bit depth. Got {seen}. Convert all images to one bit depth"
        )
    total = int(labeled)
    labeled -= ignored
    _require_something_to_learn(counts, labeled, class_map, mode, names)
    in_channels = _common_channels([len(mean) for _, mean, _ in moments], names)
    mean, std = _pooled(moments, in_channels)
    return DatasetStatistics(
        num_images=len(heights),
        in_channels=in_channels,
        dtype=next(iter(dtypes)),
        mean=mean,
        std=std,
        heights=tuple(heights),
        widths=tuple(widths),
        class_frequencies=tuple((counts / labeled).tolist()),
        ignored_share=ignored / total,
        unevenness=_unevenness(counts, upper_counts),
    )


def _unevenness(counts: np.ndarray, upper_counts: np.ndarray) -> float:
    """Return the largest difference of a class between the halves; rare classes are left out."""
    common = counts > 0.01 * counts.sum()
    return float(np.abs(2 * upper_counts[common] / counts[common] - 1).max(initial=0.0))


def _require_something_to_learn(
    counts: np.ndarray,
    labeled: float,
    class_map: ClassMap,
    mode: Mode,
    names: list[str],
) -> None:
    masks = f"the {len(names)} training masks ({', '.join(names[:3])}"
    masks += ", ...)" if len(names) > 3 else ")"
    if labeled == 0:
        raise MaskError(
            f"{masks} must contain labeled pixels. All are ignored "
            f"({', '.join(map(str, class_map.ignore))}). Check the ignore value"
        )
    present = [name for name, count in zip(class_map.names, counts, strict=True) if count > 0]
    if 0 < len(present) < mode.min_classes:
        raise MaskError(
            f"{masks} must show at least two classes. Got only {present[0]!r}. "
            "Check the masks and the ignore value"
        )
    if not present:
        raise MaskError(f"{masks} must show at least one class. All are black. Check the masks")


def _common_channels(channels: list[int], names: list[str]) -> int:
    kinds = sorted(set(channels))
    if len(kinds) == 1:
        return kinds[0]
    if kinds == [1, 3]:
        return 3
    seen = ", ".join(f"{kind} in {names[channels.index(kind)]}" for kind in kinds)
    raise DataError(
        f"images must have the same number of channels. Got {seen}. Convert all images to the same "
        "number of channels"
    )


def _pooled(
    moments: list[tuple[int, np.ndarray, np.ndarray]], in_channels: int
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Pool means and standard deviations of images over all pixels; gray counts in each channel."""
    counts = np.array([count for count, _, _ in moments], np.float64)[:, None]
    means = np.stack([np.broadcast_to(mean, in_channels) for _, mean, _ in moments])
    variances = np.stack([np.broadcast_to(variance, in_channels) for _, _, variance in moments])
    mean = (counts * means).sum(0) / counts.sum()
    variance = (counts * (variances + (means - mean) ** 2)).sum(0) / counts.sum()
    std = np.sqrt(variance)
    std[std < 1e-6] = 1.0  # a constant channel holds no information; 1 keeps the result finite
    return tuple(mean.tolist()), tuple(std.tolist())
