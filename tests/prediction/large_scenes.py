"""Models and pictures for the tests of large images, which are small here."""

import numpy as np
import tifffile
import torch
from PIL import Image

from pixelwise.classes import ClassMap, numbered_names
from pixelwise.io.images import read_image
from pixelwise.models import create_model
from pixelwise.models.model_file import ModelCard, Preprocessing, TrainingData
from pixelwise.prediction import large_images, partial_files
from pixelwise.prediction.predict import predict
from pixelwise.prediction.predictor import Predictor

SIZE = (150, 131)
TILE = (48, 64)


def make_small_large(monkeypatch):
    """Every image counts as large, and results are in tiles of 32 pixels."""
    monkeypatch.setattr(large_images, "LARGE_PIXELS", 0)
    monkeypatch.setattr(partial_files, "TILE_PX", 32)
    monkeypatch.setattr(large_images, "TILE_PX", 32)


def predictor_for(
    name="unet", *, num_classes=3, bands=3, dtype="uint8", mode="multiclass", tile=TILE, seed=0,
    arguments=None, **steps,
):  # fmt: skip
    torch.manual_seed(seed)
    unit = 200 if dtype == "uint16" else 1
    arguments = arguments or {"unet": {"filters": 4, "depth": 3}}.get(name, {})
    card = ModelCard(
        architecture=name,
        arguments=arguments,
        in_channels=bands,
        class_map=ClassMap.build(numbered_names(num_classes)),
        label_mode=mode,
        preprocessing=Preprocessing(
            dtype=dtype, mean=(100.0 * unit,) * bands, std=(60.0 * unit,) * bands, **steps
        ),
        training_size=(16, 16),
        metrics=None,
        data=TrainingData(fingerprint="", images=(), split=None, split_seed=0),
        versions={},
    )
    model = create_model(name, num_classes, bands, **arguments)
    return Predictor(model.eval(), card, device="cpu", tile=tile)


def scene(*size, bands=3, dtype=np.uint8, seed=0):
    """Blobs and noise: several classes, and none of them constant."""
    rng = np.random.default_rng(seed)
    rows, columns = np.indices(size[:2])[..., None]
    waves = np.sin(rows / 9 + np.arange(bands)) * np.cos(columns / 13) * 80 + 128
    pixels = np.clip(waves + rng.normal(0, 25, (*size[:2], bands)), 0, 255)
    return pixels.astype(dtype) if dtype != np.uint16 else (pixels * 200).astype(dtype)


def save_tiff(path, pixels, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    options = {"photometric": "rgb" if pixels.shape[-1] == 3 else "minisblack", **options}
    tifffile.imwrite(path, pixels, **options)
    return path


def whole_classes(predictor, path):
    """The class ids of the image when all of it is in memory, through the same tiles."""
    return predictor.probabilities(read_image(path)).argmax(0)


def predicted(predictor, path, out, **options):
    done = predict(predictor, [path], out, **options)
    assert done.failed == ()
    return {file.relative_to(out).as_posix(): tifffile.imread(file) for file in done.written}


def read_as_stored(path):
    with Image.open(path) as picture:
        return np.asarray(picture)
