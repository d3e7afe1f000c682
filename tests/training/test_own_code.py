"""Losses, metrics and augmentations of the user that fail are named before the training starts."""

import pytest
import torch

from pixelwise import train
from pixelwise.errors import PixelwiseError
from pixelwise.losses.base import losses

SMALL = {"model": "stacked-fcn", "epochs": 1, "size": (16, 16), "batch_size": 2, "device": "cpu"}


@pytest.fixture(scope="module")
def data(tmp_path_factory, make_index_dataset):
    folder = tmp_path_factory.mktemp("own") / "data"
    return make_index_dataset(folder, num_images=4, splits=("train", "val"))


def planned(data, **given):
    """The plan of a run, which writes nothing."""
    return train(data, dry_run=True, **SMALL, **given).plan


def a_map(logits, target):
    return torch.nn.functional.cross_entropy(logits, target, ignore_index=255, reduction="none")


BAD_LOSSES = {
    "a map": (a_map, r"must return one number with a gradient. It returned .* \(2, 16, 16\)"),
    "no gradient": (lambda logits, _: logits.detach().mean(), "a constant without a gradient"),
    "torch's words": (lambda logits, target: (logits - target).mean(), "raised RuntimeError: The"),
    "not a number": (lambda logits, _: logits.mean() * torch.nan, "must be finite. Got nan"),
}


@pytest.mark.parametrize("kind", BAD_LOSSES)
def test_a_dry_run_refuses_a_loss_that_cannot_be_trained(data, monkeypatch, kind):
    loss, message = BAD_LOSSES[kind]
    monkeypatch.setitem(losses._entries, "mine", lambda: loss)
    for given in (loss, "mine", "ce + 0.5 * mine"):
        with pytest.raises(PixelwiseError, match=message) as refused:
            planned(data, loss=given)
        assert str(refused.value).startswith("the loss '")
        assert "\n" not in str(refused.value)
