"""Dropout and the 'same' convolution, against their definitions."""

import numpy as np
import pytest
import torch
from torch import nn

from pixelwise.models.blocks import Dropout, convolution, glorot_uniform, he_normal


def keras_same_convolution(image, weight, bias):
    """Keras' padding='same' by loops: of the k - 1 padded pixels the odd one is right and below."""
    _, height, width = image.shape
    kernel = weight.shape[-1]
    before = (kernel - 1) // 2
    output = np.zeros((len(weight), height, width))
    for unit, (kernels, offset) in enumerate(zip(weight, bias, strict=True)):
        for row in range(height):
            for column in range(width):
                total = offset
                for down in range(kernel):
                    for right in range(kernel):
                        r, c = row + down - before, column + right - before
                        if 0 <= r < height and 0 <= c < width:
                            total += (kernels[:, down, right] * image[:, r, c]).sum()
                output[unit, row, column] = total
    return output


@pytest.mark.parametrize("kernel_size", [1, 2, 3, 4, 5])
@pytest.mark.parametrize("size", [(5, 6), (1, 1), (1, 4)])
def test_a_convolution_pads_as_keras_does(kernel_size, size):
    torch.manual_seed(0)
    layer = convolution(2, 3, kernel_size, initialise=he_normal)
    nn.init.normal_(layer.bias)
    image = torch.randn(2, *size)
    expected = keras_same_convolution(
        image.numpy(), layer.weight.detach().numpy(), layer.bias.detach().numpy()
    )
    np.testing.assert_allclose(layer(image[None])[0].detach().numpy(), expected, atol=1e-5)


def test_an_even_kernel_looks_right_and_down():
    layer = convolution(1, 1, 2, initialise=nn.init.ones_)
    image = torch.zeros(1, 1, 3, 3)
    image[0, 0, 1, 1] = 1.0
    expected = torch.tensor([[1.0, 1, 0], [1, 1, 0], [0, 0, 0]])
    assert torch.equal(layer(image)[0, 0], expected)


@pytest.mark.parametrize("kernel_size", [1, 2, 3])
def test_a_convolution_starts_with_a_zero_bias(kernel_size):
    assert not convolution(4, 5, kernel_size, initialise=glorot_uniform).bias.any()


@pytest.mark.parametrize("chance", [0.1, 0.2, 0.3, 0.5, 0.9])
def test_dropout_zeroes_about_its_share_and_keeps_the_expectation(chance):
    torch.manual_seed(0)
    dropped = Dropout(chance).train()(torch.ones(200_000))
    spread = (chance * (1 - chance) / 200_000) ** 0.5
    assert (dropped == 0).float().mean().item() == pytest.approx(chance, abs=5 * spread)
    assert dropped.mean().item() == pytest.approx(1.0, abs=5 * spread / (1 - chance))
    kept = dropped[dropped != 0]
    torch.testing.assert_close(kept, torch.full_like(kept, 1 / (1 - chance)), rtol=1e-4, atol=0)


def test_dropout_draws_neighbours_independently():
    """Four features share one random number: none of the four may follow another."""
    torch.manual_seed(0)
    is_dropped = (Dropout(0.5).train()(torch.ones(4 * 50_000)) == 0).double().view(-1, 4)
    correlation = torch.corrcoef(is_dropped.T) - torch.eye(4)
    assert correlation.abs().max() < 0.03
    torch.testing.assert_close(
        is_dropped.mean(0), torch.full((4,), 0.5).double(), rtol=0, atol=0.015
    )


@pytest.mark.parametrize("count", [1, 2, 3, 4, 5, 7, 1001])
def test_dropout_takes_any_number_of_features(count):
    torch.manual_seed(0)
    dropped = Dropout(0.5).train()(torch.ones(count))
    assert dropped.shape == (count,)
    assert set(dropped.tolist()) <= {0.0, 2.0}


def test_dropout_takes_an_empty_feature_map():
    assert Dropout(0.5).train()(torch.ones(0, 3)).shape == (0, 3)


def test_dropout_is_off_in_evaluation():
    feature_map = torch.randn(3, 4)
    assert torch.equal(Dropout(0.9).eval()(feature_map), feature_map)


def test_a_chance_of_zero_drops_nothing():
    feature_map = torch.randn(3, 4)
    assert torch.equal(Dropout(0.0).train()(feature_map), feature_map)


def test_dropout_follows_the_seed():
    layer, feature_map = Dropout(0.4).train(), torch.ones(1000)
    torch.manual_seed(5)
    first = layer(feature_map)
    following = layer(feature_map)
    torch.manual_seed(5)
    assert torch.equal(layer(feature_map), first)
    assert not torch.equal(following, first)


def test_dropout_can_be_resumed_from_the_state_of_the_generator():
    layer, feature_map = Dropout(0.4).train(), torch.ones(1000)
    torch.manual_seed(5)
    layer(feature_map)
    state = torch.get_rng_state()
    expected = layer(feature_map)
    torch.manual_seed(77)
    torch.set_rng_state(state)
    assert torch.equal(layer(feature_map), expected)


def test_dropout_keeps_the_channels_last_layout():
    feature_map = torch.randn(2, 8, 5, 6).to(memory_format=torch.channels_last)
    dropped = Dropout(0.5).train()(feature_map)
    assert dropped.is_contiguous(memory_format=torch.channels_last)
    kept = dropped != 0
    torch.testing.assert_close(dropped[kept], 2 * feature_map[kept])


@pytest.mark.parametrize(
    "change",
    [
        lambda feature_map: feature_map[:, ::2],
        lambda feature_map: feature_map.mT,
        lambda feature_map: feature_map[:, :1].expand(-1, 8, -1, -1),
        lambda feature_map: feature_map.bfloat16(),
    ],
    ids=["strided", "transposed", "expanded", "bfloat16"],
)
def test_dropout_takes_any_layout_and_precision(change):
    torch.manual_seed(0)
    feature_map = change(torch.rand(2, 8, 10, 12) + 1)
    before = feature_map.clone()
    dropped = Dropout(0.5).train()(feature_map)
    assert dropped.dtype == feature_map.dtype
    assert torch.equal(feature_map, before)
    kept = dropped != 0
    assert 0.4 < kept.float().mean() < 0.6
    torch.testing.assert_close(dropped[kept], 2 * feature_map[kept])


def test_the_gradient_of_dropout_is_its_factors():
    feature_map = (torch.rand(50, 7) + 1).requires_grad_()
    dropped = Dropout(0.3).train()(feature_map)
    dropped.sum().backward()
    torch.testing.assert_close(feature_map.grad, (dropped / feature_map).detach())
    assert (feature_map.grad == 0).any()
    assert (feature_map.grad > 1).any()
