"""What happens to an image before the model sees it, from the recipe to the model file."""

import itertools
import json
from typing import get_args

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from pixelwise.classes import ClassMap
from pixelwise.config import (
    AugmentationRecipe,
    Contrast,
    DataRecipe,
    Denoise,
    Recipe,
    WhiteBalance,
    load_recipe,
)
from pixelwise.data.dataset import open_dataset
from pixelwise.errors import ConfigError, DataError
from pixelwise.models.base import SegmentationModel
from pixelwise.models.model_file import ModelCard, TrainingData
from pixelwise.prediction.predictor import Predictor
from pixelwise.training.events import ignore_events
from pixelwise.training.inputs import (
    batches_of,
    enhancement_of,
    measure_training,
    preprocessing_of,
    read_split,
    std_of,
)
from pixelwise.training.step import network_input
from pixelwise.transforms.enhancement import Enhancement
from pixelwise.transforms.preprocessing import (
    Normalize,
    Preprocessing,
    pad_image,
    prepare_image,
    resize_image,
    restore_size,
)

STILL = AugmentationRecipe(orientation="fixed", scale=(1, 1), brightness=0, contrast=0)
RESIZES = (None, [17, 23], {"shortest_side": 19}, {"letterbox": [21, 34]})


def preprocessing(dtype="uint8", channels=1, **fields):
    return Preprocessing(dtype=dtype, mean=(0,) * channels, std=(1,) * channels, **fields)


class Echo(SegmentationModel):
    """Its one logit is the first channel; it remembers what it was given."""

    def __init__(self):
        super().__init__()
        self.given = []
        self.nothing = nn.Parameter(torch.zeros(1))

    def segment(self, image):
        self.given.append(image.clone())
        return image[:, :1] + self.nothing


def echo(preprocessing):
    channels = len(preprocessing.mean)
    card = ModelCard(
        architecture="unet",
        in_channels=channels,
        class_map=ClassMap.build(("thing",)),
        label_mode="multilabel",
        preprocessing=preprocessing,
        training_size=(8, 8),
        metrics=None,
        data=TrainingData(fingerprint="", images=(), split=None, split_seed=0),
        versions={},
    )
    return Predictor(Echo(), card, device="cpu")


def test_no_working_scale_makes_an_image_vanish():
    assert preprocessing(scale=0.5).working_size(1, 5000) == (1, 2500)
    assert preprocessing(scale=0.75).working_size(360, 480) == (270, 360)


def test_a_fixed_working_size_is_that_of_every_image():
    assert preprocessing(resize=(128, 64)).working_size(1, 5000) == (128, 64)


@pytest.mark.parametrize(
    ("size", "fitted"), [((100, 200), (50, 100)), ((200, 100), (100, 50)), ((30, 30), (50, 50)),
                         ((101, 333), (50, 165)), ((1, 3), (50, 150))]
)  # fmt: skip
def test_the_shortest_side_is_as_long_as_asked_for(size, fitted):
    policy = preprocessing(resize={"shortest_side": 50})
    assert policy.fitted_size(*size) == policy.working_size(*size) == fitted


@pytest.mark.parametrize("size", [(1, 1), (64, 96), (96, 64), (1, 5000), (5000, 1), (333, 77)])
def test_a_letterbox_holds_the_whole_image_and_one_side_fills_it(size):
    policy = preprocessing(resize={"letterbox": (48, 60)})
    height, width = policy.fitted_size(*size)
    assert policy.working_size(*size) == (48, 60)
    assert 1 <= height <= 48
    assert 1 <= width <= 60
    assert height == 48 or width == 60
    if min(height, width) > 1:
        assert abs(height / size[0] - width / size[1]) < 0.6 * max(1 / size[0], 1 / size[1])


def test_an_image_is_not_enlarged_beyond_memory():
    policy = preprocessing(resize={"shortest_side": 512})
    with pytest.raises(DataError, match="1 x 5000 would be 512 x 2560000"):
        policy.fitted_size(1, 5000)
    assert policy.fitted_size(10**6, 2 * 10**6) == (512, 1024)


