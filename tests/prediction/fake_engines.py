"""Engines whose speed and decisions a test sets, and small models for the real ones."""

import torch

from pixelwise.models import create_model
from pixelwise.prediction.engines import TorchEngine


def decide(logits):
    return logits.argmax(0).numpy()


def random_images(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def small_model(seed=0):
    torch.manual_seed(seed)
    return create_model("unet", 3, 3, filters=4, depth=2).eval()


def torch_engine(model, precision="float32", device="cpu"):
    return TorchEngine(model, torch.device(device), precision)


class Clock:
    """Time that passes only where an engine says so."""

    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now


class FakeEngine:
    """Takes a given time, and says class 1 in a share of the pixels instead of class 0."""

    def __init__(self, clock, seconds, name="fake", *, wrong=0.0, error=None):
        self.name = name
        self.num_calls = 0
        self.clock, self.seconds, self.wrong, self.error = clock, seconds, wrong, error

    def __call__(self, images):
        self.num_calls += 1
        self.clock.now += self.seconds
        if self.error:
            raise self.error
        num, _, height, width = images.shape
        first = torch.linspace(0, 1, height * width).view(height, width) >= self.wrong
        return torch.stack([first, ~first]).float().expand(num, 2, height, width)
