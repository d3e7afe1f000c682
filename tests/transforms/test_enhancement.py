"""The steps on pixels, against loops and numpy; depth, shape and precision are kept."""

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pixelwise.errors import DataError
from pixelwise.transforms.enhancement import (
    Enhancement,
    _clahe,
    _deep_clahe,
    balance_gray_world,
    choose_bands,
    enhance,
    equalize_locally,
    stretch_contrast,
)

LARGEST = {"uint8": 255, "uint16": 65535, "float32": 1.0}
STEPS = {
    "denoise": ["median", "nl-means"],
    "white_balance": ["gray-world"],
    "contrast": ["stretch", "stretch-bands", "clahe"],
}


def image_of(size=(40, 50), channels=3, dtype="uint8", *, low=0.3, high=0.5, seed=0):
    """Noise between two shares of the type's range; every channel a little brighter."""
    rng = np.random.default_rng(seed)
    shares = rng.uniform(low, high, (*size, channels)) + 0.05 * np.arange(channels)
    return (shares * LARGEST[dtype]).astype(dtype)


@pytest.mark.parametrize(
    "steps", [{name: kind} for name, kinds in STEPS.items() for kind in kinds], ids=str
)
@pytest.mark.parametrize("dtype", LARGEST)
@pytest.mark.parametrize("channels", [1, 3, 5])
def test_every_step_keeps_type_and_shape_and_changes_something(steps, dtype, channels):
    image = image_of(channels=channels, dtype=dtype)
    before = image.copy()
    changed = enhance(image, Enhancement(**steps))
    assert (changed.dtype, changed.shape) == (image.dtype, image.shape)
    np.testing.assert_array_equal(image, before)
    if "white_balance" not in steps or channels > 1:
        assert not np.array_equal(changed, image)


@pytest.mark.parametrize("size", [(1, 1), (1, 40), (40, 1), (2, 3), (9, 7)])
@pytest.mark.parametrize("dtype", LARGEST)
def test_images_of_a_few_pixels_go_through_every_step(size, dtype):
    for name, kinds in STEPS.items():
        for kind in kinds:
            for channels in (1, 3):
                image = image_of(size, channels, dtype)
                image.flags.writeable = False  # as Pillow gives them
                assert enhance(image, Enhancement(**{name: kind})).shape == image.shape


@pytest.mark.parametrize("dtype", LARGEST)
@pytest.mark.parametrize("value", [0, 1, 0.3])
def test_an_image_of_one_value_stays_finite_and_flat(dtype, value):
    flat = np.full((9, 8, 3), value * LARGEST[dtype], dtype)
    for name, kinds in STEPS.items():
        for kind in kinds:
            changed = enhance(flat, Enhancement(**{name: kind})).astype(float)
            assert np.isfinite(changed).all()
            assert np.ptp(changed) == 0


def test_nothing_asked_for_is_nothing_done():
    image = image_of()
    assert enhance(image, Enhancement()) is image
    assert Enhancement().describe() == []


def test_the_order_of_the_steps_is_bands_denoise_white_balance_contrast():
    image = image_of(channels=4)
    steps = Enhancement(
        bands=(4, 1), denoise="median", white_balance="gray-world", contrast="stretch"
    )
    expected = stretch_contrast(
        balance_gray_world(
            np.stack([cv2.medianBlur(image[..., band].copy(), 3) for band in (3, 0)], -1)
        )
    )
    np.testing.assert_array_equal(enhance(image, steps), expected)
    assert steps.describe() == [
        "bands 4, 1", "denoise median", "white balance gray-world", "contrast stretch"
    ]  # fmt: skip


@given(bands=st.lists(st.integers(1, 5), min_size=1, max_size=6).map(tuple))
def test_bands_are_counted_from_one_and_come_in_the_order_asked_for(bands):
    image = image_of((3, 4), 5, "uint16")
    chosen = choose_bands(image, bands)
    for position, band in enumerate(bands):
        np.testing.assert_array_equal(chosen[..., position], image[..., band - 1])


def test_a_band_that_is_not_there_is_refused_with_the_file_and_what_it_has():
    with pytest.raises(DataError, match=r"scene/a\.tif must have the bands 4, 3, 2\. It has 3\."):
        choose_bands(image_of(), (4, 3, 2), "scene/a.tif")


