"""Images: of one color, almost black, of 16 bits in name only, of kinds that do not mix."""

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

EVERY = 4
"""Brightness is judged on every n-th row and column."""

NEAR_BLACK = 0.03
"""An image is almost black when all but half a per cent of it is below this share of white."""


@dataclass(frozen=True)
class ImageFacts:
    """What is kept of an image.

    Attributes:
        dtype: Of its pixels.
        channels: How many.
        content: A hash of its pixels.
        look: What it looks like, as
            :func:`~pixelwise.data.splits.near_duplicates.perceptual_hash` says.
        peak: The value that 99.5 % of its pixels do not exceed.
        is_constant: All pixels are alike.
    """

    dtype: str
    channels: int
    content: bytes
    look: int
    peak: float
    is_constant: bool


def look_at_image(path: Path, image: Array) -> tuple[ImageFacts, list[Observation]]:
    """What one image shows by itself.

    Args:
        path: Its file.
        image: (H, W, C).
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
            detail = "8 bits stretched: every value is a multiple of 257"
            found.append(Observation("eight-bits-in-sixteen", path, detail, image=path))
    if _has_exif(path) and is_rotated(path):
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
    """A PNG without EXIF is told by its bytes; Pillow would decode all of it to find none."""
    if path.suffix.lower() != ".png":
        return True
    content = path.read_bytes()
    return b"eXIf" in content or b"Raw profile type exif" in content


def content_hash(pixels: Array) -> bytes:
    """A hash of pixels, their size and their type."""
    digest = hashlib.blake2b(f"{pixels.shape}{pixels.dtype}".encode(), digest_size=16)
    digest.update(np.ascontiguousarray(pixels).data)
    return digest.digest()


def almost_black(images: Sequence[tuple[Record, ImageFacts]]) -> list[Observation]:
    """Images that are dark beside white, or beside the brightest where white is not known."""
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
        )
        for record, facts in images
        if not facts.is_constant and facts.peak < NEAR_BLACK * brightest[facts.dtype]
    ]


def mixed_kinds(images: Sequence[tuple[Record, ImageFacts]]) -> list[Finding]:
    """Bit depths and numbers of channels that training refuses together."""
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
            f"{name}{unit}: {len(files):,} images, such as {files[0].name}"
            for name, files in ordered
        ],
        [path for _, files in ordered[:-1] for path in files],
    )
