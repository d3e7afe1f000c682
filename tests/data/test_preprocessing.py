"""What happens to an image before the model sees it."""

import numpy as np
import pytest

from pixelwise.data.preprocessing import Preprocessing, stretch_contrast


def preprocessing(**fields):
    return Preprocessing(dtype="uint8", mean=(0,), std=(1,), **fields)


def test_no_working_scale_makes_an_image_vanish():
    assert preprocessing(scale=0.5).working_size(1, 5000) == (1, 2500)
    assert preprocessing(scale=0.75).working_size(360, 480) == (270, 360)


def test_a_fixed_working_size_is_that_of_every_image():
    assert preprocessing(resize=(128, 64)).working_size(1, 5000) == (128, 64)


@pytest.mark.parametrize(
    ("dtype", "largest"), [(np.uint8, 255), (np.uint16, 65535), (np.float32, 1)]
)
def test_stretched_values_fill_the_range_of_their_type_in_the_same_order(dtype, largest):
    rng = np.random.default_rng(0)
    image = (rng.uniform(0.3, 0.5, (40, 50, 3)) * largest).astype(dtype)
    stretched = stretch_contrast(image)
    assert (stretched.dtype, stretched.shape) == (image.dtype, image.shape)
    assert (stretched.min(), stretched.max()) == (0, largest)
    order = np.argsort(image.ravel(), kind="stable")
    assert (np.diff(stretched.ravel()[order].astype(float)) >= 0).all()


def test_an_image_of_one_value_is_not_stretched():
    flat = np.full((4, 5, 1), 77, np.uint8)
    np.testing.assert_array_equal(stretch_contrast(flat), flat)
