"""Where names go in a chart: inside it, apart from each other, and nearest to their own point."""

import numpy as np
import pytest

from pixelwise.reporting.labels import LETTER_PX, LINE_PX, distance_to_box, place_labels

FRAME = (50.0, 16.0, 380.0, 208.0)


def meet(one, two):
    return one[0] < two[2] and two[0] < one[2] and one[1] < two[3] and two[1] < one[3]


def is_inside(box):
    return box[0] >= FRAME[0] and box[1] >= FRAME[1] and box[2] <= FRAME[2] and box[3] <= FRAME[3]


@pytest.mark.parametrize("seed", range(8))
def test_names_are_inside_apart_and_as_long_as_they_are(seed):
    rng = np.random.default_rng(seed)
    points = [(rng.uniform(60, 370), rng.uniform(30, 200)) for _ in range(7)]
    texts = ["a" * int(rng.integers(3, 20)) for _ in points]
    boxes = place_labels(texts, points, [], FRAME)
    for number, (box, text) in enumerate(zip(boxes, texts, strict=True)):
        assert is_inside(box)
        assert box[2] - box[0] == pytest.approx(LETTER_PX * len(text))
        assert box[3] - box[1] == pytest.approx(LINE_PX)
        assert not any(meet(box, other) for other in boxes[:number])


def test_a_name_stays_beside_its_own_point_where_there_is_room():
    points = [(100.0, 60.0), (220.0, 60.0), (160.0, 150.0)]
    boxes = place_labels(["one", "two", "three"], points, [], FRAME)
    for point, box in zip(points, boxes, strict=True):
        assert min(points, key=lambda other: distance_to_box(other, box)) == point
        assert distance_to_box(point, box) < LINE_PX


def test_a_name_makes_way_for_what_is_drawn_and_for_the_edge():
    point = (200.0, 100.0)
    (free,) = place_labels(["name"], [point], [], FRAME)
    (moved,) = place_labels(["name"], [point], [free], FRAME)
    assert free[0] > point[0]
    assert not meet(moved, free)
    (turned,) = place_labels(["name"], [(375.0, 100.0)], [], FRAME)
    assert turned[2] < 375


def test_a_name_that_fits_nowhere_is_still_written():
    assert len(place_labels(["a" * 200], [(200.0, 100.0)], [], FRAME)) == 1


def test_distances_to_a_box_are_those_to_its_nearest_point():
    box = (0.0, 0.0, 10.0, 4.0)
    assert distance_to_box((5.0, 2.0), box) == 0
    assert distance_to_box((13.0, 8.0), box) == 5
    assert distance_to_box((-2.0, 2.0), box) == 2
