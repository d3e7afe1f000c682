"""Generates MNIST extended: images of several digits with a soft mask per class."""

from __future__ import annotations

import gzip
import struct
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import yaml

from pixelwise.classes import Color
from pixelwise.data.card import CARD_NAME
from pixelwise.data.formats.class_masks import make_class_mask_folders, write_class_masks
from pixelwise.errors import ConfigError, DataError
from pixelwise.files import folder_written_aside
from pixelwise.io.arrays import UInt8Array

DIGIT_PX = 28
"""Side of one digit in pixels, as in MNIST."""

DIGIT_COLORS: tuple[Color, ...] = (
    (228, 26, 28), (55, 126, 184), (77, 175, 74), (152, 78, 163), (255, 127, 0),
    (255, 217, 47), (166, 86, 40), (247, 129, 191), (102, 194, 165), (153, 153, 153),
)  # fmt: skip
"""A color per digit, 0 to 9."""

MAX_REFUSALS = 1000
"""Placing digits in an image ends after this many rejected positions."""

_IDX_STEMS = {"train": "train", "test": "t10k"}


@dataclass(frozen=True, kw_only=True)
class DigitOptions:
    """Options of the generator of MNIST extended.

    Attributes:
        num_classes: Number of digits and classes, 1 to 10: the digits 0 to ``num_classes - 1``.
        height: Height of an image in pixels, at least 28.
        width: Width of an image in pixels, at least 28.
        min_digits: Smallest number of digits drawn for an image.
        max_digits: Largest number of digits drawn for an image.
        max_iou: A position is rejected if its 28 x 28 box overlaps an earlier box by more than
            this.
        labels_are_multiclass: A pixel belongs only to the first digit drawn on it.
        target_is_whole_bounding_box: The mask of a digit is its whole 28 x 28 box.
        proportion_of_mnist: Share of the source to draw from, sampled with replacement.
    """

    num_classes: int = 3
    height: int = 60
    width: int = 60
    min_digits: int = 2
    max_digits: int = 4
    max_iou: float = 0.2
    labels_are_multiclass: bool = False
    target_is_whole_bounding_box: bool = False
    proportion_of_mnist: float = 1.0

    def __post_init__(self) -> None:
        """Validate every option.

        Raises:
            ConfigError: An option is out of range.
        """
        _require(1 <= self.num_classes <= 10, "num_classes must be 1 to 10", self.num_classes)
        smallest = min(self.height, self.width)
        _require(smallest >= DIGIT_PX, f"height and width must be at least {DIGIT_PX}", smallest)
        _require(self.min_digits >= 0, "min_digits must be 0 or more", self.min_digits)
        _require(
            self.max_digits >= self.min_digits,
            f"max_digits must be at least min_digits ({self.min_digits})",
            self.max_digits,
        )
        _require(0 <= self.max_iou <= 1, "max_iou must be 0 to 1", self.max_iou)
        _require(
            0 < self.proportion_of_mnist <= 1,
            "proportion_of_mnist must be above 0 and at most 1",
            self.proportion_of_mnist,
        )


@dataclass(frozen=True)
class DigitSource:
    """A set of single digits.

    Attributes:
        images: uint8 (N, 28, 28), ink is 255.
        labels: uint8 (N,), the digit.
        origin: Where they come from, as text.
    """

    images: UInt8Array
    labels: UInt8Array
    origin: str


def load_digit_source(
    part: str, folder: Path | None = None, *, download: bool = False
) -> DigitSource:
    """Load single digits: MNIST if a folder is given, else the digits of scikit-learn.

    Args:
        part: ``"train"`` or ``"test"``.
        folder: Folder of the four MNIST idx files, plain or gzipped. With ``download``, they are
            stored there.
        download: Download MNIST with torchvision if ``folder`` does not contain it. This is the
            only part of pixelwise that uses the network, and only on request.

    Raises:
        DataError: A file is missing or damaged, or the download failed.
    """
    if part not in _IDX_STEMS:
        raise ConfigError(f"part must be 'train' or 'test'. Got {part!r}")
    if download:
        folder = _download_mnist(folder or Path("mnist"))
    if folder is not None:
        stem = _IDX_STEMS[part]
        images = _read_idx(_find_idx(folder, f"{stem}-images-idx3-ubyte"), dimensions=3)
        labels = _read_idx(_find_idx(folder, f"{stem}-labels-idx1-ubyte"), dimensions=1)
        if len(images) != len(labels) or images.shape[1:] != (DIGIT_PX, DIGIT_PX):
            raise DataError(
                f"{folder}: MNIST's {part} files must contain as many 28 x 28 images as labels. "
                f"Got images {images.shape} and {len(labels)} labels. Download the files again"
            )
        return DigitSource(images, labels, f"MNIST in {folder}")
    return _scikit_learn_digits(part)


