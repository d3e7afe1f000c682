"""Further published systems against their figures and against what they replace."""

from itertools import pairwise

import pytest
import torch
import torchvision
from torch import nn

from pixelwise.errors import ConfigError
from pixelwise.models import count_gmacs, create_model, summarize_models
from pixelwise.models.blocks import Dropout

# Arguments, channels, classes, size of the image, parameters (None: not published), GMAC.
FIGURES = {
    "stacked-fcn": ({}, 1, 3, (60, 60), 74_595, 0.26750),
    "encoder-decoder": ({}, 1, 3, (60, 60), 74_595, 0.10577),
    "unet": ({}, 1, 1, (256, 256), 31_031_685, 54.606),
    "unet-elu": ({}, 3, 1, (128, 128), 1_941_105, 0.7581),
    "segnet": ({}, 3, 11, (360, 480), 29_449_355, 106.71),
    "segnet-basic": ({}, 3, 12, (360, 480), 5_464_140, None),
    # VGG16's 134,260,544 weights below its last layer, and 12 x 4,097 scores.
    "fcn32s": ({"encoder": "vgg16"}, 3, 12, (256, 256), 134_260_544 + 12 * 4097 + 12 * 64**2, None),
}


def on_meta(name, num_classes, in_channels, **arguments):
    with torch.device("meta"):
        return create_model(name, num_classes, in_channels, **arguments)


def num_parameters(model):
    return sum(weights.numel() for weights in model.parameters())


@pytest.mark.parametrize("name", FIGURES)
def test_parameters_and_computation_are_the_published_ones(name):
    arguments, channels, classes, size, parameters, gmacs = FIGURES[name]
    model = on_meta(name, classes, channels, **arguments)
    assert num_parameters(model) == parameters
    if gmacs is not None:
        assert count_gmacs(model, size) == pytest.approx(gmacs, rel=2e-4)


def test_segnet_basic_has_the_published_number_of_values_with_running_statistics():
    model = on_meta("segnet-basic", 12, 3)
    statistics = sum(values.numel() for values in model.buffers() if values.ndim)
    assert num_parameters(model) + statistics == 5_467_980


def test_a_convolution_of_known_size_is_counted_by_hand():
    model = on_meta("patch-classifier", 2, 3, filters=4)
    # A window of 31 x 31 around each of 10 x 10 pixels, so 37, 36, 34, 32, 28 and 10 px wide maps.
    by_hand = (
        37**2 * 4 * 16 * 3 + 32**2 * 8 * 9 * 4 + 22**2 * 8 * 9 * 8 + 10**2 * (16 * 16 * 8 + 2 * 16)
    )
    assert count_gmacs(model, (10, 10)) == pytest.approx(by_hand / 1e9, rel=1e-9)


def test_the_summary_counts_at_the_size_asked_for():
    small, large = (
        {entry.name: entry.gmacs for entry in summarize_models(2, 3, size)}
        for size in ((128, 128), (128, 256))
    )
    for name in ("unet", "segnet", "fcn8s", "icnet"):
        assert large[name] == pytest.approx(2 * small[name], rel=1e-3)


@pytest.mark.parametrize(
    ("arguments", "parameters"),
    [
        ({}, 1_941_105),
        ({"activation": "relu"}, 1_941_105),
        ({"padding": "replicate"}, 1_941_105),
        # Two numbers for each of the channels behind the 18 convolutions.
        ({"normalization": "batch"}, 1_941_105 + 2 * 2 * (2 * (16 + 32 + 64 + 128) + 256)),
        ({"normalization": "batch-before"}, 1_941_105 + 2 * 2 * (2 * (16 + 32 + 64 + 128) + 256)),
        # Added skips halve the input of the decoder's first convolutions.
        ({"merge": "add"}, 1_941_105 - 9 * (16**2 + 32**2 + 64**2 + 128**2)),
        ({"depth": 4, "filters": 8}, None),
        ({"up": "bilinear"}, 1_941_105),  # 2 x 2 weights either way
        ({"dropout": 0.0}, 1_941_105),
    ],
)
def test_each_switch_of_a3_changes_what_it_says_and_nothing_else(arguments, parameters):
    model = create_model("unet-elu", 1, 3, **arguments)
    if parameters is not None:
        assert num_parameters(model) == parameters
    kinds = [type(layer) for layer in model.modules()]
    assert (nn.ELU in kinds, nn.ReLU in kinds) == (
        ("relu" not in arguments.values()), ("relu" in arguments.values())
    )  # fmt: skip
    assert (nn.BatchNorm2d in kinds) == ("normalization" in arguments)
    assert (nn.ConvTranspose2d in kinds) == ("up" not in arguments)
    probabilities = {layer.probability for layer in model.modules() if isinstance(layer, Dropout)}
    assert max(probabilities) == arguments.get("dropout", 0.3)
    assert model(torch.zeros(1, 3, 17, 20)).shape == (1, 1, 17, 20)


