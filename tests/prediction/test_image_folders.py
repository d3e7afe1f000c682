"""Which files of a folder are predicted: of a data set, its images without its masks."""

import shutil

import pytest

import pixelwise
from pixelwise.data.formats import formats
from pixelwise.prediction.image_folders import images_to_predict


@pytest.fixture
def data(tmp_path, make_index_dataset):
    return make_index_dataset(tmp_path / "data", num_images=4)


def names(paths, folder):
    return sorted(path.relative_to(folder).as_posix() for path in paths)


def test_the_masks_of_a_data_set_are_left_out_and_named(data, tmp_path, make_model_file, run_cli):
    (data / "images" / "999.png").write_bytes((data / "images" / "000.png").read_bytes())
    model = make_model_file(tmp_path / "model.safetensors")
    code, out, err = run_cli("predict", model, data, "--out", tmp_path / "out")
    assert code == 0
    written = names((tmp_path / "out").rglob("*.png"), tmp_path / "out")
    assert written == [f"images/{name}.png" for name in ("000", "001", "002", "003", "999")]
    assert "is a data set (index-masks): its 5 images are predicted, and 4 other pictures" in err
    assert "5 files written" in out


@pytest.mark.parametrize("name", ["index-masks", "color-masks", "coco", "yolo", "labelme", "voc"])
def test_of_every_format_only_the_images_are_predicted(data, tmp_path, name):
    pixelwise.convert_data(data, tmp_path / "out", name, keep_splits=False)
    dataset = pixelwise.open_dataset(tmp_path / "out")
    expected = {record.image.resolve() for record in dataset.records}
    found = images_to_predict(tmp_path / "out", tmp_path / "results", None)
    assert {path.resolve() for path in found} == expected
    assert name in formats.names()


def test_a_folder_of_images_alone_is_taken_whole(data, tmp_path):
    shutil.copytree(data / "images", tmp_path / "new" / "deep")
    told = []
    found = images_to_predict(tmp_path / "new", tmp_path / "out", told.append)
    assert names(found, tmp_path / "new") == [f"deep/{number:03d}.png" for number in range(4)]
    assert told == []


def test_the_folder_of_masks_itself_can_be_predicted(data, tmp_path):
    assert len(images_to_predict(data / "masks", tmp_path / "out", None)) == 4
