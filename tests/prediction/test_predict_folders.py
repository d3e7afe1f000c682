"""``predict``: files and folders in, files out; what is broken is reported, the rest is done."""

import os
import time
import weakref

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from pixelwise.classes import ClassMap
from pixelwise.errors import ConfigError, DataError, OutputError, UnknownNameError
from pixelwise.modelfile import ModelCard, Preprocessing, TrainingData
from pixelwise.models import SegmentationModel
from pixelwise.prediction.folders import predict
from pixelwise.prediction.predictor import Predictor


class BrightIsForeground(SegmentationModel):
    """Class 1 where the red channel is above the middle."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Conv2d(3, 2, 1)
        with torch.no_grad():
            self.layer.weight.zero_()
            self.layer.bias.zero_()
            self.layer.weight[1, 0] = 1.0

    def segment(self, image):
        return self.layer(image)


@pytest.fixture
def predictor():
    card = ModelCard(
        architecture="stacked-fcn",
        in_channels=3,
        class_map=ClassMap.build(("dark", "bright")),
        label_mode="exclusive",
        preprocessing=Preprocessing(dtype="uint8", mean=(127.5,) * 3, std=(1.0,) * 3),
        training_size=(32, 32),
        scores=None,
        data=TrainingData(fingerprint="", images=(), split=None, split_seed=0),
        versions={},
    )
    return Predictor(BrightIsForeground(), card, device="cpu")


def save_image(path, size=(9, 7), seed=0):
    """Write a random picture and return the truth that the model finds in it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (*size, 3)).astype(np.uint8)
    Image.fromarray(pixels).save(path)
    with Image.open(path) as stored:
        return (np.asarray(stored)[..., 0] > 127).astype(np.uint8)


def ids(path):
    with Image.open(path) as picture:
        return np.asarray(picture)


def test_a_folder_is_searched_with_all_that_is_inside_it(tmp_path, predictor):
    truths = {
        "a": save_image(tmp_path / "in" / "a.png", (9, 7), 1),
        "deep/b": save_image(tmp_path / "in" / "deep" / "b.jpg", (5, 31), 2),
        "deep/er/c": save_image(tmp_path / "in" / "deep" / "er" / "c.tif", (1, 1), 3),
    }
    (tmp_path / "in" / "notes.txt").write_text("no image")
    save_image(tmp_path / "in" / ".hidden" / "d.png")
    done = predict(predictor, [tmp_path / "in"], tmp_path / "out")
    assert done.failed == ()
    assert sorted(done.written) == sorted(tmp_path / "out" / f"{stem}.png" for stem in truths)
    for stem, truth in truths.items():
        assert np.array_equal(ids(tmp_path / "out" / f"{stem}.png"), truth)


