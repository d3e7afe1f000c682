"""The networks of fixed size against their published figures."""

import functools
import math

import pytest
import torch
from torch import nn

from pixelwise.models import create_model
from pixelwise.models.blocks import Dropout

# Channels, classes and size of the published image, and the count of parameters.
PUBLISHED = {
    "stacked-fcn": (1, 3, (60, 60), 74_595),
    "encoder-decoder": (1, 3, (60, 60), 74_595),
    "unet": (1, 1, (256, 256), 31_031_685),
    "unet-elu": (3, 1, (128, 128), 1_941_105),
    "segnet-basic": (3, 12, (360, 480), 5_464_140),
}
every_published = pytest.mark.parametrize("name", list(PUBLISHED))


@functools.cache
def built(name):
    """The published network in evaluation mode; tests must not change it."""
    channels, classes, _, _ = PUBLISHED[name]
    torch.manual_seed(0)
    return create_model(name, classes, channels).eval()


def stages(name, kinds):
    """Shape (C, H, W) behind every layer of these kinds, in the order in which they run.

    On the meta device: shapes alone, nothing is computed.
    """
    channels, classes, size, _ = PUBLISHED[name]
    with torch.device("meta"):
        model = create_model(name, classes, channels).eval()
        shapes = []
        for layer in model.modules():
            if isinstance(layer, kinds):
                layer.register_forward_hook(
                    lambda layer, _, output: shapes.append((layer, tuple(output.shape[1:])))
                )
        model(torch.empty(1, channels, *size))
    return shapes


@every_published
def test_the_parameters_are_as_many_as_published(name):
    assert sum(weights.numel() for weights in built(name).parameters()) == PUBLISHED[name][3]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        (
            "stacked-fcn",
            [(16, 60, 60), *[(32, 60, 60)] * 8, (16, 60, 60), (3, 60, 60)],
        ),
        (
            "encoder-decoder",
            [
                (16, 60, 60), (32, 60, 60), (32, 30, 30),  # pooled
                (32, 30, 30), (32, 30, 30), (32, 15, 15),  # pooled
                (32, 15, 15), (32, 15, 15), (32, 30, 30),  # up
                (32, 30, 30), (32, 30, 30), (32, 60, 60),  # up
                (32, 60, 60), (16, 60, 60), (3, 60, 60),
            ],
        ),
        (
            "unet",
            [
                (64, 256, 256), (64, 256, 256), (64, 128, 128),
                (128, 128, 128), (128, 128, 128), (128, 64, 64),
                (256, 64, 64), (256, 64, 64), (256, 32, 32),
                (512, 32, 32), (512, 32, 32), (512, 16, 16),
                (1024, 16, 16), (1024, 16, 16),
                (1024, 32, 32), (512, 32, 32), (512, 32, 32), (512, 32, 32),
                (512, 64, 64), (256, 64, 64), (256, 64, 64), (256, 64, 64),
                (256, 128, 128), (128, 128, 128), (128, 128, 128), (128, 128, 128),
                (128, 256, 256), (64, 256, 256), (64, 256, 256), (64, 256, 256),
                (2, 256, 256), (1, 256, 256),
            ],
        ),
        (
            "unet-elu",
            [
                (16, 128, 128), (16, 128, 128), (16, 64, 64),
                (32, 64, 64), (32, 64, 64), (32, 32, 32),
                (64, 32, 32), (64, 32, 32), (64, 16, 16),
                (128, 16, 16), (128, 16, 16), (128, 8, 8),
                (256, 8, 8), (256, 8, 8),
                (128, 16, 16), (128, 16, 16), (128, 16, 16),
                (64, 32, 32), (64, 32, 32), (64, 32, 32),
                (32, 64, 64), (32, 64, 64), (32, 64, 64),
                (16, 128, 128), (16, 128, 128), (16, 128, 128),
                (1, 128, 128),
            ],
        ),
    ],
)  # fmt: skip
def test_every_stage_has_the_published_shape(name, expected):
    kinds = (nn.Conv2d, nn.ConvTranspose2d, nn.MaxPool2d, nn.Upsample)
    assert [shape for _, shape in stages(name, kinds)] == expected


