"""Compose reproducible training batches of augmented crops."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from enum import IntEnum

import numpy as np
import torch
from torch import Tensor

from pixelwise.classes import LabelMode
from pixelwise.config import AugmentationRecipe
from pixelwise.transforms.augmentation import TensorSample, augment


class Chance(IntEnum):
    """Purposes of random draws; each has its own random stream."""

    ORDER = 1
    CROP = 2
    STEP = 3


def random_for(purpose: Chance, seed: int, *place: int) -> np.random.Generator:
    """Return the random generator of one place in a training run; it always draws the same numbers.

    Args:
        purpose: The purpose of the draw.
        seed: Seed of the training, 0 or more.
        *place: Epoch, and step or image.
    """
    return np.random.default_rng([purpose, seed, *place])


@dataclass(frozen=True)
class Batch:
    """The input of one training step.

    Attributes:
        image: (N, C, H, W), in stored units and type; not normalized yet.
        mask: Multiclass: uint8 (N, H, W) class ids, 255 is ignored. Multilabel: uint8 (N, K, H, W).
        valid: bool (N, H, W); False outside the image.
    """

    image: Tensor
    mask: Tensor
    valid: Tensor


def crops_per_image(
    heights: Sequence[int], widths: Sequence[int], size: tuple[int, int], scale: float
) -> list[int]:
    """Return how many crops fit into the area of each image, at least one.

    Args:
        heights: Heights of the images, in pixels.
        widths: Widths of the images, in pixels.
        size: Height and width of a crop, at working scale.
        scale: Working scale.
    """
    crop_area = size[0] * size[1] / scale**2
    return [
        max(1, round(height * width / crop_area))
        for height, width in zip(heights, widths, strict=True)
    ]


class TrainingBatches:
    """The batches of all epochs; the same (seed, epoch, step) always gives the same batch.

    In an epoch, every image is used as often as crops fit into its area, but at least once, so that
    pixels of large and small images are seen about equally often. The last batch of an epoch may be
    smaller; no batch is dropped.

    Args:
        samples: The training samples, at working scale.
        num_crops: How often each sample is used in an epoch; see :func:`crops_per_image`.
        size: Height and width of the crops.
        batch_size: Images per batch.
        recipe: The augmentation recipe, with every entry filled.
        label_mode: Label mode of the samples.
        seed: Seed of the order and the crops.
        prefetch: Number of batches that threads prepare while the device computes. 0 on a CPU,
            where they would only take cores away from the computation.
        pin: Put batches into pinned memory, from which a CUDA device copies without blocking.
    """

    def __init__(
        self,
        samples: Sequence[TensorSample],
        *,
        num_crops: Sequence[int],
        size: tuple[int, int],
        batch_size: int,
        recipe: AugmentationRecipe,
        label_mode: LabelMode,
        seed: int,
        prefetch: int = 0,
        pin: bool = False,
    ) -> None:
        self._samples = samples
        self._indices = np.repeat(np.arange(len(samples)), num_crops)
        self._size = size
        self._batch_size = batch_size
        self._recipe = recipe
        self._label_mode = label_mode
        self._seed = seed
        self._prefetch = prefetch
        self._pin = pin

    @property
    def crops_per_epoch(self) -> int:
        """Number of crops in an epoch."""
        return len(self._indices)

    @property
    def steps_per_epoch(self) -> int:
        """Number of batches in an epoch."""
        return math.ceil(self.crops_per_epoch / self._batch_size)

    def epoch(self, epoch: int, first_step: int = 0) -> Iterator[Batch]:
        """Yield the batches of one epoch, starting with ``first_step``."""
        order = random_for(Chance.ORDER, self._seed, epoch).permutation(len(self._indices))
        steps = range(first_step, self.steps_per_epoch)
        groups = [order[step * self._batch_size : (step + 1) * self._batch_size] for step in steps]
        if not self._prefetch:
            for indices in groups:
                yield self._stack(epoch, indices)
            return
        ahead = self._prefetch
        with ThreadPoolExecutor(max_workers=ahead) as threads:
            waiting = [threads.submit(self._stack, epoch, indices) for indices in groups[:ahead]]
            for position in range(len(groups)):
                batch = waiting.pop(0).result()
                if position + ahead < len(groups):
                    waiting.append(threads.submit(self._stack, epoch, groups[position + ahead]))
                yield batch

    def _stack(self, epoch: int, places: np.ndarray) -> Batch:
        cut = [
            augment(
                self._samples[int(self._indices[place])],
                self._size,
                self._recipe,
                self._label_mode,
                # One generator per crop: threads and batch size do not change what is drawn.
                random_for(Chance.CROP, self._seed, epoch, int(place)),
            )
            for place in places
        ]
        parts = [
            torch.stack([sample.image for sample in cut]),
            torch.stack([sample.mask for sample in cut]),
            torch.stack([sample.valid for sample in cut]),
        ]
        return Batch(*(part.pin_memory() if self._pin else part for part in parts))
