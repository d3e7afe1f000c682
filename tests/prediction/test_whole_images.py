"""Images predicted as a whole: small ones together, results written behind, memory kept small."""

import os
import time
import weakref

import numpy as np
import pytest
from bright_images import BrightIsForeground, bright_predictor, ids, save_image

from pixelwise.errors import DataError, OutputError
from pixelwise.prediction.predict import predict
from pixelwise.prediction.predictor import Predictor


@pytest.fixture
def predictor():
    return bright_predictor()


def test_an_image_whose_logits_do_not_fit_into_memory_is_reported(tmp_path, predictor, monkeypatch):
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
    assert "a.png does not fit into memory" in done.failed[0]


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
    targets = [save_image(tmp_path / "in" / f"{seed}.png", seed=seed) for seed in range(9)]
    save_image(tmp_path / "in" / "9.png", (20, 20))
    done = predict(predictor, [tmp_path / "in"], tmp_path / "out")
    assert batch_sizes == [9, 1]
    assert [path.name for path in done.written] == [f"{number}.png" for number in range(10)]
    for target, path in zip(targets, done.written, strict=False):
        np.testing.assert_array_equal(ids(path), target)


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
    monkeypatch.setattr("pixelwise.files.os.fsync", lambda _: time.sleep(0.03))  # a slow disk
    room = 4 * (3 + 2 * 4) * 40 * 40
    monkeypatch.setattr("pixelwise.prediction.whole_images.MAX_WAITING_BYTES", room)
    monkeypatch.setattr("pixelwise.prediction.predictor.MAX_BATCH_PIXELS", 1)
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
    monkeypatch.setattr("pixelwise.prediction.predictor.MAX_BATCH_PIXELS", 1)
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
    monkeypatch.setattr("pixelwise.prediction.predictor.MAX_BATCH_PIXELS", 1)
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
