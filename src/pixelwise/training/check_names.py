"""Checks the names and arguments of a recipe before any data is read."""

from __future__ import annotations

from pixelwise.config import Recipe
from pixelwise.devices import choose_device
from pixelwise.errors import ConfigError
from pixelwise.losses.expression import check_loss, takes_class_weights
from pixelwise.metrics.extra import create_metrics
from pixelwise.models.outline import check_model
from pixelwise.training.inputs import check_working_size
from pixelwise.training.optimizers import optimizers
from pixelwise.training.own_parts import NO_OWN_PARTS, OwnParts
from pixelwise.training.schedules import schedules
from pixelwise.transforms.own_transform import check_transform


def check_names(
    recipe: Recipe, own: OwnParts = NO_OWN_PARTS, num_classes: int | None = None
) -> None:
    """Check names and arguments before any data is read.

    Args:
        recipe: The recipe.
        own: Objects of the caller, in place of names in the recipe.
        num_classes: Number of classes, if known already.

    Raises:
        PixelwiseError: Both epochs and minutes are given, or a model, one of its arguments or
            a device is unknown, or the augmentation is missing.
    """
    check_transform(recipe.augmentation.transform, own.augmentation)
    if recipe.training.epochs is not None and recipe.training.minutes is not None:
        raise ConfigError("training needs either epochs or minutes. Got both. Remove one")
    create_metrics(recipe.training.metrics)
    choose_device(recipe.training.device)
    named = recipe.model.name if own.model is None else own.model
    check_model(named, recipe.model.arguments, num_classes)
    if own.loss is None:
        check_loss(recipe.training.loss)
    weights = recipe.training.class_weights
    if weights not in (None, "none") and not takes_class_weights(recipe.training.loss):
        raise ConfigError(
            f"training.class_weights must be none for the loss {recipe.training.loss!r}, which "
            f"does not use them. Got {weights!r}. Leave it out, or use ce or bce"
        )
    optimizers.builder(recipe.training.optimizer)
    schedules.builder(recipe.training.schedule)
    check_working_size(recipe)
