"""The contract of every registered model; a new one is tested here without an edit."""

import copy
import functools
import inspect
import pickle
import subprocess
import sys

import numpy as np
import pytest
import torch
from torch import nn

from pixelwise.classes import ClassMap, numbered_names
from pixelwise.errors import ConfigError, PixelwiseError, UnknownNameError
from pixelwise.models import create_model, list_models, summarize_models
from pixelwise.models.base import models
from pixelwise.models.blocks import MaxPool
from pixelwise.models.fcn import FCN32s
from pixelwise.models.model_file import (
    ModelCard,
    Preprocessing,
    TrainingData,
    current_versions,
    load_model_file,
    save_model_file,
)
from pixelwise.models.smp_bridge import SmpModel
from pixelwise.models.unet import UNet

SMP = [
    "smp:unet:resnet18",
    "smp:fpn:tu-mobilenetv3_small_100",
    "smp:deeplabv3plus:resnet18",
]
"""Some of the endless family, tested as the registered ones are."""

every_model = pytest.mark.parametrize("name", [*list_models(), *SMP])
every_registered_model = pytest.mark.parametrize("name", list_models())


def fresh(name, num_classes=2, in_channels=3, seed=0):
    torch.manual_seed(seed)
    return create_model(name, num_classes, in_channels).eval()


@functools.cache
def shared(name):
    """A model of 12 classes and 1 channel that tests may run but must not change."""
    return fresh(name, num_classes=12, in_channels=1)


def random_image(*shape, seed=1):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def has_unpooling(name):
    return any(isinstance(layer, MaxPool) for layer in shared(name).modules())


def relative_difference(logits, reference):
    return ((logits - reference).abs().max() / reference.abs().max()).item()


@every_model
def test_a_class_called_directly_gives_a_model_that_knows_what_it_is(name):
    builder = models.builder(name)
    with torch.device("meta"):
        by_place, by_name = builder(5, 4), builder(num_classes=5, in_channels=4)
        usual = builder(5)
        created = create_model(name, 5, 4)
    for model in (by_place, by_name, copy.deepcopy(by_place), pickle.loads(pickle.dumps(created))):
        assert (model.name, model.num_classes, model.in_channels) == (name, 5, 4)
        assert model.arguments == {}
    assert (usual.name, usual.num_classes, usual.in_channels) == (name, 5, 3)


def test_a_class_called_directly_keeps_its_further_arguments():
    with torch.device("meta"):
        assert UNet(2, filters=8).arguments == {"filters": 8}
        assert FCN32s(2, pretrained=False).arguments == {}
        model = SmpModel("smp:unet:resnet18", 2, encoder_depth=3, decoder_channels=(16, 8, 4))
    assert model.arguments == {"encoder_depth": 3, "decoder_channels": (16, 8, 4)}


def test_a_built_in_name_can_be_registered_again_in_a_notebook():
    code = """
import pixelwise
from torch import nn
from pixelwise.models import SegmentationModel, models
for _ in range(2):
    @models.register("unet")
    class Mine(SegmentationModel):
        def __init__(self, num_classes, in_channels=3):
            super().__init__()
            self.layer = nn.Conv2d(in_channels, num_classes, 1)
        def segment(self, image):
            return self.layer(image)
assert "unet" in pixelwise.list_models() and "fcn8s" in pixelwise.list_models()
from pixelwise.models.unet import UNet
assert type(pixelwise.create_model("unet", 2)) is Mine is not UNet
try:
    pixelwise.create_model("unett", 2)
except pixelwise.PixelwiseError as error:
    assert "Did you mean 'unet'" in str(error)
"""
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)


def test_a_class_that_is_not_registered_is_called_by_its_own_name():
    class Own(UNet):
        pass

    with torch.device("meta"):
        model = Own(2, 1, filters=4)
    assert (model.name, model.num_classes, model.in_channels) == ("Own", 2, 1)


