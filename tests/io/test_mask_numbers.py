"""Masks of floats: whole and finite numbers are class ids, all others are refused by name."""

import numpy as np
import pytest
import tifffile

from pixelwise.errors import MaskError
from pixelwise.io.images import read_grayscale_mask, read_mask_values

TYPES = ("float16", "float32", "float64", ">f4")
READERS = (read_mask_values, read_grayscale_mask)


def write(path, values):
    np.save(path, values) if path.suffix == ".npy" else tifffile.imwrite(path, values)


@pytest.mark.parametrize("read", READERS)
@pytest.mark.parametrize("value", [np.inf, -np.inf, np.nan])
@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("suffix", [".npy", ".tif"])
def test_a_number_that_is_not_finite_is_named(tmp_path, read, value, dtype, suffix):
    values = np.zeros((4, 5), dtype)
    values[1, 1:3] = value
    write(tmp_path / f"mask{suffix}", values)
    with pytest.raises(MaskError, match=rf"mask\{suffix} must contain .*Got {value} in 2 pixels"):
        read(tmp_path / f"mask{suffix}")


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("value", [0.5, 60_000.0, -3.0])
def test_a_finite_number_is_an_id_if_it_is_whole(tmp_path, dtype, value):
    values = np.zeros((4, 5), dtype)
    values[1, 1] = value
    write(tmp_path / "mask.npy", values)
    if value == 0.5:
        with pytest.raises(MaskError, match=r"Got the fraction 0\.5"):
            read_mask_values(tmp_path / "mask.npy")
    else:
        assert read_mask_values(tmp_path / "mask.npy")[1, 1] == value


@pytest.mark.parametrize("value", [1e30, -1e30, 2.0**63])
def test_a_number_beyond_all_integers_is_no_id(tmp_path, value):
    values = np.zeros((4, 5), np.float32)
    values[1, 1] = value
    write(tmp_path / "mask.npy", values)
    with pytest.raises(MaskError, match=r"mask\.npy must contain whole class ids"):
        read_mask_values(tmp_path / "mask.npy")
