"""The contestants of throughput.py that run on PyTorch; one task as JSON in, its speed as JSON out.

``pixelwise``: its public ``train``; the speed is the one that it writes into ``history.csv``.

``plain``: the loop of segmentation_models.pytorch's examples, without their Lightning and their
metrics at every step, which would only slow it: a DataLoader with a worker per core, Adam. The
operations of the augmentation are those that pixelwise chooses.

``torchvision``: as its ``references/segmentation``: their resizing and cropping, SGD with momentum,
a polynomial schedule moved at every step, and the loss asked for at every step.

``plain, decoded``: the same with all files decoded before the clock runs, so that decoding, which
pixelwise does once and before its first step, is not what makes the difference.

All train the same network from the same files; the other peers decode a file whenever it comes, as
they do in those examples.
"""

from __future__ import annotations

import csv
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from torch import Tensor, nn
from torch.utils.data import DataLoader
from torch.utils.data import Dataset as TorchDataset
from torchvision import tv_tensors
from torchvision.transforms import v2

from pixelwise import create_model, open_dataset, train
from pixelwise.classes import ClassMap, LabelMode
from pixelwise.data.sample import Record

PLAIN_DECODED = "plain, decoded"
PLAIN = ("plain", PLAIN_DECODED)

Decoded = tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint8]]

ZOOM = (0.75, 1.33)
JITTER = 0.2
"""What pixelwise chooses for brightness and contrast, and for the zoom."""

REFERENCE_BASE = 520 / 480
"""torchvision's short side before resizing, as a share of the crop."""


@dataclass(frozen=True)
class Task:
    """What throughput.py asks for; see there."""

    contestant: str
    model: str
    size: tuple[int, int]
    batch_size: int
    data: str
    epochs: int


def decoded(record: Record) -> Decoded:
    """Image (C, H, W) and planes (K, H, W) of the files of a record."""
    image = np.atleast_3d(np.array(Image.open(record.image))).transpose(2, 0, 1)
    return image, np.stack([np.array(Image.open(path)) for path in record.masks])


class Files(TorchDataset[tuple[Tensor, Tensor]]):
    """Image and mask files, decoded with Pillow whenever one is asked for, or all at once."""

    def __init__(
        self,
        records: Sequence[Record],
        label_mode: LabelMode,
        vary: Callable[..., Any],
        *,
        decode_first: bool,
    ) -> None:
        self._records = records
        self._decoded = [decoded(record) for record in records] if decode_first else None
        self._label_mode = label_mode
        self._vary = vary

    def __len__(self) -> int:
        return len(self._records)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        image, planes = self._decoded[index] if self._decoded else decoded(self._records[index])
        image, mask = self._vary(
            tv_tensors.Image(torch.from_numpy(image)), tv_tensors.Mask(torch.from_numpy(planes))
        )
        is_multiclass = self._label_mode == "multiclass"
        return image, mask[0].long() if is_multiclass else mask.float() / 255


def augmentation(task: Task, in_channels: int, ignored: int) -> v2.Compose:
    """What a peer does to image and mask."""
    fill = {tv_tensors.Image: 0, tv_tensors.Mask: ignored}
    if task.contestant in PLAIN:
        resize = [v2.ScaleJitter(task.size, scale_range=ZOOM)]
        colors = [v2.ColorJitter(brightness=JITTER, contrast=JITTER)]
    else:
        base = min(task.size) * REFERENCE_BASE
        resize, colors = [v2.RandomResize(int(0.5 * base), int(2 * base))], []
    return v2.Compose(
        [
            *resize,
            v2.RandomHorizontalFlip(0.5),
            v2.RandomCrop(task.size, pad_if_needed=True, fill=fill),
            *colors,
            v2.ToDtype({tv_tensors.Image: torch.float32, "others": None}, scale=True),
            v2.Normalize((0.45,) * in_channels, (0.25,) * in_channels),
            v2.ToPureTensor(),
        ]
    )


def loss_of(label_mode: LabelMode, class_map: ClassMap) -> nn.Module:
    """The usual loss of the label mode."""
    if label_mode == "multiclass":
        return nn.CrossEntropyLoss(ignore_index=class_map.ignore[0])
    return nn.BCEWithLogitsLoss()


def run_peer(task: Task) -> list[float]:
    """Images per second of every epoch of a peer's loop."""
    dataset = open_dataset(task.data)
    records, class_map = dataset.split("train"), dataset.class_map
    is_multiclass = dataset.label_mode == "multiclass"
    in_channels = np.atleast_3d(np.array(Image.open(records[0].image))).shape[2]
    vary = augmentation(task, in_channels, class_map.ignore[0] if is_multiclass else 0)
    loader = DataLoader(
        Files(records, dataset.label_mode, vary, decode_first=task.contestant == PLAIN_DECODED),
        task.batch_size,
        shuffle=True,
        num_workers=os.cpu_count() or 1,
        persistent_workers=True,
        drop_last=task.contestant == "torchvision",
    )
    model = create_model(task.model, class_map.num_classes, in_channels).train()
    loss_function = loss_of(dataset.label_mode, class_map)
    step = (plain_step if task.contestant in PLAIN else reference_step)(
        model, loss_function, task.epochs * len(loader)
    )
    speeds = []
    for _ in range(task.epochs):
        started, num_images = time.perf_counter(), 0
        for image, mask in loader:
            step(image, mask)
            num_images += len(image)
        speeds.append(num_images / (time.perf_counter() - started))
    return speeds


Step = Callable[[Tensor, Tensor], None]


def plain_step(model: nn.Module, loss_function: nn.Module, num_steps: int) -> Step:  # noqa: ARG001
    """The step of segmentation_models.pytorch's examples."""
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)

    def step(image: Tensor, mask: Tensor) -> None:
        loss = loss_function(model(image), mask)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    return step


def reference_step(model: nn.Module, loss_function: nn.Module, num_steps: int) -> Step:
    """The step of torchvision's reference."""
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9, weight_decay=1e-4)
    schedule = torch.optim.lr_scheduler.PolynomialLR(optimizer, num_steps, power=0.9)
    shown = []

    def step(image: Tensor, mask: Tensor) -> None:
        with torch.autocast("cpu", enabled=False):
            loss = loss_function(model(image), mask)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        shown.append(loss.item())

    return step


def run_pixelwise(task: Task) -> list[float]:
    """Images per second of every epoch of our training, as it says them itself."""
    with tempfile.TemporaryDirectory() as folder:
        run = Path(folder) / "run"
        train(
            task.data,
            model=task.model,
            out=run,
            epochs=task.epochs,
            batch_size=task.batch_size,
            size=task.size,
            device="cpu",
            overrides=(
                "data.scale=1",
                "training.precision=float32",
                "augmentation.orientation=mirrored",
            ),
        )
        with (run / "history.csv").open(encoding="utf-8", newline="") as history:
            return [float(row["images_per_s"]) for row in csv.DictReader(history)]


def main() -> None:
    """Run the task given as the one argument."""
    task = Task(**json.loads(sys.argv[1]))
    task = Task(**{**vars(task), "size": tuple(task.size)})
    speeds = (run_pixelwise if task.contestant == "pixelwise" else run_peer)(task)
    names = ("torch", "torchvision", "segmentation_models_pytorch")
    result = {
        "images_per_s": statistics.median(speeds[1:]),
        "versions": {name: version(name) for name in names},
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
