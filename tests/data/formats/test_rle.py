"""Run lengths are read and written exactly as pycocotools does, and bounded by the image's size."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from pycocotools import mask as reference

from pixelwise.data.formats.coco.rle import decode_runs, encode_runs, pack_region, unpack_counts
from pixelwise.errors import MaskError

ORIGIN = Path("a.json")

REGIONS = st.tuples(st.integers(1, 40), st.integers(1, 40)).flatmap(
    lambda size: arrays(np.bool_, size)
)


def packed_by_reference(region):
    return reference.encode(np.asfortranarray(region.astype(np.uint8)))["counts"].decode()


def runs_counted_one_by_one(pixels):
    """The lengths of the runs of a flat region, the first outside, without numpy or a library."""
    counts, inside = [0], False
    for pixel in pixels:
        if bool(pixel) is not inside:
            counts.append(0)
            inside = not inside
        counts[-1] += 1
    return counts


@given(region=REGIONS)
def test_runs_are_those_that_are_counted_one_by_one(region):
    assert encode_runs(region, "rows") == runs_counted_one_by_one(region.ravel().tolist())
    assert encode_runs(region, "columns") == runs_counted_one_by_one(region.T.ravel().tolist())


# numpy 2 warns of how pycocotools hands out its arrays.
@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
@given(region=REGIONS)
def test_a_packed_region_is_what_pycocotools_packs_and_reads(region):
    text = pack_region(region)
    assert text == packed_by_reference(region)
    read = reference.decode({"size": list(region.shape), "counts": text.encode()})
    assert np.array_equal(read, region)


@pytest.mark.parametrize("layout", ["rows", "columns", "slice", "view"])
def test_a_region_is_packed_however_it_lies_in_memory(layout):
    whole = np.random.default_rng(0).random((9, 14)) > 0.5
    region = {
        "rows": np.ascontiguousarray(whole),
        "columns": np.asfortranarray(whole),
        "slice": whole[1::2, ::3],
        "view": whole[::-1].T,
    }[layout]
    assert pack_region(region) == packed_by_reference(region)


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


# pycocotools reserves 6 characters of 5 bits for a run; a longer one is written beyond its memory.
@given(counts=st.lists(st.integers(0, 2**28), max_size=40))
def test_long_runs_are_packed_and_unpacked(counts):
    text = reference.frPyObjects({"size": [1, 1], "counts": counts}, 1, 1)["counts"].decode()
    assert unpack_counts(text, ORIGIN).tolist() == counts


def test_a_long_run_is_packed_as_pycocotools_does():
    region = np.zeros((3000, 2000), np.bool_)
    region[2999, 1999] = region[5, 7] = True
    assert pack_region(region) == packed_by_reference(region)
    assert encode_runs(region, "columns")[0] == 7 * 3000 + 5


@pytest.mark.parametrize(
    "counts",
    [[], [5], [7], [-1, 7], [3, -2, 5], [2**62, 2**62, 2**62], [2**200], [10**5000]],
)
def test_runs_that_do_not_fill_the_image_are_refused(counts):
    with pytest.raises(
        MaskError, match=r"a\.json must contain run lengths that fill 3 x 2 = 6 pixels"
    ):
        decode_runs(counts, (2, 3), "rows", ORIGIN)


@pytest.mark.parametrize("text", ["oooooooooooo", "000P", "é", "\x00", "~~~", "漢", " ", "\ud800"])
def test_a_damaged_text_is_refused(text):
    with pytest.raises(MaskError, match=r"a\.json must contain run lengths"):
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
        decode_runs(unpack_counts("PPPPPP8" * 2, ORIGIN), (4, 4), "rows", ORIGIN)  # 2**33 each
