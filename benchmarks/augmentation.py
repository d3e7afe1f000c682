"""What each step of the augmentation costs: crops per second of one core, without a network.

    python benchmarks/augmentation.py              two minutes
    python benchmarks/augmentation.py --size 360 480

Every configuration takes turns, round by round; the median counts. Processor time is measured, so
that other jobs on the machine matter little. "default" is what a training chooses for photographs,
and every other row turns on one step more. The last rows give a callable instead.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import numpy as np
import torch
from torchvision.transforms import v2

from measuring import median_and_noise, print_table
from pixelwise.config import NO_AUGMENTATION, AugmentationRecipe
from pixelwise.data.batches import TrainingBatches
from pixelwise.transforms.augmentation import TensorSample
from pixelwise.transforms.augmentation_steps import STEPS

ROUNDS = 5
CROPS = 24
"""Crops of a round."""

ENTRIES = {"rotation": 15.0, "elastic": 10.0, "hue": 0.05, "blur": (0.5, 2.0)}
"""What a step is tried with; 0.2 for every other."""

DEFAULT = AugmentationRecipe(
    orientation="mirrored", scale=(0.75, 1.33), brightness=0.2, contrast=0.2
)


def batches(
    recipe: AugmentationRecipe,
    size: tuple[int, int],
    transform: Callable[..., object] | None = None,
) -> TrainingBatches:
    """Batches from three uint8 images with three channels, a half larger than the crop."""
    rng = np.random.default_rng(0)
    height, width = (side * 3 // 2 for side in size)
    samples = [
        TensorSample(
            torch.from_numpy(rng.integers(0, 256, (3, height, width), np.uint8)),
            torch.from_numpy(rng.integers(0, 12, (height, width), np.uint8)),
            torch.ones(height, width, dtype=torch.bool),
        )
        for _ in range(3)
    ]
    return TrainingBatches(
        samples, num_crops=[CROPS // 3] * 3, size=size, batch_size=4, recipe=recipe,
        label_mode="multiclass", seed=0, transform=transform,
    )  # fmt: skip


def main() -> None:
    """Print crops per second of every configuration."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", type=int, nargs=2, default=(256, 256))
    height, width = parser.parse_args().size
    torch.set_num_threads(1)
    on = {step.key: ENTRIES.get(step.key, 0.2) for step in STEPS}
    scaled = NO_AUGMENTATION.model_copy(update={"scale": DEFAULT.scale})
    compose = v2.Compose([v2.RandomHorizontalFlip(), v2.RandomRotation(15)])
    contestants = {
        "default": batches(DEFAULT, (height, width)),
        **{
            f"{key} {value}": batches(DEFAULT.model_copy(update={key: value}), (height, width))
            for key, value in on.items()
        },
        "all of them": batches(DEFAULT.model_copy(update=on), (height, width)),
        "callable: nothing": batches(scaled, (height, width), lambda image, mask: (image, mask)),
        "callable: flip, rotation 15": batches(scaled, (height, width), compose),
    }
    seconds: dict[str, list[float]] = {name: [] for name in contestants}
    for number in range(ROUNDS + 1):
        for name, source in contestants.items():
            started = time.process_time()
            for _ in source.epoch(number):
                pass
            if number:  # the first round imports and builds kernels
                seconds[name].append((time.process_time() - started) / CROPS)
    default, _ = median_and_noise(seconds["default"])
    rows = []
    for name, taken in seconds.items():
        middle, noise = median_and_noise(taken)
        rows.append(
            (name, f"{1 / middle:.0f}", f"{1000 * middle:.1f}", f"{100 * noise / middle:.0f}%",
             f"{1000 * (middle - default):+.1f}")
        )  # fmt: skip
    print_table((f"{height} x {width}", "crops/s", "ms", "noise", "ms more than default"), rows)


if __name__ == "__main__":
    main()