def make_digits(
    num_images: int,
    *,
    source: DigitSource | None = None,
    options: DigitOptions | None = None,
    seed: int = 0,
) -> tuple[UInt8Array, UInt8Array]:
    """Generate images of several digits with one soft mask per class.

    Args:
        num_images: Number of images.
        source: The single digits; ``None`` uses scikit-learn's handwritten digits.
        options: Options of the generator; ``None`` uses the defaults.
        seed: The same seed and source give the same images.

    Returns:
        Images uint8 (N, H, W), and masks uint8 (N, num_classes, H, W) where 0..255 stands for 0..1.
    """
    options = options or DigitOptions()
    source = source or load_digit_source("train")
    rng = np.random.default_rng(seed)
    pool = np.arange(len(source.labels))
    if options.proportion_of_mnist < 1:
        pool = rng.choice(pool, size=max(1, round(len(pool) * options.proportion_of_mnist)))
    pool = pool[source.labels[pool] < options.num_classes]
    if not len(pool):
        raise DataError(
            f"the digits must contain at least one of the first {options.num_classes} classes. "
            f"Got none from {source.origin}. Raise proportion_of_mnist or num_classes"
        )
    images = np.zeros((num_images, options.height, options.width), np.uint8)
    masks = np.zeros((num_images, options.num_classes, options.height, options.width), np.uint8)
    for image, mask in zip(images, masks, strict=True):
        num_digits = rng.integers(options.min_digits, options.max_digits, endpoint=True)
        _draw(image, mask, source, rng.choice(pool, size=num_digits), options, rng)
    return images, masks


def _draw(
    image: UInt8Array,
    mask: UInt8Array,
    source: DigitSource,
    chosen: npt.NDArray[np.int64],
    options: DigitOptions,
    rng: np.random.Generator,
) -> None:
    """Draw the chosen digits into one image and its masks, in place."""
    corners: list[tuple[int, int]] = []
    refusals = 0
    for index in chosen:
        while True:
            top = int(rng.integers(options.height - DIGIT_PX, endpoint=True))
            left = int(rng.integers(options.width - DIGIT_PX, endpoint=True))
            if all(_box_iou((top, left), other) <= options.max_iou for other in corners):
                break
            refusals += 1
            if refusals >= MAX_REFUSALS:
                return
        corners.append((top, left))
        window = (slice(top, top + DIGIT_PX), slice(left, left + DIGIT_PX))
        digit = source.images[index]
        target = np.full_like(digit, 255) if options.target_is_whole_bounding_box else digit
        if options.labels_are_multiclass:
            target = np.where(mask[(slice(None), *window)].any(axis=0), 0, target).astype(np.uint8)
        image[window] = _add_clipped(image[window], digit)
        plane = mask[source.labels[index]]
        plane[window] = _add_clipped(plane[window], target)


def _add_clipped(left: UInt8Array, right: UInt8Array) -> UInt8Array:
    """Add two grayscale images, clipped to white."""
    return np.asarray(np.minimum(left.astype(np.uint16) + right, 255), np.uint8)


def _box_iou(first: tuple[int, int], second: tuple[int, int]) -> float:
    """Intersection over union of two 28 x 28 boxes, given by their top left corners."""
    height = max(0, DIGIT_PX - abs(first[0] - second[0]))
    width = max(0, DIGIT_PX - abs(first[1] - second[1]))
    return height * width / (2 * DIGIT_PX**2 - height * width)