@pytest.mark.parametrize(
    ("name", "kernels"),
    [
        ("stacked-fcn", {3: 11}),
        ("encoder-decoder", {3: 11}),
        ("unet", {3: 19, 2: 4, 1: 1}),
        ("unet-elu", {3: 18, 1: 1}),
    ],
)
def test_the_convolutions_are_as_many_and_as_large_as_published(name, kernels):
    convolutions = [layer for layer in built(name).modules() if isinstance(layer, nn.Conv2d)]
    found = [layer.kernel_size for layer in convolutions]
    assert {size: found.count((size, size)) for size in kernels} == kernels
    assert len(found) == sum(kernels.values())
    assert all(layer.stride == (1, 1) for layer in convolutions)


def test_unet_elu_up_samples_with_four_transposed_convolutions():
    layers = [
        layer for layer in built("unet-elu").modules() if isinstance(layer, nn.ConvTranspose2d)
    ]
    assert [(layer.kernel_size, layer.stride) for layer in layers] == [((2, 2), (2, 2))] * 4


@pytest.mark.parametrize("name", ["encoder-decoder", "unet"])
def test_up_sampling_repeats_the_nearest_pixel(name):
    layer = next(layer for layer in built(name).modules() if isinstance(layer, nn.Upsample))
    doubled = layer(torch.tensor([[[[1.0, 2.0]]]]))
    assert doubled.tolist() == [[[[1.0, 1.0, 2.0, 2.0], [1.0, 1.0, 2.0, 2.0]]]]


@pytest.mark.parametrize(
    ("name", "kind", "count"),
    [
        ("stacked-fcn", nn.ReLU, 10),
        ("encoder-decoder", nn.ReLU, 10),
        ("unet", nn.ReLU, 23),
        ("unet-elu", nn.ELU, 18),
    ],
)
def test_every_convolution_but_the_last_is_activated(name, kind, count):
    order = [layer for layer, _ in stages(name, (nn.Conv2d, nn.ReLU, nn.ELU, nn.Sigmoid))]
    activations = [layer for layer in order if not isinstance(layer, nn.Conv2d)]
    assert len(activations) == count
    assert all(isinstance(layer, kind) for layer in activations)
    for convolution, following in zip(order[:-2:2], order[1:-1:2], strict=True):
        assert isinstance(convolution, nn.Conv2d)
        assert isinstance(following, kind)
    assert isinstance(order[-1], nn.Conv2d)


def fans(layer):
    kernel = math.prod(layer.kernel_size)
    return layer.in_channels * kernel, layer.out_channels * kernel


def is_glorot(name, key, layer):
    return (
        name in ("stacked-fcn", "encoder-decoder", "segnet-basic")
        or isinstance(layer, nn.ConvTranspose2d)
        or (name == "unet-elu" and key == "head")
    )


def initialized(name, *, glorot):
    """The convolutions of a network with Glorot's or with He's initialization."""
    return [
        layer
        for key, layer in built(name).named_modules()
        if isinstance(layer, (nn.Conv2d, nn.ConvTranspose2d))
        and is_glorot(name, key, layer) == glorot
    ]


@pytest.mark.parametrize("name", ["stacked-fcn", "encoder-decoder", "unet-elu", "segnet-basic"])
def test_glorot_weights_fill_their_bounds_evenly(name):
    layers = initialized(name, glorot=True)
    assert layers
    for layer in layers:
        bound = math.sqrt(6 / sum(fans(layer)))
        weights = layer.weight.detach()
        count = weights.numel()
        assert weights.abs().max() <= bound * (1 + 1e-6)
        assert weights.abs().max() > bound * (1 - 12 / count)
        assert weights.mean().item() == pytest.approx(0, abs=4 * bound / math.sqrt(3 * count))
        spread = 4 / math.sqrt(count)
        assert weights.square().mean().sqrt().item() == pytest.approx(
            bound / math.sqrt(3), rel=spread
        )


