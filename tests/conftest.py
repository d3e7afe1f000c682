"""Small data sets, the real data, and the command line in process; shared by all tests."""

import itertools
import os
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

ROOT = Path(__file__).parents[1]

COLORS = np.array([(30, 30, 30), (220, 60, 40), (50, 200, 60), (60, 80, 230), (230, 230, 90)])


@pytest.fixture(autouse=True)
def _no_debug(monkeypatch):
    monkeypatch.delenv("PIXELWISE_DEBUG", raising=False)


_caches = itertools.count()


@pytest.fixture(autouse=True)
def _cache_of_its_own(monkeypatch, tmp_path_factory):
    """No test writes into the user's cache, or reads what another test has left."""
    folder = tmp_path_factory.getbasetemp() / f"cache-{next(_caches)}"
    monkeypatch.setenv("PIXELWISE_CACHE", str(folder))


@pytest.fixture
def ticking_clock(monkeypatch):
    """Time that passes by 10 ms whenever it is asked for, so that budgets end alike everywhere."""
    ticks = itertools.count()
    monkeypatch.setattr(time, "perf_counter", lambda: next(ticks) / 100)


@pytest.fixture(scope="session")
def test_data():
    """The folder of real data sets; the test is skipped where it is absent."""
    folder = Path(os.environ.get("PIXELWISE_TEST_DATA") or ROOT / "../shared/data").resolve()
    if not folder.is_dir():
        pytest.skip(f"no real data: {folder} does not exist (set PIXELWISE_TEST_DATA)")
    return folder


def save_picture(path, pixels):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.asarray(pixels)).save(path)
    return path


def draw_example(rng, size, num_classes):
    """A noisy color image of rectangles and its class ids; class 0 is the ground."""
    height, width = size
    mask = np.zeros(size, np.uint8)
    for class_id in range(1, num_classes):
        top, left = (
            int(rng.integers(max(1, height // 2))),
            int(rng.integers(max(1, width // 2))),
        )
        mask[top : top + max(1, height // 3), left : left + max(1, width // 3)] = class_id
    noise = rng.integers(-20, 21, (height, width, 3))
    image = np.clip(COLORS[mask % len(COLORS)] + noise, 0, 255).astype(np.uint8)
    return image, mask


def _roots(folder, splits, num_images):
    """(folder of the images' parents, image number) for each image."""
    for split in splits or (None,):
        root = folder / split if split else folder
        for number in range(num_images):
            yield root, number


@pytest.fixture(scope="session")
def make_index_dataset():
    """Images and index masks: images/NAME.png + masks/NAME.png, also inside split folders.

    Options: num_images (per split), size, num_classes, seed, splits, ignored (value of an ignored
    row).
    """

    def make(
        folder, *, num_images=6, size=(16, 16), num_classes=3, seed=0, splits=(), ignored=None
    ):
        rng = np.random.default_rng(seed)
        for root, number in _roots(folder, splits, num_images):
            image, mask = draw_example(rng, size, num_classes)
            if ignored is not None:
                mask[-1] = ignored
            save_picture(root / "images" / f"{number:03d}.png", image)
            save_picture(root / "masks" / f"{number:03d}.png", mask)
        return folder

    return make


@pytest.fixture(scope="session")
def make_object_dataset():
    """A folder per image, one mask PNG (0 and 255) per object.

    Options: num_images (per split), size, num_objects, seed, splits.
    """

    def make(folder, *, num_images=6, size=(16, 16), num_objects=2, seed=0, splits=()):
        rng = np.random.default_rng(seed)
        for root, number in _roots(folder, splits, num_images):
            image, objects = draw_example(rng, size, num_objects + 1)
            place = root / f"cell-{number:03d}"
            save_picture(place / "images" / f"cell-{number:03d}.png", image)
            (place / "masks").mkdir()
            for index in range(1, num_objects + 1):
                plane = np.where(objects == index, 255, 0).astype(np.uint8)
                save_picture(place / "masks" / f"object-{index}.png", plane)
        return folder

    return make


@pytest.fixture(scope="session")
def make_class_dataset():
    """One soft grayscale mask per class: images/NAME.png + masks/CLASS/NAME.png.

    Options: num_images (per split), size, num_classes, seed, splits. Classes are called
    ``kind-0`` and so on.
    """

    def make(folder, *, num_images=6, size=(16, 16), num_classes=3, seed=0, splits=()):
        rng = np.random.default_rng(seed)
        for root, number in _roots(folder, splits, num_images):
            image, mask = draw_example(rng, size, num_classes + 1)
            save_picture(root / "images" / f"{number:03d}.png", image)
            for index in range(num_classes):
                soft = rng.integers(128, 256, size)
                plane = np.where(mask == index + 1, soft, 0).astype(np.uint8)
                save_picture(root / "masks" / f"kind-{index}" / f"{number:03d}.png", plane)
        return folder

    return make


@pytest.fixture
def make_model_file():
    """A model file with random weights: (path, **options) -> path.

    Options: name, class_map, label_mode, in_channels, dtype, training_size.
    """

    def make(path, *, name="stacked-fcn", class_map=None, label_mode="multiclass", in_channels=3,
             dtype="uint8", training_size=(16, 16)):  # fmt: skip
        import torch

        from pixelwise.classes import ClassMap, numbered_names
        from pixelwise.models import create_model
        from pixelwise.models.model_file import (
            ModelCard,
            Preprocessing,
            TrainingData,
            current_versions,
            save_model_file,
        )

        class_map = class_map or ClassMap.build(numbered_names(3))
        torch.manual_seed(0)
        model = create_model(name, class_map.num_classes, in_channels)
        card = ModelCard(
            architecture=name,
            in_channels=in_channels,
            class_map=class_map,
            label_mode=label_mode,
            preprocessing=Preprocessing(
                dtype=dtype, mean=(100.0,) * in_channels, std=(50.0,) * in_channels
            ),
            training_size=training_size,
            metrics=None,
            data=TrainingData(fingerprint="none", images=(), split=None, split_seed=0),
            versions=current_versions(),
        )
        save_model_file(path, model, card)
        return path

    return make


@pytest.fixture
def run_cli(monkeypatch, capsys):
    """Run the command line in this process: (*arguments) -> (exit code, stdout, stderr)."""

    def run(*arguments):
        from pixelwise.cli import main

        monkeypatch.setattr(sys, "argv", ["pixelwise", *map(str, arguments)])
        capsys.readouterr()
        with pytest.raises(SystemExit) as exit_info:
            main()
        captured = capsys.readouterr()
        return exit_info.value.code or 0, captured.out, captured.err

    return run