@every_model
@pytest.mark.parametrize(
    "size", [(1, 1), (1, 17), (19, 1), (2, 3), (15, 16), (17, 31), (16, 48), (33, 20)]
)
def test_logits_have_the_size_of_the_image_whatever_it_is(name, size):
    with torch.no_grad():
        logits = shared(name)(random_image(2, 1, *size))
    assert logits.shape == (2, 12, *size)
    assert logits.isfinite().all()


@every_model
@pytest.mark.parametrize(("channels", "classes"), [(1, 2), (3, 12), (5, 1)])
def test_any_number_of_channels_and_classes_is_taken(name, channels, classes):
    model = create_model(name, classes, channels).eval()
    assert (model.in_channels, model.num_classes, model.name) == (channels, classes, name)
    with torch.no_grad():
        assert model(random_image(1, channels, 16, 17)).shape == (1, classes, 16, 17)


@every_model
def test_logits_at_odd_sizes_are_the_crop_of_those_of_the_padded_image(name):
    model = shared(name)
    image = random_image(1, 1, 69, 83)
    grid = model.stride if model.is_padded else 1
    down, right = -69 % grid, -83 % grid
    padded = np.pad(image.numpy(), ((0, 0), (0, 0), (0, down), (0, right)), mode="edge")
    with torch.no_grad():
        expected = model.segment(torch.from_numpy(padded))[..., :69, :83]
        torch.testing.assert_close(model(image), expected, rtol=1e-5, atol=1e-5)