def _scikit_learn_digits(part: str) -> DigitSource:
    """The 1,797 handwritten 8 x 8 digits of scikit-learn; every fifth one is a test digit."""
    from PIL import Image
    from sklearn.datasets import load_digits

    small, labels = load_digits(return_X_y=True)
    is_test = np.arange(len(labels)) % 5 == 4
    keep = is_test if part == "test" else ~is_test
    gray = np.clip(small[keep].reshape(-1, 8, 8) * (255 / 16), 0, 255).astype(np.uint8)
    images = np.stack(
        [
            np.asarray(
                Image.fromarray(digit).resize((DIGIT_PX, DIGIT_PX), Image.Resampling.BICUBIC)
            )
            for digit in gray
        ]
    )
    return DigitSource(
        images, labels[keep].astype(np.uint8), "scikit-learn's 8 x 8 digits, scaled to 28 x 28"
    )


def _find_idx(folder: Path, name: str) -> Path:
    """Find the idx file in the folder, plain or gzipped, or where torchvision stores it."""
    for candidate in (name, f"{name}.gz", f"MNIST/raw/{name}", f"MNIST/raw/{name}.gz"):
        if (folder / candidate).is_file():
            return folder / candidate
    raise DataError(
        f"{folder} must contain the MNIST file {name} or {name}.gz. It does not. "
        "Give the folder of the four idx files with --source, or download them with --download"
    )


def _read_idx(path: Path, *, dimensions: int) -> UInt8Array:
    """Read one idx file of unsigned bytes."""
    try:
        content = path.read_bytes()
        if path.suffix == ".gz":
            content = gzip.decompress(content)
        magic, *shape = struct.unpack_from(f">{1 + dimensions}I", content)
        if magic != 0x800 + dimensions:
            raise ValueError(f"its first bytes are {magic:#x}, not {0x800 + dimensions:#x}")
        return np.frombuffer(content, np.uint8, offset=4 + 4 * dimensions).reshape(shape)
    except (OSError, EOFError, ValueError, struct.error, zlib.error) as error:
        raise DataError(
            f"{path} must be an idx file of {dimensions} dimensions. It cannot be read: {error}. "
            "Download it again"
        ) from error


def _download_mnist(folder: Path) -> Path:
    from torchvision.datasets import MNIST

    try:
        MNIST(str(folder), download=True)
    except Exception as error:  # torchvision raises various errors of its mirrors
        raise DataError(
            f"MNIST could not be downloaded to {folder}: {error}. "
            "Give a folder that holds the four idx files with --source"
        ) from error
    return folder


def write_digits(
    out: Path,
    *,
    num_train: int = 1000,
    num_val: int = 200,
    source: Path | None = None,
    download: bool = False,
    options: DigitOptions | None = None,
    seed: int = 0,
) -> str:
    """Write MNIST extended as a data set in the format ``class-masks``, with its card.

    Training images use MNIST's training digits, validation images its test digits.

    Args:
        out: The folder to create; it must be new or empty.
        num_train: Number of images in ``train/``.
        num_val: Number of images in ``val/``.
        source: Folder of the MNIST idx files; ``None`` uses scikit-learn's digits.
        download: Download MNIST into ``source`` if it is not there.
        options: Options of the generator.
        seed: The same seed and source give the same files.

    Returns:
        The source of the single digits, as text.

    Raises:
        OutputError: The folder is not empty, or cannot be written.
        DataError: The source cannot be read.
    """
    options = options or DigitOptions()
    names = [f"digit-{digit}" for digit in range(options.num_classes)]
    card = {
        "format": "class-masks",
        "classes": [
            {"name": name, "color": list(color)}
            for name, color in zip(names, DIGIT_COLORS, strict=False)
        ],
        # Mirrored digits are not digits, and brightness does not vary in drawn images.
        "augmentation": {"orientation": "fixed", "scale": [1, 1], "brightness": 0, "contrast": 0},
    }
    with folder_written_aside(out) as aside:
        for part, split, count in (("train", "train", num_train), ("test", "val", num_val)):
            digits = load_digit_source(part, source, download=download)
            part_seed = seed * 2 + (part == "test")
            images, masks = make_digits(count, source=digits, options=options, seed=part_seed)
            make_class_mask_folders(aside / split, names)
            # Written one after the other: with threads, writing these small files took three
            # times as long, as the threads wait for each other.
            for index, (image, mask) in enumerate(zip(images, masks, strict=True)):
                write_class_masks(aside / split, f"{index:05d}", image, mask, names)
        (aside / CARD_NAME).write_text(yaml.safe_dump(card, sort_keys=False), encoding="utf-8")
    return digits.origin


def _require(holds: bool, must: str, got: object) -> None:
    if not holds:
        raise ConfigError(f"{must}. Got {got}")
