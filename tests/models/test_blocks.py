"""Convolution, dropout and every way to sample up and down, against loops in numpy."""

import numpy as np
import pytest
import torch
from torch import nn

from pixelwise.models.blocks import (
    Dropout,
    MaxPool,
    bed_of_nails,
    bilinear_transposed_convolution,
    convolution,
    convolution_block,
    glorot_uniform,
    he_normal,
    transposed_convolution,
    unpool,
)


def same_convolution(image, weight, bias):
    """padding='same' by loops: of the k - 1 padded pixels the odd one is right and below."""
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
def test_a_convolution_pads_the_odd_pixel_right_and_below(kernel_size, size):
    torch.manual_seed(0)
    layer = convolution(2, 3, kernel_size, initialize=he_normal)
    nn.init.normal_(layer.bias)
    image = torch.randn(2, *size)
    expected = same_convolution(
        image.numpy(), layer.weight.detach().numpy(), layer.bias.detach().numpy()
    )
    np.testing.assert_allclose(layer(image[None])[0].detach().numpy(), expected, atol=1e-5)


def test_an_even_kernel_looks_right_and_down():
    layer = convolution(1, 1, 2, initialize=nn.init.ones_)
    image = torch.zeros(1, 1, 3, 3)
    image[0, 0, 1, 1] = 1.0
    expected = torch.tensor([[1.0, 1, 0], [1, 1, 0], [0, 0, 0]])
    assert torch.equal(layer(image)[0, 0], expected)


@pytest.mark.parametrize("kernel_size", [1, 2, 3])
def test_a_convolution_starts_with_a_zero_bias(kernel_size):
    assert not convolution(4, 5, kernel_size, initialize=glorot_uniform).bias.any()


@pytest.mark.parametrize("probability", [0.1, 0.2, 0.3, 0.5, 0.9])
def test_dropout_zeroes_about_its_share_and_keeps_the_expectation(probability):
    torch.manual_seed(0)
    dropped = Dropout(probability).train()(torch.ones(200_000))
    spread = (probability * (1 - probability) / 200_000) ** 0.5
    assert (dropped == 0).float().mean().item() == pytest.approx(probability, abs=5 * spread)
    assert dropped.mean().item() == pytest.approx(1.0, abs=5 * spread / (1 - probability))
    kept = dropped[dropped != 0]
    torch.testing.assert_close(
        kept, torch.full_like(kept, 1 / (1 - probability)), rtol=1e-4, atol=0
    )


def test_dropout_draws_neighbors_independently():
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


def test_a_probability_of_zero_drops_nothing():
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


def random_map(*shape, seed=3):
    return np.random.default_rng(seed).normal(size=shape)


