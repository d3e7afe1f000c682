"""Blocks: every pixel at most once, gaps between splits, and the same seed the same blocks."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import distance_transform_cdt

from pixelwise.data.splits.fold_blocks import fold_cells
from pixelwise.errors import ConfigError
from pixelwise.io.image_windows import even_windows
from pixelwise.scenes.spatial_blocks import ClassSums, divide

SHARES = st.sampled_from([(0.7, 0.15, 0.15), (0.85, 0.15, 0.0), (0.6, 0.1, 0.3), (0.5, 0.5, 0.0)])
SIDES = st.integers(100, 500)


def painted(size, areas):
    """The number of each area at its pixels, and how often each pixel is covered."""
    owner, times = np.full(size, -1), np.zeros(size, int)
    for number, rectangles in enumerate(areas):
        for top, left, height, width in rectangles:
            assert min(top, left) >= 0
            assert height > 0
            assert width > 0
            assert top + height <= size[0]
            assert left + width <= size[1]
            place = np.s_[top : top + height, left : left + width]
            owner[place] = number
            times[place] += 1
    return owner, times


def pixels_between(owner, one, other):
    """The smallest number of pixels between two areas, in rows or in columns."""
    distance = distance_transform_cdt(owner != one, metric="chessboard")
    return distance[owner == other].min() - 1


@settings(max_examples=20, deadline=None)
@given(SIDES, SIDES, st.integers(0, 24), SHARES, st.integers(0, 99))
def test_windows_cover_each_split_once_and_keep_the_gap(height, width, gap, shares, seed):
    size = height, width
    layout = divide(size, shares, gap, seed)
    assert [bool(areas) for areas in layout.areas] == [share > 0 for share in shares]
    windows = [
        [
            (area[0] + top, area[1] + left, rows, columns)
            for area in areas
            for top, left, rows, columns in even_windows(area[2:], 60)
        ]
        for areas in layout.areas
    ]
    owner, times = painted(size, layout.areas)
    assert times.max() == 1
    of_windows, times_by_windows = painted(size, windows)
    np.testing.assert_array_equal(of_windows, owner)
    np.testing.assert_array_equal(times_by_windows, times)
    assert layout.lost_share == pytest.approx((owner < 0).mean())
    there = [number for number, areas in enumerate(layout.areas) if areas]
    for one, other in itertools.combinations(there, 2):
        assert pixels_between(owner, one, other) >= gap
    assert divide(size, shares, gap, seed) == layout


def test_shares_are_met_where_gaps_are_small():
    layout = divide((4000, 6000), (0.7, 0.15, 0.15), 32, 0)
    used = [sum(area[2] * area[3] for area in areas) for areas in layout.areas]
    for pixels, share in zip(used, (0.7, 0.15, 0.15), strict=True):
        assert pixels / sum(used) == pytest.approx(share, abs=0.02)
    assert layout.lost_share < 0.05
    assert len(layout.areas[1]) > 1


def test_other_seeds_give_other_blocks():
    layouts = [divide((1000, 1000), (0.7, 0.15, 0.15), 20, seed).areas[1] for seed in range(5)]
    assert len(set(layouts)) > 1


def test_a_rare_class_is_in_every_split():
    planes = np.zeros((2, 250, 250), np.bool_)
    planes[1, 5:15, 5:15] = planes[1, 5:15, 200:210] = planes[1, 220:230, 100:110] = True
    planes[0] = ~planes[1]
    for seed in range(5):
        layout = divide((1000, 1000), (0.7, 0.15, 0.15), 40, seed, ClassSums(planes, 4))
        whole = planes[1].repeat(4, 0).repeat(4, 1)
        for areas in layout.areas:
            assert sum(
                whole[top : top + height, left : left + width].sum()
                for top, left, height, width in areas
            )


def test_class_sums_count_as_numpy_does():
    planes = np.random.default_rng(0).random((3, 40, 50)) < 0.3
    sums = ClassSums(planes, 10)
    counted = sums.in_grid(np.array([0, 100, 400]), np.array([0, 250, 300, 500]))
    assert counted.shape == (3, 2, 3)
    np.testing.assert_array_equal(counted[:, 1, 1], planes[:, 10:40, 25:30].sum((1, 2)))


def test_a_scene_without_room_is_not_divided():
    assert divide((100, 100), (0.7, 0.15, 0.15), 60, 0) is None


def test_a_narrow_scene_is_cut_across():
    layout = divide((40, 2000), (0.7, 0.15, 0.15), 50, 0)
    assert {area[2] for areas in layout.areas for area in areas} == {40}


@settings(max_examples=30, deadline=None)
@given(SIDES, SIDES, st.integers(0, 30), st.integers(2, 6))
def test_the_blocks_of_folds_keep_the_gap_to_all_others(height, width, gap, folds):
    room = np.prod([max(1, side // max(1, 3 * gap)) for side in (height, width)])
    if room < folds:
        with pytest.raises(ConfigError, match="smaller gap"):
            fold_cells((height, width), folds, gap)
        return
    cells = fold_cells((height, width), folds, gap)
    assert len(cells) >= folds
    owner, times = painted((height, width), [[cell] for cell in cells])
    assert times.max() == 1
    for one, other in itertools.combinations(range(min(len(cells), 6)), 2):
        assert pixels_between(owner, one, other) >= gap


@pytest.mark.parametrize(("size", "count"), [((900, 1024), 16), ((1, 300), 1), ((385, 100), 2)])
def test_windows_are_of_nearly_one_size(size, count):
    windows = even_windows(size, 256)
    assert len(windows) == count
    _, times = painted(size, [[window] for window in windows])
    assert (times == 1).all()
    for axis in (2, 3):
        sides = {window[axis] for window in windows}
        assert max(sides) - min(sides) <= 1
        assert max(sides) <= 1.5 * 256
