from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image

from pixelwise.data.masks.kinds import MAX_CODES, look_at_masks
from pixelwise.io import counting
from pixelwise.io.counting import commonest, count_values

RNG = np.random.default_rng(0)


@given(
    codes=st.sampled_from(["uint8", "uint16", "int32", "int64"]).flatmap(
        lambda dtype: arrays(dtype, (5, 4), elements=st.integers(0, 9))
    ),
    most=st.integers(1, 12),
)
def test_the_commonest_codes_are_those_that_a_loop_counts(codes, most):
    counts = Counter(codes.ravel().tolist())
    found = commonest(codes, most)
    assert list(found.values()) == [count for _, count in counts.most_common(most)]
    assert found.items() <= counts.items()


@pytest.mark.parametrize("block_px", [1, 7, 30, 1000])
def test_counts_do_not_depend_on_the_blocks(monkeypatch, block_px):
    monkeypatch.setattr(counting, "BLOCK_PX", block_px)
    values = RNG.integers(0, 256, (11, 13), np.uint8)
    expected = [(values == value).sum() for value in range(256)]
    assert count_values(values).tolist() == expected
    assert count_values(values[:0]).sum() == 0


def test_of_a_picture_of_many_colors_the_commonest_are_looked_at(tmp_path):
    pixels = RNG.integers(0, 128, (80, 80, 3), np.uint8)
    pixels[:40] = 250, 10, 10
    Image.fromarray(pixels).save(tmp_path / "mask.png")
    look = look_at_masks([tmp_path / "mask.png"])
    assert len(look.colors) == MAX_CODES
    assert 250 << 16 | 10 << 8 | 10 in look.colors