def described(part):
    """What the switches decide of every layer, in the order in which they were put together."""
    return [
        (
            type(layer).__name__,
            getattr(layer, "kernel_size", None),
            getattr(layer, "dilation", None),
            getattr(layer, "padding_mode", None),
            getattr(layer, "probability", None),
            getattr(layer, "mode", None),
        )
        for layer in part.modules()
        if not next(layer.children(), None)
    ]


def a3_layers(
    activation="elu",
    normalization="none",
    dropout=0.3,
    up="transposed",
    merge="concatenate",  # joins layers, and is none
    padding="zeros",
    depth=5,
):
    """``unet-elu``, written down a second time as :func:`described` lists it."""
    bare = (None, None, None)
    after = [({"elu": "ELU", "relu": "ReLU"}[activation], *bare, None, None)]
    if normalization != "none":
        batch = ("BatchNorm2d", *bare, None, None)
        after.insert(0 if normalization == "batch-before" else 1, batch)

    def convolved(side, mode=padding):
        kind = "_EvenConvolution" if side == 2 else "Conv2d"
        return (kind, (side, side), (1, 1), mode, None, None)

    def block(probability):
        dropped = ("Dropout", *bare, pytest.approx(probability), None)
        return [convolved(3), *after, dropped, convolved(3), *after]

    shares = [dropout * (1 + level // 2) / (1 + (depth - 1) // 2) for level in range(depth)]
    if up == "transposed":
        doubled = [("ConvTranspose2d", (2, 2), (1, 1), "zeros", None, None)]
    else:
        doubled = [("Upsample", *bare, None, up), convolved(2), *after]
    down = [layer for share in shares[:-1] for layer in block(share)]
    back = [layer for share in shares[-2::-1] for layer in block(share)]
    pool = ("MaxPool2d", 2, 1, None, None, None)
    return [*down, pool, *block(shares[-1]), *doubled * (depth - 1), *back, convolved(1, "zeros")]


@pytest.mark.parametrize(
    "arguments",
    [
        {},
        {"activation": "relu"},
        {"normalization": "batch"},
        {"normalization": "batch-before"},
        {"dropout": 0.0},
        {"dropout": 0.6, "depth": 3},
        {"up": "nearest"},
        {"up": "bilinear"},
        {"up": "bilinear", "padding": "replicate", "normalization": "batch"},
        {"merge": "add"},
        {"padding": "replicate"},
        {"depth": 4},
    ],
)
def test_each_switch_of_a3_reaches_every_layer_that_it_names(arguments):
    assert described(on_meta("unet-elu", 1, 3, **arguments)) == a3_layers(**arguments)


def test_resunet_adds_a_projection_of_the_input_to_every_block_downwards():
    plain, residual = (on_meta(name, 1, 3) for name in ("unet-elu", "resunet"))
    widths = [3, 16, 32, 64, 128, 256]
    added = sum(before * after + after for before, after in pairwise(widths))
    assert num_parameters(residual) - num_parameters(plain) == added
    model = create_model("resunet", 1, 3)
    block = model.encoder[0].eval()
    image = torch.randn(1, 3, 8, 8)
    expected = block.block(image) + block.shortcut(image)
    torch.testing.assert_close(block(image), expected)


@pytest.mark.parametrize(("encoder", "middle"), [("alexnet", 2), ("vgg16", 3)])
def test_the_convolutions_give_the_classifiers_own_output(encoder, middle):
    torch.manual_seed(0)
    classifier = getattr(torchvision.models, encoder)(weights=None, num_classes=7).eval()
    model = create_model("fcn32s", 7, encoder=encoder).eval()
    model.load_classifier(classifier.state_dict())
    image = torch.randn(1, 3, 224, 224)
    with torch.no_grad():
        expected, scores = classifier(image)[0], model.score_map(image)[0]
    assert scores.shape[-2:] == ((6, 6) if encoder == "alexnet" else (7, 7))
    torch.testing.assert_close(scores[:, middle, middle], expected, rtol=1e-3, atol=1e-4)
    assert (scores[:, 0, 0] - expected).abs().max() > 1e-3


def test_a_classifier_with_other_classes_gives_all_but_its_last_layer():
    torch.manual_seed(0)
    state = torchvision.models.alexnet(weights=None, num_classes=7).state_dict()
    model = create_model("fcn8s", 3, encoder="alexnet")
    before = model.score.weight.clone()
    model.load_classifier(state)
    assert torch.equal(model.score.weight, before)
    assert torch.equal(model.dense[0].weight, state["classifier.1.weight"])


def test_a_classifier_of_another_kind_is_refused():
    state = torchvision.models.resnet18(weights=None).state_dict()
    with pytest.raises(ConfigError, match="three dense layers"):
        create_model("fcn8s", 3, encoder="alexnet").load_classifier(state)
    with pytest.raises(ConfigError, match="alexnet, vgg16"):
        create_model("fcn8s", 3, encoder="resnet18").load_classifier(state)


def test_fcn8s_adds_the_scores_of_three_levels():
    torch.manual_seed(0)
    model = create_model("fcn8s", 2, encoder="resnet18").eval()
    image = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        for score in model.skip_scores:
            nn.init.normal_(score.weight)
        eighth, sixteenth, deepest = model.encoder(image)
        scores = model.score(deepest)
        scores = model.up[0](scores) + model.skip_scores[0](sixteenth)
        scores = model.up[1](scores) + model.skip_scores[1](eighth)
        torch.testing.assert_close(model(image), model.last_up(scores))


def test_skips_start_at_zero_so_that_a_finer_fcn_starts_as_the_coarse_one():
    image = torch.randn(1, 3, 64, 64)
    outputs = []
    for name in ("fcn32s", "fcn8s"):
        torch.manual_seed(0)
        model = create_model(name, 2, dropout=0.0).eval()
        with torch.no_grad():
            outputs.append(model.score(model.encoder(image)[-1]))
            assert not any(score.weight.any() for score in model.skip_scores)
    assert torch.equal(*outputs)


def test_segnet_has_vgg16s_thirteen_convolutions_on_both_sides():
    model = on_meta("segnet", 11, 3)

    def widths(part):
        return [layer.out_channels for layer in part.modules() if isinstance(layer, nn.Conv2d)]

    vgg = [64, 64, 128, 128, 256, 256, 256, 512, 512, 512, 512, 512, 512]
    assert widths(model.encoder) == vgg
    decoder = [512, 512, 512, 512, 512, 256, 256, 256, 128, 128, 64, 64, 11]
    assert [*widths(model.decoder), *widths(model.head)] == decoder


@pytest.mark.parametrize(("name", "down", "back"), [("segnet", 13, 12), ("segnet-basic", 4, 0)])
def test_segnets_convolutions_are_activated_where_the_papers_are(name, down, back):
    model = on_meta(name, 11, 3)
    counts = [
        sum(isinstance(layer, nn.ReLU) for layer in part.modules())
        for part in (model.encoder, model.decoder, model.head)
    ]
    assert counts == [down, back, 0]


def test_the_weights_of_vgg16_with_normalization_go_into_segnets_encoder(monkeypatch):
    torch.manual_seed(0)
    classifier = torchvision.models.vgg16_bn(weights=None).eval()
    monkeypatch.setattr(
        "pixelwise.models.segnet.fetch_torchvision_weights", lambda _: classifier.state_dict()
    )
    model = create_model("segnet", 2, 3, pretrained=True).eval()
    feature_map = image = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        for stage in model.encoder:
            feature_map, _ = model.pool(stage(feature_map))
        torch.testing.assert_close(feature_map, classifier.features(image), rtol=1e-4, atol=1e-4)
    assert model.arguments == {}  # what the file's weights replace is not fetched again


@pytest.mark.parametrize("way", ["indices", "nearest", "bed-of-nails", "transposed"])
def test_segnet_variants_differ_only_in_their_up_sampling(way):
    model = create_model("segnet-basic", 12, 3, unpool=way)
    extra = sum(4 * filters**2 + filters for filters in (512, 256, 128))
    assert num_parameters(model) == 5_464_140 + (extra if way == "transposed" else 0)
    order = [
        layer.out_channels
        for layer in model.modules()
        if isinstance(layer, nn.Conv2d) and layer.kernel_size == (3, 3)
    ]
    assert order == [64, 128, 256, 512, 512, 256, 128, 64]


def test_unpooled_features_lie_where_the_encoders_maxima_were():
    torch.manual_seed(0)
    model = create_model("segnet-basic", 2, 3).eval()
    seen = []
    model.decoder[1].register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    image = torch.randn(1, 3, 32, 32)
    with torch.no_grad():
        model(image)
        feature_map = image
        for stage in list(model.encoder)[:3]:
            feature_map, indices = model.pool(stage(feature_map))
    (unpooled,) = seen
    places = torch.zeros(1, 256, 64).scatter_(2, indices.flatten(2), 1.0).view(1, 256, 8, 8)
    assert not unpooled[:, :256][places == 0].any()
    assert unpooled[:, :256][places == 1].any()
    assert not unpooled[:, 256:][places == 0].any()


def test_dilated_convolutions_see_73_pixels_and_the_context_module_67():
    assert create_model("dilated", 2).sees_px == 73
    model = create_model("dilated", 2, 1).double()
    for layer in model.modules():
        if isinstance(layer, nn.Conv2d):
            nn.init.ones_(layer.weight)

    def seen(part, channels):
        image = torch.zeros(1, channels, 101, 101, dtype=torch.float64, requires_grad=True)
        with torch.enable_grad():
            part(image + 1)[0, 0, 50, 50].backward()
        return int((image.grad[0, 0, 50] != 0).sum())

    assert seen(model, 1) == 73
    assert seen(model.context, 32) == 67
    assert seen(create_model("dilated", 2, 1, dilations=(1, 2)).double(), 1) <= 13


@pytest.mark.parametrize("size", [(1, 1), (5, 9), (33, 20)])
def test_a_convolution_gives_what_the_classifier_gives_on_each_crop(size):
    torch.manual_seed(0)
    model = create_model("patch-classifier", 4, 3).eval()
    image = torch.randn(2, 3, *size)
    with torch.no_grad():
        torch.testing.assert_close(
            model(image), model.classify_windows(image), rtol=1e-4, atol=1e-5
        )


def test_icnet_trains_three_outputs_and_gives_one():
    torch.manual_seed(0)
    model = create_model("icnet", 3, encoder="resnet18").eval()
    image = torch.randn(1, 3, 100, 130)
    with torch.no_grad():
        main, middle, low = model.training_logits(image)
        assert torch.equal(model(image), main)
    assert model.auxiliary_weights == (0.4, 0.16)
    assert main.shape == middle.shape == low.shape == (1, 3, 100, 130)
    assert not torch.equal(middle, low)


def test_icnet_fuses_through_a_dilated_convolution_and_relu():
    torch.manual_seed(0)
    model = create_model("icnet", 3, encoder="resnet18").eval()
    assert [name for name, *_ in described(model.reduce)] == ["Conv2d", "BatchNorm2d", "ReLU"]
    for fusion in (model.fuse_low, model.fuse_high):
        (kind, kernel, dilation, *_), batch = described(fusion.coarse)
        assert (kind, kernel, dilation, batch[0]) == ("Conv2d", (3, 3), (2, 2), "BatchNorm2d")
        coarse_channels, fine_channels = fusion.coarse[0].in_channels, fusion.fine[0].in_channels
        coarse, fine = torch.randn(1, coarse_channels, 4, 5), torch.randn(1, fine_channels, 8, 10)
        with torch.no_grad():
            fused, enlarged = fusion(coarse, fine)
            together = fusion.coarse(enlarged) + fusion.fine(fine)
        assert (together < 0).any()
        assert torch.equal(fused, together.clamp(min=0))


def test_icnet_adds_the_means_of_four_grids_to_its_deepest_map():
    torch.manual_seed(0)
    model = create_model("icnet", 3, encoder="resnet18").eval()
    seen = []
    model.low.register_forward_hook(lambda _, __, output: seen.append(output))
    model.reduce.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    with torch.no_grad():
        model(torch.randn(1, 3, 192, 192))
    deepest, pooled = seen
    assert deepest.shape[-2:] == (6, 6)
    expected = deepest.clone()
    for grid in (1, 2, 3, 6):
        cells = deepest.unflatten(3, (grid, -1)).unflatten(2, (grid, -1)).mean((3, 5))
        expected += nn.functional.interpolate(cells, (6, 6), mode="bilinear")
    torch.testing.assert_close(pooled, expected)


@pytest.mark.parametrize(
    ("name", "arguments", "says"),
    [
        ("unet", {"activation": "elo"}, "'relu' or 'elu'"),
        ("unet-elu", {"depth": 1}, "greater than or equal to 2"),
        ("unet", {"dropout": 1.0}, "less than 1"),
        ("segnet-basic", {"unpool": "nails"}, "'bed-of-nails'"),
        ("dilated", {"dilations": [1, 0]}, "greater than or equal to 1"),
    ],
)
def test_an_argument_out_of_range_is_refused_with_what_it_may_be(name, arguments, says):
    with pytest.raises(ConfigError) as refusal:
        create_model(name, 2, **arguments)
    assert says in str(refusal.value)
    assert repr(next(iter(arguments))) in str(refusal.value)