def test_files_are_taken_one_by_one_and_as_strings(tmp_path, predictor):
    truth = save_image(tmp_path / "a.png")
    save_image(tmp_path / "b.png")
    done = predict(predictor, [str(tmp_path / "a.png")], str(tmp_path / "out"))
    assert done.written == (tmp_path / "out" / "a.png",)
    assert np.array_equal(ids(done.written[0]), truth)


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
    truth = save_image(folder / "z-good.png")
    whole = (folder / "z-good.png").read_bytes()
    (folder / "cut.png").write_bytes(whole[: len(whole) // 2])
    (folder / "empty.png").write_bytes(b"")
    (folder / "text.png").write_text("hello")
    Image.fromarray(np.zeros((4, 4), np.uint16)).save(folder / "deep16.png")
    done = predict(predictor, [folder], tmp_path / "out")
    assert done.written == (tmp_path / "out" / "z-good.png",)
    assert np.array_equal(ids(done.written[0]), truth)
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


def test_an_image_whose_scores_do_not_fit_into_memory_is_reported(tmp_path, predictor, monkeypatch):
    save_image(tmp_path / "in" / "a.png", (100, 100))
    save_image(tmp_path / "in" / "b.png", (5, 5))
    monkeypatch.setattr("pixelwise.prediction.whole_images.free_bytes", lambda: 100_000.0)
    done = predict(predictor, [tmp_path / "in"], tmp_path / "out")
    assert [path.name for path in done.written] == ["b.png"]
    (message,) = done.failed
    assert "a.png must fit into memory" in message
    assert "100 x 100" in message


@pytest.mark.parametrize("error", [MemoryError(), RuntimeError("can't allocate memory")])
def test_memory_that_runs_out_on_the_way_ends_one_image_and_not_the_others(
    tmp_path, predictor, monkeypatch, error
):
    save_image(tmp_path / "in" / "a.png", (100, 100))
    save_image(tmp_path / "in" / "b.png", (5, 5))
    to_probabilities = Predictor.to_probabilities

    def fail(self, logits):
        if logits.shape[-2] == 100:
            raise error
        return to_probabilities(self, logits)

    monkeypatch.setattr(Predictor, "to_probabilities", fail)
    done = predict(predictor, [tmp_path / "in"], tmp_path / "out")
    assert [path.name for path in done.written] == ["b.png"]
    assert "a.png must fit into memory" in done.failed[0]


@pytest.fixture
def batch_sizes(monkeypatch):
    """How many images went through the model at once, each time."""
    sizes = []
    forward = BrightIsForeground.segment
    monkeypatch.setattr(
        BrightIsForeground,
        "segment",
        lambda self, image: (sizes.append(len(image)), forward(self, image))[1],
    )
    return sizes


def test_small_images_of_one_size_are_computed_together(tmp_path, predictor, batch_sizes):
    truths = [save_image(tmp_path / "in" / f"{seed}.png", seed=seed) for seed in range(9)]
    save_image(tmp_path / "in" / "9.png", (20, 20))
    done = predict(predictor, [tmp_path / "in"], tmp_path / "out")
    assert batch_sizes == [9, 1]
    assert [path.name for path in done.written] == [f"{number}.png" for number in range(10)]
    for truth, path in zip(truths, done.written, strict=False):
        np.testing.assert_array_equal(ids(path), truth)


def test_one_bad_image_of_a_group_ends_no_other(tmp_path, predictor, monkeypatch):
    for number in range(5):
        save_image(tmp_path / "in" / f"{number}.png", seed=number)
    prepare = Predictor.prepare

    def fail(self, image, name):
        if name.endswith("2.png"):
            raise DataError(f"{name} must be good. It is not")
        return prepare(self, image, name)

    monkeypatch.setattr(Predictor, "prepare", fail)
    done = predict(predictor, [tmp_path / "in"], tmp_path / "out")
    assert [path.name for path in done.written] == ["0.png", "1.png", "3.png", "4.png"]
    (message,) = done.failed
    assert "2.png must be good" in message


def test_a_full_disk_ends_everything_though_results_are_written_behind(
    tmp_path, predictor, monkeypatch
):
    for number in range(30):
        save_image(tmp_path / "in" / f"{number:02}.png", seed=number)

    def fail(*_, **__):
        raise OutputError("the disk is full")

    monkeypatch.setattr("pixelwise.prediction.whole_images.write_prediction", fail)
    with pytest.raises(OutputError, match="the disk is full"):
        predict(predictor, [tmp_path / "in"], tmp_path / "out")


def test_results_that_wait_to_be_written_are_few(tmp_path, predictor, monkeypatch):
    for number in range(30):
        save_image(tmp_path / "in" / f"{number:02}.png", (40, 40), seed=number)
    room = 4 * (3 + 2 * 4) * 40 * 40
    monkeypatch.setattr("pixelwise.prediction.whole_images.MAX_WAITING_BYTES", room)
    monkeypatch.setattr("pixelwise.prediction.whole_images.MAX_BATCH_PIXELS", 1)
    computed, most = [], 0
    to_probabilities = Predictor.to_probabilities
    monkeypatch.setattr(
        Predictor,
        "to_probabilities",
        lambda self, logits: (computed.append(1), to_probabilities(self, logits))[1],
    )

    def count(done, _):
        nonlocal most
        most = max(most, len(computed) - done)

    predict(predictor, [tmp_path / "in"], tmp_path / "out", on_progress=count)
    assert most <= 4


def test_progress_is_told_on_the_way(tmp_path, predictor, monkeypatch):
    for number in range(40):
        save_image(tmp_path / "in" / f"{number:02}.png", seed=number)
    monkeypatch.setattr("pixelwise.prediction.whole_images.MAX_BATCH_PIXELS", 1)
    computed, at_first = [], []
    prepare = Predictor.prepare

    def slowly(self, image, name):
        computed.append(name)
        time.sleep(0.02)  # a file of this size is written in less
        return prepare(self, image, name)

    monkeypatch.setattr(Predictor, "prepare", slowly)
    monkeypatch.setattr("pixelwise.files.os.fsync", lambda _: None)
    predict(
        predictor,
        [tmp_path / "in"],
        tmp_path / "out",
        on_progress=lambda *_: at_first.append(len(computed)),
    )
    assert at_first[0] < 20


def test_a_batch_that_is_too_large_for_memory_is_computed_one_by_one(
    tmp_path, predictor, monkeypatch
):
    for number in range(5):
        save_image(tmp_path / "in" / f"{number}.png", seed=number)
    forward = BrightIsForeground.segment

    def fail(self, image):
        if len(image) > 1:
            raise MemoryError
        return forward(self, image)

    monkeypatch.setattr(BrightIsForeground, "segment", fail)
    done = predict(predictor, [tmp_path / "in"], tmp_path / "out")
    assert len(done.written) == 5
    assert done.failed == ()


def test_tiny_images_that_the_network_pads_fill_a_batch_by_their_padded_size(
    tmp_path, predictor, monkeypatch, batch_sizes
):
    for number in range(8):
        save_image(tmp_path / "in" / f"{number}.png", (4, 4), seed=number)
    predictor.model.smallest_px = 64
    monkeypatch.setattr("pixelwise.prediction.whole_images.MAX_BATCH_PIXELS", 3 * 64 * 64)
    monkeypatch.setattr("pixelwise.prediction.predictor.MAX_BATCH_PIXELS", 3 * 64 * 64)
    predict(predictor, [tmp_path / "in"], tmp_path / "out")
    assert batch_sizes == [3, 3, 2]


def test_images_that_fail_are_not_kept_in_memory(tmp_path, predictor, monkeypatch):
    for number in range(12):
        save_image(tmp_path / "in" / f"{number:02}.png", seed=number)
    kept = []

    def fail(self, image, name):
        kept.append(weakref.ref(image))
        raise DataError(f"{name} must be good. It is not")

    monkeypatch.setattr(Predictor, "prepare", fail)
    monkeypatch.setattr("pixelwise.prediction.whole_images.MAX_BATCH_PIXELS", 1)
    alive = []
    predict(
        predictor,
        [tmp_path / "in"],
        tmp_path / "out",
        on_progress=lambda *_: alive.append(sum(each() is not None for each in kept)),
    )
    assert max(alive) <= 2


def test_files_written_by_many_threads_have_the_rights_that_the_user_has_set(tmp_path, predictor):
    for number in range(40):
        save_image(tmp_path / "in" / f"{number:02}.png", seed=number)
    before = os.umask(0o077)
    try:
        done = predict(predictor, [tmp_path / "in"], tmp_path / "out")
    finally:
        assert os.umask(before) == 0o077
    assert {path.stat().st_mode & 0o777 for path in done.written} == {0o600}
