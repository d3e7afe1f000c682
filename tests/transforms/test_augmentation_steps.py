"""A contract for every step of the augmentation, and each step against an independent reference."""

import colorsys
import subprocess
import sys

import numpy as np
import pytest
import torch

from pixelwise.config import NO_AUGMENTATION, AugmentationRecipe
from pixelwise.errors import ConfigError
from pixelwise.transforms import augmentation_steps
from pixelwise.transforms.augmentation import TensorSample, apply_steps, augment
from pixelwise.transforms.augmentation_steps import STEPS, check_channels

CROP_AND_JITTER = {"orientation", "scale", "brightness", "contrast", "transform"}
ENTRIES = {"rotation": 30.0, "elastic": 4.0, "blur": (1.0, 2.0)}
"""Entries that turn a step on; every other step is tried with 0.4."""

SIZE = (48, 64)
every_step = pytest.mark.parametrize("step", STEPS, ids=lambda step: step.key)
every_kind = pytest.mark.parametrize(
    ("dtype", "largest"),
    [(torch.uint8, 255), (torch.float32, 65535), (torch.float32, 0.01)],
    ids=["uint8", "uint16 as float32", "float32"],
)


def recipe_with(step):
    return NO_AUGMENTATION.model_copy(update={step.key: ENTRIES.get(step.key, 0.4)})


def random_image(channels, dtype=torch.uint8, largest=255, size=SIZE):
    """Smooth colors, so that a blur or a small movement leaves values that can be recognized."""
    drawn = torch.rand(1, channels, 6, 8, generator=torch.Generator().manual_seed(0))
    smooth = torch.nn.functional.interpolate(drawn, size, mode="bicubic").clamp(0, 1)[0] * largest
    return smooth.round().to(dtype) if dtype == torch.uint8 else smooth


def sample_of(image, mask=None, valid=None):
    size = image.shape[-2:]
    mask = torch.zeros(size, dtype=torch.uint8) if mask is None else mask
    return TensorSample(image, mask, torch.ones(size, dtype=torch.bool) if valid is None else valid)


def crop_of(sample, recipe, label_mode="multiclass", seed=0):
    size = tuple(sample.valid.shape)
    return augment(sample, size, recipe, label_mode, np.random.default_rng(seed))


def discs(dtype=torch.uint8, channels=3):
    """Discs of value 200 on 0, with the ids 1 and 0; a border of value 100 is ignored."""
    rows, columns = np.indices(SIZE)
    is_disc = ((rows % 24 - 12) ** 2 + (columns % 24 - 12) ** 2) < 64
    is_ignored = columns > 50
    values = np.where(is_ignored, 100, np.where(is_disc, 200, 0))
    image = torch.from_numpy(np.repeat(values[None], channels, 0)).to(dtype)
    mask = np.where(is_ignored, 255, is_disc).astype(np.uint8)
    return image, torch.from_numpy(mask), torch.from_numpy(~is_ignored)


def test_every_entry_of_the_recipe_has_its_step_and_is_off_by_default():
    keys = [step.key for step in STEPS]
    assert len(set(keys)) == len(keys)
    assert set(AugmentationRecipe.model_fields) == {*keys, *CROP_AND_JITTER}
    assert NO_AUGMENTATION.entries_on == AugmentationRecipe().entries_on == set()
    for step in STEPS:
        assert recipe_with(step).entries_on == {step.key}
        assert (step.draw_movement is None) != (step.change_values is None)


@every_step
@every_kind
def test_a_step_that_is_off_changes_nothing_and_one_that_is_on_does(step, dtype, largest):
    for channels in [step.channels] if step.channels else [1, 3, 6]:
        sample = sample_of(random_image(channels, dtype, largest))
        before = sample.image.clone()
        still = crop_of(sample, NO_AUGMENTATION)
        assert torch.equal(still.image, before)
        changed = crop_of(sample, recipe_with(step))
        assert changed.image.dtype == dtype
        assert changed.image.shape == before.shape
        share = (changed.image.float() - before.float()).abs().mean() / largest
        assert 1e-4 < share < 0.5
        assert torch.equal(sample.image, before), "the sample itself must not change"


@every_step
def test_a_step_draws_from_its_generator_only(step):
    sample = sample_of(random_image(step.channels or 2))
    crops = []
    for number, seed in enumerate((1, 1, 2)):
        torch.manual_seed(number)
        before = torch.get_rng_state()
        crops.append(crop_of(sample, recipe_with(step), seed=seed).image)
        assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(crops[0], crops[1])
    assert not torch.equal(crops[0], crops[2])


@every_step
@pytest.mark.parametrize("size", [(1, 1), (1, 7), (3, 2)])
def test_a_step_takes_tiny_crops(step, size):
    sample = sample_of(random_image(step.channels or 1, size=size))
    assert crop_of(sample, recipe_with(step)).image.shape[-2:] == size


@every_step
@pytest.mark.parametrize("label_mode", ["multiclass", "multilabel"])
def test_image_mask_and_ignored_pixels_stay_together(step, label_mode):
    image, ids, valid = discs(channels=step.channels or 3)
    soft = torch.stack([ids == 1, ids == 0]).to(torch.uint8) * 255 * valid
    sample = sample_of(image, ids if label_mode == "multiclass" else soft, valid)
    for seed in range(8):
        changed = apply_steps(sample, recipe_with(step), label_mode, np.random.default_rng(seed))
        if step.change_values is not None:
            assert torch.equal(changed.mask, sample.mask)
            assert torch.equal(changed.valid, valid)
            continue
        padding = 255 if label_mode == "multiclass" else 0
        assert (changed.mask[..., ~changed.valid] == padding).all()
        disc = changed.mask if label_mode == "multiclass" else changed.mask[0] / 255
        assert label_mode == "multilabel" or set(disc.unique().tolist()) == {0, 1, 255}
        shown = changed.image[0].float()
        off = (shown - 200 * disc).abs()[changed.valid]
        assert changed.valid.float().mean() > 0.4
        assert off.median() < 1
        assert (off > 110).float().mean() < 0.02  # a border of a disc is blended in the image only
        # The ignored border is 100 in the image, and stays ignored wherever it has moved.
        is_border = (shown - 100).abs() < 1
        assert (changed.valid & is_border).float().mean() < 0.02