@pytest.mark.parametrize("name", ["unet", "unet-elu"])
def test_he_weights_have_the_spread_of_their_inputs(name):
    layers = [layer for layer in initialized(name, glorot=False) if layer.weight.numel() > 100]
    assert len(layers) >= 18
    for layer in layers:
        std = math.sqrt(2 / fans(layer)[0])
        weights = layer.weight.detach()
        count = weights.numel()
        assert weights.std().item() == pytest.approx(std, rel=4 / math.sqrt(2 * count))
        assert weights.mean().item() == pytest.approx(0, abs=4 * std / math.sqrt(count))
        if count > 1000:
            # A normal distribution has 31.7 % beyond one standard deviation, a uniform one 42.3 %.
            beyond = (weights.abs() > std).float().mean().item()
            assert beyond == pytest.approx(0.317, abs=4 * math.sqrt(0.217 / count))


@every_published
def test_every_bias_starts_at_zero(name):
    biases = [weights for key, weights in built(name).named_parameters() if key.endswith("bias")]
    assert len(biases) == sum(
        isinstance(layer, (nn.Conv2d, nn.ConvTranspose2d, nn.BatchNorm2d))
        for layer in built(name).modules()
    )
    assert not any(bias.any() for bias in biases)


def dropouts(name):
    """(probability, shape, number of convolutions before it) of every active dropout."""
    found, convolutions, before = [], 0, None
    for layer, shape in stages(name, (nn.Conv2d, nn.ReLU, nn.ELU, Dropout)):
        convolutions += isinstance(layer, nn.Conv2d)
        if isinstance(layer, Dropout) and layer.probability:
            assert isinstance(before, (nn.ReLU, nn.ELU))  # what is dropped is activated
            found.append((layer.probability, shape, convolutions))
        before = layer
    return found


def test_unet_drops_after_the_512_and_after_the_1024_block():
    assert dropouts("unet") == [(0.5, (512, 32, 32), 8), (0.5, (1024, 16, 16), 10)]


def test_unet_elu_drops_between_the_two_convolutions_of_every_block():
    assert dropouts("unet-elu") == [
        (0.1, (16, 128, 128), 1),
        (0.1, (32, 64, 64), 3),
        (0.2, (64, 32, 32), 5),
        (0.2, (128, 16, 16), 7),
        (0.3, (256, 8, 8), 9),
        (0.2, (128, 16, 16), 11),
        (0.2, (64, 32, 32), 13),
        (0.1, (32, 64, 64), 15),
        (0.1, (16, 128, 128), 17),
    ]


@pytest.mark.parametrize("name", ["stacked-fcn", "encoder-decoder"])
def test_the_networks_of_a1_drop_nothing(name):
    assert dropouts(name) == []


def traced(name, *, train=False):
    """What every level's encoder block, up-sampling and decoder block passed on, on a 32 px image.

    Levels run from the deepest to the top: (skip, up-sampled, input of the decoder block).
    """
    model = built(name)
    seen = {}

    def remember(key):
        def hook(_, inputs, output):
            seen[key] = (inputs[0].detach(), output.detach())

        return hook

    handles = [
        block.register_forward_hook(remember((part, index)))
        for part in ("encoder", "up", "decoder")
        for index, block in enumerate(getattr(model, part))
    ]
    model.train(train)
    try:
        torch.manual_seed(1)
        with torch.no_grad():
            model(torch.rand(1, model.in_channels, 32, 32))
    finally:
        model.eval()
        for handle in handles:
            handle.remove()
    return [
        (seen["encoder", 3 - level][1], seen["up", level][1], seen["decoder", level][0])
        for level in range(4)
    ]


@pytest.mark.parametrize(("name", "skip_is_first"), [("unet", True), ("unet-elu", False)])
def test_skips_are_concatenated_in_the_published_order(name, skip_is_first):
    for skip, up, joined in traced(name):
        assert not torch.equal(skip, up)
        first, second = joined.chunk(2, dim=1)
        assert torch.equal(first, skip if skip_is_first else up)
        assert torch.equal(second, up if skip_is_first else skip)


def test_the_skip_of_unet_takes_the_dropped_out_512_features():
    skip, _, joined = traced("unet", train=True)[0]
    taken = joined[:, :512]
    assert torch.equal(taken, skip)
    full, _, _ = traced("unet")[0]
    lost = ((taken == 0) & (full > 0)).sum() / (full > 0).sum()
    assert 0.4 < lost < 0.6
