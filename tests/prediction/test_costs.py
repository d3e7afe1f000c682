"""What a model costs: turns taken, the median, and memory that grows with the image."""

import numpy as np
import pytest
import torch

from pixelwise.prediction import costs
from pixelwise.prediction.costs import latencies_ms, peak_memory_mb


class Clock:
    """A clock that only predictions move."""

    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now


class Slow:
    def __init__(self, name, clock, seconds, log):
        self.name, self.clock, self.seconds, self.log = name, clock, list(seconds), log

    def predict(self, image):
        self.log.append((self.name, int(image[0, 0, 0])))
        self.clock.now += self.seconds.pop(0)


def images(count):
    return [np.full((2, 2, 3), number, np.uint8) for number in range(count)]


def test_models_take_turns_and_the_first_round_is_not_counted(monkeypatch):
    clock, log = Clock(), []
    monkeypatch.setattr(costs.time, "perf_counter", clock)
    one = Slow("one", clock, [9, 9] + [0.010] * 10, log)
    two = Slow("two", clock, [9, 9] + [0.020] * 9 + [5.0], log)
    monkeypatch.setattr(costs, "MAX_MEASURING_S", 1000)
    assert latencies_ms([one, two], images(2)) == pytest.approx([10, 20])
    assert log[:4] == [("one", 0), ("two", 0), ("one", 1), ("two", 1)]


def test_no_further_round_is_begun_when_the_time_is_up(monkeypatch):
    clock, log = Clock(), []
    monkeypatch.setattr(costs.time, "perf_counter", clock)
    slow = Slow("slow", clock, [20.0] * 4, log)
    assert latencies_ms([slow], images(2)) == pytest.approx([20_000])
    assert len(log) == 4


@pytest.mark.skipif(not costs.STATUS.is_file(), reason="only Linux tells a process's peak memory")
def test_memory_on_a_processor_holds_at_least_the_logits(make_model_file, tmp_path):
    path = make_model_file(tmp_path / "model.safetensors")
    image = np.zeros((400, 500, 3), np.uint8)
    measured = peak_memory_mb(path, image, torch.device("cpu"))
    logits_mb = 3 * 400 * 500 * 4 / 1e6
    assert logits_mb < measured < 1000


def test_unmeasurable_memory_is_none(tmp_path, monkeypatch):
    image = np.zeros((8, 8, 3), np.uint8)
    assert peak_memory_mb(tmp_path / "model", image, torch.device("meta")) is None

    def killed(words, **_):
        raise costs.subprocess.CalledProcessError(-9, words)

    monkeypatch.setattr(costs.subprocess, "run", killed)
    assert peak_memory_mb(tmp_path / "model", image, torch.device("cpu")) is None
