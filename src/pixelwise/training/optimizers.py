"""Optimizers by name, built from the settings of a recipe."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch import nn
from torch.optim import SGD, Adam, AdamW, Optimizer

from pixelwise.config import TrainingRecipe
from pixelwise.errors import ConfigError
from pixelwise.models.base import SegmentationModel
from pixelwise.registry import Registry


@dataclass(frozen=True)
class OptimizerKind:
    """An optimizer to choose in a recipe.

    Attributes:
        build: Builds it from parameter groups and settings.
        decay: What ``training.weight_decay`` does, in words.
        learning_rate_factor: Default learning rate relative to the one tested with Adam.
    """

    build: Callable[[list[dict[str, Any]], TrainingRecipe, bool], Optimizer]
    decay: str
    learning_rate_factor: float = 1.0


optimizers: Registry[OptimizerKind] = Registry("optimizer", "pixelwise.training.optimizers")


@optimizers.register("adam")
def adam() -> OptimizerKind:
    """Adam, whose weight decay is an L2 penalty in the gradient."""
    return OptimizerKind(
        lambda groups, settings, fused: Adam(groups, betas=settings.betas, fused=fused),
        "as an L2 penalty in the gradient, which Adam rescales; adamw decays the weights directly",
    )


@optimizers.register("adamw")
def adamw() -> OptimizerKind:
    """Adam with decoupled weight decay."""
    return OptimizerKind(
        lambda groups, settings, fused: AdamW(groups, betas=settings.betas, fused=fused),
        "decoupled from the gradient",
    )


@optimizers.register("sgd")
def sgd() -> OptimizerKind:
    """Stochastic gradient descent with Nesterov momentum."""
    return OptimizerKind(
        lambda groups, settings, fused: SGD(
            groups,
            momentum=settings.momentum,
            nesterov=settings.momentum > 0,
            fused=fused,
        ),
        "as an L2 penalty in the gradient",
        learning_rate_factor=10.0,
    )


ENCODERS = ("encoder", "backbone")
"""Names of the part of a network that ``training.freeze`` and ``encoder_lr_factor`` refer to."""


def encoder_of(model: SegmentationModel) -> nn.Module:
    """Return the encoder of a network.

    Raises:
        ConfigError: It has no module with such a name.
    """
    found = [
        module for name, module in model.named_modules() if name.rpartition(".")[2] in ENCODERS
    ]
    if not found:
        children = ", ".join(name for name, _ in model.named_children())
        raise ConfigError(
            "training.freeze and training.encoder_lr_factor need a model with a module named "
            f"{' or '.join(ENCODERS)}. {model.name} has {children}. Leave them out"
        )
    encoder: nn.Module = found[0]
    return encoder


def freeze_encoder(model: SegmentationModel) -> None:
    """Exclude the encoder from training."""
    encoder_of(model).requires_grad_(False)


def build_optimizer(model: SegmentationModel, settings: TrainingRecipe) -> Optimizer:
    """Build the optimizer of a recipe for the trained weights of a model.

    Each parameter group holds ``factor``, its learning rate relative to that of the schedule.

    Args:
        model: The network, on its device.
        settings: The training section of the recipe, with a learning rate.
    """
    assert settings.learning_rate is not None
    trained = [weights for weights in model.parameters() if weights.requires_grad]
    groups = [{"params": trained, "factor": 1.0}]
    if settings.encoder_lr_factor != 1.0 and settings.freeze != "encoder":
        inside = {id(weights) for weights in encoder_of(model).parameters()}
        rest = [weights for weights in trained if id(weights) not in inside]
        encoder = [weights for weights in trained if id(weights) in inside]
        groups = [
            {"params": rest, "factor": 1.0},
            {"params": encoder, "factor": settings.encoder_lr_factor},
        ]
    for group in groups:
        group |= {"lr": settings.learning_rate, "weight_decay": settings.weight_decay}
    on_known_device = trained[0].device.type in ("cpu", "cuda")
    return optimizers.create(settings.optimizer).build(groups, settings, on_known_device)


def set_learning_rate(optimizer: Optimizer, learning_rate: float) -> None:
    """Set the learning rate of every parameter group, multiplied by its factor."""
    for group in optimizer.param_groups:
        group["lr"] = learning_rate * group["factor"]


def describe_optimizer(settings: TrainingRecipe) -> str:
    """Return optimizer, weight decay and schedule in words."""
    words = f"optimizer {settings.optimizer}"
    if settings.weight_decay:
        kind = optimizers.create(settings.optimizer)
        words += f" with weight decay {settings.weight_decay:g} ({kind.decay})"
    words += f", {settings.schedule} schedule"
    if settings.ema:
        words += f", evaluated with averaged weights (EMA, decay {settings.ema:g})"
    return words
