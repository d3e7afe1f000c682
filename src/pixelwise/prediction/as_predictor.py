"""A model given by its path or as a predictor."""

from __future__ import annotations

from pathlib import Path

from pixelwise.errors import ConfigError
from pixelwise.prediction.predictor import Predictor, load_model


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
        "`model` must be a run folder, a model file or a Predictor. "
        f"Got {type(model).__name__}. Use Predictor.from_model for a network of your own"
    )
