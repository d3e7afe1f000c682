"""Metrics at boundaries, against loops over pixels and small drawings."""

import numpy as np
import pytest

from pixelwise.metrics.boundary import (
    TOLERANCE_PX,
    TRIMAP_PX,
    BoundaryCounts,
    class_edges,
    inner_band,
)

IGNORED = 255


def blobs(seed, shape=(40, 52), num_classes=3, ignored=True):
    rng = np.random.default_rng(seed)
    mask = np.zeros(shape, np.uint8)
    for _ in range(8):
        top, left = rng.integers(0, shape[0] - 6), rng.integers(0, shape[1] - 6)
        height, width = rng.integers(3, 20, 2)
        mask[top : top + height, left : left + width] = rng.integers(0, num_classes)
    if ignored:
        mask[5:9, 10:30] = IGNORED
    return mask


def band_by_loop(region, ignored, width, *, frame_is_edge):
    band = np.zeros(region.shape, bool)
    height, length = region.shape
    for row, column in zip(*np.nonzero(region), strict=True):
        for y in range(row - width, row + width + 1):
            for x in range(column - width, column + width + 1):
                if not (0 <= y < height and 0 <= x < length):
                    band[row, column] |= frame_is_edge
                elif not region[y, x] and not ignored[y, x]:
                    band[row, column] = True
    return band


@pytest.mark.parametrize("frame_is_edge", [True, False])
@pytest.mark.parametrize("width", [1, 2, 4])
def test_the_band_inside_an_edge_is_that_of_a_loop(width, frame_is_edge):
    mask = blobs(0)
    region, ignored = mask == 1, mask == IGNORED
    found = inner_band(region, ignored, width, frame_is_edge=frame_is_edge)
    assert np.array_equal(found, band_by_loop(region, ignored, width, frame_is_edge=frame_is_edge))


def counted(prediction, mask, num_classes=3):
    counts = BoundaryCounts(num_classes)
    counts.add(prediction, mask)
    return counts


def test_a_perfect_prediction_has_every_metric_1():
    mask = blobs(1)
    counts = counted(np.where(mask == IGNORED, 0, mask), mask)
    for values in (counts.boundary_iou, counts.trimap_iou, counts.surface_dice):
        assert np.nanmin(values) == 1
    assert all(share == 1 for _, share, pixels in counts.accuracy_by_distance if pixels)


def test_boundary_iou_equals_the_papers_definition_by_a_loop():
    mask, prediction = blobs(2, ignored=False), blobs(3, ignored=False)
    found = counted(prediction, mask).boundary_iou
    width = max(1, round(0.02 * np.hypot(*mask.shape)))
    nothing = np.zeros(mask.shape, bool)
    for index in range(3):
        target, guess = (
            band_by_loop(side == index, nothing, width, frame_is_edge=True)
            for side in (mask, prediction)
        )
        assert found[index] == pytest.approx((target & guess).sum() / (target | guess).sum())


def test_the_surface_dice_equals_distances_by_brute_force():
    mask, prediction = blobs(4), blobs(5, ignored=False)
    found = counted(prediction, mask).surface_dice
    ignored = mask == IGNORED
    for index in range(3):
        edges = [
            np.argwhere(band_by_loop(region, ignored, 1, frame_is_edge=False))
            for region in (mask == index, (prediction == index) & ~ignored)
        ]
        distances = np.linalg.norm(edges[0][:, None] - edges[1][None], axis=-1)
        hits = (distances.min(1) <= TOLERANCE_PX).sum() + (distances.min(0) <= TOLERANCE_PX).sum()
        assert found[index] == pytest.approx(hits / (len(edges[0]) + len(edges[1])))


def test_the_trimap_counts_only_pixels_near_a_class_border():
    mask, prediction = blobs(6), blobs(7, ignored=False)
    edges = np.argwhere(class_edges(mask))
    places = np.argwhere(mask != IGNORED)
    distance = np.linalg.norm(places[:, None] - edges[None], axis=-1).min(1)
    rows, columns = places[distance < TRIMAP_PX].T
    target, guess = mask[rows, columns], prediction[rows, columns]
    found = counted(prediction, mask).trimap_iou
    for index in range(3):
        union = ((target == index) | (guess == index)).sum()
        assert found[index] == pytest.approx(((target == index) & (guess == index)).sum() / union)


def test_a_shift_of_one_pixel_costs_boundary_iou_more_than_area():
    mask = np.zeros((100, 100), np.uint8)
    mask[20:80, 20:80] = 1
    prediction = np.roll(mask, 1, axis=1)
    area = ((mask == 1) & (prediction == 1)).sum() / ((mask == 1) | (prediction == 1)).sum()
    counts = counted(prediction, mask, 2)
    assert counts.boundary_iou[1] < area - 0.1
    assert counts.surface_dice[1] == 1  # one pixel is within the tolerance


def test_what_is_predicted_on_ignored_pixels_changes_nothing():
    mask = blobs(8)
    first = blobs(9, ignored=False)
    second = np.where(mask == IGNORED, 2 - first, first).astype(np.uint8)
    one, two = counted(first, mask), counted(second, mask)
    for name in ("boundary_iou", "trimap_iou"):
        assert np.array_equal(getattr(one, name), getattr(two, name), equal_nan=True)
    assert one.accuracy_by_distance == two.accuracy_by_distance


def test_the_edge_of_ignored_pixels_is_no_boundary():
    mask = np.zeros((20, 20), np.uint8)
    mask[:, 10:] = IGNORED
    assert not class_edges(mask).any()
    assert not inner_band(mask == 0, mask == IGNORED, 1, frame_is_edge=False).any()


def test_accuracy_by_distance_counts_every_labeled_pixel_once():
    mask, prediction = blobs(10), blobs(11, ignored=False)
    rows = counted(prediction, mask).accuracy_by_distance
    labeled = mask != IGNORED
    assert sum(pixels for _, _, pixels in rows) == labeled.sum()
    right = sum(round(share * pixels) for _, share, pixels in rows if pixels)
    assert right == (prediction == mask)[labeled].sum()
    assert [name for name, _, _ in rows] == ["0-1", "1-2", "2-4", "4-8", "8-16", "16+"]


def test_images_add_up_whatever_their_order():
    images = [(blobs(seed), blobs(seed + 50, ignored=False)) for seed in range(4)]
    forth, back = BoundaryCounts(3), BoundaryCounts(3)
    for mask, prediction in images:
        forth.add(prediction, mask)
    for mask, prediction in images[::-1]:
        back.add(prediction, mask)
    assert np.array_equal(forth.boundary_iou, back.boundary_iou)
    assert np.array_equal(forth.surface_dice, back.surface_dice)


def test_a_class_that_the_masks_never_show_counts_in_no_boundary_metric():
    mask = np.zeros((100, 100), np.uint8)
    mask[20:80, 20:80] = 1
    prediction = mask.copy()
    prediction[5, 5] = 2
    found = counted(prediction, mask)
    assert np.isnan([found.boundary_iou[2], found.surface_dice[2], found.trimap_iou[2]]).all()


def test_an_edge_that_ignored_pixels_hide_counts_nowhere():
    mask = np.zeros((100, 100), np.uint8)
    mask[25:75, 25:75] = IGNORED
    mask[30:70, 30:70] = 1
    prediction = np.where(mask == 1, 1, 0).astype(np.uint8)
    prediction[67:70, 40:45] = 0
    found = counted(prediction, mask, 2)
    assert np.isnan([found.boundary_iou[1], *found.surface_dice]).all()
