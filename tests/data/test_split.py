"""The sequences of samples: indices as in a list, transforms, and torch's DataLoader."""

import pickle
import sys
from subprocess import run

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import DataLoader

from pixelwise import Sample, open_dataset
from pixelwise.data.cache import disk
from pixelwise.data.formats import formats
from pixelwise.errors import ConfigError, DataError


@pytest.fixture
def dataset(tmp_path, make_index_dataset):
    folder = make_index_dataset(tmp_path / "data", num_images=4, splits=("train", "val"), ignored=9)
    return open_dataset(folder, ignore=[9])


def stored(dataset, split):
    """What lies in the files of a split, read without pixelwise."""
    images = [np.asarray(Image.open(record.image)) for record in dataset.split(split)]
    masks = [np.asarray(Image.open(record.masks[0])) for record in dataset.split(split)]
    return images, [np.where(mask == 9, 255, mask) for mask in masks]


def test_the_samples_of_a_split_are_the_files_in_the_order_of_their_names(dataset):
    for split, samples in (("train", dataset.train), ("val", dataset.val)):
        images, masks = stored(dataset, split)
        assert len(samples) == len(images) == 4
        for sample, image, mask in zip(samples, images, masks, strict=True):
            np.testing.assert_array_equal(sample.image, image)
            np.testing.assert_array_equal(sample.mask, mask)
    assert len(dataset.samples("all")) == 8


@pytest.mark.parametrize("index", [0, 3, -1, -4, np.int64(2), torch.tensor(1)])
def test_indices_behave_as_in_a_list(dataset, index):
    names = [record.name for record in dataset.split("train")]
    assert dataset.train[index].name == names[index]


@pytest.mark.parametrize("index", [4, -5, 10**9])
def test_an_index_out_of_range_is_an_index_error(dataset, index):
    with pytest.raises(IndexError, match=f"from -4 to 3. Got {index}$"):
        dataset.train[index]


@pytest.mark.parametrize(
    "part", [slice(1, 3), slice(None, None, -1), slice(-2, None), slice(9, 20), slice(None)]
)
def test_a_slice_is_a_split_of_the_same_samples_of_which_nothing_is_decoded(dataset, part):
    names = [record.name for record in dataset.split("train")]
    for record in dataset.split("train"):
        record.image.rename(record.image.with_suffix(".gone"))
    few = dataset.train.with_transform(lambda sample: sample.name)[part]
    assert [record.name for record in few.records] == names[part]
    assert len(few) == len(names[part])
    assert few.transform is not None


def test_a_transform_takes_the_sample_and_makes_the_item(dataset):
    names = dataset.train.with_transform(lambda sample: sample.name)
    assert list(names) == [names[0], names[1], names[2], names[-1]]
    assert isinstance(names.with_transform(None)[0], Sample)
    assert isinstance(dataset.train[0], Sample)


def test_an_index_error_of_a_transform_does_not_end_a_loop(dataset):
    with pytest.raises(IndexError):
        list(dataset.train.with_transform(lambda sample: [sample][1]))


def test_a_split_that_is_empty_or_unknown_is_refused(dataset):
    with pytest.raises(DataError, match="must contain images of the split 'test'"):
        len(dataset.test)
    with pytest.raises(ConfigError, match="train, val, test or all"):
        dataset.samples("training")


@pytest.mark.parametrize("kind", ["uint8", "uint16", "float32"])
def test_tensors_hold_the_stored_values_for_torchs_losses(kind):
    image = np.arange(24).reshape(2, 4, 3).astype(kind)
    mask = np.array([[0, 1, 2, 255], [1, 1, 0, 0]], np.uint8)
    pixels, target = Sample("a", image, mask, "multiclass").to_tensors()
    assert pixels.dtype == (torch.uint8 if kind == "uint8" else torch.float32)
    np.testing.assert_array_equal(pixels.numpy(), image.transpose(2, 0, 1))
    assert target.dtype == torch.int64
    np.testing.assert_array_equal(target.numpy(), mask)
    logits = torch.randn(1, 3, 2, 4)
    torch.nn.functional.cross_entropy(logits, target[None], ignore_index=255)


def test_tensors_of_multilabel_masks_are_shares(tmp_path, make_class_dataset):
    sample = open_dataset(make_class_dataset(tmp_path)).train[0]
    target = sample.to_tensors()[1]
    assert target.dtype == torch.float32
    np.testing.assert_allclose(target.numpy(), sample.mask / 255, rtol=1e-6)
    torch.nn.functional.binary_cross_entropy_with_logits(torch.randn(target.shape), target)


@pytest.mark.parametrize("name", formats.names())
def test_every_format_can_be_pickled(name):
    found = pickle.loads(pickle.dumps(formats.create(name)))
    assert vars(found) == vars(formats.create(name))


@pytest.mark.parametrize("cache", [True, False])
def test_a_pickled_data_set_gives_the_same_samples(
    tmp_path, make_object_dataset, monkeypatch, cache
):
    monkeypatch.setattr(disk, "SLOW_S", -1.0)  # so that every sample is kept
    first = open_dataset(make_object_dataset(tmp_path), cache=cache)
    images = [sample.image for sample in first.train]  # the cache is in use before it is copied
    second = pickle.loads(pickle.dumps(first))
    assert (second.records, second.class_map) == (first.records, first.class_map)
    assert (second.cache is not None) == cache
    for image, sample in zip(images, second.train, strict=True):
        np.testing.assert_array_equal(sample.image, image)


def test_two_spawned_workers_give_the_arrays_that_are_read_directly(dataset):
    loader = DataLoader(
        dataset.train.with_transform(Sample.to_tensors),
        batch_size=2,
        num_workers=2,
        multiprocessing_context="spawn",
    )
    images, masks = stored(dataset, "train")
    batches = list(loader)
    assert [len(batch) for batch, _ in batches] == [2, 2]
    found, targets = (torch.cat(parts).numpy() for parts in zip(*batches, strict=True))
    np.testing.assert_array_equal(found, np.stack(images).transpose(0, 3, 1, 2))
    np.testing.assert_array_equal(targets, np.stack(masks))


def test_samples_are_read_without_torch(dataset):
    code = (
        "import sys, pixelwise; "
        f"sample = pixelwise.open_dataset({str(dataset.path)!r}, ignore=[9]).train[0]; "
        "assert sample.image.shape == (16, 16, 3) and 'torch' not in sys.modules"
    )
    run([sys.executable, "-c", code], check=True)