@pytest.mark.parametrize("bands", [(), (0,), (-1, 2)])
def test_bands_are_numbers_from_one_on(bands):
    with pytest.raises(ValueError, match="bands"):
        Enhancement(bands=bands)


@pytest.mark.parametrize("dtype", LARGEST)
@pytest.mark.parametrize("by_band", [False, True])
def test_stretched_values_are_those_that_percentiles_give(dtype, by_band):
    image = image_of(channels=4, dtype=dtype)
    expected = np.empty(image.shape)
    for band in range(4):
        low, high = np.percentile(image[..., band] if by_band else image, (1, 99))
        share = (image[..., band].astype(float) - low) / (high - low)
        expected[..., band] = np.clip(share, 0, 1) * LARGEST[dtype]
    if dtype != "float32":
        expected = expected.round()
    stretched = stretch_contrast(image, by_band=by_band)
    tolerance = 1e-5 if dtype == "float32" else 1  # a half may be rounded either way
    np.testing.assert_allclose(stretched, expected, atol=tolerance)
    assert (stretched != expected).mean() < 0.01 or dtype == "float32"
    tops = stretched.max((0, 1))
    assert (tops == LARGEST[dtype]).all() if by_band else (tops[:-1] < LARGEST[dtype]).any()


@pytest.mark.parametrize("by_band", [False, True])
def test_few_spots_on_black_are_stretched_by_their_smallest_and_largest_value(by_band):
    image = np.zeros((100, 100, 2), np.uint16)
    image[0, :50, 0] = np.arange(50) + 1000
    stretched = stretch_contrast(image, by_band=by_band)
    expected = np.round(image / 1049 * 65535)
    np.testing.assert_allclose(stretched, expected, atol=1)


def test_a_flat_band_is_left_alone_when_others_are_stretched():
    image = image_of()
    image[..., 1] = 77
    stretched = stretch_contrast(image, by_band=True)
    assert (stretched[..., 1] == 77).all()
    assert np.ptp(stretched[..., 0]) == 255


@pytest.mark.parametrize("dtype", LARGEST)
def test_gray_world_gives_all_bands_the_mean_that_a_loop_gives(dtype):
    image = image_of(channels=4, dtype=dtype)
    means = [float(image[..., band].astype(np.float64).sum() / 2000) for band in range(4)]
    gray = sum(means) / 4
    balanced = balance_gray_world(image)
    for row, column, band in [(0, 0, 0), (5, 7, 1), (39, 49, 3), (20, 1, 2)]:
        expected = float(image[row, column, band]) * gray / means[band]
        expected = expected if dtype == "float32" else round(expected)
        assert balanced[row, column, band] == pytest.approx(expected, rel=1e-5, abs=1e-6)
    np.testing.assert_allclose(balanced.mean((0, 1), np.float64), gray, rtol=3e-3)


def test_gray_world_ends_at_white_and_leaves_a_black_band():
    image = np.zeros((4, 4, 3), np.uint8)
    image[..., 0], image[0, 0, 0], image[..., 2] = 10, 255, 250
    balanced = balance_gray_world(image)
    assert balanced[0, 0, 0] == 255
    assert (balanced[..., 1] == 0).all()


def test_clahe_of_a_deep_image_agrees_with_opencv_on_a_shallow_one():
    rng = np.random.default_rng(1)
    # Tiles of many pixels: OpenCV shares out what it cuts off in whole pixels, dark levels first.
    band = cv2.GaussianBlur(rng.integers(0, 256, (1200, 1600), np.uint8), (0, 0), 3)
    band = cv2.normalize(band, None, 20, 230, cv2.NORM_MINMAX)
    ours = _deep_clahe(band.astype(np.float32) / 255) * 255
    opencv = _clahe(band).astype(float)
    # OpenCV counts a gray level among those below it: up to one bin, three levels, brighter.
    assert np.abs(ours - opencv).mean() < 4
    assert np.abs(ours - opencv).max() < 10
    assert np.corrcoef(ours.ravel(), opencv.ravel())[0, 1] > 0.999


