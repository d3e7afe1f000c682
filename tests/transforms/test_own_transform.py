"""An own callable in place of the augmentation of the recipe."""

import functools
import random
import threading

import numpy as np
import pytest
import torch
from torchvision import tv_tensors
from torchvision.transforms import v2

from pixelwise.config import NO_AUGMENTATION
from pixelwise.data.batches import TrainingBatches
from pixelwise.errors import ConfigError
from pixelwise.transforms.augmentation import TensorSample
from pixelwise.transforms.own_transform import check_transform, transform_name, transformed


def sample_of(label_mode="multiclass", channels=3, dtype=torch.uint8, size=(20, 30)):
    """The image shows 100 more than 50 times the first class; a strip at the right is invalid."""
    rng = np.random.default_rng(0)
    ids = torch.from_numpy(rng.integers(0, 3, size, np.uint8)).contiguous()
    valid = torch.ones(size, dtype=torch.bool)
    valid[:, -4:] = False
    image = (100 + 50 * ids[None]).expand(channels, *size).to(dtype).contiguous()
    mask = ids.masked_fill(~valid, 255)
    if label_mode == "multilabel":
        mask = torch.stack([ids == 1, ids == 2]).to(torch.uint8) * 255 * valid
    return TensorSample(image, mask, valid)


def rng(seed=0):
    return np.random.default_rng(seed)


def same(image, mask):
    return image, mask


@pytest.mark.parametrize("label_mode", ["multiclass", "multilabel"])
@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32])
def test_a_callable_is_called_as_torchvision_calls_its_transforms(label_mode, dtype):
    sample, seen = sample_of(label_mode, 5, dtype), []

    def look(image, mask):
        seen.append((type(image), image.shape, image.dtype, type(mask), mask.shape, mask.dtype))
        return image, mask

    changed = transformed(sample, look, label_mode, rng())
    planes = 2 if label_mode == "multiclass" else 3
    assert seen == [(tv_tensors.Image, (5, 20, 30), dtype,
                     tv_tensors.Mask, (planes, 20, 30), torch.uint8)]  # fmt: skip
    for name in ("image", "mask", "valid"):
        assert torch.equal(getattr(changed, name), getattr(sample, name))
        assert type(getattr(changed, name)) is torch.Tensor


@pytest.mark.parametrize("label_mode", ["multiclass", "multilabel"])
def test_image_mask_and_valid_pixels_move_together(label_mode):
    transform = v2.Compose([v2.RandomHorizontalFlip(1.0), v2.RandomVerticalFlip(1.0)])
    sample = sample_of(label_mode)
    changed = transformed(sample, transform, label_mode, rng())
    for name in ("image", "mask", "valid"):
        assert torch.equal(getattr(changed, name), getattr(sample, name).flip((-1, -2)))


@pytest.mark.parametrize("label_mode", ["multiclass", "multilabel"])
def test_uncovered_pixels_are_ignored_although_torchvision_fills_them_with_0(label_mode):
    sample = sample_of(label_mode)
    changed = transformed(sample, v2.RandomRotation((40, 40)), label_mode, rng())
    assert not changed.valid[0, 0]
    assert 0.3 < changed.valid.float().mean() < 0.9
    assert (changed.image[0][changed.valid] >= 100).all()  # torchvision fills images with 0, too
    assert (changed.mask[..., ~changed.valid] == (255 if label_mode == "multiclass" else 0)).all()
    if label_mode == "multiclass":
        shown = (changed.image[0].int() - 100) // 50
        assert torch.equal(shown[changed.valid], changed.mask.int()[changed.valid])


def draws(image, mask):
    values = (torch.rand(1).item(), np.random.rand(), random.random())  # noqa: NPY002
    draws.seen.append(values)
    return image, mask


draws.seen = []


def test_all_global_generators_are_seeded_by_the_crop_and_restored():
    for number, seed in enumerate((1, 1, 2)):
        torch.manual_seed(number)
        np.random.seed(number)  # noqa: NPY002
        random.seed(number)
        expected = torch.get_rng_state(), np.random.get_state()[1].copy(), random.getstate()  # noqa: NPY002
        transformed(sample_of(), draws, "multiclass", rng(seed))
        assert torch.equal(torch.get_rng_state(), expected[0])
        assert np.array_equal(np.random.get_state()[1], expected[1])  # noqa: NPY002
        assert random.getstate() == expected[2]
    first, again, other = draws.seen[-3:]
    assert first == again
    assert all(one != another for one, another in zip(first, other, strict=True))


def test_the_generators_are_restored_after_an_error_too():
    before = torch.get_rng_state()

    def fail(image, mask):
        torch.rand(3)
        raise RuntimeError("own error")

    with pytest.raises(ConfigError, match="own error"):
        transformed(sample_of(), fail, "multiclass", rng())
    assert torch.equal(torch.get_rng_state(), before)


def test_a_callable_that_writes_in_place_leaves_the_sample_alone():
    def erase(image, mask):
        image.zero_(), mask.zero_()
        return image, mask

    sample, fresh = sample_of(), sample_of()
    changed = transformed(sample, erase, "multiclass", rng())
    assert (changed.mask == 255).all()
    assert torch.equal(sample.image, fresh.image)
    assert torch.equal(sample.mask, fresh.mask)


