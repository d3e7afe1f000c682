"""``predict``: files and folders in, files out; what is broken is reported, the rest is done."""

import numpy as np
import pytest
from bright_images import bright_predictor, ids, save_image
from PIL import Image

from pixelwise.errors import ConfigError, DataError, OutputError, UnknownNameError
from pixelwise.prediction.predict import predict


@pytest.fixture
def predictor():
    return bright_predictor()


def test_a_folder_is_searched_recursively(tmp_path, predictor):
    targets = {
        "a": save_image(tmp_path / "in" / "a.png", (9, 7), 1),
        "deep/b": save_image(tmp_path / "in" / "deep" / "b.jpg", (5, 31), 2),
        "deep/er/c": save_image(tmp_path / "in" / "deep" / "er" / "c.tif", (1, 1), 3),
    }
    (tmp_path / "in" / "notes.txt").write_text("no image")
    save_image(tmp_path / "in" / ".hidden" / "d.png")
    done = predict(predictor, [tmp_path / "in"], tmp_path / "out")
    assert done.failed == ()
    assert sorted(done.written) == sorted(tmp_path / "out" / f"{stem}.png" for stem in targets)
    for stem, target in targets.items():
        assert np.array_equal(ids(tmp_path / "out" / f"{stem}.png"), target)


def test_files_are_taken_one_by_one_and_as_strings(tmp_path, predictor):
    target = save_image(tmp_path / "a.png")
    save_image(tmp_path / "b.png")
    done = predict(predictor, [str(tmp_path / "a.png")], str(tmp_path / "out"))
    assert done.written == (tmp_path / "out" / "a.png",)
    assert np.array_equal(ids(done.written[0]), target)


def test_with_several_kinds_each_gets_a_folder(tmp_path, predictor):
    save_image(tmp_path / "in" / "a.png")
    done = predict(predictor, [tmp_path / "in"], tmp_path / "out", save=("index", "overlay"))
    assert [path.relative_to(tmp_path / "out").as_posix() for path in done.written] == [
        "index/a.png",
        "overlay/a_overlay.png",
    ]


def test_a_kind_that_is_asked_for_twice_is_written_once(tmp_path, predictor):
    save_image(tmp_path / "a.png")
    done = predict(predictor, [tmp_path / "a.png"], tmp_path / "out", save=("index", "index"))
    assert done.written == (tmp_path / "out" / "a.png",)


