"""``predict`` of images in memory and of files whose results are returned."""

import pickle

import numpy as np
import pytest
import torch
from bright_images import bright_predictor, ids, save_image
from PIL import Image

from pixelwise.errors import ConfigError, DataError, ModelFileError
from pixelwise.prediction.images_in_memory import Prediction
from pixelwise.prediction.predict import predict


@pytest.fixture
def predictor():
    return bright_predictor()


def pixels(seed=0, size=(9, 7)):
    return np.random.default_rng(seed).integers(0, 256, (*size, 3)).astype(np.uint8)


def test_a_path_a_picture_and_an_array_give_the_same_result(tmp_path, predictor):
    target = save_image(tmp_path / "a.png")
    path = tmp_path / "a.png"
    for entry in (path, str(path), Image.open(path), np.asarray(Image.open(path))):
        result = predict(predictor, entry)
        assert isinstance(result, Prediction)
        np.testing.assert_array_equal(result.class_ids, target)
        assert result.probabilities.shape == (2, 9, 7)
        np.testing.assert_allclose(result.probabilities.sum(0), 1, rtol=1e-6)
        assert result.class_map.names == ("dark", "bright")
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.png"]


def test_a_list_gives_a_list_in_its_order(tmp_path, predictor):
    target = save_image(tmp_path / "a.png", seed=3)
    entries = [pixels(1), tmp_path / "a.png", Image.fromarray(pixels(2, (5, 5)))]
    first, second, third = predict(predictor, entries)
    np.testing.assert_array_equal(first.class_ids, pixels(1)[..., 0] > 127)
    np.testing.assert_array_equal(second.class_ids, target)
    np.testing.assert_array_equal(third.class_ids, pixels(2, (5, 5))[..., 0] > 127)
    assert [first.name, second.name, third.name] == ["image-0", str(tmp_path / "a.png"), "image-2"]
    assert predict(predictor, []) == []


@pytest.mark.parametrize("mode", ["L", "RGBA", "P", "1", "LA"])
def test_a_picture_of_every_mode_is_read_as_its_file_is(tmp_path, predictor, mode):
    picture = Image.fromarray(pixels()).convert(mode)
    picture.save(tmp_path / "a.png")
    for one in (picture, Image.open(tmp_path / "a.png")):
        np.testing.assert_array_equal(
            predict(predictor, one).class_ids, predict(predictor, tmp_path / "a.png").class_ids
        )


def test_a_picture_with_an_exif_rotation_is_turned_upright(tmp_path, predictor):
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(pixels()).save(tmp_path / "a.png", exif=exif)
    assert predict(predictor, Image.open(tmp_path / "a.png")).class_ids.shape == (7, 9)


def test_a_gray_array_has_no_channel_axis(predictor):
    gray = pixels()[..., 0]
    np.testing.assert_array_equal(predict(predictor, gray).class_ids, gray > 127)


def test_with_out_images_in_memory_are_written_by_number(tmp_path, predictor):
    done = predict(predictor, pixels(), tmp_path / "one")
    assert done.written == (tmp_path / "one" / "image.png",)
    np.testing.assert_array_equal(ids(done.written[0]), pixels()[..., 0] > 127)
    done = predict(
        predictor, [pixels(1), Image.fromarray(pixels(2))], tmp_path / "two",
        save=("index", "overlay"),
    )  # fmt: skip
    assert sorted(path.relative_to(tmp_path / "two").as_posix() for path in done.written) == [
        "index/image-0.png", "index/image-1.png",
        "overlay/image-0_overlay.png", "overlay/image-1_overlay.png",
    ]  # fmt: skip


def test_a_result_can_be_pickled(predictor):
    result = predict(predictor, pixels())
    again = pickle.loads(pickle.dumps(result))
    np.testing.assert_array_equal(again.class_ids, result.class_ids)


def test_a_model_may_be_given_by_its_path(tmp_path, make_model_file):
    path = make_model_file(tmp_path / "model.safetensors")
    for model in (path, str(path)):
        assert predict(model, pixels(), device="cpu").class_ids.shape == (9, 7)
    with pytest.raises(ModelFileError):
        predict(tmp_path / "none", pixels())
    with pytest.raises(ConfigError, match=r"model must be .* Got Conv2d. Use Predictor.from_model"):
        predict(torch.nn.Conv2d(3, 3, 1), pixels())


def test_inputs_that_are_no_images_are_refused(tmp_path, predictor):
    (tmp_path / "a.png").write_text("no image")
    for entry, kind, message in (
        (tmp_path, ConfigError, "out.* must be a folder for the results"),
        (tmp_path / "b.png", DataError, "b.png must be an image or a folder. It does not exist"),
        (tmp_path / "a.png", DataError, "a.png"),
        ([3], ConfigError, "inputs.* must be paths, Pillow images or arrays.*Got int"),
        (pixels().astype(np.float32), DataError, "image must be uint8.*Got float32"),
    ):
        with pytest.raises(kind, match=message):
            predict(predictor, entry)
    with pytest.raises(ConfigError, match="Got 1 of 2 in memory"):
        predict(predictor, [pixels(), tmp_path / "a.png"], tmp_path / "out")


def test_progress_is_told_of_each_image(predictor):
    told = []
    predict(predictor, [pixels(1), pixels(2)], on_progress=lambda *now: told.append(now))
    assert told == [(1, 2), (2, 2)]
