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

STEM = "stem"
"""A module of this name beside an encoder comes before it, and belongs to it."""


def encoder_of(model: SegmentationModel) -> nn.ModuleList:
    """Return the encoder of a network, with the stem in front of it if there is one.

    Raises:
        ConfigError: It has no module with such a name.
    """
    modules = dict(model.named_modules())
    name = next((name for name in modules if name.rpartition(".")[2] in ENCODERS), None)
    if name is None:
        inside: nn.Module = model
        while len(children := dict(inside.named_children())) == 1:  # a wrapper
            (inside,) = children.values()
        raise ConfigError(
            "training.freeze and training.encoder_lr_factor need a model with a module named "
            f"{' or '.join(ENCODERS)}. {model.name} has {', '.join(children)}. Leave them out"
        )
    stem = modules.get(f"{name.rpartition('.')[0]}.{STEM}".removeprefix("."))
    return nn.ModuleList([modules[name]] if stem is None else [stem, modules[name]])


def freeze_encoder(model: SegmentationModel) -> None:
    """Exclude the encoder from training."""
    encoder_of(model).requires_grad_(False)


def describe_encoder(model: SegmentationModel, settings: TrainingRecipe) -> tuple[str, ...]:
    """Return how the encoder is trained in words, unless as all other weights.

    Raises:
        ConfigError: The settings need an encoder, and the model has none.
    """
    is_frozen = settings.freeze == "encoder"
    if not is_frozen and settings.encoder_lr_factor == 1:
        return ()
    num_weights = sum(weights.numel() for weights in encoder_of(model).parameters())
    how = "frozen" if is_frozen else f"learning rate times {settings.encoder_lr_factor:g}"
    return (f"encoder: {how}, {num_weights:,} weights",)


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
