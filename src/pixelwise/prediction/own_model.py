"""The card of a reader's own network, which comes from no model file."""

from __future__ import annotations

from collections.abc import Sequence

from pixelwise.classes import ClassMap, LabelMode
from pixelwise.errors import ConfigError
from pixelwise.io.images import LARGEST_VALUE
from pixelwise.models.model_file import ModelCard, TrainingData, current_versions
from pixelwise.schemas import validated


def card_of_own_model(
    name: str,
    class_map: ClassMap | Sequence[str],
    *,
    label_mode: LabelMode,
    in_channels: int,
    mean: float | Sequence[float],
    std: float | Sequence[float],
    dtype: str,
    scale: float,
    resize: object,
    tile: tuple[int, int],
) -> ModelCard:
    """Describe a network by the arguments of :meth:`Predictor.from_model`.

    Raises:
        ConfigError: An argument is out of range.
    """
    largest = LARGEST_VALUE.get(dtype)
    if largest is None:
        raise ConfigError(f"dtype must be one of {', '.join(LARGEST_VALUE)}. Got {dtype!r}")
    if not isinstance(class_map, ClassMap):
        class_map = ClassMap.build(class_map)
    content = {
        "architecture": name,
        "in_channels": in_channels,
        "class_map": class_map,
        "label_mode": label_mode,
        "preprocessing": {
            "dtype": dtype,
            "mean": [largest * value for value in _per_channel(mean, in_channels, "mean")],
            "std": [largest * value for value in _per_channel(std, in_channels, "std")],
            "scale": scale,
            "resize": resize,
        },
        "training_size": tile,
        "metrics": None,
        "data": TrainingData(fingerprint="unknown", images=None, split=None, split_seed=0),
        "versions": current_versions(),
    }
    return validated(ModelCard, content, "from_model")


def _per_channel(values: float | Sequence[float], in_channels: int, what: str) -> tuple[float, ...]:
    """Return one number per channel; a single number stands for all."""
    if isinstance(values, int | float):
        return (float(values),) * in_channels
    if len(values) != in_channels:
        raise ConfigError(
            f"{what} must be one number, or {in_channels} numbers, one per channel. "
            f"Got {len(values)}. Set in_channels as well"
        )
    return tuple(map(float, values))
