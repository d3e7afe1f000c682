"""Engines that compute logits: torch, which is always available, and OpenVINO.

:mod:`pixelwise.prediction.engine_choice` decides which one is used.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any, Protocol, get_args

import torch
from torch import Tensor

from pixelwise.devices import Precision
from pixelwise.errors import MissingExtraError, UnknownNameError
from pixelwise.io.quiet import quietly
from pixelwise.models.base import SegmentationModel

PRECISIONS: tuple[Precision, ...] = get_args(Precision)

KEPT_SHAPES = 4
"""Number of compiled batch shapes to keep: full and last batches for two image sizes."""

EXTRA = "export"
"""Extra of pixelwise that installs OpenVINO."""


def checked_precision(name: str) -> Precision:
    """Return the name as a :data:`Precision`.

    Raises:
        UnknownNameError: No precision has this name.
    """
    for precision in PRECISIONS:
        if precision == name:
            return precision
    raise UnknownNameError("precision", name, PRECISIONS)


class Engine(Protocol):
    """Computes logits.

    Attributes:
        name: Library and precision, for messages.
    """

    name: str

    def __call__(self, images: Tensor) -> Tensor:
        """Segment a batch.

        Args:
            images: Normalized images, float32 (N, C, H, W), on the model's device.

        Returns:
            Logits, float32 (N, K, H, W), on the device that computed them.
        """
        ...


class TorchEngine:
    """Engine that runs the model in torch.

    Args:
        model: Network, on ``device``.
        device: Device to compute on.
        precision: ``float32``, or ``bfloat16`` with autocast.
    """

    def __init__(
        self, model: SegmentationModel, device: torch.device, precision: Precision
    ) -> None:
        self.model = model
        self.device = device
        self.precision: Precision = precision
        self.name = f"torch {precision}"

    def __call__(self, images: Tensor) -> Tensor:
        """Segment a batch; see :class:`Engine`."""
        images = images.contiguous(memory_format=torch.channels_last)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.precision == "bfloat16"):
            logits: Tensor = self.model(images)
        return logits.float()


class OpenVinoEngine:
    """Engine that runs the model compiled with OpenVINO, in float32 on the CPU.

    Compiling takes seconds per batch shape and is repeated if the weights change. The engine uses
    as many threads as torch.

    Args:
        model: Network on the CPU; it must be in evaluation mode when the engine is called.
    """

    name = "OpenVINO float32"

    def __init__(self, model: SegmentationModel) -> None:
        self._model = model
        self._compiled: OrderedDict[tuple[int, ...], Any] = OrderedDict()
        self._weights: list[tuple[int, int]] = []

    def __call__(self, images: Tensor) -> Tensor:
        """Segment a batch; see :class:`Engine`.

        Raises:
            MissingExtraError: OpenVINO is not installed.
            Exception: OpenVINO failed, for example on an unsupported operation.
        """
        images = images.contiguous()
        weights = _state(self._model)
        if weights != self._weights:
            self._compiled.clear()
            self._weights = weights
        shape = tuple(images.shape)
        if shape not in self._compiled:
            self._compiled[shape] = self._compile(images)
            if len(self._compiled) > KEPT_SHAPES:
                self._compiled.popitem(last=False)
        self._compiled.move_to_end(shape)
        (logits,) = self._compiled[shape]([images.numpy()], share_inputs=True).values()
        return torch.from_numpy(logits).float()

    def _compile(self, images: Tensor) -> Any:
        """Compile the model for one shape, since traced padding depends on the shape."""
        openvino = import_openvino()
        with quietly:  # tracing warns about constants that are intended; other threads read images
            converted = openvino.convert_model(self._model, example_input=images)
        converted.reshape(list(images.shape))
        settings = {
            "PERFORMANCE_HINT": "LATENCY",
            "INFERENCE_PRECISION_HINT": "f32",  # without it, OpenVINO uses bfloat16 on AMX
            "INFERENCE_NUM_THREADS": torch.get_num_threads(),
        }
        return openvino.Core().compile_model(converted, "CPU", settings)


def _state(model: SegmentationModel) -> list[tuple[int, int]]:
    """Return the addresses and version counters of all weights, which show whether they changed."""
    tensors = [*model.parameters(), *model.buffers()]
    return [(tensor.data_ptr(), tensor._version) for tensor in tensors]


def is_openvino_installed() -> bool:
    """Return whether OpenVINO is installed, without importing it."""
    return importlib.util.find_spec("openvino") is not None


def import_openvino() -> ModuleType:
    """Import OpenVINO without its telemetry.

    Raises:
        MissingExtraError: OpenVINO is not installed.
    """
    try:
        with _without_telemetry():
            return importlib.import_module("openvino")
    except ImportError as error:
        raise MissingExtraError("openvino", EXTRA, "the engine 'openvino'") from error


@contextmanager
def _without_telemetry() -> Iterator[None]:
    """Make ``openvino_telemetry`` look as if it were not installed.

    OpenVINO depends on this package. Without asking, it sends events to Google on import and on
    every model conversion, and writes to the home folder. If the package is missing at import,
    OpenVINO uses a stub from then on. If the user has imported OpenVINO before, nothing changes.
    """
    missing = object()
    before: Any = sys.modules.get("openvino_telemetry", missing)
    sys.modules["openvino_telemetry"] = None  # type: ignore[assignment] # blocks the import
    try:
        yield
    finally:
        if before is missing:
            del sys.modules["openvino_telemetry"]
        else:
            sys.modules["openvino_telemetry"] = before
