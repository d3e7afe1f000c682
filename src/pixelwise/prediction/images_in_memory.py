"""Predicts images whose results are returned, and images that are given in memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeGuard

import numpy as np
import numpy.typing as npt
from PIL import Image

from pixelwise.classes import ClassMap
from pixelwise.errors import ConfigError, DataError
from pixelwise.files import as_path
from pixelwise.io.arrays import Array
from pixelwise.io.images import read_image
from pixelwise.io.pillow_pixels import array_of_picture
from pixelwise.prediction.predictor import Predictor
from pixelwise.prediction.writers import SaveKind, write_prediction

InMemory = Image.Image | Array
OneInput = Path | str | InMemory
Inputs = OneInput | Sequence[OneInput]
"""What ``predict`` takes: paths, Pillow images and arrays."""

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Prediction:
    """The result of one image, at the size of the image.

    Attributes:
        name: The path of the image, or ``image``.
        class_ids: Multiclass: class ids, uint8 (H, W). Multilabel: bool (K, H, W).
        probabilities: Calibrated probabilities, float32 (K, H, W), 0 to 1.
        class_map: Names and colors of the K classes.
    """

    name: str
    class_ids: npt.NDArray[np.uint8] | npt.NDArray[np.bool_] = field(repr=False)
    probabilities: npt.NDArray[np.float32] = field(repr=False)
    class_map: ClassMap = field(repr=False)


def is_in_memory(entry: Any) -> TypeGuard[InMemory]:
    """Whether the input is an image and not a path or a list."""
    return isinstance(entry, Image.Image | np.ndarray)


def wrong_input(entry: object) -> ConfigError:
    """Return the error for an input that is no image."""
    return ConfigError(
        f"`inputs` must be paths, Pillow images or arrays (H, W, C). Got {type(entry).__name__}"
    )


def predict_in_memory(
    predictor: Predictor, entries: Sequence[OneInput], on_progress: Progress | None
) -> list[Prediction]:
    """Return the result of each image.

    Args:
        predictor: Model.
        entries: Paths, Pillow images and arrays.
        on_progress: Callback that receives the number of finished images and the total.

    Raises:
        DataError: An image cannot be read or does not suit the model.
        ConfigError: An entry is a folder.
    """
    names = _names(entries)
    images = ((name, _array(entry)) for name, entry in zip(names, entries, strict=True))
    found: list[Prediction] = []
    for name, logits in zip(names, predictor.logits_of(images), strict=True):
        found.append(
            Prediction(
                name,
                predictor.decide(logits),
                predictor.to_probabilities(logits),
                predictor.card.class_map,
            )
        )
        if on_progress:
            on_progress(len(found), len(entries))
    return found


def write_in_memory(
    predictor: Predictor,
    images: Sequence[InMemory],
    folders: Mapping[SaveKind, Path],
    on_progress: Progress | None,
) -> Iterator[Path]:
    """Predict images that have no file name, and yield the files that were written.

    Args:
        predictor: Model.
        images: Pillow images and arrays.
        folders: Output folder of each kind of result.
        on_progress: Callback that receives the number of finished images and the total.
    """
    for index, (name, image) in enumerate(zip(_names(images), images, strict=True), start=1):
        pixels = _array(image)
        (result,) = predict_in_memory(predictor, [pixels], None)
        for kind, folder in folders.items():
            yield from write_prediction(
                folder,
                name,
                kind,
                image=pixels,
                probabilities=result.probabilities,
                class_map=result.class_map,
                label_mode=predictor.card.label_mode,
            )
        if on_progress:
            on_progress(index, len(images))


def _names(entries: Sequence[OneInput]) -> list[str]:
    many = len(entries) > 1
    return [
        (f"image-{index}" if many else "image") if is_in_memory(entry) else str(entry)
        for index, entry in enumerate(entries)
    ]


def _array(entry: OneInput) -> Array:
    """Return an input as an array (H, W, C)."""
    if isinstance(entry, Image.Image):
        return array_of_picture(entry)
    if isinstance(entry, np.ndarray):
        return entry[..., None] if entry.ndim == 2 else entry
    if not isinstance(entry, Path | str):
        raise wrong_input(entry)
    path = as_path(entry, "inputs")
    if path.is_dir():
        raise ConfigError(
            f"`out` must be a folder for the results, as the input {path} is a folder. Got none"
        )
    if not path.is_file():
        raise DataError(f"{path} must be an image or a folder. It does not exist")
    return read_image(path)