def test_broken_images_are_reported_by_name_and_the_others_done(tmp_path, predictor):
    folder = tmp_path / "in"
    target = save_image(folder / "z-good.png")
    whole = (folder / "z-good.png").read_bytes()
    (folder / "cut.png").write_bytes(whole[: len(whole) // 2])
    (folder / "empty.png").write_bytes(b"")
    (folder / "text.png").write_text("hello")
    Image.fromarray(np.zeros((4, 4), np.uint16)).save(folder / "deep16.png")
    done = predict(predictor, [folder], tmp_path / "out")
    assert done.written == (tmp_path / "out" / "z-good.png",)
    assert np.array_equal(ids(done.written[0]), target)
    assert len(done.failed) == 4
    for name, message in zip(("cut", "deep16", "empty", "text"), done.failed, strict=True):
        assert str(folder / f"{name}.png") in message
        assert "\n" not in message
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["z-good.png"]


@pytest.mark.parametrize("names", [("a.png", "a.jpg"), ("deep/a.png", "deep/a.tif")])
def test_two_images_of_one_name_in_a_folder_keep_their_suffix(tmp_path, predictor, names):
    for name in (*names, "b.png"):
        save_image(tmp_path / "in" / name)
    done = predict(predictor, [tmp_path / "in"], tmp_path / "out")
    expected = {tmp_path / "out" / f"{name}.png" for name in (*names, "b")}
    assert set(done.written) == expected
    assert all(path.is_file() for path in expected)


def test_two_inputs_with_an_image_of_one_name_are_refused(tmp_path, predictor):
    save_image(tmp_path / "one" / "a.png")
    save_image(tmp_path / "two" / "a.png")
    with pytest.raises(ConfigError, match="overwrite"):
        predict(predictor, [tmp_path / "one", tmp_path / "two" / "a.png"], tmp_path / "out")


@pytest.mark.parametrize("as_file", [False, True])
def test_writing_into_the_folder_of_the_images_is_refused(tmp_path, predictor, as_file):
    save_image(tmp_path / "in" / "a.png")
    before = (tmp_path / "in" / "a.png").read_bytes()
    source = tmp_path / "in" / "a.png" if as_file else tmp_path / "in"
    (tmp_path / "link").symlink_to(tmp_path / "in")
    for out in (tmp_path / "in", tmp_path / "link", tmp_path / "in" / ".." / "in"):
        with pytest.raises(ConfigError, match=r"a\.png"):
            predict(predictor, [source], out)
    assert (tmp_path / "in" / "a.png").read_bytes() == before


def test_images_in_the_folder_of_one_of_the_kinds_are_never_overwritten(tmp_path, predictor):
    save_image(tmp_path / "out" / "index" / "a.png")
    before = (tmp_path / "out" / "index" / "a.png").read_bytes()
    with pytest.raises(ConfigError, match=r"a\.png"):
        predict(
            predictor,
            [tmp_path / "out" / "index"],
            tmp_path / "out",
            save=("index", "overlay"),
        )
    assert (tmp_path / "out" / "index" / "a.png").read_bytes() == before


def test_earlier_results_inside_the_input_are_not_predicted_again(tmp_path, predictor):
    save_image(tmp_path / "in" / "a.png")
    for _ in range(2):
        done = predict(predictor, [tmp_path / "in"], tmp_path / "in" / "out")
        assert done.written == (tmp_path / "in" / "out" / "a.png",)


def test_an_input_that_does_not_exist_is_refused_before_anything_is_written(tmp_path, predictor):
    save_image(tmp_path / "a.png")
    with pytest.raises(DataError, match="nowhere"):
        predict(predictor, [tmp_path / "a.png", tmp_path / "nowhere"], tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_file_that_is_no_image_by_its_name_is_refused(tmp_path, predictor):
    (tmp_path / "notes.txt").write_text("hello")
    with pytest.raises(DataError, match=r"notes\.txt"):
        predict(predictor, [tmp_path / "notes.txt"], tmp_path / "out")


def test_a_folder_without_images_is_refused(tmp_path, predictor):
    (tmp_path / "in").mkdir()
    with pytest.raises(DataError, match="at least one image"):
        predict(predictor, [tmp_path / "in"], tmp_path / "out")


def test_an_unknown_kind_is_refused_before_anything_is_written(tmp_path, predictor):
    save_image(tmp_path / "a.png")
    with pytest.raises(UnknownNameError, match="index"):
        predict(predictor, [tmp_path / "a.png"], tmp_path / "out", save=("indx",))
    assert not (tmp_path / "out").exists()


def test_a_file_in_the_place_of_the_out_folder_is_refused(tmp_path, predictor):
    save_image(tmp_path / "in" / "a.png")
    (tmp_path / "out").write_text("a file")
    with pytest.raises(OutputError, match="out"):
        predict(predictor, [tmp_path / "in"], tmp_path / "out")
    assert (tmp_path / "out").read_text() == "a file"


def test_progress_tells_of_every_image_the_broken_ones_too(tmp_path, predictor):
    save_image(tmp_path / "in" / "a.png")
    (tmp_path / "in" / "b.png").write_bytes(b"")
    told = []
    predict(
        predictor,
        [tmp_path / "in"],
        tmp_path / "out",
        on_progress=lambda done, total: told.append((done, total)),
    )
    assert told == [(1, 2), (2, 2)]


def test_dots_in_a_name_are_kept(tmp_path, predictor):
    save_image(tmp_path / "in" / "tile.001.png")
    save_image(tmp_path / "in" / "tile.002.png")
    done = predict(predictor, [tmp_path / "in"], tmp_path / "out")
    assert [path.name for path in done.written] == ["tile.001.png", "tile.002.png"]
    assert repr(done) == "Predictions(2 files written, 0 failed)"
