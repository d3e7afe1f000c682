"""From an image to logits, probabilities and class ids of exactly its size."""

import copy
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from torch import nn

from pixelwise.classes import ClassMap, numbered_names
from pixelwise.errors import ConfigError, DataError, ModelFileError
from pixelwise.models import create_model
from pixelwise.models.base import SegmentationModel
from pixelwise.models.model_file import ModelCard, Preprocessing, TrainingData, save_model_file
from pixelwise.prediction.predictor import Predictor, load_model
from pixelwise.transforms.preprocessing import normalize


class PixelWise(SegmentationModel):
    """One 1 x 1 convolution: every pixel by itself."""

    def __init__(self, weights, bias=None):
        super().__init__()
        weights = torch.tensor(weights, dtype=torch.float32)
        self.layer = nn.Conv2d(weights.shape[1], len(weights), 1)
        with torch.no_grad():
            self.layer.weight.copy_(weights[..., None, None])
            self.layer.bias.copy_(torch.tensor(bias or [0.0] * len(weights)))

    def segment(self, image):
        return self.layer(image)


def card_for(
    num_classes, in_channels, *, mode="multiclass", dtype="float32", scale=1.0, mean=0.0, std=1.0
):
    return ModelCard(
        architecture="stacked-fcn",
        in_channels=in_channels,
        class_map=ClassMap.build(numbered_names(num_classes)),
        label_mode=mode,
        preprocessing=Preprocessing(
            dtype=dtype, mean=(mean,) * in_channels, std=(std,) * in_channels, scale=scale
        ),
        training_size=(32, 32),
        metrics=None,
        data=TrainingData(fingerprint="", images=(), split=None, split_seed=0),
        versions={},
    )


WEIGHTS = [[1.0, -2.0, 0.5], [0.3, 0.8, -1.0], [-0.7, 0.1, 0.4]]


def pixel_wise(*, tile=None, **card):
    return Predictor(PixelWise(WEIGHTS), card_for(3, 3, **card), device="cpu", tile=tile)


def gray_echo(*, scale=1.0, mode="multilabel", tile=None):
    """A model whose one logit is the gray value itself."""
    return Predictor(
        PixelWise([[1.0]]), card_for(1, 1, mode=mode, scale=scale), device="cpu", tile=tile
    )


def random_image(*shape, seed=0):
    return np.random.default_rng(seed).random(shape, np.float32)


def expected_logits(image):
    return np.einsum("kc,hwc->khw", np.array(WEIGHTS), image)


@pytest.mark.parametrize("size", [(1, 1), (1, 5000), (5000, 1), (37, 53), (600, 20)])
@pytest.mark.parametrize("scale", [1.0, 0.5, 0.3])
def test_a_prediction_has_exactly_the_size_of_its_image(size, scale):
    image = random_image(*size, 3)
    multiclass, multilabel = (
        pixel_wise(scale=scale, mode=mode) for mode in ("multiclass", "multilabel")
    )
    prediction = multiclass.predict(image)
    assert (prediction.shape, prediction.dtype) == (size, np.uint8)
    assert prediction.max() <= 2
    planes = multilabel.predict(image)
    assert (planes.shape, planes.dtype) == ((3, *size), np.bool_)
    assert multiclass.probabilities(image).shape == (3, *size)


@pytest.mark.parametrize("size", [(1, 1), (1, 5000), (37, 53), (16, 16), (99, 15)])
def test_tiles_give_what_the_whole_image_gives(size):
    image = random_image(*size, 3)
    whole, tiled = pixel_wise(tile=(10_000, 10_000)), pixel_wise(tile=(16, 16))
    np.testing.assert_allclose(tiled.logits(image), whole.logits(image), atol=1e-5)
    np.testing.assert_allclose(tiled.logits(image), expected_logits(image), atol=1e-5)


def test_images_above_the_tile_are_cut_and_those_up_to_it_are_not():
    predictor = pixel_wise(tile=(16, 24))
    sizes = []
    predictor.model.register_forward_pre_hook(lambda _, args: sizes.append(args[0].shape[-2:]))
    predictor.predict(random_image(16, 24, 3))
    assert sizes == [(16, 24)]
    sizes.clear()
    predictor.predict(random_image(17, 24, 3))
    assert set(sizes) == {(16, 24)}


