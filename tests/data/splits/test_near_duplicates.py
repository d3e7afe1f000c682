import io

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from pixelwise.data.splits.near_duplicates import (
    MAX_DISTANCE,
    groups_of_equal,
    near_duplicate_groups,
    perceptual_hash,
)
from pixelwise.io.images import read_image

HASHES = st.lists(st.integers(0, 2**64 - 1) | st.integers(0, 40), max_size=40)


def distance(first, second):
    return (perceptual_hash(first) ^ perceptual_hash(second)).bit_count()


def scene(seed, size=(90, 120)):
    """A color picture of soft blobs: most of it in low frequencies, as in photographs."""
    coarse = np.random.default_rng(seed).integers(30, 200, (6, 8, 3), np.uint8)
    return np.asarray(Image.fromarray(coarse).resize(size[::-1], Image.Resampling.BICUBIC))


def as_jpeg(image, quality):
    content = io.BytesIO()
    Image.fromarray(image).save(content, "JPEG", quality=quality)
    return np.asarray(Image.open(content))


@pytest.mark.parametrize(
    "changed",
    [
        lambda image: as_jpeg(image, 60),
        lambda image: np.asarray(Image.fromarray(image).resize((60, 45))),
        lambda image: np.asarray(Image.fromarray(image).resize((300, 200))),
        lambda image: image + np.uint8(20),
        lambda image: (image * 0.6).astype(np.uint8),
        lambda image: image.astype(np.uint16) * 257,
        lambda image: image.astype(np.float32) / 255,
        lambda image: image.mean(-1, keepdims=True).astype(np.uint8),
        lambda image: image.mean(-1),
    ],
    ids=["jpeg", "smaller", "larger", "brighter", "flatter", "16-bit", "float", "grayscale", "2-d"],
)
def test_a_picture_saved_in_another_way_is_a_near_duplicate(changed):
    for seed in range(5):
        image = scene(seed)
        assert distance(image, changed(image)) <= MAX_DISTANCE


def test_different_pictures_are_no_near_duplicates():
    assert near_duplicate_groups([perceptual_hash(scene(seed)) for seed in range(200)]) == []


@pytest.mark.parametrize("value", [0, 7, 255])
@pytest.mark.parametrize("shape", [(1, 1, 3), (40, 50, 1), (3, 200, 5)])
def test_blank_pictures_are_alike_whatever_their_value_and_size(shape, value):
    assert perceptual_hash(np.full(shape, value, np.uint8)) == 0
    assert perceptual_hash(np.full(shape, -3.4e38, np.float32)) == 0


def test_a_mirrored_symmetric_picture_has_the_same_hash():
    image = scene(0)
    symmetric = np.concatenate([image, image[:, ::-1]], 1)
    assert perceptual_hash(symmetric) == perceptual_hash(symmetric[:, ::-1])


def test_missing_values_of_a_geotiff_do_not_break_the_hash():
    image = scene(0).astype(np.float32)
    image[:20] = -3.4e38
    image[20:25] = 3.4e38
    assert 0 <= perceptual_hash(image) < 2**64


def brute_force_groups(hashes, max_distance):
    """Groups by a search through all neighbors, one by one."""
    found, seen = [], set()
    for start in range(len(hashes)):
        group, waiting = set(), [start]
        while waiting:
            here = waiting.pop()
            if here in group:
                continue
            group.add(here)
            waiting += [
                other
                for other, value in enumerate(hashes)
                if (value ^ hashes[here]).bit_count() <= max_distance
            ]
        if start not in seen and len(group) > 1:
            found.append(sorted(group))
        seen |= group
    return found


@settings(max_examples=60, deadline=None)
@given(HASHES, st.integers(0, 12))
def test_groups_are_those_of_a_search_by_hand(hashes, max_distance):
    assert near_duplicate_groups(hashes, max_distance) == brute_force_groups(hashes, max_distance)


def test_groups_across_blocks_are_joined():
    rng = np.random.default_rng(0)
    unrelated = rng.integers(0, 2**64, 3000, np.uint64)
    hashes = np.concatenate([unrelated, unrelated[::-1] ^ np.uint64(0b101)]).tolist()
    groups = near_duplicate_groups(hashes)
    assert groups == [[index, 5999 - index] for index in range(3000)]


@pytest.mark.parametrize("num_free_bits", [10, 16, 24])
def test_pictures_that_are_mostly_alike_are_grouped_as_by_comparing_all(num_free_bits):
    """Of such hashes most bits are equal, so that no part of them tells many apart."""
    rng = np.random.default_rng(num_free_bits)
    hashes = np.unique(rng.integers(0, 2**num_free_bits, 700, np.uint64) | np.uint64(1 << 60))
    is_near = np.bitwise_count(hashes[:, None] ^ hashes) <= 4
    _, labels = connected_components(coo_matrix(is_near), directed=False)
    assert near_duplicate_groups(hashes.tolist(), 4) == groups_of_equal(labels.tolist())


def test_thousands_of_equal_hashes_are_one_group():
    assert near_duplicate_groups([5] * 10_000) == [list(range(10_000))]


def test_equal_keys_are_exact_duplicates():
    assert groups_of_equal(["a", "b", "a", "c", "b", "a"]) == [[0, 2, 5], [1, 4]]


@pytest.mark.real_data
def test_neighboring_frames_of_a_video_are_found_and_no_frames_of_different_videos(test_data):
    files = sorted((test_data / "camvid/train").glob("*.png"))[::2]
    groups = near_duplicate_groups([perceptual_hash(read_image(path)) for path in files])
    assert sum(map(len, groups)) > 10
    for group in groups:
        assert len({files[index].name.split("_")[0] for index in group}) == 1


@pytest.mark.real_data
def test_nuclei_that_look_alike_are_different_images(test_data):
    files = sorted((test_data / "nuclei").glob("*/images/*.png"))[::2]
    assert near_duplicate_groups([perceptual_hash(read_image(path)) for path in files]) == []
