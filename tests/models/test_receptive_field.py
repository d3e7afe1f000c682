"""How far a model says that it sees, against what an impulse reaches."""

import pytest
import torch
from torch import nn

from pixelwise.models import create_model
from pixelwise.models.blocks import convolution, he_normal
from pixelwise.models.receptive_field import seen_px

U_SHAPE = {"filters": 2, "depth": 3}
CASES = [
    ("stacked-fcn", {}),
    ("encoder-decoder", {"up": "nearest"}),
    ("encoder-decoder", {"up": "bilinear"}),
    *(
        (name, {**U_SHAPE, "up": up})
        for name in ("unet", "unet-elu", "resunet")
        for up in ("nearest", "bilinear", "transposed")
    ),
    ("unet", {**U_SHAPE, "merge": "add", "depth": 2}),
    ("unet", {"filters": 2, "depth": 5}),
    *(("unet-fast", {"filters": 2, "depth": 3, "stem": stem}) for stem in (1, 2, 4)),
    ("dilated", {"filters": 2}),
    *(("segnet-basic", {"unpool": way}) for way in ("nearest", "bed-of-nails", "transposed")),
]


def furthest_reach(model):
    """The furthest that an impulse gets, over all places of it within a stride, along a row.

    All weights are positive, so that nothing cancels and every maximum is the impulse's.
    """
    for weights in model.parameters():
        if weights.ndim > 1:
            nn.init.constant_(weights, 1 / weights[0].numel())
    stride = model.stride
    middle = -(-(model.sees_px + stride) // stride) * stride
    places = range(middle, middle + stride)
    images = torch.zeros(stride, 1, stride, 2 * middle + stride, dtype=torch.float64)
    for image, place in zip(images, places, strict=True):
        image[..., place] = 1.0
    with torch.no_grad():
        changes = (model(images) - model(torch.zeros_like(images[:1]))).abs().amax((1, 2))
    return max(
        int((change.nonzero().flatten() - place).abs().max())
        for change, place in zip(changes, places, strict=True)
    )


@pytest.mark.parametrize(("name", "arguments"), CASES)
def test_a_model_sees_exactly_as_far_as_it_says(name, arguments):
    model = create_model(name, 1, 1, **arguments).double().eval()
    assert model.sees_px == 2 * furthest_reach(model) + 1


def test_returned_maxima_see_as_far_as_copies():
    ways = [create_model("segnet-basic", 2, unpool=way).sees_px for way in ("indices", "nearest")]
    assert ways[0] == ways[1]


def test_an_even_kernel_counts_by_its_longer_side():
    assert seen_px([convolution(1, 1, 2, initialize=he_normal)], 1) == 3
    assert seen_px([nn.Conv2d(1, 1, 3, dilation=4)], 1) == 9
    assert seen_px([nn.ReLU()], 1) == 1


def test_a_network_that_normalizes_by_the_image_sees_all_of_it():
    for name in ("stacked-fcn", "encoder-decoder", "unet", "unet-elu", "resunet", "unet-fast"):
        assert create_model(name, 2, normalization="group-before").sees_px is None
