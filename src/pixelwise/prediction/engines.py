"""Engines that compute logits: torch, which is always available, and OpenVINO.

Which one a prediction takes is decided in :mod:`pixelwise.prediction.engine_choice`.
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
"""This many compiled batch shapes are kept: full batches and last ones, of two sizes of image."""

EXTRA = "export"
"""The extra of pixelwise that brings OpenVINO."""


def checked_precision(name: str) -> Precision:
    """The precision of that name.

    Raises:
        UnknownNameError: There is no such precision.
    """
    for precision in PRECISIONS:
        if precision == name:
            return precision
    raise UnknownNameError("precision", name, PRECISIONS)


class Engine(Protocol):
    """Computes logits.

    Attributes:
        name: The library and its precision, for messages.
    """

    name: str

    def __call__(self, images: Tensor) -> Tensor:
        """Segment a batch.

        Args:
            images: Normalized, float32 (N, C, H, W), on the model's device.

        Returns:
            Logits, float32 (N, K, H, W), on the device that computed them.
        """
        ...


class TorchEngine:
    """The model as it is.

    Args:
        model: The network, on ``device``.
        device: Where it computes.
        precision: ``float32``, or ``bfloat16`` by autocast.
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
    """The model compiled by OpenVINO, in float32 on the processor; each shape takes seconds.

    The threads are as many as torch has. Weights that change are compiled again.

    Args:
        model: The network, on the CPU; in evaluation mode whenever the engine is called.
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
            Exception: Whatever OpenVINO raises, such as where it lacks an operation.
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
        """Compile for one shape: the padding inside a model depends on it, and is traced."""
        openvino = import_openvino()
        with quietly:  # tracing warns of what is fixed on purpose; images are read meanwhile
            converted = openvino.convert_model(self._model, example_input=images)
        converted.reshape(list(images.shape))
        settings = {
            "PERFORMANCE_HINT": "LATENCY",
            "INFERENCE_PRECISION_HINT": "f32",  # without it, OpenVINO takes bfloat16 on AMX
            "INFERENCE_NUM_THREADS": torch.get_num_threads(),
        }
        return openvino.Core().compile_model(converted, "CPU", settings)


def _state(model: SegmentationModel) -> list[tuple[int, int]]:
    """Where weights lie, and how often they were written to: it differs once they may differ."""
    tensors = [*model.parameters(), *model.buffers()]
    return [(tensor.data_ptr(), tensor._version) for tensor in tensors]


def is_openvino_installed() -> bool:
    """OpenVINO can be found; it is not loaded for that."""
    return importlib.util.find_spec("openvino") is not None


def import_openvino() -> ModuleType:
    """OpenVINO, without its telemetry.

    Raises:
        MissingExtraError: It is not installed.
    """
    try:
        with _without_telemetry():
            return importlib.import_module("openvino")
    except ImportError as error:
        raise MissingExtraError("openvino", EXTRA, "the engine 'openvino'") from error


@contextmanager
def _without_telemetry() -> Iterator[None]:
    """Make ``openvino_telemetry`` look as if it were not installed.

    OpenVINO depends on it, and without asking it sends events to Google when it is imported and
    whenever a model is converted, and writes into the home folder. Where it is absent OpenVINO
    keeps to a stub for good. Whoever has imported OpenVINO before has decided for themselves.
    """
    missing = object()
    before: Any = sys.modules.get("openvino_telemetry", missing)
    sys.modules["openvino_telemetry"] = None  # type: ignore[assignment] # forbids the import
    try:
        yield
    finally:
        if before is missing:
            del sys.modules["openvino_telemetry"]
        else:
            sys.modules["openvino_telemetry"] = before
