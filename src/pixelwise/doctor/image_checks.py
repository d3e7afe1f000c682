"""Checks images: one color, almost black, 8 bits stored as 16, and mixed types or channels."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pixelwise.data.sample import Record
from pixelwise.data.splits.near_duplicates import perceptual_hash
from pixelwise.doctor.findings import Finding, Observation, make_finding
from pixelwise.io.arrays import Array
from pixelwise.io.images import LARGEST_VALUE, is_rotated
from pixelwise.io.members import name_of
from pixelwise.text import amount

EVERY = 4
"""Brightness is computed on every n-th row and column."""

NEAR_BLACK = 0.03
"""An image is almost black if 99.5 % of its pixels are below this share of white."""


@dataclass(frozen=True)
class ImageFacts:
    """What is kept of an image.

    Attributes:
        dtype: Type of its pixels.
        channels: Number of channels.
        content: A hash of its pixels.
        look: Its perceptual hash, see
            :func:`~pixelwise.data.splits.near_duplicates.perceptual_hash`.
        peak: The value that 99.5 % of its pixels do not exceed.
        is_constant: Whether all pixels are equal.
    """

    dtype: str
    channels: int
    content: bytes
    look: int
    peak: float
    is_constant: bool


def look_at_image(
    path: Path, image: Array, *, with_file: bool = True
) -> tuple[ImageFacts, list[Observation]]:
    """Check one image.

    Args:
        path: Its file.
        image: (H, W, C).
        with_file: Look at the file too, and not only at these pixels.
    """
    found = []
    is_constant = bool((image == image[:1, :1]).all())
    if is_constant:
        value = ", ".join(f"{level:g}" for level in image[0, 0][:4])
        found.append(Observation("constant-images", path, f"every pixel is {value}", image=path))
    if image.dtype == np.uint16:
        largest = int(image.max())
        if largest <= 255:
            found.append(Observation("eight-bits-in-sixteen", path, f"0 to {largest}", image=path))
        elif not (image % 257).any():
            detail = "stretched from 8 bits: every value is a multiple of 257"
            found.append(Observation("eight-bits-in-sixteen", path, detail, image=path))
    if with_file and _has_exif(path) and is_rotated(path):
        found.append(Observation("exif-rotation", path, image=path))
    facts = ImageFacts(
        str(image.dtype),
        image.shape[-1],
        content_hash(image),
        perceptual_hash(image),
        float(np.percentile(image[::EVERY, ::EVERY], 99.5)),
        is_constant,
    )
    return facts, found


def _has_exif(path: Path) -> bool:
    """Whether an image has EXIF data; a PNG is searched, as Pillow would decode it completely."""
    if path.suffix.lower() != ".png":
        return True
    content = path.read_bytes()
    return b"eXIf" in content or b"Raw profile type exif" in content


def content_hash(pixels: Array) -> bytes:
    """Return a hash of the pixels, their shape and their type."""
    digest = hashlib.blake2b(f"{pixels.shape}{pixels.dtype}".encode(), digest_size=16)
    digest.update(np.ascontiguousarray(pixels).data)
    return digest.digest()


def almost_black(images: Sequence[tuple[Record, ImageFacts]]) -> list[Observation]:
    """Find dark images, relative to white or, if white is unknown, to the brightest image."""
    brightest: dict[str, float] = {"uint8": LARGEST_VALUE["uint8"]}
    for _, facts in images:
        if facts.dtype != "uint8":
            brightest[facts.dtype] = max(facts.peak, brightest.get(facts.dtype, 0.0))
    return [
        Observation(
            "near-black-images",
            record.image,
            f"99.5 % of its pixels are at most {facts.peak:g} of {brightest[facts.dtype]:g}",
            image=record.image,
            window=record.window,
        )
        for record, facts in images
        if not facts.is_constant and facts.peak < NEAR_BLACK * brightest[facts.dtype]
    ]


def mixed_kinds(images: Sequence[tuple[Record, ImageFacts]]) -> list[Finding]:
    """Find bit depths and numbers of channels that cannot be combined in training."""
    by_depth: defaultdict[str, list[Path]] = defaultdict(list)
    by_channels: defaultdict[str, list[Path]] = defaultdict(list)
    for record, facts in images:
        by_depth[facts.dtype].append(record.image)
        by_channels[str(facts.channels)].append(record.image)
    found = []
    if len(by_depth) > 1:
        found.append(_mixture("mixed-depths", by_depth, ""))
    if len(by_channels) > 1 and set(by_channels) != {"1", "3"}:
        found.append(_mixture("mixed-channels", by_channels, " channels"))
    return found


def _mixture(kind: str, groups: dict[str, list[Path]], unit: str) -> Finding:
    ordered = sorted(groups.items(), key=lambda group: len(group[1]))
    return make_finding(
        kind,
        [
            f"{name}{unit}: {amount(len(files), 'image')}, such as {name_of(files[0])}"
            for name, files in ordered
        ],
        [path for _, files in ordered[:-1] for path in files],
    )
