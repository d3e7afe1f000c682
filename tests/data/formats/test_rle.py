"""Run lengths are read and written exactly as pycocotools does, and bounded by the image's size."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from pycocotools import mask as reference

from pixelwise.data.formats.coco.rle import decode_runs, encode_runs, pack_counts, unpack_counts
from pixelwise.errors import MaskError

ORIGIN = Path("a.json")

REGIONS = st.tuples(st.integers(1, 40), st.integers(1, 40)).flatmap(
    lambda size: arrays(np.bool_, size)
)


def packed_by_reference(region):
    return reference.encode(np.asfortranarray(region.astype(np.uint8)))["counts"].decode()


@given(region=REGIONS)
def test_packed_runs_are_those_of_pycocotools_character_by_character(region):
    assert pack_counts(encode_runs(region, "columns")) == packed_by_reference(region)


@given(region=REGIONS)
def test_a_text_of_pycocotools_gives_its_region(region):
    counts = unpack_counts(packed_by_reference(region), ORIGIN)
    assert np.array_equal(decode_runs(counts, region.shape, "columns", ORIGIN), region)


@given(region=REGIONS, order=st.sampled_from(["rows", "columns"]))
def test_a_list_of_runs_reads_back(region, order):
    counts = encode_runs(region, order)
    assert np.array_equal(decode_runs(counts, region.shape, order, ORIGIN), region)


def test_rows_and_columns_are_told_apart():
    counts = [1, 2, 3]
    by_rows = decode_runs(counts, (2, 3), "rows", ORIGIN)
    by_columns = decode_runs(counts, (2, 3), "columns", ORIGIN)
    assert by_rows.tolist() == [[False, True, True], [False, False, False]]
    assert by_columns.tolist() == [[False, True, False], [True, False, False]]


@given(counts=st.lists(st.integers(0, 2**31), max_size=40))
def test_long_runs_are_packed_and_unpacked(counts):
    assert unpack_counts(pack_counts(counts), ORIGIN).tolist() == counts


def test_a_long_run_is_packed_as_pycocotools_does():
    region = np.zeros((3000, 2000), np.bool_)
    region[2999, 1999] = region[5, 7] = True
    assert pack_counts(encode_runs(region, "columns")) == packed_by_reference(region)


@pytest.mark.parametrize(
    "counts",
    [[], [5], [7], [-1, 7], [3, -2, 5], [2**62, 2**62, 2**62], [2**200], [10**5000]],
)
def test_runs_that_do_not_fill_the_image_are_refused(counts):
    with pytest.raises(
        MaskError, match=r"a\.json must hold run lengths that fill 3 x 2 = 6 pixels"
    ):
        decode_runs(counts, (2, 3), "rows", ORIGIN)


@pytest.mark.parametrize("text", ["oooooooooooo", "000P", "é", "\x00", "~~~", "漢", " ", "\ud800"])
def test_a_damaged_text_is_refused(text):
    with pytest.raises(MaskError, match=r"a\.json must hold run lengths"):
        unpack_counts(text, ORIGIN)


@given(text=st.text(max_size=30), height=st.integers(0, 9), width=st.integers(0, 9))
def test_any_text_gives_a_region_of_the_size_or_an_error_of_ours(text, height, width):
    try:
        region = decode_runs(unpack_counts(text, ORIGIN), (height, width), "columns", ORIGIN)
    except MaskError:
        return
    assert region.shape == (height, width)


def test_a_run_far_beyond_the_image_takes_no_memory():
    with pytest.raises(MaskError, match="run lengths"):
        decode_runs(unpack_counts(pack_counts([2**33, 2**33]), ORIGIN), (4, 4), "rows", ORIGIN)