def test_tiles_are_cut_at_working_scale():
    predictor = pixel_wise(tile=(16, 16), scale=0.5)
    sizes = []
    predictor.model.register_forward_pre_hook(lambda _, args: sizes.append(args[0].shape[-2:]))
    predictor.predict(random_image(32, 32, 3))
    assert sizes == [(16, 16)]


def test_a_tile_without_pixels_is_refused():
    with pytest.raises(ConfigError, match=r"\(0, 5\)"):
        pixel_wise(tile=(0, 5))


@pytest.mark.parametrize("size", [(64, 64), (63, 65), (50, 31)])
def test_scale_does_not_shift_a_centered_disc(size):
    rows, columns = np.indices(size)
    center = [(side - 1) / 2 for side in size]
    distance = np.hypot(rows - center[0], columns - center[1])
    image = np.where(distance < min(size) / 4, 4.0, -4.0).astype(np.float32)
    found = gray_echo(scale=0.5).predict(image)[0]
    assert found.any()
    assert np.array_equal(found, found[::-1])
    assert np.array_equal(found, found[:, ::-1])
    target = image > 0
    assert (found & target).sum() / (found | target).sum() > 0.85


@pytest.mark.parametrize("size", [(64, 48), (63, 49), (61, 47)])
@pytest.mark.parametrize("scale", [0.5, 0.4])
@pytest.mark.parametrize("axis", [0, 1])
def test_scale_does_not_shift_a_gradient(size, scale, axis):
    """Half a pixel of shift would lower or raise the whole ramp by one half."""
    image = np.indices(size)[axis].astype(np.float32)
    logits = gray_echo(scale=scale).logits(image)[0].numpy()
    inner = (slice(8, -8), slice(8, -8))
    np.testing.assert_allclose(logits[inner], image[inner], atol=0.02)


@pytest.mark.parametrize(("tile", "scale"), [((16, 16), 1.0), ((16, 16), 0.5)])
def test_tiles_do_not_shift_a_gradient(tile, scale):
    image = np.indices((70, 45))[1].astype(np.float32)
    logits = gray_echo(tile=tile, scale=scale).logits(image)[0].numpy()
    np.testing.assert_allclose(logits[8:-8, 8:-8], image[8:-8, 8:-8], atol=0.02)


def test_images_are_normalized_as_the_card_says():
    image = np.random.default_rng(0).integers(0, 256, (5, 6, 3), np.uint8)
    predictor = pixel_wise(dtype="uint8", mean=100.0, std=50.0)
    expected = expected_logits((image.astype(np.float64) - 100) / 50)
    np.testing.assert_allclose(predictor.logits(image), expected, atol=1e-4)


