"""The pictures of a run: drawn for every kind of data, without a warning."""

import numpy as np
import pytest
from PIL import Image

from pixelwise.classes import ClassMap, numbered_names
from pixelwise.data.sample import Sample
from pixelwise.reporting.plots import draw_class_grid, draw_curves, draw_segmentation

CASES = [((24, 30), 20), ((24, 30), 2), ((1, 1), 1), ((1, 1), 2), ((1, 300), 2), ((300, 1), 3)]


def row(epoch, *, is_best=False, **changes):
    return {
        "epoch": epoch,
        "train_loss": 1 / epoch,
        "val_loss": 1.1 / epoch,
        "val_mean_iou": 1 - 1 / epoch,
        "val_pixel_accuracy": 0.5,
        "is_best": is_best,
        **changes,
    }


def sample_of(mode, size, num_classes, *, ignored=False, dtype="uint8", channels=3):
    rng = np.random.default_rng(0)
    image = (rng.random((*size, channels)) * 200).astype(dtype)
    if mode == "multiclass":
        mask = rng.integers(0, num_classes, size).astype(np.uint8)
        if ignored:
            mask[rng.random(size) < 0.5] = 255
            mask.flat[0] = 255
    else:
        mask = rng.integers(0, 256, (num_classes, *size)).astype(np.uint8)
    probabilities = rng.random((num_classes, *size)).astype(np.float32)
    if mode == "multiclass":
        probabilities /= probabilities.sum(0)
    return Sample("train/0001", image, mask, mode), probabilities


def pixels_of(path):
    """The colors of a PNG, which must be one, whole, and not blank."""
    with Image.open(path) as picture:
        assert picture.format == "PNG"
        pixels = np.asarray(picture.convert("RGB"))
    assert min(pixels.shape[:2]) > 50
    assert len(np.unique(pixels.reshape(-1, 3), axis=0)) > 5
    return pixels


def holds(pixels, color, *, at_least=20, within=2):
    near = (np.abs(pixels.astype(int) - color) <= within).all(-1)
    return near.sum() >= at_least


@pytest.mark.parametrize("draw", [draw_segmentation, draw_class_grid])
@pytest.mark.parametrize(("size", "num_classes"), CASES)
@pytest.mark.parametrize("mode", ["multiclass", "multilabel"])
def test_every_size_and_number_of_classes_can_be_drawn(tmp_path, mode, size, num_classes, draw):
    sample, probabilities = sample_of(mode, size, num_classes, ignored=True)
    class_map = ClassMap.build(numbered_names(num_classes))
    draw(sample, probabilities, class_map, tmp_path / "deep" / "picture.png")
    pixels_of(tmp_path / "deep" / "picture.png")
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["picture.png"]


@pytest.mark.parametrize(("dtype", "channels"), [("uint8", 1), ("uint16", 2), ("float32", 5)])
def test_images_of_every_kind_can_be_drawn(tmp_path, dtype, channels):
    sample, probabilities = sample_of("multiclass", (9, 8), 2, dtype=dtype, channels=channels)
    draw_segmentation(sample, probabilities, ClassMap.build(("a", "b")), tmp_path / "a.png")
    pixels_of(tmp_path / "a.png")


def test_the_legend_shows_every_color_of_the_class_map(tmp_path):
    class_map = ClassMap.build(numbered_names(20))
    sample, probabilities = sample_of("multiclass", (24, 24), 20)
    draw_segmentation(sample, probabilities, class_map, tmp_path / "a.png")
    pixels = pixels_of(tmp_path / "a.png")
    assert all(holds(pixels, color) for color in class_map.colors)


def test_ignored_pixels_are_told_in_the_legend_and_drawn_darkened(tmp_path):
    class_map = ClassMap.build(("a", "b"))
    _, probabilities = sample_of("multiclass", (24, 24), 2)
    gray = Sample(
        "a", np.full((24, 24, 3), 180, np.uint8), np.zeros((24, 24), np.uint8), "multiclass"
    )
    ignored = Sample("a", gray.image, np.full((24, 24), 255, np.uint8), "multiclass")
    for each in (gray, ignored):
        draw_segmentation(each, probabilities, class_map, tmp_path / f"{each is ignored}.png")
    assert holds(pixels_of(tmp_path / "True.png"), (60, 60, 60), at_least=10_000)
    assert not holds(pixels_of(tmp_path / "False.png"), (60, 60, 60), at_least=10_000)


def test_a_wrong_prediction_looks_unlike_the_ground_truth(tmp_path):
    class_map = ClassMap.build(("a", "b"), colors=((250, 0, 0), (0, 0, 250)))
    image = np.zeros((20, 20, 3), np.uint8)
    sample = Sample("a", image, np.zeros((20, 20), np.uint8), "multiclass")
    probabilities = np.stack([np.zeros((20, 20)), np.ones((20, 20))]).astype(np.float32)
    draw_segmentation(sample, probabilities, class_map, tmp_path / "a.png")
    pixels = pixels_of(tmp_path / "a.png").astype(int)
    red = (pixels[..., 0] > pixels[..., 2] + 80).nonzero()[1]
    blue = (pixels[..., 2] > pixels[..., 0] + 80).nonzero()[1]
    third = pixels.shape[1] / 3
    assert ((red > third) & (red < 2 * third)).sum() > 10_000
    assert (blue > 2 * third).sum() > 10_000


def test_the_grid_shows_the_ground_truth_above_and_the_unthresholded_prediction_below(tmp_path):
    mask = np.full((2, 10, 10), 255, np.uint8)
    mask[1] = 102
    probabilities = np.full((2, 10, 10), 0.2, np.float32)
    probabilities[1] = 0.8
    sample = Sample("a", np.zeros((10, 10, 3), np.uint8), mask, "multilabel")
    draw_class_grid(sample, probabilities, ClassMap.build(("a", "b")), tmp_path / "a.png")
    pixels = pixels_of(tmp_path / "a.png")
    height, width = (side // 2 for side in pixels.shape[:2])
    for level, part in (
        (102, pixels[:height, width:]),
        (51, pixels[height:, :width]),
        (204, pixels[height:, width:]),
    ):
        assert holds(part, (level,) * 3, at_least=5000)


@pytest.mark.parametrize("num_epochs", [1, 60])
def test_curves_are_drawn_from_the_first_epoch_on(tmp_path, num_epochs):
    history = [row(epoch, is_best=epoch == 1) for epoch in range(1, num_epochs + 1)]
    draw_curves(history, tmp_path / "curves.png")
    pixels_of(tmp_path / "curves.png")


@pytest.mark.parametrize("loss", [0.0, 1e6])
def test_curves_take_losses_of_every_size(tmp_path, loss):
    history = [row(1, train_loss=1.0), row(2, is_best=True, train_loss=loss, val_loss=loss)]
    draw_curves(history, tmp_path / "curves.png")
    pixels_of(tmp_path / "curves.png")


def test_the_same_numbers_give_the_same_curves(tmp_path):
    history = [row(1), row(2, is_best=True)]
    for name in ("a.png", "b.png"):
        draw_curves(history, tmp_path / name)
    assert np.array_equal(pixels_of(tmp_path / "a.png"), pixels_of(tmp_path / "b.png"))
    draw_curves([row(1, is_best=True), row(2)], tmp_path / "c.png")
    assert not np.array_equal(pixels_of(tmp_path / "a.png"), pixels_of(tmp_path / "c.png"))