def max_pooled(feature_map):
    """2 x 2 maxima and their places (row * width + column), a last odd row or column by itself."""
    height, width = feature_map.shape
    size = (-(-height // 2), -(-width // 2))
    values, places = np.zeros(size), np.zeros(size, int)
    for row, column in np.ndindex(size):
        window = {
            (r, c): feature_map[r, c]
            for r in range(2 * row, min(height, 2 * row + 2))
            for c in range(2 * column, min(width, 2 * column + 2))
        }
        (r, c), values[row, column] = max(window.items(), key=lambda item: item[1])
        places[row, column] = r * width + c
    return values, places


def as_batch(array):
    return torch.from_numpy(np.asarray(array))[None, None]


@pytest.mark.parametrize("size", [(4, 6), (5, 7), (1, 3), (2, 1)])
def test_max_pooling_keeps_the_maximum_and_remembers_its_place(size):
    feature_map = random_map(*size)
    pooled, indices = MaxPool()(as_batch(feature_map))
    values, places = max_pooled(feature_map)
    np.testing.assert_array_equal(pooled[0, 0], values)
    np.testing.assert_array_equal(indices[0, 0], places)


@pytest.mark.parametrize("size", [(4, 6), (5, 7), (1, 3)])
def test_unpooling_puts_each_value_where_the_maximum_was_and_zeros_elsewhere(size):
    feature_map = random_map(*size)
    _, places = max_pooled(feature_map)
    small = random_map(*places.shape, seed=4)
    expected = np.zeros(size)
    for row, column in np.ndindex(places.shape):
        expected[np.unravel_index(places[row, column], size)] = small[row, column]
    result = unpool(as_batch(small), as_batch(places), size)
    np.testing.assert_array_equal(result[0, 0], expected)


def test_a_plane_of_indices_serves_several_maps():
    pooled, indices = MaxPool()(torch.randn(1, 2, 4, 4))
    four = torch.cat([pooled, -pooled], dim=1)
    doubled = unpool(four, indices, (4, 4))
    assert torch.equal(doubled[:, 2:], -doubled[:, :2])


def test_a_bed_of_nails_has_each_value_at_the_upper_left_of_four():
    feature_map = random_map(2, 3)
    expected = np.zeros((4, 6))
    for row, column in np.ndindex(2, 3):
        expected[2 * row, 2 * column] = feature_map[row, column]
    np.testing.assert_array_equal(bed_of_nails(as_batch(feature_map))[0, 0], expected)


def test_a_transposed_convolution_writes_a_weighted_kernel_for_every_value():
    torch.manual_seed(0)
    layer = transposed_convolution(2, 3).double()
    nn.init.normal_(layer.bias)
    feature_map = random_map(2, 3, 4)
    weight, bias = layer.weight.detach().numpy(), layer.bias.detach().numpy()
    expected = np.zeros((3, 6, 8)) + bias[:, None, None]
    for row, column, down, right in np.ndindex(3, 4, 2, 2):
        for unit in range(3):
            total = (feature_map[:, row, column] * weight[:, unit, down, right]).sum()
            expected[unit, 2 * row + down, 2 * column + right] += total
    result = layer(torch.from_numpy(feature_map)[None])[0].detach()
    np.testing.assert_allclose(result, expected)


@pytest.mark.parametrize("factor", [2, 8, 16, 32])
def test_a_learned_up_sampling_starts_as_the_bilinear_one(factor):
    layer = bilinear_transposed_convolution(2, factor)
    feature_map = torch.from_numpy(random_map(1, 2, 5, 6)).float()
    doubled = layer(feature_map)
    assert doubled.shape[-2:] == (5 * factor, 6 * factor)
    expected = nn.functional.interpolate(feature_map, scale_factor=factor, mode="bilinear")
    torch.testing.assert_close(doubled, expected)
    assert layer.weight.numel() == 2 * (2 * factor) ** 2


def test_bilinear_up_sampling_mixes_the_four_nearest_centers():
    feature_map = random_map(3, 4)
    expected = np.zeros((6, 8))
    for row, column in np.ndindex(6, 8):
        r, c = (row + 0.5) / 2 - 0.5, (column + 0.5) / 2 - 0.5
        for near_r in (int(np.floor(r)), int(np.floor(r)) + 1):
            for near_c in (int(np.floor(c)), int(np.floor(c)) + 1):
                share = (1 - abs(r - near_r)) * (1 - abs(c - near_c))
                value = feature_map[np.clip(near_r, 0, 2), np.clip(near_c, 0, 3)]
                expected[row, column] += share * value
    layer = nn.Upsample(scale_factor=2, mode="bilinear")
    np.testing.assert_allclose(layer(as_batch(feature_map))[0, 0], expected)


def test_average_pooling_and_strided_convolution_take_every_second_window():
    feature_map = random_map(4, 6)
    kernel = random_map(2, 2, seed=5)
    average, strided = np.zeros((2, 3)), np.zeros((2, 3))
    for row, column in np.ndindex(2, 3):
        window = feature_map[2 * row : 2 * row + 2, 2 * column : 2 * column + 2]
        average[row, column], strided[row, column] = window.mean(), (window * kernel).sum()
    np.testing.assert_allclose(nn.AvgPool2d(2)(as_batch(feature_map))[0, 0], average)
    result = nn.functional.conv2d(as_batch(feature_map), as_batch(kernel), stride=2)
    np.testing.assert_allclose(result[0, 0], strided)


@pytest.mark.parametrize("dilation", [1, 2, 4])
def test_a_dilated_convolution_keeps_the_size_and_looks_further(dilation):
    layer = convolution(1, 1, 3, initialize=nn.init.ones_, dilation=dilation)
    image = torch.zeros(1, 1, 11, 11)
    image[0, 0, 5, 5] = 1
    seen = layer(image)[0, 0].detach().numpy()
    expected = np.zeros((11, 11))
    expected[np.ix_([5 - dilation, 5, 5 + dilation], [5 - dilation, 5, 5 + dilation])] = 1
    np.testing.assert_array_equal(seen, expected)


def test_the_order_of_normalization_and_activation_is_the_one_asked_for():
    def kinds(normalization):
        block = convolution_block(
            1, 2, initialize=he_normal, activation="elu", normalization=normalization
        )
        return [type(layer) for layer in block]

    assert kinds("none") == [nn.Conv2d, nn.ELU]
    assert kinds("batch") == [nn.Conv2d, nn.ELU, nn.BatchNorm2d]
    assert kinds("batch-before") == [nn.Conv2d, nn.BatchNorm2d, nn.ELU]


@pytest.mark.parametrize("kernel_size", [2, 3])
def test_a_replicating_convolution_sees_no_edge_in_a_flat_image(kernel_size):
    layer = convolution(1, 1, kernel_size, initialize=he_normal, padding="replicate")
    output = layer(torch.ones(1, 1, 5, 5)).detach()
    torch.testing.assert_close(output, output[..., :1, :1].expand_as(output))
