"""pixelwise: a folder of labelled images in, a segmentation model that can be trusted out.

The public names are loaded when they are first used, so that ``import pixelwise`` and
``pixelwise --help`` need no torch.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pixelwise.classes import ClassMap as ClassMap
    from pixelwise.comparison.compare import compare as compare
    from pixelwise.comparison.runs import report_run as report_run
    from pixelwise.comparison.runs import report_runs as report_runs
    from pixelwise.config import Recipe as Recipe
    from pixelwise.config import load_recipe as load_recipe
    from pixelwise.data.convert import convert_data as convert_data
    from pixelwise.data.dataset import Dataset as Dataset
    from pixelwise.data.dataset import open_dataset as open_dataset
    from pixelwise.data.digits import make_digits as make_digits
    from pixelwise.doctor import check_data as check_data
    from pixelwise.errors import PixelwiseError as PixelwiseError
    from pixelwise.evaluation.evaluate import evaluate as evaluate
    from pixelwise.evaluation.review import review_labels as review_labels
    from pixelwise.metrics.metrics import Scores as Scores
    from pixelwise.models import create_model as create_model
    from pixelwise.models import list_models as list_models
    from pixelwise.prediction.predict import predict as predict
    from pixelwise.prediction.predictor import Predictor as Predictor
    from pixelwise.prediction.predictor import load_model as load_model
    from pixelwise.training.preview import show_data as show_data
    from pixelwise.training.train import train as train

_HOMES = {
    "ClassMap": "pixelwise.classes",
    "Dataset": "pixelwise.data.dataset",
    "PixelwiseError": "pixelwise.errors",
    "Predictor": "pixelwise.prediction.predictor",
    "Recipe": "pixelwise.config",
    "Scores": "pixelwise.metrics.metrics",
    "check_data": "pixelwise.doctor",
    "compare": "pixelwise.comparison.compare",
    "convert_data": "pixelwise.data.convert",
    "create_model": "pixelwise.models",
    "evaluate": "pixelwise.evaluation.evaluate",
    "list_models": "pixelwise.models",
    "load_model": "pixelwise.prediction.predictor",
    "load_recipe": "pixelwise.config",
    "make_digits": "pixelwise.data.digits",
    "open_dataset": "pixelwise.data.dataset",
    "predict": "pixelwise.prediction.predict",
    "report_run": "pixelwise.comparison.runs",
    "report_runs": "pixelwise.comparison.runs",
    "review_labels": "pixelwise.evaluation.review",
    "show_data": "pixelwise.training.preview",
    "train": "pixelwise.training.train",
}

__all__ = list(_HOMES)


def __getattr__(name: str) -> Any:
    """Load a public name from the module that owns it (SPEC 1)."""
    if name not in _HOMES:
        raise AttributeError(f"module 'pixelwise' has no attribute {name!r}")
    value = getattr(importlib.import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(_HOMES)