class Largest:
    """A generator that draws the largest value."""

    def uniform(self, low, high):  # noqa: ARG002
        return high


@pytest.mark.parametrize("degrees", [10, 33, 170])
def test_a_rotation_turns_around_the_center_counterclockwise(degrees):
    rows, columns = np.indices((101, 101)) - 50
    spot = np.exp(-(rows**2 + (columns - 20) ** 2) / 18).astype(np.float32)
    move = augmentation_steps.rotation((101, 101), degrees, Largest())
    for interpolation in ("nearest", "bilinear"):
        moved = move(torch.from_numpy(spot)[None], interpolation, [0.0])[0].numpy()
        center = [(moved * axis).sum() / moved.sum() for axis in (rows, columns)]
        angle = np.deg2rad(degrees)
        expected = (-20 * np.sin(angle), 20 * np.cos(angle))
        np.testing.assert_allclose(center, expected, atol=0.1)


def test_elastic_shifts_are_smooth_and_as_large_as_asked():
    size = (192, 256)
    places = torch.from_numpy(np.indices(size).astype(np.float32))
    rng = np.random.default_rng(0)
    spread, bends = [], []
    for _ in range(60):
        move = augmentation_steps.elastic(size, 6.0, rng)
        shift = (move(places, "bilinear", [0.0, 0.0]) - places)[:, 40:-40, 40:-40]
        spread.append(float(shift.square().mean()))
        bends.append(float(shift.diff(dim=-1).abs().max()))
    # Uniform strengths up to 6 have a mean square of 12; between its points, a field is weaker.
    assert 12 * 0.4 < np.mean(spread) < 12 * 1.2
    assert np.mean(bends) < 0.5


def test_a_hue_is_shifted_as_in_the_standard_library():
    colors = np.random.default_rng(0).uniform(0, 1, (3, 4, 5))
    for scale, offset in ((1, 0), (1000, -300)):
        image = torch.from_numpy(colors * scale + offset).float()
        image[:, 0, 0], image[:, 0, 1] = offset, offset + scale  # black and white fix the range
        changed = (augmentation_steps.hue(image, 0.2, Largest()) - offset) / scale
        for row, column in np.ndindex(4, 5):
            before = (image[:, row, column].double() - offset) / scale
            hue, saturation, value = colorsys.rgb_to_hsv(*before.tolist())
            expected = colorsys.hsv_to_rgb((hue + 0.2) % 1, saturation, value)
            np.testing.assert_allclose(changed[:, row, column], expected, atol=1e-3)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32])
def test_a_saturation_moves_colors_away_from_their_gray(dtype):
    image = torch.tensor([[100, 0, 255], [120, 0, 255], [90, 0, 255]]).to(dtype)[..., None]
    changed = augmentation_steps.saturation(image, 0.5, Largest())
    gray = 0.2989 * 100 + 0.587 * 120 + 0.114 * 90
    expected = [gray + 1.5 * (value - gray) for value in (100, 120, 90)]
    np.testing.assert_allclose(changed[:, 0, 0], expected, atol=1.1)
    np.testing.assert_allclose(changed[:, 1:, 0], image[:, 1:, 0], atol=1)


def test_a_blur_has_the_standard_deviation_that_was_asked_for():
    image = torch.zeros(2, 41, 61)
    image[:, 20, 30] = 1000
    blurred = augmentation_steps.blur(image, (0.5, 2.5), Largest())[0].double().numpy()
    rows, columns = np.indices((41, 61)) - np.array([20, 30])[:, None, None]
    assert blurred.sum() == pytest.approx(1000, rel=1e-4)
    for axis in (rows, columns):
        assert float((blurred * axis**2).sum() / 1000) ** 0.5 == pytest.approx(2.5, rel=0.03)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32])
def test_noise_is_relative_to_the_std_of_each_channel(dtype):
    rng = np.random.default_rng(0)
    spreads = np.array([2.0, 30.0])
    image = torch.from_numpy(rng.normal(128, spreads[:, None, None], (2, 80, 80))).round().to(dtype)

    class Full(Largest):
        standard_normal = rng.standard_normal

    difference = augmentation_steps.noise(image, 0.5, Full()).float() - image.float()
    found = difference.std((-2, -1))
    np.testing.assert_allclose(found, image.float().std((-2, -1)) * 0.5, rtol=0.1)
    assert difference.mean().abs() < 0.5


@every_step
def test_a_step_for_colors_says_at_once_that_other_channels_do_not_work(step):
    for channels in (1, 3, 4):
        if step.channels in (None, channels):
            check_channels(recipe_with(step), channels)
            continue
        with pytest.raises(ConfigError, match=rf"augmentation\.{step.key} needs images of 3 .*Got"):
            check_channels(recipe_with(step), channels)
        check_channels(NO_AUGMENTATION, channels)


def test_torchvision_is_not_imported_before_a_step_needs_it():
    names = "pixelwise.transforms.own_transform, pixelwise.data.batches, pixelwise.config"
    code = f"import sys, {names}; sys.exit('torchvision' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
