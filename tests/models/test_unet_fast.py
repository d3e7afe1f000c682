"""The U-Net with a stem: what its arguments change, and that nothing is off by half a pixel."""

import pytest
import torch
from torch import nn

from pixelwise.models import count_gmacs, create_model
from pixelwise.models.blocks import convolution, he_normal


def on_meta(**arguments):
    with torch.device("meta"):
        return create_model("unet-fast", 3, 3, **arguments)


@pytest.mark.parametrize("stem", [1, 2, 4])
def test_the_first_level_is_smaller_than_the_image_by_the_stem(stem):
    model = on_meta(stem=stem)
    sizes = []
    model.encoder[0].register_forward_hook(lambda *of: sizes.append(of[-1].shape[-2:]))
    logits = model(torch.empty(1, 3, 128, 256, device="meta"))
    assert sizes == [(128 // stem, 256 // stem)]
    assert logits.shape == (1, 3, 128, 256)
    assert model.stride == stem * 16


def test_a_stem_of_two_takes_about_a_quarter_of_the_work():
    without, halved = (count_gmacs(on_meta(stem=stem), (256, 256)) for stem in (1, 2))
    assert 0.25 < halved / without < 0.3


@pytest.mark.parametrize("side", [-1, -2])
def test_an_even_kernel_halves_a_mirrored_image_as_it_halves_the_image(side):
    layer, mirrored = (
        convolution(2, 4, 4, stride=2, initialize=he_normal) for _ in ("plain", "mirrored")
    )
    with torch.no_grad():
        mirrored.weight.copy_(layer.weight.flip(side))
        image = torch.rand(1, 2, 16, 24)
        torch.testing.assert_close(mirrored(image.flip(side)), layer(image).flip(side))


def test_group_normalization_looks_at_each_image_by_itself():
    torch.manual_seed(0)
    model = create_model("unet-fast", 3, 3, normalization="group-before").train()
    image = torch.rand(1, 3, 64, 96)
    with torch.no_grad():
        alone = model(image)
        beside_others = model(torch.cat([image, 90 * torch.rand(2, 3, 64, 96)]))[:1]
    torch.testing.assert_close(alone, beside_others, rtol=1e-4, atol=1e-5)


def test_every_convolution_is_normalized_but_the_last_and_those_that_enlarge():
    model = on_meta()
    convolutions = [layer for layer in model.modules() if isinstance(layer, nn.Conv2d)]
    normalized = [layer for layer in model.modules() if isinstance(layer, nn.BatchNorm2d)]
    assert len(normalized) == len(convolutions) - 1


@pytest.mark.parametrize(("filters", "groups"), [(16, 8), (12, 4), (3, 1)])
def test_groups_are_eight_as_far_as_the_channels_divide(filters, groups):
    model = on_meta(filters=filters, normalization="group-before")
    assert model.encoder[0][0][1].num_groups == groups


@pytest.mark.parametrize("stem", [2, 4])
def test_the_pixels_of_one_place_begin_with_the_same_logits(stem):
    logits = create_model("unet-fast", 3, 3, stem=stem).eval()(torch.rand(1, 3, 64, 64))
    copies = logits[..., ::stem, ::stem].repeat_interleave(stem, -1).repeat_interleave(stem, -2)
    torch.testing.assert_close(logits, copies)
    assert logits.std() > 0
