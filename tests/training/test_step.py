"""A training step on an accelerator: it never waits for the device, and moves only the batch."""

from contextlib import nullcontext

import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from pixelwise.config import AugmentationRecipe
from pixelwise.data.batches import Batch
from pixelwise.losses.expression import build_loss
from pixelwise.models import create_model
from pixelwise.training.step import TrainingStep
from pixelwise.transforms.preprocessing import Preprocessing


class Copies(TorchDispatchMode):
    """Records whether each copy to another device waits for it."""

    def __init__(self):
        super().__init__()
        self.is_blocking = []

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        name = function.overloadpacket.__name__
        device = kwargs.get("device")
        if name == "_to_copy" and device is not None and device != args[0].device:
            self.is_blocking.append(not kwargs.get("non_blocking", False))
        if name == "copy_" and args[0].device != args[1].device:
            self.is_blocking.append(not (args[2] if len(args) > 2 else False))
        if name == "_local_scalar_dense":
            self.is_blocking.append(True)
        return function(*args, **kwargs)


@pytest.mark.parametrize("label_mode", ["multiclass", "multilabel"])
def test_a_step_never_waits_for_the_device(label_mode, monkeypatch):
    monkeypatch.setattr(torch, "autocast", lambda *_, **__: nullcontext())  # not on this device
    device = torch.device("meta")
    step = TrainingStep(
        model=create_model("stacked-fcn", 3, 3).to(device),
        device=device,
        label_mode=label_mode,
        preprocessing=Preprocessing(dtype="uint8", mean=(9.0,) * 3, std=(2.0,) * 3),
        augmentation=AugmentationRecipe(
            orientation="fixed", scale=(1.0, 1.0), brightness=0.2, contrast=0.2
        ),
        std=1.0,
        criterion=build_loss("ce", label_mode),
        class_weights=None,
        precision="float32",
        memory_format="channels_last",
    )
    shape = (2, 16, 16) if label_mode == "multiclass" else (2, 3, 16, 16)
    batch = Batch(
        image=torch.zeros(2, 3, 16, 16, dtype=torch.uint8),
        mask=torch.zeros(shape, dtype=torch.uint8),
        valid=torch.ones(2, 16, 16, dtype=torch.bool),
    )
    step.loss(batch, np.random.default_rng(0))  # the normalization is moved once
    with Copies() as copies:
        loss = step.loss(batch, np.random.default_rng(0))
    assert loss.shape == ()
    assert copies.is_blocking == [False] * 4  # image, mask, valid, and the jitter of the images
