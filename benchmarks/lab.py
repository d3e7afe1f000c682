"""Every entry of the lab for a short while, on data of the size that a test can afford.

    make lab                           all entries, about a quarter of an hour on 2 cores
    python benchmarks/lab.py a4-fcn    one of them

An entry fails when it raises an error, or when it does not learn. To learn, its training loss must
fall below the stated share of that of its first epoch, and its validation loss below that of the
best prediction that ignores the image: how often each class occurs. One that is not there after the
short run gets a longer one before it fails. Only sizes and lengths are changed, and said.
"""

from __future__ import annotations

import argparse
import csv
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from pixelwise.data.dataset import open_dataset
from pixelwise.data.digits import DigitOptions, load_digit_source, make_digits, write_digits
from pixelwise.errors import PixelwiseError
from pixelwise.lab.catalog import list_entries, load_entry
from pixelwise.lab.run import run_entry
from pixelwise.label_modes import mode_of
from pixelwise.losses.base import LIKELIHOOD
from pixelwise.losses.expression import build_loss
from pixelwise.losses.mean_loss import MeanLoss
from pixelwise.transforms.statistics import measure

MUST_FALL_TO = 0.9
"""The loss of the last epoch, as a share of that of the first."""

SIDE_PX = 64
COARSE = "fcn32s"
"""Gives an output for 32 x 32 pixels, of which so small an image has four, and can find nothing
that is smaller: it gets twice the side, and discs of three times the radius."""

EPOCHS = (5, 20)
"""Of the short run, and of the longer one."""

BATCH_SIZE = 4
NUM_TRAIN, NUM_VAL = 48, 8


def make_data(folder: Path, side_px: int) -> dict[str, Path]:
    """Small data sets of each kind: soft masks per class, objects one by one, class ids."""
    write_digits(folder / "digits", num_train=NUM_TRAIN, num_val=NUM_VAL)
    rng = np.random.default_rng(0)
    times = 1 if side_px == SIDE_PX else 3
    for index in range(NUM_TRAIN + NUM_VAL):
        image = rng.integers(0, 60, (side_px, side_px, 3), np.uint8)
        home = folder / "nuclei" / f"cell{index:03d}"
        (home / "images").mkdir(parents=True)
        (home / "masks").mkdir()
        rows, columns = np.mgrid[:side_px, :side_px]
        for number in range(3):
            row, column, radius = *rng.integers(8, side_px - 8, 2), times * rng.integers(5, 12)
            disc = (rows - row) ** 2 + (columns - column) ** 2 < radius**2
            image[disc] += 120
            Image.fromarray(disc).convert("L").save(home / "masks" / f"{number}.png")
        Image.fromarray(image).save(home / "images" / f"{home.name}.png")
    source = load_digit_source("train")
    options = DigitOptions(height=side_px, width=side_px, labels_are_multiclass=True)
    for split, count, seed in (("train", NUM_TRAIN, 0), ("val", NUM_VAL, 1)):
        images, masks = make_digits(count, source=source, options=options, seed=seed)
        for part in ("", "annot"):
            (folder / "camvid" / f"{split}{part}").mkdir(parents=True)
        for index, (image, mask) in enumerate(zip(images, masks, strict=True)):
            classes = np.where(mask.max(0) > 0, 1 + mask.argmax(0), 0).astype(np.uint8)
            color = np.repeat(image[..., None], 3, -1)
            Image.fromarray(color).save(folder / "camvid" / split / f"{index:03d}.png")
            target = folder / "camvid" / f"{split}annot" / f"{index:03d}.png"
            Image.fromarray(classes).save(target)
    return {kind: folder / kind for kind in ("digits", "nuclei", "camvid")}


def side_of(name: str) -> int:
    """Of the images that an entry learns on."""
    is_coarse = load_entry(name).recipe.model.name == COARSE
    return 2 * SIDE_PX if is_coarse else SIDE_PX


def smaller(name: str, epochs: int) -> list[str]:
    """What is changed of an entry's recipe: sizes and lengths alone."""
    size = f"[{side_of(name)}, {side_of(name)}]"
    changes = {"epochs": epochs, "batch_size": BATCH_SIZE, "size": size, "patience": epochs}
    overrides = [f"training.{key}={value}" for key, value in changes.items()]
    if load_entry(name).recipe.data.resize is not None:
        overrides.append(f"data.resize={size}")
    return overrides


def loss_without_looking(data: Path) -> float:
    """Of the best prediction that is the same whatever the image, on the validation split."""
    dataset = open_dataset(data)
    validation = [dataset.load(record) for record in dataset.split("val")]
    shares = torch.tensor(measure(validation, dataset.class_map).class_frequencies)
    logits = mode_of(dataset.label_mode).constant_logits(shares, torch.ones_like(shares)).float()
    mean = MeanLoss(build_loss(LIKELIHOOD, dataset.label_mode), dataset.label_mode)
    for sample in validation:
        mean.add(logits.view(-1, 1, 1).expand(-1, *sample.image.shape[:2]), sample.mask)
    return mean.mean


def losses_of(name: str, data: Path, out: Path, epochs: int) -> tuple[list[float], list[float]]:
    """The training loss and the validation loss of every epoch."""
    result = run_entry(name, data=data, out=out, overrides=smaller(name, epochs))
    with (Path(result.folder) / "history.csv").open(encoding="utf-8") as lines:
        rows = list(csv.DictReader(lines))
    return [float(row["train_loss"]) for row in rows], [float(row["val_loss"]) for row in rows]


def try_entry(name: str, data: Path, out: Path) -> bool:
    """Train one entry, print a line, and say whether it learns.

    Raises:
        PixelwiseError: It cannot be trained.
    """
    started = time.perf_counter()
    constant = loss_without_looking(data)
    for epochs in EPOCHS:
        trained, validated = losses_of(name, data, out / f"{name}-{epochs}", epochs)
        learns = trained[-1] < MUST_FALL_TO * trained[0] and min(validated) < constant
        if learns:
            break
    print(
        f"{name:<28} loss {trained[0]:.4f} to {trained[-1]:.4f}, validation {min(validated):.4f} "
        f"(ignoring the image {constant:.4f}) in {len(trained)} epochs, "
        f"{time.perf_counter() - started:.0f} s: {'learns' if learns else 'does not learn'}",
        flush=True,
    )
    return learns


def main() -> int:
    """Run the entries that were asked for; 1 where one fails."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", choices=[[], *list_entries()])
    names = parser.parse_args().names or list_entries()
    num_learning = 0
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        data = {side: make_data(folder / str(side), side) for side in (SIDE_PX, 2 * SIDE_PX)}
        for name in names:
            try:
                home = data[side_of(name)][load_entry(name).data]
                num_learning += try_entry(name, home, folder / "runs")
            except PixelwiseError as error:
                print(f"{name:<28} error: {error}", flush=True)
    print(f"{num_learning} of {len(names)} learn")
    return 0 if num_learning == len(names) else 1


if __name__ == "__main__":
    sys.exit(main())
