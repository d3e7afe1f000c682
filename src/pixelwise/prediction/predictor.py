"""Predicts class ids and probabilities at the image's size with a trained model."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, suppress
from typing import Any, Literal, Self

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from pixelwise.classes import ClassMap, LabelMode
from pixelwise.config import Resize
from pixelwise.devices import Precision, choose_device
from pixelwise.errors import ConfigError, DataError
from pixelwise.io.arrays import Array
from pixelwise.label_modes import mode_of
from pixelwise.models.base import SegmentationModel
from pixelwise.models.creation import adopted
from pixelwise.models.model_file import ModelCard
from pixelwise.prediction.arranged import arranged
from pixelwise.prediction.batch_pixels import BatchPixels
from pixelwise.prediction.engine_switch import EngineSwitch
from pixelwise.prediction.engines import TorchEngine
from pixelwise.prediction.own_model import card_of_own_model
from pixelwise.prediction.parity import Note
from pixelwise.prediction.scaled_rows import segment_scaled_parts
from pixelwise.prediction.tiling import Part, segment_parts, segment_tiled
from pixelwise.prediction.unlikely_values import require_finite, require_likely
from pixelwise.transforms.preprocessing import Normalize, Preprocessing, prepare_image, restore_size

MIN_TILE_PX = 512
"""Images up to this size are not tiled, even if the training crops were smaller: the networks are
convolutional, so they are not limited to the crop size, and a whole image has no seams."""

MAX_BATCH_PIXELS = 2**18
"""Maximum number of pixels per batch, which always holds at least one tile; on CUDA more if memory
allows."""


class Predictor:
    """A model ready for prediction; immutable and safe to share between threads.

    Args:
        model: Network; it is not changed. Weights that are already on the device in channels-last
            format are shared, not copied: create a new predictor after training the network
            further.
        card: Model card with the classes and the preprocessing.
        device: Device to compute on; see :func:`pixelwise.devices.choose_device`.
        precision: ``float32``, in which metrics are reported, or ``bfloat16``, which is faster on
            hardware that supports it and changes the class of a few pixels per thousand.
        tile: Height and width in pixels, at working scale; larger images are cut into tiles.
            ``None`` uses the training size, at least 512.
        engine: ``torch``, ``openvino``, or ``auto``, which tries the other engines if there is
            enough work and uses the fastest one whose outputs match those of torch. Only ``torch``
            always returns bit-identical logits. ``None`` is ``torch``, but lets
            :func:`pixelwise.predict` choose.
        note: Callback that receives a message about the choice of ``auto`` or a failed engine.

    Raises:
        UnknownNameError: No engine has this name.
        ConfigError: The tile is empty, or the engine does not support the device or the precision.
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
        self._mode = mode_of(card.label_mode)
        self.model = arranged(model, self.device)
        height, width = card.training_size
        self.tile = tile or (max(height, MIN_TILE_PX), max(width, MIN_TILE_PX))
        if min(self.tile) < 1:
            raise ConfigError(f"tile must be at least 1 x 1. Got {self.tile}")
        self.is_engine_given = engine is not None
        self._normalize = Normalize(card.preprocessing).to(self.device)
        self._batch_pixels = BatchPixels.on(self.device)
        self._reference = TorchEngine(self.model, self.device, precision)
        self._switch = EngineSwitch(self._reference, self.decide, engine or "torch", note)

    @classmethod
    def from_model(
        cls,
        model: nn.Module,
        class_map: ClassMap | Sequence[str],
        *,
        label_mode: LabelMode = "multiclass",
        in_channels: int = 3,
        mean: float | Sequence[float] = 0.0,
        std: float | Sequence[float] = 1.0,
        dtype: Literal["uint8", "uint16", "float32"] = "uint8",
        scale: float = 1.0,
        resize: Resize | None = None,
        tile: tuple[int, int] = (1024, 1024),
        **options: Any,
    ) -> Self:
        """Make a predictor of a network that is in no model file, such as one of your own.

        It can be evaluated, reported and used for predictions like a model of pixelwise.

        Args:
            model: Maps images, float32 (N, C, H, W), to logits (N, K, H, W), or to a mapping that
                holds them under ``out``, as the networks of torchvision. It is copied. Which sizes
                it takes is found by trying; others are padded, and the logits cropped back.
            class_map: The K classes, such as ``dataset.class_map``, or their names.
            label_mode: ``multiclass`` takes the softmax of the logits, ``multilabel`` the sigmoid.
            in_channels: Channels of the images.
            mean: Subtracted from each channel after the values were scaled to 0..1, as timm,
                torchvision and segmentation_models.pytorch give it for their weights; for
                ImageNet, ``(0.485, 0.456, 0.406)``. By default, the images are only scaled.
            std: Divisor of each channel after that; for ImageNet, ``(0.229, 0.224, 0.225)``.
            dtype: Type of the images; its largest value, 255, 65535 or 1, is scaled to 1.
            scale: Images are resized by this factor, and logits back to the size of the image.
            resize: Resizes images to a fixed working size instead; see
                :class:`pixelwise.config.DataRecipe`.
            tile: Height and width in pixels, at working size; larger images are cut into
                overlapping tiles.
            **options: ``device``, ``precision``, ``engine`` and ``note``, as for the constructor.

        Raises:
            ConfigError: An argument is out of range, or the network returns something else.

        Example:
            >>> network = smp.Unet("resnet34", classes=3)  # doctest: +SKIP
            >>> own = Predictor.from_model(network, ["ground", "house", "road"])  # doctest: +SKIP
            >>> evaluate(own, "my-images", "test").mean_iou  # doctest: +SKIP
            0.61
        """
        card = card_of_own_model(
            type(model).__name__,
            class_map,
            label_mode=label_mode,
            in_channels=in_channels,
            mean=mean,
            std=std,
            dtype=dtype,
            scale=scale,
            resize=resize,
            tile=tile,
        )
        network = adopted(model)
        if network.num_classes != card.class_map.num_classes:
            raise ConfigError(
                f"model must return one channel of logits per class, {card.class_map.num_classes}. "
                f"{card.architecture} returned {network.num_classes}"
            )
        return cls(network, card, tile=tile, **options)

    @property
    def precision(self) -> Precision:
        """``float32`` or ``bfloat16``."""
        return self._reference.precision

    @property
    def engine(self) -> str:
        """Name of the requested engine."""
        return self._switch.name

    def using_engine(self, name: str, note: Note | None = None) -> AbstractContextManager[None]:
        """Use another engine within a context, in this thread only; see :class:`EngineSwitch`.

        Args:
            name: Engine name, as for the constructor.
            note: Callback for messages, as for the constructor.

        Raises:
            PixelwiseError: The engine cannot be used; see the constructor.
        """
        return self._switch.using(name, note)

    def predict(self, image: Array) -> npt.NDArray[np.uint8] | npt.NDArray[np.bool_]:
        """Segment one image.

        Args:
            image: Image of any size, (H, W) or (H, W, C), with the dtype of the training images.

        Returns:
            Multiclass: class ids, uint8 (H, W). Multilabel: bool (K, H, W).

        Raises:
            DataError: The dtype or the channels differ from those of the training images.
        """
        return self.decide(self.logits(image))

    def probabilities(self, image: Array) -> npt.NDArray[np.float32]:
        """Return the class probabilities of one image.

        Args:
            image: Image as for :meth:`predict`.

        Returns:
            float32 (K, H, W), 0 to 1; for multiclass models they sum to 1 at every pixel.

        Raises:
            DataError: The dtype or the channels differ from those of the training images.
        """
        return self.to_probabilities(self.logits(image))

    def logits(self, image: Array, name: str = "image") -> Tensor:
        """Return the raw scores of one image, float32 (K, H, W) on the CPU.

        Args:
            image: Image as for :meth:`predict`.
            name: Name of the image in messages.

        Raises:
            DataError: Dtype or channels are not those of the training, or logits are not finite.
        """
        return next(self.logits_of([(name, image)])).cpu()

    def logits_of(self, images: Iterable[tuple[str, Array]]) -> Iterator[Tensor]:
        """Yield the raw scores of many images, in order; successive images of one size are batched.

        Args:
            images: Pairs of a name for messages and an image as for :meth:`predict`.

        Yields:
            Logits of one image, float32 (K, H, W), on the predictor's device; on the CPU for tiled
            images whose logits do not fit on the device.
        """
        waiting: list[Tensor] = []
        names: list[str] = []
        sizes: list[tuple[int, int]] = []
        for name, image in images:
            tensor = self.prepare(image, name)
            pixels = math.prod(self.model.padded_size(*tensor.shape[-2:]))
            is_full = (len(waiting) + 1) * pixels > self.max_batch_pixels
            if waiting and (tensor.shape != waiting[0].shape or is_full):
                yield from map(require_finite, self._segment(waiting, sizes), names)
                waiting, names, sizes = [], [], []
            waiting.append(tensor)
            names.append(name)
            sizes.append((image.shape[0], image.shape[1]))
        if waiting:
            yield from map(require_finite, self._segment(waiting, sizes), names)

    @property
    def max_batch_pixels(self) -> int:
        """Maximum number of pixels per batch, which always holds at least one image or tile.

        On CUDA, the memory of one tile is measured before the first batch, so that all batches
        of a predictor have the same size.
        """
        if self._batch_pixels.is_open:
            self._forward_blank_tile()
        return self._batch_pixels.limit(MAX_BATCH_PIXELS)

    @torch.no_grad()
    def _forward_blank_tile(self) -> None:
        """Compute one tile for its measurement; the first batch on CUDA also builds kernels."""
        with suppress(RuntimeError, MemoryError):  # the first batch fails in the same way
            self._forward(torch.zeros(1, self.card.in_channels, *self.tile))

    def computed_pixels(self, height: int, width: int) -> int:
        """Return the number of pixels computed for an image of this size, including padding."""
        return math.prod(
            self.model.padded_size(*self.card.preprocessing.fitted_size(height, width))
        )

    def decide(self, logits: Tensor) -> npt.NDArray[np.uint8] | npt.NDArray[np.bool_]:
        """Return the decision for logits (K, H, W): class ids (multiclass) or bool (multilabel)."""
        return np.asarray(self._mode.decide(logits).cpu().numpy())

    def to_probabilities(self, logits: Tensor) -> npt.NDArray[np.float32]:
        """Return the calibrated softmax (multiclass) or sigmoid (multilabel) of logits.

        Args:
            logits: Raw scores (K, H, W).

        Returns:
            float32 (K, H, W), 0 to 1.
        """
        probabilities = self._mode.probabilities(logits, self.card.temperature)
        return np.asarray(probabilities.cpu().numpy(), dtype=np.float32)

    def prepare(self, image: Array, name: str = "image") -> Tensor:
        """Check an image and apply the model's preprocessing up to the normalization.

        Args:
            image: Image as for :meth:`predict`.
            name: Name of the image in messages.

        Returns:
            Image (C, H, W) in stored units and at working size; see
            :func:`pixelwise.transforms.preprocessing.prepare_image`.

        Raises:
            DataError: The dtype, bands or channels differ from those of the training images.
        """
        return self._prepared(image, self.card.preprocessing, name)

    def _prepared(self, image: Array, preprocessing: Preprocessing, name: str) -> Tensor:
        if not isinstance(image, np.ndarray):
            raise ConfigError(
                f"{name} must be an array of numpy, (H, W) or (H, W, C). Got "
                f"{type(image).__name__}. For files and Pillow images, use "
                "pixelwise.predict(predictor, image)"
            )
        image = image[..., None] if image.ndim == 2 else image
        if image.ndim != 3 or 0 in image.shape:
            raise DataError(f"{name} must be (H, W) or (H, W, C). Got the shape {image.shape}")
        dtype = preprocessing.dtype
        if str(image.dtype) != dtype:
            raise DataError(
                f"{name} must be {dtype}, as the images that the model was trained on. "
                f"Got {image.dtype}. Convert it, or train a model on such images"
            )
        prepared = prepare_image(image, preprocessing, self.card.in_channels, name)
        return require_likely(prepared, preprocessing, name)

    @torch.no_grad()
    def segment_rows(
        self,
        read_rows: Callable[[int, int], Array],
        size: tuple[int, int],
        *,
        first_row: int = 0,
        name: str = "image",
    ) -> Iterator[Part]:
        """Yield the raw scores of an image that is read row by row; they equal :meth:`logits`.

        At a scale below 1, they may differ by rounding errors.

        Args:
            read_rows: Function that returns the rows ``start`` to ``stop - 1``, (rows, W, C), as
                for :meth:`predict`. It is called from top to bottom; successive ranges overlap.
            size: Height and width of the image.
            first_row: First row to return.
            name: Name of the image in messages.

        Yields:
            Finished parts; see :func:`pixelwise.prediction.tiling.segment_parts`.

        Raises:
            ConfigError: The preprocessing needs the whole image; see
                :attr:`Preprocessing.whole_image_step`.
            DataError: The dtype or the channels differ from those of the training images.
        """
        step = self.card.preprocessing.whole_image_step
        if step is not None:
            raise ConfigError(
                f"{name} must be predicted as a whole, because the model's preprocessing includes "
                f"{step}"
            )
        unscaled = self.card.preprocessing.model_copy(update={"scale": 1.0})
        fitted = self.card.preprocessing.fitted_size(*size)

        def read(start: int, stop: int) -> Tensor:
            return self._prepared(read_rows(start, stop), unscaled, name)

        many: dict[str, Any] = {"batch_size": self._tiles_at_once, "first_row": first_row}
        if fitted == size:
            parts = segment_parts(self._to_host, read, size, self.tile, **many)
        else:
            parts = segment_scaled_parts(self._to_host, read, size, fitted, self.tile, **many)
        for part in parts:
            require_finite(part.logits, name)
            yield part

    @torch.no_grad()
    def _segment(self, images: list[Tensor], sizes: list[tuple[int, int]]) -> Iterator[Tensor]:
        """Segment prepared images of one working size and return logits of the given sizes."""
        height, width = images[0].shape[-2:]
        if height <= self.tile[0] and width <= self.tile[1]:
            results = list(self._forward(torch.stack(images)))
        else:
            # Both the blended and the resized logits are in memory.
            pixels = height * width + max(rows * columns for rows, columns in sizes)
            num_bytes = 4 * self.card.class_map.num_classes * pixels
            forward = self._forward if self._batch_pixels.has_room_for(num_bytes) else self._to_host
            many: dict[str, Any] = {"batch_size": self._tiles_at_once}
            results = [segment_tiled(forward, image, self.tile, **many) for image in images]
        for logits, size in zip(results, sizes, strict=True):
            yield restore_size(logits, self.card.preprocessing, *size)

    @property
    def _tiles_at_once(self) -> int:
        return max(1, self.max_batch_pixels // (self.tile[0] * self.tile[1]))

    def _to_host(self, batch: Tensor) -> Tensor:
        """Return logits on the CPU: those of a large image may not fit on an accelerator."""
        return self._forward(batch).cpu()

    def _forward(self, batch: Tensor) -> Tensor:
        """Return the logits, float32 on the predictor's device, of images in stored units."""
        with self._batch_pixels.measured(len(batch) * math.prod(batch.shape[-2:])):
            return self._switch(self._normalize(batch.to(self.device)))