def test_every_channel_has_its_own_mean_and_standard_deviation():
    image = torch.randint(0, 256, (2, 3, 4, 5), dtype=torch.uint8)
    preprocessing = Preprocessing(dtype="uint8", mean=(1, 20, 300), std=(2, 4, 8))
    expected = np.stack(
        [
            (image[:, index].numpy().astype(float) - mean) / std
            for index, (mean, std) in enumerate(((1, 2), (20, 4), (300, 8)))
        ],
        axis=1,
    )
    np.testing.assert_allclose(normalize(image, preprocessing), expected, rtol=1e-6)


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
def test_every_kind_of_image_is_taken_by_a_model_trained_on_it(dtype):
    image = (random_image(9, 8, 3) * 250).astype(dtype)
    image.flags.writeable = False  # as Pillow gives them
    logits = pixel_wise(dtype=dtype).logits(image)
    np.testing.assert_allclose(logits, expected_logits(image.astype(float)), rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize(
    ("dtype", "other"), [("uint8", "uint16"), ("uint8", "float32"), ("uint16", "uint8")]
)
def test_an_image_of_another_type_is_refused_by_name(dtype, other):
    with pytest.raises(DataError, match=r"river\.png") as refusal:
        pixel_wise(dtype=dtype).logits(np.zeros((4, 4, 3), other), "river.png")
    assert dtype in str(refusal.value)
    assert other in str(refusal.value)


@pytest.mark.parametrize("channels", [2, 4, 5])
def test_an_image_of_other_channels_is_refused_by_name(channels):
    with pytest.raises(DataError, match=r"river\.png") as refusal:
        pixel_wise().logits(np.zeros((4, 4, channels), np.float32), "river.png")
    assert f"Got {channels}" in str(refusal.value)


@pytest.mark.parametrize("shape", [(4,), (0, 4, 3), (4, 0, 3), (4, 4, 0), (1, 4, 4, 3)])
def test_what_is_no_image_is_refused(shape):
    with pytest.raises(DataError, match="shape"):
        pixel_wise().predict(np.zeros(shape, np.float32))


def test_a_grayscale_image_is_three_equal_channels_to_a_color_model():
    gray = random_image(6, 7)
    np.testing.assert_allclose(
        pixel_wise().logits(gray), pixel_wise().logits(np.stack([gray] * 3, -1)), atol=1e-6
    )


def test_a_grayscale_image_saved_in_color_is_gray_to_a_grayscale_model():
    gray = random_image(6, 7)
    np.testing.assert_allclose(
        gray_echo().logits(np.stack([gray] * 3, -1))[0].numpy(), gray, atol=1e-6
    )


def test_a_color_image_is_not_silently_made_gray():
    with pytest.raises(DataError, match="1 channel"):
        gray_echo().predict(random_image(6, 7, 3))


def test_multiclass_probabilities_are_the_softmax():
    image = random_image(5, 6, 3)
    probabilities = pixel_wise().probabilities(image)
    powers = np.exp(expected_logits(image))
    np.testing.assert_allclose(probabilities, powers / powers.sum(0), atol=1e-6)
    assert probabilities.dtype == np.float32
    assert np.array_equal(pixel_wise().predict(image), expected_logits(image).argmax(0))


def test_multilabel_probabilities_are_sigmoids_each_by_itself():
    image = random_image(5, 6, 3)
    predictor = pixel_wise(mode="multilabel")
    expected = 1 / (1 + np.exp(-expected_logits(image)))
    np.testing.assert_allclose(predictor.probabilities(image), expected, atol=1e-6)
    assert np.array_equal(predictor.predict(image), expected_logits(image) > 0)


def test_images_of_many_sizes_come_back_in_order():
    sizes = [(5, 6), (5, 6), (9, 2), (5, 6), (1, 1), (1, 1), (1, 1), (700, 500), (700, 500)]
    images = [random_image(*size, 3, seed=index) for index, size in enumerate(sizes)]
    predictor = pixel_wise()
    found = list(predictor.logits_of((str(index), image) for index, image in enumerate(images)))
    assert len(found) == len(images)
    for logits, image in zip(found, images, strict=True):
        np.testing.assert_allclose(logits, expected_logits(image), atol=1e-4)


def test_no_image_gives_no_logits():
    assert list(pixel_wise().logits_of([])) == []


def test_dropout_is_off_in_prediction_and_the_mode_is_given_back():
    torch.manual_seed(0)
    model = create_model("unet-elu", 2, 1).train()
    predictor = Predictor(model, card_for(2, 1), device="cpu")
    image = random_image(16, 17)
    assert torch.equal(predictor.logits(image), predictor.logits(image))
    assert model.training


def test_layers_that_were_frozen_in_training_stay_frozen():
    model = create_model("unet-elu", 2, 1).train()
    frozen = next(layer for layer in model.modules() if isinstance(layer, torch.nn.Conv2d))
    frozen.eval()
    Predictor(model, card_for(2, 1), device="cpu").logits(random_image(16, 17))
    assert [layer for layer in model.modules() if not layer.training] == [frozen]


def state_of(model):
    """Everything of a model that a predictor must leave as it is."""
    return [
        (name, tensor.stride(), tensor.data_ptr(), tensor.requires_grad, tensor.tolist())
        for name, tensor in model.state_dict(keep_vars=True).items()
    ] + [(name, layer.training) for name, layer in model.named_modules()]


@pytest.mark.parametrize("name", ["unet-elu", "unet-fast", "segnet-basic"])
def test_a_predictor_does_not_change_the_model_it_is_given(name):
    torch.manual_seed(0)
    model = create_model(name, 2, 3).train()
    before = state_of(model)
    predictor = Predictor(model, card_for(2, 3), device="cpu")
    logits = predictor.logits(random_image(33, 34, 3))
    assert state_of(model) == before
    reference = copy.deepcopy(model).eval().to(memory_format=torch.channels_last)
    image = torch.from_numpy(random_image(33, 34, 3)).permute(2, 0, 1)[None]
    with torch.no_grad():
        expected = reference(image.contiguous(memory_format=torch.channels_last))[0]
    assert torch.equal(logits, expected)


def test_weights_that_lie_channels_last_are_shared_and_not_copied():
    model = create_model("unet-fast", 2, 3).to(memory_format=torch.channels_last)
    shared = Predictor(model, card_for(2, 3), device="cpu").model
    for ours, theirs in zip(shared.state_dict().values(), model.state_dict().values(), strict=True):
        assert ours.data_ptr() == theirs.data_ptr()


@pytest.mark.parametrize("layout", [torch.channels_last, torch.contiguous_format])
def test_a_new_predictor_sees_the_weights_of_the_next_epoch(layout):
    model = create_model("unet-elu", 2, 3, filters=4, depth=2).to(memory_format=layout)
    image = random_image(16, 17, 3)
    before = Predictor(model, card_for(2, 3), device="cpu").logits(image)
    with torch.no_grad():
        for weights in model.parameters():
            weights.mul_(1.5)
    after = Predictor(model, card_for(2, 3), device="cpu").logits(image)
    assert not torch.equal(before, after)


@pytest.mark.parametrize("is_early", [True, False])
def test_hooks_on_the_given_model_are_called_and_can_be_removed(is_early):
    model = create_model("unet-elu", 2, 3, filters=4, depth=2)
    layer = next(layer for layer in model.modules() if isinstance(layer, nn.Conv2d))
    seen = []

    def see(*args):
        seen.append(len(args))

    if is_early:
        handle = layer.register_forward_hook(see)
    predictor = Predictor(model, card_for(2, 3), device="cpu")
    if not is_early:
        handle = layer.register_forward_hook(see)
    predictor.logits(random_image(16, 17, 3))
    assert seen == [3]
    handle.remove()
    predictor.logits(random_image(16, 17, 3))
    assert seen == [3]


def test_eight_threads_predict_what_one_predicts():
    torch.manual_seed(0)
    model = create_model("unet-elu", 3, 3, filters=4, depth=2).train()
    predictor = Predictor(model, card_for(3, 3), device="cpu", tile=(32, 32))
    images = [random_image(20 + index, 70 - index, 3, seed=index) for index in range(32)]
    alone = [predictor.logits(image) for image in images]
    with ThreadPoolExecutor(8) as threads:
        together = list(threads.map(predictor.logits, images))
    for ours, theirs in zip(together, alone, strict=True):
        assert torch.equal(ours, theirs)
    assert all(layer.training for layer in model.modules())


def test_another_engine_is_used_only_by_the_thread_that_requested_it():
    predictor = pixel_wise()
    with ThreadPoolExecutor(1) as threads, predictor.using_engine("auto"):
        assert predictor.engine == "auto"
        assert threads.submit(lambda: predictor.engine).result() == "torch"
    assert predictor.engine == "torch"


def test_a_prediction_holds_no_gradient():
    assert not pixel_wise().logits(random_image(4, 4, 3)).requires_grad


def test_bfloat16_still_gives_float32_logits_near_those_of_float32():
    image = random_image(20, 20, 3)
    rough = Predictor(PixelWise(WEIGHTS), card_for(3, 3), device="cpu", precision="bfloat16")
    assert rough.logits(image).dtype == torch.float32
    np.testing.assert_allclose(rough.logits(image), expected_logits(image), atol=0.05)
    assert not np.allclose(rough.logits(image), expected_logits(image), atol=1e-6)


@pytest.mark.parametrize("name", ["gpu", "tpu", ""])
def test_an_unknown_device_is_refused(name):
    with pytest.raises(ConfigError, match="cpu"):
        Predictor(PixelWise(WEIGHTS), card_for(3, 3), device=name)


def test_a_model_is_loaded_from_its_file_and_from_its_run(tmp_path):
    torch.manual_seed(0)
    model = create_model("stacked-fcn", 2, 1).eval()
    save_model_file(tmp_path / "model.safetensors", model, card_for(2, 1))
    image = random_image(11, 12)
    with torch.no_grad():
        expected = model(torch.from_numpy(image)[None, None])[0]
    for path in (tmp_path, tmp_path / "model.safetensors", str(tmp_path)):
        loaded = load_model(path, device="cpu")
        np.testing.assert_allclose(loaded.logits(image), expected, atol=1e-6)


def test_a_missing_model_is_refused(tmp_path):
    with pytest.raises(ModelFileError, match="nowhere"):
        load_model(tmp_path / "nowhere")
