"""pixelwise: trains a semantic-segmentation model from a folder of labeled images.

The public names are loaded when they are first used, so that ``import pixelwise`` and
``pixelwise --help`` need no torch.
"""

from typing import TYPE_CHECKING, Any

import lazy_loader

__version__: str

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
    from pixelwise.data.formats import register_format as register_format
    from pixelwise.data.sample import Sample as Sample
    from pixelwise.doctor import check_data as check_data
    from pixelwise.errors import PixelwiseError as PixelwiseError
    from pixelwise.evaluation.evaluate import evaluate as evaluate
    from pixelwise.evaluation.review import review_labels as review_labels
    from pixelwise.losses.base import register_loss as register_loss
    from pixelwise.metrics.extra import register_metric as register_metric
    from pixelwise.metrics.metrics import Metrics as Metrics
    from pixelwise.models import create_model as create_model
    from pixelwise.models import list_models as list_models
    from pixelwise.models import register_model as register_model
    from pixelwise.prediction.loading import load_model as load_model
    from pixelwise.prediction.predict import predict as predict
    from pixelwise.prediction.predictor import Predictor as Predictor
    from pixelwise.reporting.model_report import report_model as report_model
    from pixelwise.training.inspection import Inspection as Inspection
    from pixelwise.training.inspection import inspect as inspect
    from pixelwise.training.loggers.base import register_logger as register_logger
    from pixelwise.training.preview import show_data as show_data
    from pixelwise.training.train import train as train

_load, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "classes": ["ClassMap"],
        "comparison.compare": ["compare"],
        "config": ["Recipe", "load_recipe"],
        "data.convert": ["convert_data"],
        "data.formats": ["register_format"],
        "losses.base": ["register_loss"],
        "data.dataset": ["Dataset", "open_dataset"],
        "data.digits": ["make_digits"],
        "data.sample": ["Sample"],
        "doctor": ["check_data"],
        "errors": ["PixelwiseError"],
        "evaluation.evaluate": ["evaluate"],
        "models": ["create_model", "list_models", "register_model"],
        "prediction.predict": ["predict"],
        "prediction.loading": ["load_model"],
        "prediction.predictor": ["Predictor"],
        "evaluation.review": ["review_labels"],
        "comparison.runs": ["report_run", "report_runs"],
        "metrics.extra": ["register_metric"],
        "metrics.metrics": ["Metrics"],
        "reporting.model_report": ["report_model"],
        "training.inspection": ["Inspection", "inspect"],
        "training.loggers.base": ["register_logger"],
        "training.preview": ["show_data"],
        "training.train": ["train"],
    },
)


def __getattr__(name: str) -> Any:
    """Load a public name at its first use; the version comes from the installed package."""
    if name == "__version__":
        from importlib import metadata

        return metadata.version("pixelwise")
    return _load(name)
