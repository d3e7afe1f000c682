"""Checks whether masks are aligned with their images by comparing mask borders and image edges."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import cv2
import numpy as np
import numpy.typing as npt

from pixelwise.classes import HALF
from pixelwise.data.sample import Sample
from pixelwise.io.arrays import Array, Float32Array
from pixelwise.metrics.boundary import class_edges
from pixelwise.training.diagnostics.watchdog import Problem

SIDE_PX = 256
"""Images are resized to this side length first; shifts are measured at this scale."""

MAX_SHIFT_PX = 64
"""Maximum shift to search for, in pixels at that scale."""

MIN_SHIFT_PX = 4
"""Best shifts below this are attributed to imprecise annotation and not reported."""

MIN_RATIO = 1.3
"""Minimum ratio of the best match to the match without a shift."""

MIN_SIGMAS = 5.0
"""Minimum distance of the best match from the mean over all shifts, in standard deviations.
Measured on CamVid, nuclei and digits: 5.5 to 10 for shifted or rotated masks, 2 to 4 for masks of
other images."""

MIN_IMAGES = 4

MIN_OWN_SIGMAS = 2.0
"""Minimum difference between the match of masks with their own images and with other images, in
standard deviations. Measured on CamVid, nuclei, digits and drawn shapes: 32 to 123, and -0.5 to 0.2
for masks of other images."""

MIN_OTHERS = 8
"""Minimum number of images for a comparison with the edges of other images."""

MAX_BORDER_CORRELATION = 0.5
"""If the mean correlation between mask borders is above this, the masks also fit other images."""

Pairs = list[tuple[Float32Array, Float32Array]]
"""Edges of images and borders of their masks."""

TURNS: dict[str, Callable[[Float32Array], Float32Array]] = {
    "flipped horizontally": np.fliplr,
    "flipped vertically": np.flipud,
    "rotated by 180°": lambda border: border[::-1, ::-1],
    "transposed": np.transpose,
    "rotated by 90° counterclockwise": np.rot90,
    "rotated by 90° clockwise": lambda border: np.rot90(border, -1),
}
"""Common orientation errors: rows and columns swapped, or a different origin."""


def check_alignment(samples: Iterable[Sample]) -> list[Problem]:
    """Check for masks that are shifted or rotated, or that belong to other images.

    Mask borders are correlated with image edges (gradient magnitude) at every shift. If the labels
    are correct, no other shift, rotation or flip matches better than none, and neither do the masks
    of other images.

    Args:
        samples: Images with their masks; a few dozen are enough.
    """
    pairs = [pair for sample in samples if (pair := _edges(sample)) is not None]
    if len(pairs) < MIN_IMAGES:
        return []
    plain = _correlations(pairs)
    here, mean, spread = plain[MAX_SHIFT_PX, MAX_SHIFT_PX], float(plain.mean()), float(plain.std())
    best = np.unravel_index(int(plain.argmax()), plain.shape)
    down, right = (int(place) - MAX_SHIFT_PX for place in best)
    turned = {
        words: _correlation((edge, turn(border)) for edge, border in pairs)
        for words, turn in TURNS.items()
    }
    words = max(turned, key=turned.__getitem__)
    found = max(plain.max(), turned[words])
    if found < MIN_RATIO * here or found - mean < MIN_SIGMAS * spread:
        return _check_pairing(pairs)
    if turned[words] > plain.max():
        kind, how = "labels-flipped-or-rotated", words
    elif max(abs(down), abs(right)) >= MIN_SHIFT_PX:
        kind, how = "labels-shifted", f"moved by {_words(down, right)}"
    else:
        return []
    return [
        Problem(
            kind,
            "the borders in the masks match the edges in the images best when the masks are "
            f"{how} (measured on images resized to {SIDE_PX} x {SIDE_PX} pixels). Check how images "
            "and masks were exported",
        )
    ]


def _check_pairing(pairs: Pairs) -> list[Problem]:
    """Check whether masks match the edges of other images as well as those of their own."""
    if len(pairs) < MIN_OTHERS:
        return []
    planes = (np.stack(side).reshape(len(pairs), -1) for side in zip(*pairs, strict=True))
    edges, borders = planes
    borders = borders / np.linalg.norm(borders, axis=1, keepdims=True)
    is_other = ~np.eye(len(pairs), dtype=np.bool_)
    if (borders @ borders.T)[is_other].mean() > MAX_BORDER_CORRELATION:
        return []
    correlations = borders @ edges.T
    own = np.trace(correlations)
    others = [np.trace(np.roll(correlations, step, axis=1)) for step in range(1, len(pairs))]
    if own - np.mean(others) > MIN_OWN_SIGMAS * np.std(others):
        return []
    return [
        Problem(
            "labels-of-other-images",
            "the borders in the masks match the edges of other images as well as of their own: "
            "masks and images may be paired wrongly or shifted far apart. View some pairs with: "
            "pixelwise data show",
        )
    ]


def _edges(sample: Sample) -> tuple[Float32Array, Float32Array] | None:
    """Return the zero-mean image edges and mask borders, both (SIDE_PX, SIDE_PX)."""
    image, mask = sample.image, sample.mask
    ids = mask if mask.ndim == 2 else np.any(mask >= HALF, axis=0).astype(np.uint8)
    size = (SIDE_PX, SIDE_PX)
    small = np.asarray(cv2.resize(np.asarray(ids), size, interpolation=cv2.INTER_NEAREST), np.uint8)
    border = class_edges(small).astype(np.float32)
    if not border.any():
        return None
    gray = cv2.resize(_gray(image), size, interpolation=cv2.INTER_AREA)
    edge = np.hypot(cv2.Sobel(gray, cv2.CV_32F, 1, 0), cv2.Sobel(gray, cv2.CV_32F, 0, 1))
    limit = np.quantile(edge, 0.9)
    if limit <= 0:
        return None
    # Clip strong edges, so that a single black line does not outweigh all borders.
    edge = np.minimum(edge / limit, 1).astype(np.float32)
    return edge - edge.mean(), border - border.mean()


def _gray(image: Array) -> Float32Array:
    return np.asarray(image.astype(np.float32).mean(-1), np.float32)


def _correlations(pairs: Pairs) -> npt.NDArray[np.float64]:
    """Return the match of borders and edges over all images per shift; zero shift is central."""
    total = np.zeros((SIDE_PX, SIDE_PX))
    for edge, border in pairs:
        spectrum = np.fft.rfft2(edge) * np.conj(np.fft.rfft2(border))
        total += np.fft.irfft2(spectrum, edge.shape) / np.linalg.norm(border)
    shifted = np.roll(total, (MAX_SHIFT_PX, MAX_SHIFT_PX), axis=(0, 1))
    return np.asarray(shifted[: 2 * MAX_SHIFT_PX + 1, : 2 * MAX_SHIFT_PX + 1])


def _correlation(pairs: Iterable[tuple[Float32Array, Float32Array]]) -> float:
    """Return the match of borders and edges without a shift."""
    return sum(float((edge * border).sum() / np.linalg.norm(border)) for edge, border in pairs)


def _words(down: int, right: int) -> str:
    parts = []
    if down:
        parts.append(f"{abs(down)} px {'down' if down > 0 else 'up'}")
    if right:
        parts.append(f"{abs(right)} px to the {'right' if right > 0 else 'left'}")
    return " and ".join(parts)