def test_prepared_images_lie_in_the_upper_left_and_their_edge_continues():
    image = np.arange(12, dtype=np.uint8).reshape(3, 4, 1)
    prepared = prepare_image(image, preprocessing(resize={"letterbox": (5, 4)}), 1)
    assert prepared.shape == (1, 5, 4)
    np.testing.assert_array_equal(prepared[0, :3], image[..., 0])
    np.testing.assert_array_equal(prepared[0, 3:], image[[2, 2], :, 0])


POLICIES = [
    {"scale": 0.5},
    {"resize": (40, 90)},
    {"resize": {"shortest_side": 40}},
    {"resize": {"shortest_side": 90}},
    {"resize": {"letterbox": (64, 64)}},
    {"resize": {"letterbox": (37, 101)}},
    {"resize": {"letterbox": (150, 130)}},
]


@pytest.mark.parametrize("policy", POLICIES, ids=str)
@pytest.mark.parametrize("size", [(64, 64), (61, 87), (90, 63), (49, 50)])
@pytest.mark.parametrize("axis", [0, 1])
def test_no_policy_shifts_a_gradient(policy, size, axis):
    """Half a pixel of shift would lower or raise the whole ramp by one half."""
    image = np.indices(size)[axis].astype(np.float32)
    logits = echo(preprocessing("float32", **policy)).logits(image)[0].numpy()
    assert logits.shape == size
    inner = (slice(8, -8), slice(8, -8))
    difference = logits[inner] - image[inner]
    assert abs(difference.mean()) < 0.01
    assert abs(difference).max() < 0.1


@pytest.mark.parametrize("policy", POLICIES[-3:], ids=str)
@pytest.mark.parametrize("size", [(96, 120), (97, 121), (121, 97)])
def test_a_pattern_comes_back_through_a_letterbox_at_its_own_pixels(policy, size):
    pattern = np.zeros(size, bool)
    pattern[16:48, 24:40] = pattern[60:90, 50:85] = True
    image = np.where(pattern, 1, -1).astype(np.float32)
    found = echo(preprocessing("float32", **policy)).predict(image)[0]
    wrong = np.argwhere(found != pattern)
    edges = np.argwhere(pattern ^ np.roll(pattern, 1, 0) | pattern ^ np.roll(pattern, 1, 1))
    for place in wrong:  # only what a coarser picture cannot hold: beside an edge, not shifted
        assert np.abs(edges - place).max(1).min() <= 3
    center = np.argwhere(pattern).mean(0)
    np.testing.assert_allclose(np.argwhere(found).mean(0), center, atol=0.5)


def test_the_fill_of_a_letterbox_does_not_come_back():
    logits = torch.full((1, 40, 60), -7.0)
    logits[:, :40, :20] = 3.0
    policy = preprocessing(resize={"letterbox": (40, 60)})
    restored = restore_size(logits, policy, 80, 40)
    assert restored.shape == (1, 80, 40)
    assert (restored == 3).all()


def test_images_of_many_sizes_share_a_batch_in_a_letterbox_and_come_back_in_order():
    predictor = echo(preprocessing("float32", resize={"letterbox": (16, 16)}))
    sizes = [(5, 9), (16, 16), (40, 3), (9, 5)]
    images = [np.full(size, index, np.float32) for index, size in enumerate(sizes)]
    found = list(predictor.logits_of((str(index), image) for index, image in enumerate(images)))
    assert len(predictor.model.given) == 1
    for logits, image in zip(found, images, strict=True):
        np.testing.assert_allclose(logits[0], image, atol=1e-6)


