"""What the training images are like: sizes, channels, means, class frequencies."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from pixelwise.classes import ClassMap
from pixelwise.errors import DataError, MaskError
from pixelwise.io.arrays import Array
from pixelwise.label_modes import Mode, mode_of
from pixelwise.transforms.labeled_image import LabeledImage


@dataclass(frozen=True)
class DatasetStatistics:
    """The facts that a training's defaults are chosen from.

    Attributes:
        num_images: How many images were looked at.
        in_channels: Channels that every image is brought to: 1, 3, or the number all images have.
        dtype: ``uint8``, ``uint16`` or ``float32``, the same for all images.
        mean: Mean per channel, in stored units.
        std: Standard deviation per channel, in stored units, above 0.
        heights: Every image's height in pixels.
        widths: Every image's width in pixels.
        class_frequencies: Share of the labeled pixels that is of each class (multilabel: its
            mean coverage, so they need not add up to 1).
        ignored_share: Share of the pixels that is ignored.
        unevenness: How differently a class lies in the upper and the lower halves of the images, 0
            (alike) to 1 (only in one of them), of the class where it is largest: near 1 for road
            scenes, near 0 for pictures from above or through a microscope.
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
    """Bring an image to the number of channels that a model takes; gray becomes equal channels.

    Args:
        image: (H, W, C).
        in_channels: The number wanted.
        name: The image's name, for the message.

    Raises:
        DataError: The channels differ and neither side is a grayscale picture.
    """
    channels = image.shape[-1]
    if channels == in_channels:
        return image
    if channels == 1 and in_channels == 3:
        return np.repeat(image, in_channels, axis=-1)
    if channels == 3 and in_channels == 1 and bool((image == image[..., :1]).all()):
        return image[..., :1]
    raise DataError(
        f"{name} must have {in_channels} channels. Got {channels}. "
        "Convert it, or train a model on such images"
    )


def measure(samples: Iterable[LabeledImage], class_map: ClassMap) -> DatasetStatistics:
    """Look at decoded samples, one pass.

    Args:
        samples: The training samples.
        class_map: Their classes.

    Raises:
        DataError: Bit depths or channels cannot go together.
        MaskError: Nothing is labeled, or everything is of one class, so nothing can be learned.
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
        raise DataError("the training split must hold at least one image. Got none")
    if len(dtypes) > 1:
        seen = ", ".join(f"{dtype} in {name}" for dtype, name in dtypes.items())
        raise DataError(f"images must share one bit depth. Got {seen}. Convert one kind")
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
    """The largest difference of a class between the halves; those too rare to tell are left out."""
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
            f"{masks} must hold labeled pixels. All are ignored "
            f"({', '.join(map(str, class_map.ignore))}). Check the ignore value"
        )
    present = [name for name, count in zip(class_map.names, counts, strict=True) if count > 0]
    if 0 < len(present) < mode.min_classes:
        raise MaskError(
            f"{masks} must show at least two classes. Got {present[0]!r} alone. "
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
    raise DataError(f"images must have equally many channels. Got {seen}. Convert one kind")


def _pooled(
    moments: list[tuple[int, np.ndarray, np.ndarray]], in_channels: int
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation over all pixels from those of images; gray counts in each."""
    counts = np.array([count for count, _, _ in moments], np.float64)[:, None]
    means = np.stack([np.broadcast_to(mean, in_channels) for _, mean, _ in moments])
    variances = np.stack([np.broadcast_to(variance, in_channels) for _, _, variance in moments])
    mean = (counts * means).sum(0) / counts.sum()
    variance = (counts * (variances + (means - mean) ** 2)).sum(0) / counts.sum()
    std = np.sqrt(variance)
    std[std < 1e-6] = 1.0  # a constant channel carries nothing; dividing by 1 keeps it finite
    return tuple(mean.tolist()), tuple(std.tolist())
