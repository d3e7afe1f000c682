"""Batches are as large as an accelerator's measured memory allows, and no larger."""

import numpy as np
import pytest
from PIL import Image

from pixelwise.prediction.batch_pixels import MAX_ACCELERATOR_PIXELS, BatchPixels
from pixelwise.prediction.engines import TorchEngine
from pixelwise.prediction.loading import load_model
from pixelwise.prediction.predict import predict

SMALLEST = 2**18


class FakeMemory:
    """A device on which a batch takes some bytes, and this many are free."""

    def __init__(self, taken, free):
        self.taken, self.left = taken, free
        self.num_measured = 0

    def begin(self):
        self.num_measured += 1
        return 1000

    def peak(self):
        return 1000 + self.taken

    def free(self):
        return self.left


def limit_after(pixels, memory):
    sizes = BatchPixels(memory)
    assert sizes.limit(SMALLEST) == SMALLEST
    for _ in range(3):
        with sizes.measured(pixels):
            pass
    return sizes.limit(SMALLEST)


def test_a_processor_computes_the_batches_it_always_did():
    assert limit_after(SMALLEST, None) == SMALLEST
    assert BatchPixels(None).has_room_for(2**60)


def test_a_batch_takes_at_most_half_of_the_free_memory():
    memory = FakeMemory(taken=1000 * SMALLEST, free=2 * 3 * 1000 * SMALLEST)
    assert limit_after(SMALLEST, memory) == 2 * SMALLEST  # 3 would fit: a power of two
    assert memory.num_measured == 1


def test_a_small_device_still_computes_the_smallest_batch():
    assert limit_after(SMALLEST, FakeMemory(taken=10**9, free=10**6)) == SMALLEST


def test_a_large_device_computes_no_endless_batches():
    assert limit_after(SMALLEST, FakeMemory(taken=10**6, free=10**12)) == MAX_ACCELERATOR_PIXELS


def test_what_free_memory_cannot_hold_has_no_room():
    sizes = BatchPixels(FakeMemory(taken=1, free=1000))
    assert sizes.has_room_for(500)
    assert not sizes.has_room_for(501)


def test_the_limit_stays_the_same_when_the_memory_gets_scarce():
    memory = FakeMemory(taken=1000 * SMALLEST, free=4 * 1000 * SMALLEST)
    sizes = BatchPixels(memory)
    assert sizes.is_open
    with sizes.measured(SMALLEST):
        pass
    assert not sizes.is_open
    memory.left = 0
    assert sizes.limit(SMALLEST) == 2 * SMALLEST


def test_after_a_batch_that_does_not_fit_the_smallest_are_computed():
    sizes = BatchPixels(FakeMemory(taken=1, free=10**9))
    with pytest.raises(RuntimeError), sizes.measured(SMALLEST):
        raise RuntimeError
    assert not sizes.is_open
    assert sizes.limit(SMALLEST) == SMALLEST


@pytest.fixture
def on_an_accelerator(make_model_file, tmp_path, monkeypatch):
    """A predictor that measures memory, and the shapes of the batches that it computes."""
    shapes, compute = [], TorchEngine.__call__
    monkeypatch.setattr(
        TorchEngine, "__call__", lambda self, x: shapes.append(tuple(x.shape)) or compute(self, x)
    )
    monkeypatch.setattr("pixelwise.prediction.predictor.MAX_BATCH_PIXELS", 32 * 32)
    predictor = load_model(make_model_file(tmp_path / "model.safetensors"), device="cpu")
    predictor.tile = (32, 32)
    memory = FakeMemory(taken=32 * 32, free=2 * 4 * 32 * 32)  # four tiles fit
    predictor._batch_pixels = BatchPixels(memory)
    return predictor, shapes


def test_the_batches_of_predict_grow_with_the_memory(on_an_accelerator, tmp_path):
    predictor, shapes = on_an_accelerator
    (tmp_path / "in").mkdir()
    for number in range(9):
        Image.new("RGB", (32, 32), (number, 0, 0)).save(tmp_path / "in" / f"{number}.png")
    assert predict(predictor, [tmp_path / "in"], tmp_path / "out").failed == ()
    assert [shape[0] for shape in shapes] == [1, 4, 4, 1]  # the first one is measured


def test_the_same_batches_are_computed_for_every_large_image(on_an_accelerator):
    predictor, shapes = on_an_accelerator
    image = np.zeros((64, 100, 3), np.uint8)
    for _ in range(2):
        predictor.logits(image)
    assert shapes[0] == (1, 3, 32, 32)
    first, second = shapes[1 : 1 + len(shapes) // 2], shapes[1 + len(shapes) // 2 :]
    assert first == second
    assert max(shape[0] for shape in first) == 4
