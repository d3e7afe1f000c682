"""Images that are one picture: the same file twice, or saved again, resized, brightened."""

from __future__ import annotations

import itertools
from collections.abc import Hashable, Iterator, Sequence

import numpy as np
from PIL import Image
from scipy.fft import dctn
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from pixelwise.io.arrays import Array

MAX_DISTANCE = 4
"""Bits that the hashes of one picture may differ in.

Measured on CamVid and the nuclei of 2018: within 4 bits lie all JPEG copies down to quality 20,
98 % of those shrunk to a quarter, all of contrast times 0.7, 91 % and more of a gamma of 0.7 or a
brightness of +30, 24 % of the neighbors in CamVid's videos. Pictures of different scenes differ
in 11 bits and more (CamVid), 12 (nuclei), 6 (1,200 compositions of digits).
"""

_SMALL_PX = 32
_KEPT_FREQUENCIES = 8
_ROUNDING = 1e-3
_HASH_BITS = 64


def perceptual_hash(image: Array) -> int:
    """What a picture looks like in 64 bits, alike for pictures that look alike.

    The signs of the 63 lowest frequencies against their median, of the grayscale picture shrunk to
    32 x 32. Brightness, contrast, bit depth and size cancel out. A picture of one value has the
    hash 0, so that blank pictures count as alike.

    Args:
        image: (H, W, C) or (H, W), any number type, any C.

    Returns:
        0 to 2**64 - 1; compare two by the number of bits that differ.

    Reference:
        Zauner, Implementation and Benchmarking of Perceptual Image Hash Functions (2010), the
        DCT based hash.
    """
    small = _small_gray(image)
    # In float64, and of a picture scaled to 1: float32 images may hold 1e38 as "no data".
    small = (small - small.mean()) / (np.abs(small).max() or 1.0)
    frequencies = dctn(small, norm="ortho")[:_KEPT_FREQUENCIES, :_KEPT_FREQUENCIES].ravel()[1:]
    largest = np.abs(frequencies).max()
    if largest < _ROUNDING:
        return 0
    # Frequencies that a symmetric picture lacks are zero and not whatever sign rounding gave them.
    levels = np.round(frequencies / (largest * _ROUNDING))
    bits = np.concatenate([[False], levels > np.median(levels)])
    return int.from_bytes(np.packbits(bits).tobytes(), "big")


def _small_gray(image: Array) -> Array:
    """The sum of the channels, shrunk by averaging areas: float64 (32, 32)."""
    gray = np.zeros(image.shape[:2], np.float32)
    with np.errstate(over="ignore", invalid="ignore"):
        for channel in np.moveaxis(image, -1, 0) if image.ndim == 3 else [image]:
            gray += channel  # seven times as fast as the mean over the last axis
    picture = Image.fromarray(np.nan_to_num(gray))
    small = picture.resize((_SMALL_PX, _SMALL_PX), Image.Resampling.BOX)
    return np.asarray(small, np.float64)


def near_duplicate_groups(
    hashes: Sequence[int], max_distance: int = MAX_DISTANCE
) -> list[list[int]]:
    """Group pictures whose hashes are close, directly or through others in between.

    Args:
        hashes: One :func:`perceptual_hash` per picture.
        max_distance: Bits that the hashes of neighbors may differ in.

    Returns:
        The groups of two and more, each as ascending indices into ``hashes``, ordered by their
        first.
    """
    distinct, index = np.unique(np.array(hashes, np.uint64), return_inverse=True)
    labels = np.arange(len(distinct))
    for first, second in _near_pairs(distinct, max_distance):
        is_new = labels[first] != labels[second]
        if is_new.any():
            labels = _joined(labels, first[is_new], second[is_new])
    return groups_of_equal(labels[index].tolist())


def _near_pairs(hashes: Array, max_distance: int) -> Iterator[tuple[Array, Array]]:
    """Places of hashes that are close, some pairs twice; not all pairs are looked at for it.

    Cut into one band of bits more than may differ, close hashes are equal in one band at least: of
    100,000 that leaves one pair in a thousand to look at.
    """
    edges = np.linspace(0, _HASH_BITS, max_distance + 2).astype(int)
    for low, high in itertools.pairwise(edges.tolist()):
        band = (hashes >> np.uint64(low)) & np.uint64((1 << (high - low)) - 1) if high > low else 0
        bands = np.broadcast_to(band, hashes.shape)
        order = np.argsort(bands, kind="stable")
        bands, ordered = bands[order], hashes[order]
        # Every hash beside the next one of its band, then beside the one after that, and so on.
        places, step = np.arange(len(order)), 1
        while len(places := places[places < len(order) - step]):
            places = places[bands[places] == bands[places + step]]
            distances = np.bitwise_count(ordered[places] ^ ordered[places + step])
            near = places[distances <= max_distance]
            yield order[near], order[near + step]
            step += 1


def _joined(labels: Array, rows: Array, columns: Array) -> Array:
    """The labels after the items of every pair have become one."""
    links = coo_matrix(
        (np.ones(len(rows), bool), (labels[rows], labels[columns])), shape=(len(labels),) * 2
    )
    return np.asarray(connected_components(links, directed=False)[1][labels])


def groups_of_equal(values: Sequence[Hashable]) -> list[list[int]]:
    """Group the places of equal values, such as of :attr:`Record.key` for exact duplicates.

    Returns:
        The groups of two and more, each as ascending indices into ``values``, ordered by their
        first.
    """
    places: dict[Hashable, list[int]] = {}
    for index, value in enumerate(values):
        places.setdefault(value, []).append(index)
    return [group for group in places.values() if len(group) > 1]
