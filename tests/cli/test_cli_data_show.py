"""``pixelwise data show``: samples, masks and augmented versions of every kind of data."""

import numpy as np
import pytest
from PIL import Image

from pixelwise.classes import ClassMap
from pixelwise.config import load_recipe
from pixelwise.data.dataset import open_dataset
from pixelwise.data.sample import Sample
from pixelwise.reporting.samples import SampleRow, draw_samples
from pixelwise.training.events import ignore_events
from pixelwise.training.preview import preview


def pixels_of(path):
    with Image.open(path) as picture:
        assert picture.format == "PNG"
        return np.asarray(picture.convert("RGB")).astype(int)


def holds(pixels, color, *, at_least, within=3):
    return (np.abs(pixels - color) <= within).all(-1).sum() >= at_least


def test_samples_of_index_masks_are_drawn_with_an_augmentation_note(
    run_cli, make_index_dataset, tmp_path
):
    data = make_index_dataset(tmp_path / "data", size=(40, 50), ignored=255)
    code, out, err = run_cli("data", "show", data, "--out", tmp_path / "a.png", "--num", 2)
    assert (code, out) == (0, f"{tmp_path / 'a.png'}\n")
    assert "augmentation: orientation" in err
    assert "crops 40 x 50" in err
    assert pixels_of(tmp_path / "a.png").shape[1] == 1300


def test_multilabel_soft_masks_and_a_recipe_are_drawn(run_cli, make_class_dataset, tmp_path):
    data = make_class_dataset(tmp_path / "data")
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text("data: {contrast: stretch}\naugmentation: {orientation: fixed}\n")
    code, _, err = run_cli(
        "data", "show", data, "--out", tmp_path / "a.png", "--recipe", recipe,
        "--set", "data.resize={letterbox: [20, 30]}", "--split", "val",
    )  # fmt: skip
    assert code == 0
    assert "images: contrast stretch, letterbox 20 x 30" in err
    assert "augmentation from the recipe: orientation fixed" in err
    assert pixels_of(tmp_path / "a.png").any()


def test_without_out_the_picture_is_called_after_the_data(
    run_cli, make_object_dataset, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    code, out, _ = run_cli("data", "show", make_object_dataset(tmp_path / "cells"), "--num", 1)
    assert (code, out) == (0, "samples-cells.png\n")
    assert (tmp_path / "samples-cells.png").is_file()


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--split", "new"], "split must be train, val or test. Got 'new'"),
        (["--split", "all"], "split must be train, val or test. Got 'all'"),
        (["--set", "data.bands=[4]"], "must have the bands 4. It has 3."),
        (["--set", "data.contrast=clae"], "data.contrast"),
    ],
)
def test_what_cannot_be_shown_is_one_line(run_cli, make_index_dataset, tmp_path, arguments, told):
    data = make_index_dataset(tmp_path / "data")
    code, out, err = run_cli("data", "show", data, "--out", tmp_path / "a.png", *arguments)
    assert (code, out) == (1, "")
    assert told in err.splitlines()[-1]
    assert not (tmp_path / "a.png").exists()


def many_bands(folder, dtype):
    rng = np.random.default_rng(0)
    for name in ("images", "masks"):
        (folder / name).mkdir(parents=True)
    for index in range(8):
        mask = (np.indices((20, 24)).sum(0) // 9 % 2).astype(np.uint8)
        image = (rng.uniform(100, 200, (20, 24, 6)) + 900.0 * mask[..., None]).astype(dtype)
        np.save(folder / f"images/{index}.npy", image)
        Image.fromarray(mask).save(folder / f"masks/{index}.png")
    return folder


@pytest.mark.parametrize("dtype", ["uint16", "float32"])
@pytest.mark.parametrize("steps", ["{}", "{bands: [6, 1], contrast: clahe}"])
def test_many_bands_and_deep_images_are_drawn(tmp_path, dtype, steps):
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(f"data: {steps}\n")
    dataset = open_dataset(many_bands(tmp_path / "data", dtype))
    seen = preview(load_recipe(recipe), dataset, ignore_events, num=3)
    path = tmp_path / "a.png"
    draw_samples(seen.rows, dataset.class_map, seen.reasons, path)
    assert len(np.unique(pixels_of(path).reshape(-1, 3), axis=0)) > 20


def test_augmented_versions_are_of_the_sample_and_differ(make_index_dataset, tmp_path):
    dataset = open_dataset(make_index_dataset(tmp_path, size=(40, 50), num_images=8))
    recipe = load_recipe(overrides=["augmentation.orientation=mirrored", "training.size=[30, 30]"])
    seen = preview(recipe, dataset, ignore_events, num=4, seed=3)
    assert len(seen.rows) == 4
    masks = [version.mask.tobytes() for row in seen.rows for version in row.versions]
    assert len(set(masks)) > 8
    for row in seen.rows:
        for version in row.versions:
            assert version.image.dtype == row.sample.image.dtype
            assert version.image.shape == (30, 30, 3)
    again = preview(recipe, dataset, ignore_events, num=4, seed=3)
    other = preview(recipe, dataset, ignore_events, num=4, seed=4)
    assert [row.sample.name for row in again.rows] == [row.sample.name for row in seen.rows]
    assert [v.mask.tobytes() for row in again.rows for v in row.versions] == masks
    assert [v.mask.tobytes() for row in other.rows for v in row.versions] != masks


def test_a_version_that_is_not_varied_is_the_sample_itself(make_index_dataset, tmp_path):
    dataset = open_dataset(make_index_dataset(tmp_path, size=(17, 23)))
    recipe = tmp_path / "still.yaml"
    recipe.write_text(
        "augmentation: {orientation: fixed, scale: [1, 1], brightness: 0, contrast: 0}"
    )
    for row in preview(load_recipe(recipe), dataset, ignore_events).rows:
        for version, beyond in zip(row.versions, row.beyond, strict=True):
            np.testing.assert_array_equal(version.image, row.sample.image)
            np.testing.assert_array_equal(version.mask, row.sample.mask)
            assert not beyond.any()


def test_ignored_pixels_are_striped_and_classes_have_the_colors_of_the_legend(tmp_path):
    class_map = ClassMap.build(("background", "thing"), colors=((0, 0, 0), (200, 0, 100)))
    mask = np.zeros((60, 60), np.uint8)
    mask[:20], mask[40:] = 1, 255
    sample = Sample("a", np.full((60, 60, 3), 100, np.uint8), mask, "multiclass")
    row = SampleRow(sample, (sample,), (np.zeros((60, 60), bool),))
    draw_samples([row], class_map, ["a caption"], tmp_path / "a.png")
    pixels = pixels_of(tmp_path / "a.png")
    assert holds(pixels, (160, 40, 100), at_least=2000)  # 0.6 of the class over gray 100
    assert holds(pixels, (100, 100, 100), at_least=2000)  # background and the image itself
    assert holds(pixels, (190, 190, 190), at_least=2000)
    assert holds(pixels, (33, 33, 33), at_least=2000)
