"""Objects by connected parts, on small drawings and against a loop."""

import numpy as np
import pytest
from scipy.ndimage import label

from pixelwise.classes import ClassMap, numbered_names
from pixelwise.metrics.objects import ObjectCounts

CLASSES = ClassMap.build(("background", "cell"))


def rows(prediction, mask, class_map=CLASSES):
    counts = ObjectCounts(class_map, "multiclass")
    counts.add(prediction, mask)
    return counts.rows


def square(mask, top, left, side, value=1):
    mask[top : top + side, left : left + side] = value


def test_objects_are_sorted_by_their_area():
    mask = np.zeros((300, 300), np.uint8)
    square(mask, 5, 5, 31)
    square(mask, 50, 5, 32)
    square(mask, 100, 100, 96)
    found = rows(mask, mask)
    assert [(row.size, row.objects, row.found, row.covered) for row in found] == [
        ("small", 1, 1.0, 1.0), ("medium", 1, 1.0, 1.0), ("large", 1, 1.0, 1.0),
    ]  # fmt: skip


def test_the_background_is_no_object():
    assert rows(np.ones((9, 9), np.uint8), np.zeros((9, 9), np.uint8)) == []


def test_the_first_of_classes_that_nobody_named_is_no_object():
    mask = np.zeros((20, 20), np.uint8)
    square(mask, 5, 5, 10)
    numbered = ClassMap.build(numbered_names(2))
    assert [row.name for row in rows(mask, mask, numbered)] == ["class-1"]
    named = ClassMap.build(("sky", "road"))
    assert [row.name for row in rows(mask, mask, named)] == ["sky", "road"]


def test_two_objects_that_were_predicted_as_one_are_not_found():
    mask = np.zeros((20, 40), np.uint8)
    square(mask, 5, 5, 10)
    square(mask, 5, 17, 10)
    prediction = mask.copy()
    prediction[5:15, 15:17] = 1  # a bridge joins them: each covers less than half of the union
    (row,) = rows(prediction, mask)
    assert (row.objects, row.found, row.covered) == (2, 0.0, 1.0)


@pytest.mark.parametrize("seed", range(5))
def test_what_is_found_is_what_a_loop_finds(seed):
    rng = np.random.default_rng(seed)
    mask, prediction = (
        (np.kron(rng.random((12, 12)) < 0.3, np.ones((5, 5)))).astype(np.uint8) for _ in range(2)
    )
    prediction = np.where(rng.random(mask.shape) < 0.9, mask, prediction).astype(np.uint8)
    objects, count = label(mask, np.ones((3, 3)))
    regions, num_regions = label(prediction, np.ones((3, 3)))
    hits = 0
    for number in range(1, count + 1):
        ious = [
            ((objects == number) & (regions == other)).sum()
            / ((objects == number) | (regions == other)).sum()
            for other in range(1, num_regions + 1)
        ]
        hits += max(ious, default=0) >= 0.5
    found = rows(prediction, mask)
    assert sum(row.objects for row in found) == count
    assert sum(row.found * row.objects for row in found) == pytest.approx(hits)
    covered = sum(row.covered * (mask == 1).sum() for row in found if row.objects == count)
    if len(found) == 1:
        assert covered == pytest.approx(((mask == 1) & (prediction == 1)).sum())


def test_what_is_predicted_on_ignored_pixels_does_not_enlarge_a_region():
    mask = np.zeros((100, 100), np.uint8)
    square(mask, 25, 25, 30, 255)
    square(mask, 30, 30, 20)
    prediction = np.zeros_like(mask)
    square(prediction, 25, 25, 30)
    (row,) = rows(prediction, mask)
    assert row.found == 1