@pytest.fixture(scope="module")
def five_bands(tmp_path_factory):
    """Two images of five bands and their masks, per type of image."""

    def make(dtype):
        rng = np.random.default_rng(0)
        folder = tmp_path_factory.mktemp(dtype)
        for split, index, size in (("train", 0, (26, 31)), ("train", 1, (33, 20)),
                                   ("val", 2, (9, 9))):  # fmt: skip
            for name in ("images", "masks"):
                (folder / split / name).mkdir(parents=True, exist_ok=True)
            mask = (np.indices(size).sum(0) // 9 % 2).astype(np.uint8)
            shares = rng.uniform(0.1, 0.4, (*size, 5)) + 0.2 * mask[..., None]
            image = shares * {"uint8": 255, "uint16": 4000, "float32": 30}[dtype]
            np.save(folder / split / f"images/{index}.npy", image.astype(dtype))
            Image.fromarray(mask).save(folder / split / f"masks/{index}.png")
        return open_dataset(folder)

    return {dtype: make(dtype) for dtype in ("uint8", "uint16", "float32")}


BANDS = {"none": [None, (4, 3, 2), (5,)], "median": [None, (4, 3, 2)], "nl-means": [(5,)]}


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
@pytest.mark.parametrize(
    ("denoise", "bands"), [(kind, bands) for kind in get_args(Denoise) for bands in BANDS[kind]]
)
def test_training_and_prediction_give_the_network_the_same_tensor(
    five_bands, dtype, denoise, bands
):
    """Every combination of steps; what predicts is read from the model file's own JSON."""
    dataset = five_bands[dtype]
    choices = itertools.product(get_args(WhiteBalance), get_args(Contrast), RESIZES)
    images = [dataset.load(record).image for record in dataset.split("train")]
    for white_balance, contrast, resize in choices:
        recipe = Recipe(
            data=DataRecipe(
                bands=bands,
                denoise=denoise,
                white_balance=white_balance,
                contrast=contrast,
                resize=resize,
            ),
            augmentation=STILL,
        )
        recipe.training.batch_size = 1
        samples = read_split(dataset, "train", enhancement_of(recipe), ignore_events)
        statistics = measure_training(samples, dataset.class_map, recipe)
        steps = preprocessing_of(recipe, statistics)
        predictor = echo(Preprocessing.model_validate_json(steps.model_dump_json()))
        for image, sample in zip(images, samples, strict=True):
            height, width = recipe.training.size = steps.working_size(*sample.image.shape[:2])
            alone = type(statistics)(**{**vars(statistics), "heights": (height,),
                                        "widths": (width,)})  # fmt: skip
            batch = next(batches_of([sample], alone, recipe, "multiclass").epoch(0))
            trained = network_input(
                batch.image, Normalize(steps), recipe.augmentation, np.random.default_rng(0),
                std=std_of(statistics, steps),
            )  # fmt: skip
            predictor.logits(image)
            predicted = predictor.model.given[-1]
            assert torch.equal(trained, predicted), (white_balance, contrast, resize)
            assert (batch.mask[~batch.valid] == 255).all()
            fitted = steps.fitted_size(*sample.image.shape[:2])
            assert int(batch.valid.sum()) == fitted[0] * fitted[1]
        assert not torch.isnan(trained).any()


def test_statistics_are_those_of_the_images_that_the_network_gets(five_bands):
    recipe = Recipe(data=DataRecipe(bands=(2, 1), contrast="stretch-bands"))
    dataset = five_bands["uint16"]
    samples = read_split(dataset, "train", enhancement_of(recipe), ignore_events)
    statistics = measure_training(samples, dataset.class_map, recipe)
    pixels = np.concatenate([sample.image.reshape(-1, 2) for sample in samples]).astype(float)
    np.testing.assert_allclose(statistics.mean, pixels.mean(0))
    np.testing.assert_allclose(statistics.std, pixels.std(0))


def test_the_image_without_a_band_is_named_by_its_file(five_bands):
    dataset = five_bands["uint8"]
    with pytest.raises(DataError, match=r"train/images/0\.npy must have the bands 6\. It has 5"):
        read_split(dataset, "train", Enhancement(bands=(6,)), ignore_events)
    predictor = echo(preprocessing("uint8", bands=(6,)))
    with pytest.raises(DataError, match=r"a\.tif must have the bands 6\. It has 5"):
        predictor.logits(np.zeros((4, 4, 5), np.uint8), "a.tif")


def test_a_model_file_of_before_these_steps_still_says_the_same():
    old = {"dtype": "uint8", "mean": [1.0], "std": [2.0], "scale": 0.5, "resize": None,
           "contrast": "stretch"}  # fmt: skip
    assert Preprocessing.model_validate(old) == Preprocessing(
        dtype="uint8", mean=(1,), std=(2,), scale=0.5, contrast="stretch"
    )
    exact = Preprocessing.model_validate({**old, "scale": 1.0, "resize": [128, 64]})
    assert exact.working_size(3, 4) == (128, 64)


@pytest.mark.parametrize("resize", RESIZES)
def test_every_policy_survives_the_model_file_and_the_recipe(tmp_path, resize):
    steps = preprocessing("uint16", 2, resize=resize, bands=(4, 2), denoise="median")
    assert Preprocessing.model_validate(json.loads(steps.model_dump_json())) == steps
    recipe = Recipe(data=DataRecipe(resize=resize, bands=(4, 2), contrast="clahe"))
    path = tmp_path / "recipe.yaml"
    path.write_text(recipe.to_yaml(), encoding="utf-8")
    assert load_recipe(path) == recipe
    assert load_recipe(path).data.resize == steps.resize


@pytest.mark.parametrize(
    "resize", ["512", "{letterbix: [5, 5]}", "[5]", "[0, 5]", "{letterbox: 5}",
               "{shortest_side: 0}", "{shortest_side: 5, more: 1}", "{}"]
)  # fmt: skip
def test_another_policy_is_refused_in_one_line(resize):
    with pytest.raises(ConfigError, match=r"data\.resize") as refusal:
        load_recipe(overrides=[f"data.resize={resize}"])
    assert "\n" not in str(refusal.value)


def test_an_unknown_policy_is_told_those_that_there_are():
    with pytest.raises(ConfigError, match=r"\{letterbox: \[HEIGHT, WIDTH\]\}\. Got \{'letterbix'"):
        load_recipe(overrides=["data.resize={letterbix: [5, 5]}"])


def test_bands_must_be_as_many_as_channels():
    with pytest.raises(ValueError, match="one per channel"):
        preprocessing(bands=(1, 2))


def test_steps_are_told_in_their_order():
    steps = preprocessing(bands=(3,), contrast="clahe", resize={"letterbox": (5, 6)})
    assert steps.describe() == ["bands 3", "contrast clahe", "letterbox 5 x 6"]
    assert preprocessing(resize={"shortest_side": 9}).describe() == ["shortest side 9"]
    assert preprocessing(resize=(3, 4)).describe() == ["resized to 3 x 4"]
    assert preprocessing(scale=0.5).describe() == ["scale 0.5"]


def test_the_recipe_and_the_model_file_begin_with_the_same_steps():
    defaults = DataRecipe()
    for name, value in Enhancement():
        assert getattr(defaults, name) == value


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32])
@pytest.mark.parametrize("num_channels", [1, 3, 5])
@pytest.mark.parametrize("size", [(5, 5), (20, 30), (41, 67), (1, 7), (1, 1), (6, 1)])
def test_images_are_resized_as_pillow_resizes_them(dtype, num_channels, size):
    # torch, and so torchvision, is no reference: it fails at 1 x 1 and is wrong by 100 at 6 x 1.
    image = np.random.default_rng(0).integers(0, 256, (21, 32, num_channels), dtype=np.uint8)
    for channels in (torch.from_numpy(image).permute(2, 0, 1),
                     torch.from_numpy(image.transpose(2, 0, 1).copy())):  # fmt: skip
        resized = resize_image(channels.to(dtype), size)
        assert resized.dtype == dtype
        for index in range(num_channels):
            picture = Image.fromarray(image[..., index].copy()).resize(size[::-1], Image.BILINEAR)
            np.testing.assert_allclose(resized[index].float(), np.asarray(picture), atol=1)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32])
def test_images_are_filled_up_as_numpy_does_with_edges(dtype):
    image = torch.arange(24).reshape(2, 3, 4).to(dtype)
    padded = pad_image(image, (5, 9))
    assert padded.dtype == dtype
    np.testing.assert_array_equal(padded, np.pad(image, ((0, 0), (0, 2), (0, 5)), mode="edge"))