@pytest.mark.parametrize(
    ("transform", "found"),
    [
        (v2.Resize((8, 8)), r"\(3, 8, 8\) uint8 and \(2, 8, 8\) uint8"),
        (v2.ToDtype({tv_tensors.Image: torch.float32, "others": None}), r"\(3, 20, 30\) float32"),
        (lambda image, _: image, r"It returned \(3, 20, 30\) uint8\. Leave"),
        (lambda *_: None, r"It returned NoneType\."),
        (lambda image, mask: (image, mask, mask), r"uint8 and \(2, 20, 30\) uint8 and"),
        (lambda image, _: {"image": image}, r"It returned dict\."),
        (lambda image, mask: (image.numpy(), mask), r"It returned ndarray and"),
    ],
)
def test_what_does_not_fit_is_named_in_one_line(transform, found):
    with pytest.raises(ConfigError, match=found) as caught:
        transformed(sample_of(), transform, "multiclass", rng())
    assert "\n" not in str(caught.value)
    assert "must return the image and the mask" in str(caught.value)


class Albumentation:
    """Called as the transforms of albumentations 2 are, with a generator of its own."""

    available_keys = frozenset({"image", "mask", "bboxes"})

    def __init__(self, drops_axis=False):
        self.drops_axis = drops_axis
        self.rng = np.random.default_rng()

    def set_random_seed(self, seed):
        self.rng = np.random.default_rng(seed)

    def __call__(self, *args, image=None, mask=None):
        if args:
            raise KeyError("give data as named arguments")
        assert image.flags["C_CONTIGUOUS"]
        assert image.shape[:2] == mask.shape[:2]
        turn = int(self.rng.integers(4)) * 2
        image = np.rot90(image, turn)
        image = image[..., 0] if self.drops_axis else image
        return {"image": image, "mask": np.rot90(mask, turn), "bboxes": []}


@pytest.mark.parametrize("label_mode", ["multiclass", "multilabel"])
@pytest.mark.parametrize("channels", [1, 3])
def test_a_transform_of_albumentations_gets_named_arrays_and_a_seed(label_mode, channels):
    transform = Albumentation(drops_axis=channels == 1)
    sample = sample_of(label_mode, channels)
    seen = set()
    for seed in range(6):
        changed, again = (transformed(sample, transform, label_mode, rng(seed)) for _ in range(2))
        assert torch.equal(changed.image, again.image)
        flips = (-1, -2) if not torch.equal(changed.image, sample.image) else ()
        assert torch.equal(changed.image, sample.image.flip(flips))
        assert torch.equal(changed.mask, sample.mask.flip(flips))
        assert torch.equal(changed.valid, sample.valid.flip(flips))
        seen.add(flips)
    assert len(seen) == 1 or seen == {(), (-1, -2)}


def test_albumentations_itself_is_reproducible():
    albumentations = pytest.importorskip("albumentations")
    transform = albumentations.Compose([albumentations.Rotate(30, p=1.0)])
    crops = [transformed(sample_of(), transform, "multiclass", rng(seed)) for seed in (1, 1, 2)]
    assert torch.equal(crops[0].image, crops[1].image)
    assert not torch.equal(crops[0].image, crops[2].image)
    assert (crops[0].mask[~crops[0].valid] == 255).all()
    shown = (crops[0].image[0].int() - 100) // 50
    is_equal = shown == crops[0].mask
    assert is_equal[crops[0].valid].float().mean() > 0.5  # albumentations blends the image only


def batches(transform, prefetch=0, batch_size=4):
    samples = [sample_of(size=(16 + index, 24)) for index in range(7)]
    return TrainingBatches(
        samples, num_crops=[1] * 7, size=(12, 12), batch_size=batch_size, recipe=NO_AUGMENTATION,
        label_mode="multiclass", seed=3, transform=transform, prefetch=prefetch,
    )  # fmt: skip


NOISY = v2.Compose([v2.RandomHorizontalFlip(), v2.RandomRotation(30), v2.ColorJitter(0.5)])


def test_batches_depend_neither_on_threads_nor_on_what_this_thread_draws():
    whole = list(batches(NOISY).epoch(1))
    torch.manual_seed(5)
    for first_step in (0, 1):
        rest = batches(NOISY, prefetch=3).epoch(1, first_step)
        for batch, expected in zip(rest, whole[first_step:], strict=True):
            torch.manual_seed(7)  # as the training loop does at every step
            for name in ("image", "mask", "valid"):
                assert torch.equal(getattr(batch, name), getattr(expected, name))
    alone = [batch.image for batch in batches(NOISY, batch_size=1).epoch(1)]
    assert torch.equal(torch.cat(alone), torch.cat([batch.image for batch in whole]))


def test_a_callable_runs_in_the_thread_that_takes_the_batches():
    threads = set()

    def note(image, mask):
        threads.add(threading.get_ident())
        return image, mask

    assert len(list(batches(note, prefetch=3).epoch(0))) == 2
    assert threads == {threading.get_ident()}


class Plain:
    def __call__(self, image, mask):
        return image, mask


def test_a_transform_has_a_name_that_is_the_same_in_every_process():
    module = __name__
    assert transform_name(same) == f"{module}:same"
    assert transform_name(Plain()) == f"{module}:Plain"
    named = transform_name(v2.Compose([v2.RandomRotation(30), v2.RandomHorizontalFlip()]))
    assert named.startswith("Compose( RandomRotation(degrees=[-30.0, 30.0]")
    assert "\n" not in named
    assert transform_name(functools.partial(same)) == "functools.partial(<function same>)"


def test_what_cannot_be_called_is_refused_and_so_is_a_missing_callable():
    for wrong in ("rotate", {"rotation": 3}, v2.Compose):
        with pytest.raises(ConfigError, match="augmentation must be a callable"):
            check_transform(None, wrong)
    with pytest.raises(ConfigError, match=r"needs its augmentation again.*mine:flip"):
        check_transform("mine:flip", None)
    check_transform("mine:flip", same)
    check_transform(None, None)
