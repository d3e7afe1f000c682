"""A scene from end to end: checked, trained, evaluated, predicted and divided into folds."""

import json

import numpy as np
import pytest
from PIL import Image
from scene_files import CARD, SIZE, write_png, write_scene, write_small_map

from pixelwise.data.dataset import open_dataset
from pixelwise.doctor import check_data
from pixelwise.reporting.data_check_page import write_data_check_page
from pixelwise.reporting.scene_map import GAP_COLOR, MAP_PX, SPLIT_COLORS, scene_maps


@pytest.fixture
def folder(tmp_path):
    return write_small_map(tmp_path / "map")


def test_a_scene_is_trained_evaluated_and_predicted(folder, tmp_path, run_cli):
    run = tmp_path / "run"
    code, _, _ = run_cli(
        "train", folder, "--out", run, "--model", "stacked-fcn", "--set", "training.epochs=2",
        "--device", "cpu",
    )  # fmt: skip
    assert code == 0
    metrics = {}
    for split in ("val", "test"):
        code, out, err = run_cli("evaluate", run, folder, "--split", split, "--json")
        assert code == 0, err
        metrics[split] = json.loads(out)
        assert "windows of about 80 x 80" in err
    dataset = open_dataset(folder)
    num_pixels = sum(int(np.prod(record.window[2:])) for record in dataset.split("val"))
    assert sum(one["pixels"] for one in metrics["val"]["per_class"]) == num_pixels
    code, _, err = run_cli("predict", run, folder / "city.tif", "--out", tmp_path / "out")
    assert code == 0, err
    assert np.asarray(Image.open(tmp_path / "out/city.png")).shape[:2] == SIZE


def test_the_map_shows_each_split_where_its_windows_are(folder):
    dataset = open_dataset(folder)
    (drawn,) = scene_maps(dataset)
    assert drawn.name == "city"
    pixels = np.asarray(drawn.picture).astype(int)
    scale = MAP_PX / max(SIZE)
    owner = np.full(SIZE, -1)
    for record in dataset.records:
        top, left, height, width = record.window
        owner[top : top + height, left : left + width] = list(SPLIT_COLORS).index(record.split)
        # The outline of a window has the color of its split.
        row, column = round((top + height / 2) * scale), round(left * scale)
        assert tuple(pixels[row, column]) == SPLIT_COLORS[record.split]
    means = {}
    for number in range(-1, 3):
        rows, columns = np.nonzero(owner == number)
        places = (np.array([rows, columns]) + 0.5) * scale
        means[number] = pixels[places[0].astype(int), places[1].astype(int)].mean(0)
    assert means[-1].max() < 100  # the gap is dark
    assert np.argmax(means[0]) == 2  # train is blue
    assert np.argmin(means[1]) == 2  # val is orange
    assert np.argmax(means[2]) == 1  # test is green
    legend = pixels[round(SIZE[0] * scale) :].reshape(-1, 3)
    for color in (*SPLIT_COLORS.values(), GAP_COLOR):
        assert (legend == color).all(1).sum() > 200


def test_the_page_of_a_data_check_has_the_map_and_a_file_of_it(folder, tmp_path):
    examination = check_data(folder)
    assert not examination.is_refused
    page, drawn = write_data_check_page(examination, tmp_path / "check.html")
    assert drawn.name == "check-map-city.png"
    with Image.open(drawn) as picture:
        assert picture.width == MAP_PX
    text = page.read_text()
    assert "map of city" in text
    assert "Scenes, by split" in text


def test_images_that_are_no_scenes_have_no_map(tmp_path, make_index_dataset):
    examination = check_data(make_index_dataset(tmp_path / "data"))
    assert write_data_check_page(examination, tmp_path / "check.html") == [tmp_path / "check.html"]
    assert "Scenes, by split" not in (tmp_path / "check.html").read_text()


def test_a_problem_of_a_window_is_named_by_its_place(tmp_path):
    folder = write_scene(tmp_path, "png")
    mask = np.asarray(Image.open(folder / "masks/city.png")).copy()
    mask[SIZE[0] // 2 :, SIZE[1] // 2 :] = 77
    image = np.asarray(Image.open(folder / "images/city.png"))
    write_png(folder, "city", image, mask)
    (folder / "dataset.yaml").write_text(f"{CARD}\nclasses: [a, b, c]")
    examination = check_data(folder)
    finding = next(one for one in examination.findings if one.kind == "unexpected-values")
    assert all("masks/city.png at row " in line for line in finding.details)
    assert finding.files == (folder / "masks/city.png",)
    for example in finding.examples:
        assert example.window in {record.window for record in examination.dataset.records}
        assert example.marks.shape == example.window[2:]


def test_blank_windows_are_no_copies_across_splits(tmp_path):
    folder = write_scene(tmp_path, "png")
    image = np.full((*SIZE, 3), 90, np.uint8)
    write_png(folder, "city", image, np.asarray(Image.open(folder / "masks/city.png")))
    (folder / "dataset.yaml").write_text(CARD)
    kinds = {finding.kind for finding in check_data(folder).findings}
    assert "constant-images" in kinds
    assert not {kind for kind in kinds if "duplicate" in kind or "sequence" in kind}


def test_a_mask_of_another_size_is_found_by_the_check(tmp_path):
    folder = write_scene(tmp_path, "png")
    small = np.zeros((200, 300), np.uint8)
    small[:100] = 1
    Image.fromarray(small).save(folder / "masks/city.png")
    (folder / "dataset.yaml").write_text(CARD)
    kinds = {finding.kind for finding in check_data(folder).findings}
    assert "size-mismatch" in kinds


def test_a_scene_is_reviewed_by_folds_of_blocks(folder, tmp_path, run_cli):
    run = tmp_path / "run"
    run_cli("train", folder, "--out", run, "--model", "stacked-fcn", "--set", "training.epochs=1",
            "--device", "cpu")  # fmt: skip
    code, out, err = run_cli(
        "review", run, folder, "--folds", "2", "--out", tmp_path / "review", "--json",
        "--device", "cpu",
    )  # fmt: skip
    assert code == 0, err
    assert "blocks for 2 folds, of 1 scene" in err
    assert str(tmp_path / "review/review.html") in json.loads(out)["written"]
