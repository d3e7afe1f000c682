"""A trained model and its card: images in, class ids and probabilities out, at the image's size."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from pixelwise.devices import Precision, choose_device
from pixelwise.errors import ConfigError, DataError
from pixelwise.io.arrays import Array, UInt8Array
from pixelwise.models.base import SegmentationModel
from pixelwise.models.model_file import ModelCard, load_model_file
from pixelwise.prediction.engine_choice import AutoEngine, EngineChoice, engine_by_name
from pixelwise.prediction.engines import Engine, TorchEngine
from pixelwise.prediction.parity import CheckedEngine, Note
from pixelwise.prediction.scaled_rows import segment_scaled_parts
from pixelwise.prediction.tiling import Part, segment_parts, segment_tiled
from pixelwise.transforms.preprocessing import Preprocessing, normalize, prepare_image, restore_size

MIN_TILE_PX = 512
"""Images up to this size go through whole even where training saw smaller crops: the networks are
convolutions, so the crop's size is no limit, and a whole image has no seams."""

MAX_BATCH_PIXELS = 2**18
"""Pixels that go through the model at once, as far as one tile leaves the choice."""

THRESHOLD = 0.5
"""Multilabel masks: a pixel is of a class where its probability is above this."""


class Predictor:
    """A model that is ready to use.

    Args:
        model: The network.
        card: Its classes and preprocessing.
        device: Where to compute; see :func:`pixelwise.devices.choose_device`.
        precision: ``float32``, in which metrics are reported; or ``bfloat16``, which is faster on
            hardware that has it and decides a few pixels in a thousand otherwise.
        tile: Height and width in pixels, at working scale, above which an image is cut into tiles;
            ``None`` takes the training size, at least 512.
        engine: What computes: ``torch``; ``openvino``; or ``auto``, which tries the others where
            there is enough to predict and takes the fastest whose outputs match torch's. Only
            ``torch`` gives the same logits to the last bit whenever it is asked. ``None`` is
            ``torch``, but lets :func:`pixelwise.predict` choose.
        note: Told in a line what ``auto`` chose, and which engine has failed.

    Raises:
        UnknownNameError: There is no such engine.
        ConfigError: A tile without pixels; an engine that the device or the precision rule out.
        MissingExtraError: The engine is not installed.
    """

    def __init__(
        self,
        model: SegmentationModel,
        card: ModelCard,
        *,
        device: str | torch.device = "auto",
        precision: Precision = "float32",
        tile: tuple[int, int] | None = None,
        engine: str | None = None,
        note: Note | None = None,
    ) -> None:
        self.device = device if isinstance(device, torch.device) else choose_device(device)
        self.card = card
        model.to(self.device).to(memory_format=torch.channels_last)
        self.model = model
        height, width = card.training_size
        self.tile = tile or (max(height, MIN_TILE_PX), max(width, MIN_TILE_PX))
        if min(self.tile) < 1:
            raise ConfigError(f"tile must be at least 1 x 1. Got {self.tile}")
        self.has_engine_of_choice = engine is not None
        self._reference = TorchEngine(model, self.device, precision)
        self._engines: dict[str, Engine] = {}
        self._use_engine(engine or "torch", note)

    @property
    def precision(self) -> Precision:
        """``float32`` or ``bfloat16``, as given."""
        return self._reference.precision

    @property
    def engine(self) -> str:
        """The name of the engine that was asked for."""
        return self._engine_name

    @property
    def engine_choices(self) -> tuple[EngineChoice, ...]:
        """What the engine ``auto`` has chosen, by batch shape, and why."""
        engines = self._engines.values()
        return tuple(
            choice for auto in engines if isinstance(auto, AutoEngine) for choice in auto.choices
        )

    @contextmanager
    def using_engine(self, name: str, note: Note | None = None) -> Iterator[None]:
        """Compute with another engine while the context lasts; what it has learned is kept.

        Args:
            name: As ``engine`` of the predictor itself.
            note: As there.

        Raises:
            PixelwiseError: As there.
        """
        before = self._engine_name, self._note
        self._use_engine(name, note)
        try:
            yield
        finally:
            self._use_engine(*before)

    def _use_engine(self, name: str, note: Note | None) -> None:
        known = self._engines.get(name)
        if known is None or (isinstance(known, CheckedEngine) and known.is_given_up):
            self._engines[name] = engine_by_name(name, self._reference, self.decide, self._say)
        self._engine_name, self._note = name, note

    def _say(self, line: str) -> None:
        if self._note is not None:
            self._note(line)

    def predict(self, image: Array) -> npt.NDArray[np.uint8] | npt.NDArray[np.bool_]:
        """Segment one image.

        Args:
            image: (H, W) or (H, W, C), any size, of the type that the model was trained on.

        Returns:
            Multiclass: class ids, uint8 (H, W). Multilabel: bool (K, H, W).

        Raises:
            DataError: Type or channels are not those of the training images.
        """
        return self.decide(self.logits(image))

    def probabilities(self, image: Array) -> npt.NDArray[np.float32]:
        """Segment one image.

        Args:
            image: As for :meth:`predict`.

        Returns:
            float32 (K, H, W), 0 to 1; for multiclass masks they add up to 1 at every pixel.

        Raises:
            DataError: Type or channels are not those of the training images.
        """
        return self.to_probabilities(self.logits(image))

    def logits(self, image: Array, name: str = "image") -> Tensor:
        """Raw scores of one image, float32 (K, H, W) on the CPU; ``name`` is for messages.

        Raises:
            DataError: Type or channels are not those of the training images.
        """
        return next(self.logits_of([(name, image)]))

    def logits_of(self, images: Iterable[tuple[str, Array]]) -> Iterator[Tensor]:
        """Raw scores of many images, in order; equal working sizes in a row go through together.

        Args:
            images: Names, for messages, and images as for :meth:`predict`.

        Yields:
            float32 (K, H, W) on the CPU, one per image.
        """
        waiting: list[Tensor] = []
        sizes: list[tuple[int, int]] = []
        for name, image in images:
            tensor = self.prepare(image, name)
            pixels = math.prod(self.model.padded_size(*tensor.shape[-2:]))
            is_full = (len(waiting) + 1) * pixels > MAX_BATCH_PIXELS
            if waiting and (tensor.shape != waiting[0].shape or is_full):
                yield from self._segment(waiting, sizes)
                waiting, sizes = [], []
            waiting.append(tensor)
            sizes.append((image.shape[0], image.shape[1]))
        if waiting:
            yield from self._segment(waiting, sizes)

    def computed_pixels(self, height: int, width: int) -> int:
        """How many pixels go through the model for an image of that size, padding included."""
        return math.prod(
            self.model.padded_size(*self.card.preprocessing.fitted_size(height, width))
        )

    def decide(self, logits: Tensor) -> npt.NDArray[np.uint8] | npt.NDArray[np.bool_]:
        """Class ids (multiclass) or yes and no per class (multilabel) of logits (K, H, W)."""
        if self.card.label_mode == "multiclass":
            # The place of the maximum: torch's argmax was measured at four times the time of it.
            return np.asarray(logits.max(0).indices.to(torch.uint8).numpy())
        return np.asarray((logits > math.log(THRESHOLD / (1 - THRESHOLD))).numpy())

    def to_probabilities(self, logits: Tensor) -> npt.NDArray[np.float32]:
        """Softmax (multiclass) or sigmoid (multilabel) of logits (K, H, W), calibrated."""
        multiclass = self.card.label_mode == "multiclass"
        logits = logits / self.card.temperature
        probabilities = logits.softmax(0) if multiclass else logits.sigmoid()
        return np.asarray(probabilities.numpy(), dtype=np.float32)

    def prepare(self, image: Array, name: str = "image") -> Tensor:
        """Check an image and do what the model file says, as far as the normalization.

        Args:
            image: As for :meth:`predict`.
            name: Its name, for messages.

        Returns:
            (C, H, W) in stored units and at working size; see
            :func:`pixelwise.transforms.preprocessing.prepare_image`.

        Raises:
            DataError: Type, bands or channels are not those of the training images.
        """
        return self._prepared(image, self.card.preprocessing, name)

    def _prepared(self, image: Array, preprocessing: Preprocessing, name: str) -> Tensor:
        if image.ndim == 2:
            image = image[..., None]
        if image.ndim != 3 or 0 in image.shape:
            raise DataError(f"{name} must be (H, W) or (H, W, C). Got the shape {image.shape}")
        dtype = preprocessing.dtype
        if str(image.dtype) != dtype:
            raise DataError(
                f"{name} must be {dtype}, as the images that the model was trained on. "
                f"Got {image.dtype}. Convert it, or train a model on such images"
            )
        return prepare_image(image, preprocessing, self.card.in_channels, name)

    @torch.no_grad()
    def segment_rows(
        self,
        read_rows: Callable[[int, int], Array],
        size: tuple[int, int],
        *,
        first_row: int = 0,
        name: str = "image",
    ) -> Iterator[Part]:
        """Raw scores of an image that is read row by row, the same as :meth:`logits` has them.

        At a scale below 1 they are the same but for rounding in the last digits.

        Args:
            read_rows: Gives the rows from one to before another, (rows, W, C), as for
                :meth:`predict`. It is asked from top to bottom; neighbors overlap.
            size: Height and width of the image.
            first_row: Rows above it are left out.
            name: The image's name, for messages.

        Yields:
            Finished parts; see :func:`pixelwise.prediction.tiling.segment_parts`.

        Raises:
            ConfigError: The model's preprocessing needs the whole image; see
                :func:`whole_image_step`.
            DataError: Type or channels are not those of the training images.
        """
        step = whole_image_step(self.card.preprocessing)
        if step is not None:
            raise ConfigError(f"{name} must be predicted as a whole, for the model's step: {step}")
        unscaled = self.card.preprocessing.model_copy(update={"scale": 1.0})
        fitted = self.card.preprocessing.fitted_size(*size)

        def read(start: int, stop: int) -> Tensor:
            return self._prepared(read_rows(start, stop), unscaled, name)

        many: dict[str, Any] = {"batch_size": self._tiles_at_once, "first_row": first_row}
        with self._evaluating():
            if fitted == size:
                yield from segment_parts(self._forward, read, size, self.tile, **many)
            else:
                yield from segment_scaled_parts(
                    self._forward, read, size, fitted, self.tile, **many
                )

    @torch.no_grad()
    def _segment(self, images: list[Tensor], sizes: list[tuple[int, int]]) -> Iterator[Tensor]:
        """Segment prepared images of one working size; logits have the sizes given."""
        height, width = images[0].shape[-2:]
        with self._evaluating():
            if height <= self.tile[0] and width <= self.tile[1]:
                results = list(self._forward(torch.stack(images)))
            else:
                results = [
                    segment_tiled(self._forward, image, self.tile, batch_size=self._tiles_at_once)
                    for image in images
                ]
        for logits, size in zip(results, sizes, strict=True):
            yield restore_size(logits, self.card.preprocessing, *size)

    @property
    def _tiles_at_once(self) -> int:
        return max(1, MAX_BATCH_PIXELS // (self.tile[0] * self.tile[1]))

    @contextmanager
    def _evaluating(self) -> Iterator[None]:
        # Layer by layer, so that those that were frozen stay so, and fast where there is none.
        training = [layer for layer in self.model.modules() if layer.training]
        for layer in training:
            layer.training = False
        try:
            yield
        finally:
            for layer in training:
                layer.training = True

    def _forward(self, batch: Tensor) -> Tensor:
        """Logits, float32 on the CPU, of images in stored units."""
        images = normalize(batch.to(self.device), self.card.preprocessing)
        return self._engines[self._engine_name](images)


def whole_image_step(preprocessing: Preprocessing) -> str | None:
    """A step of a model's preprocessing for which some rows of an image are too few.

    Returns:
        The step in words; ``None`` where there is none.
    """
    others = preprocessing.model_copy(update={"bands": None, "scale": 1.0}).describe()
    return others[0] if others else None


def load_model(
    path: Path | str, *, device: str = "auto", precision: Precision = "float32"
) -> Predictor:
    """Load a model file, ready to predict.

    Args:
        path: A ``model.safetensors`` of a run, or the run's folder.
        device: Where to compute; ``auto`` takes CUDA, then MPS, then the CPU.
        precision: ``float32`` or ``bfloat16``; see :class:`Predictor`.

    Raises:
        ModelFileError: The file is missing, cut, or of another kind.

    Example:
        >>> predictor = load_model("runs/first/model.safetensors")  # doctest: +SKIP
        >>> predictor.predict(image).shape == image.shape[:2]  # doctest: +SKIP
        True
    """
    model, card = load_model_file(path)
    return Predictor(model, card, device=device, precision=precision)


def class_picture(prediction: Array) -> UInt8Array:
    """One plane of class numbers, as an index picture holds them.

    Args:
        prediction: Multiclass: class ids (H, W), returned as they are. Multilabel: the classes'
            probabilities (K, H, W); a pixel gets 1 + the likeliest class above the threshold, and
            0 where there is none.
    """
    if prediction.ndim == 2:
        return prediction
    best = prediction.argmax(0)
    return np.where(prediction.max(0) > THRESHOLD, best + 1, 0).astype(np.uint8)
