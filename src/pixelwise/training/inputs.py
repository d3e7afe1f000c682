"""Reads the images of a training run: decodes and enhances them once, measures and batches them."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from pixelwise.classes import ClassMap, LabelMode
from pixelwise.config import Recipe
from pixelwise.data.batches import TrainingBatches, crops_per_image
from pixelwise.data.cache.memory_cache import MemoryCache
from pixelwise.data.dataset import Dataset
from pixelwise.data.sample import Record, Sample
from pixelwise.doctor.quick_check import QuickCheck
from pixelwise.errors import ConfigError, DataError
from pixelwise.io.images import LARGEST_VALUE
from pixelwise.io.parallel import num_cores
from pixelwise.label_modes import mode_of
from pixelwise.text import amount
from pixelwise.training.defaults import Choice
from pixelwise.training.events import Decoded, Listener
from pixelwise.transforms.augmentation import TensorSample, to_tensors
from pixelwise.transforms.enhancement import Enhancement, enhance
from pixelwise.transforms.preprocessing import Preprocessing
from pixelwise.transforms.statistics import DatasetStatistics, conform_channels, measure

CPU = torch.device("cpu")

MAX_PREFETCH = 8
"""Batches that are prepared ahead for an accelerator, at most."""


@dataclass(frozen=True)
class Measured:
    """The samples of a training run and their statistics.

    Attributes:
        training: The training samples, enhanced.
        validation: The validation samples at original size, enhanced as the training images.
        statistics: Statistics of the training images.
    """

    training: MemoryCache[Sample]
    validation: MemoryCache[Sample]
    statistics: DatasetStatistics


def read_and_measure(
    recipe: Recipe, dataset: Dataset, listener: Listener, check: QuickCheck | None = None
) -> Measured:
    """Read training and validation images, and compute the statistics of the training images.

    Args:
        recipe: The recipe, with the bands filled in.
        dataset: The data.
        listener: Called with the number of images read.
        check: Called with each sample as it is read.

    Raises:
        PixelwiseError: A split is empty, a file is invalid, or no pixel is labeled.
    """
    steps = enhancement_of(recipe)
    training = read_split(dataset, "train", steps, listener, check)
    validation = read_split(dataset, "val", steps, listener, check)
    statistics = measure_training(training, dataset.class_map, recipe)
    check_validation(validation, statistics)
    return Measured(training, validation, statistics)


def check_working_size(recipe: Recipe) -> None:
    """Check that at most one working size is given.

    Raises:
        ConfigError: Both ``data.scale`` and ``data.resize`` are given.
    """
    # The recipe of a finished run holds scale 1 in addition to its resize.
    if recipe.data.resize is not None and recipe.data.scale not in (None, 1):
        raise ConfigError(
            "images must be resized by data.scale or to data.resize. Got both. Remove one"
        )


def choose_bands(recipe: Recipe, dataset: Dataset) -> tuple[Choice, ...]:
    """Choose the bands of the dataset card."""
    if recipe.data.bands is not None or dataset.bands is None:
        return ()
    reason = f"bands {', '.join(map(str, dataset.bands))}: from the dataset card"
    return (Choice("data.bands", dataset.bands, reason),)


def enhancement_of(recipe: Recipe) -> Enhancement:
    """Return the enhancement steps of a recipe."""
    return Enhancement.model_validate(recipe.data, from_attributes=True)


def read_split(
    dataset: Dataset,
    split: str,
    steps: Enhancement,
    listener: Listener,
    check: QuickCheck | None = None,
) -> MemoryCache[Sample]:
    """Decode and enhance every image of a split once, so that invalid files are found now.

    Args:
        dataset: The data.
        split: ``train``, ``val`` or ``test``.
        steps: Enhancement steps for each image.
        listener: Called with the number of images read.
        check: Called with each sample as it is read.

    Raises:
        DataError: The split is empty, a file is invalid, or an image lacks a band.
    """
    if all(record.split != split for record in dataset.records):
        raise DataError(
            f"{dataset.path} must have training and validation images. Got none for {split} among "
            f"{len(dataset.records)}. Add images, or change the split"
        )
    records = dataset.split(split)

    def load(record: Record) -> Sample:
        sample = dataset.load(record)
        image = enhance(sample.image, steps, str(record.image))
        return dataclasses.replace(sample, image=image)

    cache = MemoryCache(
        lambda index: load(records[index]),
        len(records),
        lambda sample: sample.image.nbytes + sample.mask.nbytes,
    )
    for sample in cache.in_parallel(lambda done, total: listener(Decoded(split, done, total))):
        if check:
            check.look(sample, split)
    return cache


def measure_training(
    samples: MemoryCache[Sample], class_map: ClassMap, recipe: Recipe
) -> DatasetStatistics:
    """Compute the statistics of the training images; sizes are those after ``data.resize``.

    Raises:
        DataError: Bit depths or channels differ between images.
        MaskError: No pixel is labeled.
    """
    statistics = measure(samples.in_parallel(), class_map)
    if recipe.data.resize is None:
        return statistics
    preprocessing = preprocessing_of(recipe, statistics)
    sizes = [
        preprocessing.working_size(height, width)
        for height, width in zip(statistics.heights, statistics.widths, strict=True)
    ]
    heights, widths = zip(*sizes, strict=True)
    return dataclasses.replace(statistics, heights=heights, widths=widths)


def check_validation(validation: MemoryCache[Sample], statistics: DatasetStatistics) -> None:
    """Check the validation images now, before the first epoch is evaluated.

    Raises:
        DataError: Bit depth or channels differ from the training images, or no pixel is labeled.
    """
    num_labeled = 0
    for sample in validation.in_parallel():
        if str(sample.image.dtype) != statistics.dtype:
            raise DataError(
                f"{sample.name} must be {statistics.dtype}, like the training images. "
                f"Got {sample.image.dtype}. Convert the images to one type"
            )
        conform_channels(sample.image, statistics.in_channels, sample.name)
        num_labeled += mode_of(sample.label_mode).num_labeled(sample.mask)
    if not num_labeled:
        raise DataError(
            f"no validation mask contains labeled pixels ({amount(len(validation), 'mask')}; the "
            f"first is {validation[0].name}). Check the masks and the ignore value"
        )


def preprocessing_of(recipe: Recipe, statistics: DatasetStatistics) -> Preprocessing:
    """Return the preprocessing for the model file; an open scale counts as 1."""
    mean, std = statistics.mean, statistics.std
    if recipe.data.normalization == "range":
        mean = (0.0,) * statistics.in_channels
        std = (LARGEST_VALUE[statistics.dtype],) * statistics.in_channels
    return Preprocessing.model_validate(
        {
            **dict(enhancement_of(recipe)),
            "dtype": statistics.dtype,
            "mean": mean,
            "std": std,
            "scale": recipe.data.scale or 1.0,
            "resize": recipe.data.resize,
        }
    )


def batches_of(
    samples: Sequence[Sample],
    statistics: DatasetStatistics,
    recipe: Recipe,
    label_mode: LabelMode,
    *,
    device: torch.device = CPU,
) -> TrainingBatches:
    """Return the training batches of a recipe whose data entries are filled in.

    Args:
        samples: The enhanced training samples.
        statistics: Statistics of the training images, with the sizes of the samples.
        recipe: Size, batch size, augmentation and seed are taken from it.
        label_mode: Label mode of the samples.
        device: Where the network computes; for an accelerator, threads prepare the next batches.
    """
    settings = recipe.training
    assert settings.size
    assert settings.batch_size
    return TrainingBatches(
        _at_working_size(samples, statistics.in_channels, preprocessing_of(recipe, statistics)),
        num_crops=crops_per_image(
            statistics.heights, statistics.widths, settings.size, recipe.data.scale or 1.0
        ),
        size=settings.size,
        batch_size=settings.batch_size,
        recipe=recipe.augmentation,
        label_mode=label_mode,
        seed=settings.seed,
        prefetch=0 if device.type == "cpu" else min(MAX_PREFETCH, num_cores()),
        pin=device.type == "cuda",
    )


def std_of(statistics: DatasetStatistics, preprocessing: Preprocessing) -> float:
    """Return the standard deviation of normalized training images, averaged over channels."""
    return float(np.mean(np.divide(statistics.std, preprocessing.std)))


def _at_working_size(
    samples: Sequence[Sample], in_channels: int, preprocessing: Preprocessing
) -> Sequence[TensorSample]:
    """Return samples as resized tensors, without padding, which cropping adds.

    Tensors are cached if creating them copies pixels.
    """

    def make(index: int) -> TensorSample:
        sample = samples[index]
        height, width = sample.image.shape[:2]
        return to_tensors(sample, in_channels, preprocessing.fitted_size(height, width))

    is_resized = preprocessing.scale != 1 or preprocessing.resize is not None
    is_view = not is_resized and samples[0].image.dtype != np.uint16
    return MemoryCache(
        make,
        len(samples),
        lambda sample: sample.image.nbytes + sample.mask.nbytes,
        budget_bytes=0 if is_view else None,
    )