@every_model
@pytest.mark.parametrize("is_vertical", [False, True])
def test_shifting_an_image_by_the_stride_shifts_its_logits(name, is_vertical):
    """Only 16 px across, so that it is fast; in the middle, where no model sees the ends."""
    model = shared(name)
    if model.sees_px is None:
        pytest.skip("sees the whole image, so also its ends: see the next test")
    shift, margin = model.stride, -(-model.sees_px // 16) * 16
    length = 2 * margin + 32
    strip = random_image(1, 1, 16, length + shift)
    first, second = strip[..., :length], strip[..., shift:]
    with torch.no_grad():
        if is_vertical:
            first, second = (model(part.mT).mT for part in (first, second))
        else:
            first, second = model(first), model(second)
    inner = first[..., margin : length - margin]
    torch.testing.assert_close(
        inner, second[..., margin - shift : length - margin - shift], rtol=1e-4, atol=1e-5
    )
    assert relative_difference(inner, second[..., margin : length - margin]) > 0.01


@every_model
@pytest.mark.parametrize("is_vertical", [False, True])
def test_logits_of_a_shifted_image_fit_best_when_shifted_as_far(name, is_vertical):
    """For models that see everything: no other shift, by whole strides, fits as well."""
    model = shared(name)
    step, count = model.stride, 8
    wide = nn.functional.interpolate(
        random_image(1, 1, 6, 6), (64, (count + 1) * step + 192), mode="bicubic"
    )
    first, second = wide[..., :-step], wide[..., step:]
    with torch.no_grad():
        if is_vertical:
            first, second = (model(part.mT).mT for part in (first, second))
        else:
            first, second = model(first), model(second)
    width, margin = first.shape[-1], 2 * step + 32

    def misfit(shift):
        inner = second[..., margin : width - margin]
        moved = first[..., margin + shift : width - margin + shift]
        return (inner - moved).square().mean().item()

    misfits = {shift: misfit(shift) for shift in (-step, 0, step, 2 * step)}
    assert min(misfits, key=misfits.get) == step, misfits


@every_model
def test_no_pixel_beyond_the_stated_receptive_field_matters(name):
    model = fresh(name, num_classes=2, in_channels=1)
    if model.sees_px is None:
        pytest.skip("sees the whole image")
    reach, grid = model.sees_px // 2, model.stride
    side = 2 * (-(-(reach + grid) // grid)) * grid + 1
    middle = side // 2
    image = random_image(1, 1, side, side).requires_grad_()
    model(image)[..., middle, middle].sum().backward()
    rows = image.grad[0, 0].abs().amax(1).nonzero().flatten()
    seen = max(middle - int(rows.min()), int(rows.max()) - middle)
    # Nothing beyond it; how near to it is tested for all pixels in test_receptive_field.py.
    assert reach - grid <= seen <= reach


@every_model
@pytest.mark.parametrize("size", [17, 64])
def test_a_batch_of_one_image_is_trained_on(name, size):
    model = fresh(name).train()
    outputs = model.training_logits(random_image(1, 3, size, size))
    torch.stack([logits.square().mean() for logits in outputs]).sum().backward()
    gradients = [weights.grad for weights in model.parameters() if weights.grad is not None]
    assert gradients
    assert all(gradient.isfinite().all() for gradient in gradients)


@every_model
@pytest.mark.parametrize("place", [(0, 0), (0, 32), (20, 0), (20, 32), (9, 17)])
def test_a_changed_pixel_changes_the_logits_at_its_own_place(name, place):
    image = random_image(1, 1, 21, 33)
    changed = image.clone()
    changed[..., place[0], place[1]] += 10.0
    with torch.no_grad():
        change = (shared(name)(changed) - shared(name)(image)).abs().amax((0, 1))
    assert change[place] > 0.01 * change.max()


@every_model
def test_the_gradient_reaches_every_parameter(name):
    model = fresh(name, num_classes=12, in_channels=1)
    with torch.no_grad():
        for weights in model.parameters():
            if weights.ndim > 1 and not weights.any():  # behind zeros nothing would arrive
                weights.normal_(std=0.01)
    outputs = model.training_logits(random_image(2, 1, 64, 64))
    assert len(outputs) == 1 + len(model.auxiliary_weights)
    torch.stack([logits.square().mean() for logits in outputs]).sum().backward()
    without = [
        key
        for key, weights in model.named_parameters()
        if weights.grad is None or not weights.grad.any() or not weights.grad.isfinite().all()
    ]
    assert without == []


@every_model
@pytest.mark.parametrize("size", [(1, 1), (17, 33)])
def test_a_single_image_of_any_size_can_be_trained_on(name, size):
    model = fresh(name).train()
    for logits in model.training_logits(random_image(1, 3, *size)):
        assert logits.shape == (1, 2, *size)
        assert logits.isfinite().all()


@every_model
def test_evaluation_changes_neither_weights_nor_statistics(name):
    model = fresh(name)
    before = {key: tensor.clone() for key, tensor in model.state_dict().items()}
    with torch.no_grad():
        model(random_image(2, 3, 33, 20))
    assert all(torch.equal(tensor, before[key]) for key, tensor in model.state_dict().items())


@every_model
def test_evaluation_is_deterministic(name):
    image = random_image(1, 1, 17, 16)
    with torch.no_grad():
        assert torch.equal(shared(name)(image), shared(name)(image))


@every_model
def test_an_image_in_a_batch_gets_the_logits_it_gets_alone(name):
    # Rounding in single precision may move a maximum, and SegNet puts values where those were.
    images = random_image(3, 1, 17, 16).double()
    model = copy.deepcopy(shared(name)).double()
    with torch.no_grad():
        together = model(images)
        alone = torch.cat([model(image[None]) for image in images])
    assert relative_difference(together, alone) < 1e-5


@every_model
def test_the_image_is_left_as_it_was(name):
    image = random_image(1, 1, 17, 16)
    before = image.clone()
    with torch.no_grad():
        shared(name)(image)
    assert torch.equal(image, before)


@every_model
def test_a_saved_model_comes_back_with_equal_logits(name, tmp_path):
    model = shared(name)
    card = ModelCard(
        architecture=name,
        arguments=model.arguments,
        in_channels=1,
        class_map=ClassMap.build(numbered_names(12)),
        label_mode="multiclass",
        preprocessing=Preprocessing(dtype="uint8", mean=(0.0,), std=(1.0,)),
        training_size=(32, 32),
        metrics=None,
        data=TrainingData(fingerprint="", images=(), split=None, split_seed=0),
        versions=current_versions(),
    )
    save_model_file(tmp_path / "model.safetensors", model, card)
    loaded, _ = load_model_file(tmp_path / "model.safetensors")
    (tmp_path / "model.safetensors").unlink()
    image = random_image(1, 1, 17, 20)
    with torch.no_grad():
        assert torch.equal(loaded(image), model(image))


@every_model
def test_channels_last_gives_the_same_logits(name):
    # SegNet puts values where the maxima were. Rounding may move those: in single precision, and
    # among the equal pixels of a repeated edge, so its image has sides that need no padding.
    sides = (64, 32) if has_unpooling(name) else (33, 20)
    image = (
        random_image(2, 1, *sides).double().repeat(1, 3, 1, 1)
        * torch.tensor([1.0, 2, 3])[:, None, None]
    )
    model = fresh(name).double()
    with torch.no_grad():
        expected = model(image)
        model.to(memory_format=torch.channels_last)
        logits = model(image.to(memory_format=torch.channels_last))
    assert relative_difference(logits, expected) < 1e-4


@every_model
def test_bfloat16_autocast_stays_near_float32(name):
    image = random_image(1, 1, 32, 33)
    with torch.no_grad():
        expected = shared(name)(image)
        with torch.autocast("cpu", torch.bfloat16):
            logits = shared(name)(image).float()
    # Where two pixels are equal in bfloat16, un-pooling puts the value at the first of them.
    difference = ((logits - expected).norm() / expected.norm()).item()
    assert 0 < difference < (0.25 if has_unpooling(name) else 0.02)


@every_model
def test_two_models_share_no_weights(name):
    first, second = fresh(name, seed=0), create_model(name, 2, 3)
    before = {key: tensor.clone() for key, tensor in second.state_dict().items()}
    pointers = {tensor.data_ptr() for tensor in second.state_dict().values()}
    for weights in first.parameters():
        assert weights.data_ptr() not in pointers
        with torch.no_grad():
            weights.zero_()
    assert all(torch.equal(second.state_dict()[key], before[key]) for key in before)


@every_model
def test_the_seed_decides_the_weights(name):
    same, again = (fresh(name, seed=3).state_dict() for _ in range(2))
    assert all(torch.equal(same[key], again[key]) for key in same)
    if any("weight" in key for key in same):
        key = next(key for key in same if "weight" in key)
        assert not torch.equal(fresh(name, seed=4).state_dict()[key], same[key])


@every_registered_model
def test_an_unknown_argument_is_refused_with_the_likely_one(name):
    known = max(inspect.signature(type(shared(name))).parameters, key=len)
    with pytest.raises(UnknownNameError) as refusal:
        create_model(name, 2, 3, **{known[:-1]: 1})
    assert f"Did you mean {known!r}?" in str(refusal.value)
    assert name in str(refusal.value)


@every_registered_model
def test_a_misspelled_name_is_refused_with_the_likely_one(name):
    with pytest.raises(UnknownNameError, match="Did you mean") as refusal:
        create_model(name + name[-1], 2)
    assert repr(name) in str(refusal.value)
    assert "pixelwise models" in str(refusal.value)


@every_model
@pytest.mark.parametrize(
    ("arguments", "word"), [((0, 3), "num_classes"), ((2, 0), "in_channels"), ((-1, 3), "-1")]
)
def test_counts_below_one_are_refused(name, arguments, word):
    with pytest.raises(ConfigError, match=word):
        create_model(name, *arguments)


@every_registered_model
def test_the_summary_counts_the_parameters_of_the_built_model(name):
    summary = next(entry for entry in summarize_models(12, 1) if entry.name == name)
    assert summary.parameters == sum(weights.numel() for weights in shared(name).parameters())
    assert summary.reference
    assert set(summary.label_modes) <= {"multiclass", "multilabel"}


def test_the_names_are_sorted_and_none_is_missing():
    assert list_models() == sorted(list_models())
    assert {"encoder-decoder", "stacked-fcn", "unet", "unet-elu"} <= set(list_models())


def test_a_name_like_no_other_gets_no_suggestion():
    with pytest.raises(PixelwiseError) as refusal:
        create_model("zzzzzz", 2)
    assert "Did you mean" not in str(refusal.value)
