"""Loads model files for prediction."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

from pixelwise.config import RECIPE_NAME, load_recipe
from pixelwise.devices import Precision, choose_device
from pixelwise.errors import ConfigError, FormatError, PixelwiseError, UnknownNameError
from pixelwise.models.creation import GivenModel
from pixelwise.models.model_file import load_model_file
from pixelwise.prediction.predictor import Predictor


def load_model(
    path: Path | str,
    *,
    model: GivenModel | None = None,
    device: str = "auto",
    precision: Precision = "float32",
) -> Predictor:
    """Load a model file for prediction.

    Args:
        path: ``model.safetensors`` file of a run, or the run folder.
        model: Class of the model, or an instance, which is copied. It is needed only for a model
            that is neither registered nor in a module that is imported, such as a class of another
            notebook, or for one that was trained as an instance with arguments of its own.
        device: Device to compute on; ``auto`` chooses CUDA, then MPS, then the CPU.
        precision: ``float32`` or ``bfloat16``; see :class:`Predictor`.

    Raises:
        ModelFileError: The file is missing, truncated, or not a model file, or its model is not
            known here; the message says which import is missing.

    Example:
        >>> predictor = load_model("runs/first/model.safetensors")  # doctest: +SKIP
        >>> predictor.predict(image).shape == image.shape[:2]  # doctest: +SKIP
        True
    """
    chosen = choose_device(device)
    network, card = load_model_file(path, model)
    # Converting in place, weight by weight, avoids a second copy: no one else uses this model.
    network.to(chosen).to(memory_format=torch.channels_last)
    return Predictor(network, card, device=device, precision=precision)


def as_predictor(model: Predictor | Path | str, device: str = "auto") -> Predictor:
    """Return a predictor as it is, and load the model of a path.

    Args:
        model: A run folder, a model file, or a predictor.
        device: The device of a model that is loaded.

    Raises:
        ModelFileError: The file is missing, truncated, or not a model file.
        ConfigError: It is none of these.
    """
    if isinstance(model, Predictor):
        return model
    if isinstance(model, Path | str):
        return load_model(model, device=device)
    raise ConfigError(
        "model must be a run folder, a model file or a Predictor. "
        f"Got {type(model).__name__}. Use Predictor.from_model for a network of your own"
    )


@contextmanager
def imports_named(model: Predictor | Path | str) -> Iterator[None]:
    """Add to an unknown format or name the modules that the run of the model imported.

    Args:
        model: As for :func:`as_predictor`.

    Raises:
        FormatError: The data cannot be read without one of these modules.
        ConfigError: A name is unknown without one of these modules.
    """
    try:
        yield
    except (FormatError, UnknownNameError) as error:
        modules = () if isinstance(model, Predictor) else _imports_of(Path(model))
        missing = [f"`imports=['{name}']`" for name in modules if name not in sys.modules]
        if not missing:
            raise
        kind = FormatError if isinstance(error, FormatError) else ConfigError
        raise kind(f"{error}. The run of the model had {' '.join(missing)}") from error


def _imports_of(path: Path) -> tuple[str, ...]:
    """Return the modules in the recipe of a run; none if there is no such recipe."""
    folder = path if path.is_dir() else path.parent
    try:
        return load_recipe(folder / RECIPE_NAME).imports
    except PixelwiseError:
        return ()
