"""Previews of training samples, as read and as augmented."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Unpack

import numpy as np

from pixelwise.config import Recipe, load_recipe, with_values
from pixelwise.data.batches import Batch, Chance, random_for
from pixelwise.data.dataset import Dataset, open_dataset
from pixelwise.data.sample import Sample
from pixelwise.data.split_assignment import SPLITS
from pixelwise.errors import ConfigError
from pixelwise.files import require_file, require_outside
from pixelwise.imports import import_modules
from pixelwise.io.arrays import Array
from pixelwise.io.images import LARGEST_VALUE
from pixelwise.label_options import LabelArguments, label_options
from pixelwise.reporting.samples import SampleRow, draw_samples
from pixelwise.training.defaults import Facts, apply, choose_augmentation, choose_crop
from pixelwise.training.events import Listener, Message, ignore_events
from pixelwise.training.inputs import (
    batches_of,
    check_working_size,
    choose_bands,
    enhancement_of,
    measure_training,
    preprocessing_of,
    read_split,
    std_of,
)
from pixelwise.training.step import network_input
from pixelwise.transforms.own_transform import OwnTransform, check_transform, transform_name
from pixelwise.transforms.preprocessing import Normalize, Preprocessing
from pixelwise.transforms.statistics import DatasetStatistics

NUM_VERSIONS = 3
"""Number of augmented versions per sample."""


@dataclass(frozen=True)
class Preview:
    """Samples and their augmented versions.

    Attributes:
        rows: The samples and their augmented versions.
        reasons: Descriptions of the preprocessing and augmentation.
    """

    rows: tuple[SampleRow, ...]
    reasons: tuple[str, ...]


def show_data(
    data: Path | str,
    out: Path | str | None = None,
    *,
    split: str = "train",
    num: int = 6,
    seed: int = 0,
    recipe: Path | str | Recipe | Mapping[str, Any] | None = None,
    overrides: Sequence[str] = (),
    augmentation: OwnTransform | None = None,
    listener: Listener = ignore_events,
    **labels: Unpack[LabelArguments],
) -> Path:
    """Draw samples with their masks, next to augmented versions.

    Args:
        data: A folder, a dataset card, or ``digits``.
        out: The PNG to write; ``None`` means ``samples-DATA.png``.
        split: Split of the samples: ``train``, ``val`` or ``test``.
        num: Number of randomly chosen samples, at least 1.
        seed: Random seed of the choice and the augmentation.
        recipe: A YAML file, a recipe or its content to start from; open entries are chosen as in
            training.
        overrides: ``section.key=value``, as ``--set`` on the command line.
        augmentation: A callable that augments the crops, as in ``train``.
        listener: Called with the reading progress and the choices.
        labels: The options of :class:`~pixelwise.label_options.LabelOptions`, which take precedence
            over the recipe.

    Returns:
        The file written.

    Raises:
        PixelwiseError: A training run would fail with this data or recipe, or the file cannot be
        written.
    """
    chosen = load_recipe(recipe, overrides)
    import_modules(chosen.imports)
    check_transform(chosen.augmentation.transform, augmentation)
    _check_split(split)
    options = label_options(**labels).completed_by(chosen.data)
    dataset = open_dataset(
        data,
        split=chosen.data.split,
        split_seed=chosen.data.split_seed,
        **options.arguments(),
    )
    path = Path(out or f"samples-{dataset.path.resolve().name}.png")
    require_file(path)
    require_outside(path, dataset.path, "the data set")
    listener(Message("data", dataset.notes))
    seen = preview(
        chosen, dataset, listener, augmentation=augmentation, split=split, num=num, seed=seed
    )
    listener(Message("samples as used in training", seen.reasons))
    captions = (f"{data}: {len(seen.rows)} samples of the split {split!r}", *seen.reasons)
    draw_samples(seen.rows, dataset.class_map, captions, path)
    return path


def preview(
    recipe: Recipe,
    dataset: Dataset,
    listener: Listener,
    *,
    augmentation: OwnTransform | None = None,
    split: str = "train",
    num: int = 6,
    seed: int = 0,
) -> Preview:
    """Prepare and augment some samples as in training with this recipe.

    The training images are read and measured as in training, because the defaults depend on them.
    A working scale that a training run would choose for speed is not considered.

    Args:
        recipe: The recipe; its open data entries are filled in a copy.
        dataset: The data.
        listener: Called with the reading progress.
        augmentation: A callable that augments the crops, as in ``train``.
        split: Split of the samples: ``train``, ``val`` or ``test``.
        num: Number of randomly chosen samples, at least 1.
        seed: Random seed of the choice and the augmentation.

    Raises:
        PixelwiseError: A training run would fail with this data or recipe.
    """
    _check_split(split)
    dataset.split(split)  # raises for a split without images
    name = None if augmentation is None else transform_name(augmentation)
    recipe = with_values(recipe, {"augmentation.transform": name}, "recipe")
    check_working_size(recipe)
    bands = choose_bands(recipe, dataset)
    recipe = apply(recipe, bands)
    reasons = [choice.reason for choice in bands]
    steps = enhancement_of(recipe)
    training = read_split(dataset, "train", steps, listener)
    statistics = measure_training(training, dataset.class_map, recipe)
    preprocessing = preprocessing_of(recipe, statistics)
    if preprocessing.describe():
        reasons.append(f"images: {', '.join(preprocessing.describe())}")
    asked = recipe.augmentation.model_dump(exclude_none=True, exclude={"transform"})
    if asked:
        entries = ", ".join(f"{name} {value}" for name, value in asked.items())
        reasons.append(f"augmentation from the recipe: {entries}")
    recipe.training.batch_size = 1
    facts = Facts(statistics, dataset.label_mode, dataset.augmentation)
    for step in (choose_crop, choose_augmentation):
        choices = step(recipe, facts)
        recipe = apply(recipe, choices)
        reasons += [choice.reason for choice in choices if choice.reason]
    samples = training if split == "train" else read_split(dataset, split, steps, listener)
    drawn = np.random.default_rng(seed).permutation(len(samples))[:num].tolist()
    rows = []
    for number, index in enumerate(sorted(drawn)):
        # Each sample gets its own seed; otherwise all would be cropped the same way.
        recipe.training.seed = (seed * num + number) % 2**32
        rows.append(_row(samples[index], recipe, statistics, preprocessing, augmentation))
    return Preview(tuple(rows), tuple(reasons))


def _check_split(name: str) -> None:
    if name not in SPLITS:
        raise ConfigError(f"split must be {', '.join(SPLITS[:-1])} or {SPLITS[-1]}. Got {name!r}")


def _row(
    sample: Sample,
    recipe: Recipe,
    statistics: DatasetStatistics,
    preprocessing: Preprocessing,
    augmentation: OwnTransform | None,
) -> SampleRow:
    """Return a sample with one crop from each of the first epochs."""
    height, width = preprocessing.working_size(*sample.image.shape[:2])
    alone = dataclasses.replace(statistics, heights=(height,), widths=(width,))
    batches = batches_of([sample], alone, recipe, sample.label_mode, augmentation)
    versions, beyond = [], []
    for epoch in range(NUM_VERSIONS):
        batch = next(batches.epoch(epoch))
        image = network_input(
            batch.image,
            Normalize(preprocessing),
            recipe.augmentation,
            random_for(Chance.STEP, recipe.training.seed, epoch, 0),
            std=std_of(statistics, preprocessing),
        ).numpy()
        versions.append(_as_sample(image[0], batch, sample, preprocessing))
        beyond.append(~batch.valid[0].numpy())
    return SampleRow(sample, tuple(versions), tuple(beyond))


def _as_sample(image: Array, batch: Batch, sample: Sample, preprocessing: Preprocessing) -> Sample:
    """Return the network input, (C, H, W), converted back to the units of the file."""
    mean, std = (np.array(values, np.float32) for values in (preprocessing.mean, preprocessing.std))
    stored = image.transpose(1, 2, 0) * std + mean
    if sample.image.dtype != np.float32:
        stored = np.rint(stored).clip(0, LARGEST_VALUE[preprocessing.dtype])
    return dataclasses.replace(
        sample, image=stored.astype(sample.image.dtype), mask=batch.mask[0].numpy()
    )