def test_clahe_limits_noise_in_16_bits_as_in_8():
    """OpenCV's own 16 bits raise such noise five times more."""
    rng = np.random.default_rng(0)
    shares = rng.normal(0.5, 0.02, (200, 240, 1)).clip(0, 1)
    shares[:6], shares[-6:] = 0, 1  # the stretch finds the range filled
    raised = [
        equalize_locally((shares * LARGEST[dtype]).astype(dtype))[8:-8].std() / LARGEST[dtype]
        for dtype in ("uint8", "uint16")
    ]
    assert raised[1] == pytest.approx(raised[0], rel=0.2)
    assert cv2.createCLAHE(2.0, (8, 8)).apply((shares[..., 0] * 65535).astype(np.uint16))[
        8:-8
    ].std() / 65535 > 2.5 * raised[1]  # fmt: skip


def test_clahe_keeps_the_precision_of_16_bits():
    ramp = np.linspace(20_000, 30_000, 200 * 200).astype(np.uint16).reshape(200, 200, 1)
    changed = equalize_locally(ramp)
    assert len(np.unique(changed)) > 5000
    assert np.ptp(changed) > 60_000


@settings(max_examples=25, deadline=None)
@given(
    height=st.integers(1, 40),
    width=st.integers(1, 40),
    spread=st.floats(0.01, 0.5),
    seed=st.integers(0, 99),
)
def test_clahe_stays_in_range_and_keeps_the_order_of_values_at_a_place(height, width, spread, seed):
    rng = np.random.default_rng(seed)
    band = rng.uniform(0.5 - spread, 0.5 + spread, (height, width)).astype(np.float32)
    changed = _deep_clahe(band)
    assert changed.min() >= -1e-6
    assert changed.max() <= 1 + 1e-6
    brighter = _deep_clahe_with(band, 0.01)
    assert (brighter >= changed - 1e-5).all()


def _deep_clahe_with(band, more):
    """The curves of a band, applied to the band made brighter."""
    from pixelwise.transforms import enhancement

    curves = enhancement._tone_curves(band)
    original = enhancement._tone_curves
    enhancement._tone_curves = lambda _: curves
    try:
        return enhancement._deep_clahe(np.minimum(band + np.float32(more), 1))
    finally:
        enhancement._tone_curves = original


def test_clahe_of_a_color_image_keeps_gray_gray():
    gray = np.repeat(image_of((64, 64), 1), 3, -1)
    changed = equalize_locally(gray).astype(int)
    assert np.abs(changed - changed[..., :1]).max() <= 1
    assert changed.std() > 1.5 * gray.std()


@pytest.mark.parametrize(("dtype", "noise"), [("uint8", 8), ("uint16", 2000), ("float32", 0.03)])
def test_nl_means_takes_out_noise_and_keeps_an_edge(dtype, noise):
    rng = np.random.default_rng(0)
    clean = np.full((64, 64, 1), 0.3 * LARGEST[dtype])
    clean[:, 32:] = 0.7 * LARGEST[dtype]
    noisy = (clean + rng.normal(0, noise, clean.shape)).astype(dtype)
    changed = enhance(noisy, Enhancement(denoise="nl-means")).astype(float)
    assert (changed - clean).std() < 0.5 * noise
    assert abs((changed - clean).mean()) < 0.2 * noise
    np.testing.assert_allclose(changed[:, 31].mean(), clean[0, 0, 0], rtol=0.05)


def test_nl_means_leaves_an_image_without_noise():
    clean = np.repeat(np.arange(60, dtype=np.uint8)[None, :, None], 50, 0)
    np.testing.assert_array_equal(enhance(clean, Enhancement(denoise="nl-means")), clean)


@pytest.mark.parametrize("dtype", LARGEST)
def test_the_median_takes_out_single_pixels_as_numpy_does(dtype):
    image = image_of((12, 13), 2, dtype)
    image[5, 5] = LARGEST[dtype]
    edged = np.pad(image, ((1, 1), (1, 1), (0, 0)), mode="edge")
    windows = np.lib.stride_tricks.sliding_window_view(edged, (3, 3), (0, 1))
    expected = np.median(windows, axis=(-2, -1))
    np.testing.assert_array_equal(enhance(image, Enhancement(denoise="median")), expected)
