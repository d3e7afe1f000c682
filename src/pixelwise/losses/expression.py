"""Builds a loss from its expression in a recipe, such as ``ce + 0.5 * dice(smooth=1)``."""

from __future__ import annotations

import ast
import inspect
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor, nn

from pixelwise.classes import LabelMode
from pixelwise.errors import ConfigError, TrainingError
from pixelwise.imports import find_imported
from pixelwise.losses.base import Loss, losses


@dataclass(frozen=True)
class Term:
    """A summand of an expression.

    Attributes:
        weight: Its factor.
        name: Registered name, or ``module:function``.
        arguments: Options of its builder.
    """

    weight: float
    name: str
    arguments: dict[str, Any]


def parse_loss(expression: str) -> tuple[Term, ...]:
    """Read an expression: names, with options in parentheses and factors in front, added by ``+``.

    Raises:
        ConfigError: It is not of this form.
        UnknownNameError: A loss is not registered.
    """
    if ":" in expression:
        return (Term(1.0, expression, {}),)
    try:
        terms = tuple(_terms(ast.parse(expression, mode="eval").body))
    except (SyntaxError, ValueError) as error:
        raise ConfigError(
            "loss must be a sum of names, such as ce + 0.5 * dice(smooth=1). "
            f"Got {expression!r}. Losses: {', '.join(losses.names())}"
        ) from error
    for term in terms:
        losses.builder(term.name)
    return terms


def _terms(node: ast.expr) -> list[Term]:
    """Return the summands of a parsed expression.

    Raises:
        ValueError: It holds something else.
    """
    match node:
        case ast.BinOp(left, ast.Add(), right):
            return [*_terms(left), *_terms(right)]
        case ast.BinOp(ast.Constant(int() | float() as weight), ast.Mult(), right):
            return [Term(weight * term.weight, term.name, term.arguments) for term in _terms(right)]
        case ast.Name(name):
            return [Term(1.0, name, {})]
        case ast.Call(ast.Name(name), [], keywords):
            options = {str(entry.arg): ast.literal_eval(entry.value) for entry in keywords}
            return [Term(1.0, name, options)]
    raise ValueError(ast.unparse(node))


def takes_class_weights(expression: str) -> bool:
    """Whether a loss of the expression uses class weights."""
    registered = (term.name for term in parse_loss(expression) if ":" not in term.name)
    return any("class_weights" in _parameters(name) for name in registered)


def check_loss(expression: str, label_mode: LabelMode = "multiclass") -> None:
    """Check names and options of an expression by building it.

    Raises:
        PixelwiseError: See :func:`build_loss`.
    """
    build_loss(expression, label_mode)


def build_loss(expression: str, label_mode: LabelMode, class_weights: Tensor | None = None) -> Loss:
    """Build the loss of a recipe.

    Args:
        expression: See :func:`parse_loss`; or ``module:function``, a loss in an imported module.
        label_mode: Label mode of the masks.
        class_weights: (K,) on the device of the logits, or ``None``.

    Raises:
        ConfigError: The expression or an option is invalid, or the module is not imported.
        UnknownNameError: A loss or an option is unknown.
    """
    parts = [
        (term.weight, _build(term, label_mode, class_weights)) for term in parse_loss(expression)
    ]
    if len(parts) == 1 and parts[0][0] == 1:
        return parts[0][1]
    return lambda logits, target: _sum([weight * loss(logits, target) for weight, loss in parts])


def _build(term: Term, label_mode: LabelMode, class_weights: Tensor | None) -> Loss:
    if ":" in term.name:
        return own_loss(_imported(term.name))
    known = _parameters(term.name)
    if "label_mode" in term.arguments or "class_weights" in term.arguments:
        raise ConfigError(f"label_mode and class_weights of loss {term.name!r} must be left out")
    given: dict[str, Any] = {"label_mode": label_mode, "class_weights": class_weights}
    arguments = {name: value for name, value in given.items() if name in known}
    return losses.create(term.name, **arguments, **term.arguments)


def _parameters(name: str) -> Sequence[str]:
    return list(inspect.signature(losses.builder(name)).parameters)


def _sum(values: list[Tensor]) -> Tensor:
    return torch.stack(values).sum()


def _imported(name: str) -> Loss:
    """Return ``module:function`` if the module is imported.

    Raises:
        ConfigError: It is not, or does not have the function.
    """
    module, _, path = name.partition(":")
    found: Any = find_imported(module, path)
    if not callable(found):
        raise ConfigError(
            f"loss {name!r} must be a function of an imported module. It is not. Import "
            f"{module}, or pass the loss itself"
        )
    return cast("Loss", found() if inspect.isclass(found) else found)


def name_of_loss(loss: Loss) -> str:
    """Return ``module:name`` of a function, or of the class of an object."""
    named: Any = loss if hasattr(loss, "__qualname__") else type(loss)
    return f"{named.__module__}:{named.__qualname__}"


def own_loss(loss: Loss) -> Loss:
    """Check what a loss of the user returns.

    Args:
        loss: A function of logits and target; see :data:`pixelwise.losses.base.Loss`.

    Raises:
        ConfigError: It cannot be called.
    """
    if not callable(loss):
        raise ConfigError(f"loss must be a name or a function of logits and target. Got {loss!r}")
    if isinstance(loss, nn.Module) and list(loss.parameters()):
        raise ConfigError(
            f"loss must have no weights of its own, which would not be trained. Got {loss!r}"
        )
    name = name_of_loss(loss)

    def checked(logits: Tensor, target: Tensor) -> Tensor:
        value = loss(logits, target)
        if not isinstance(value, Tensor) or value.ndim or not value.is_floating_point():
            got = f"a tensor of shape {tuple(value.shape)}" if isinstance(value, Tensor) else value
            raise TrainingError(f"loss {name} must return one float as a tensor. Got {got!r}")
        if logits.requires_grad and not value.requires_grad:
            raise TrainingError(
                f"loss {name} must be differentiable in the logits. It returned a constant. "
                "Compute it with torch functions of the logits"
            )
        return value

    return checked
