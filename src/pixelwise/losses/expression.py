"""Builds a loss from its expression in a recipe, such as ``ce + 0.5 * dice(smooth=1)``."""

from __future__ import annotations

import ast
import inspect
import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from typing import Any, cast

import torch
from torch import Tensor, nn

from pixelwise.classes import LabelMode
from pixelwise.devices import is_out_of_memory
from pixelwise.errors import (
    ConfigError,
    PixelwiseError,
    TrainingError,
    UnknownNameError,
    in_one_line,
)
from pixelwise.imports import find_imported
from pixelwise.losses.base import Loss, losses

MAX_LENGTH = 1000
"""Longest expression, in characters; the parser of Python recurses into every summand."""

Parameters = Mapping[str, inspect.Parameter]


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
    if len(expression) > MAX_LENGTH:
        raise ConfigError(
            f"loss must have at most {MAX_LENGTH} characters. Got {len(expression):,}. Register a "
            "loss of your own that adds them"
        )
    if ":" in expression:
        return (Term(1.0, expression, {}),)
    try:
        terms = tuple(_terms(ast.parse(expression, mode="eval").body))
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise ConfigError(
            "loss must be a sum of names, such as ce + 0.5 * dice(smooth=1). "
            f"Got {expression!r}{_reason(error)}. Losses: {', '.join(losses.names())}"
        ) from error
    for term in terms:
        losses.builder(term.name)
    return terms


def _terms(node: ast.expr) -> list[Term]:
    """Return the summands of a parsed expression.

    Raises:
        ValueError: It holds something else; the message is a sentence about it.
    """
    match node:
        case ast.BinOp(left, ast.Add(), right):
            return [*_terms(left), *_terms(right)]
        case ast.BinOp(ast.Constant(int() | float() as weight), ast.Mult(), right):
            terms = _terms(right)
            return [replace(term, weight=_product(weight, term.weight)) for term in terms]
        case ast.Name(name):
            return [Term(1.0, name, {})]
        case ast.Call(ast.Name(name), values, keywords):
            options = {str(entry.arg): _number(entry.value, node) for entry in keywords}
            for value in values:
                raise _no_option(value, node)
            return [Term(1.0, name, options)]
        case ast.BinOp(_, ast.Mult(), _):
            raise ValueError(f"A factor is a number in front. Got {ast.unparse(node)!r}")
        case ast.BinOp():
            raise ValueError(f"Losses are summed with +. Got {ast.unparse(node)!r}")
    raise ValueError(f"{ast.unparse(node)!r} is no name of a loss")


def _product(weight: float, inner: float) -> float:
    """Return the product of two factors.

    Raises:
        ValueError: It is infinite.
    """
    with suppress(OverflowError):  # a whole number of hundreds of digits
        if math.isfinite(product := float(weight) * inner):
            return product
    raise ValueError("A factor must be finite")


def _number(node: ast.expr, call: ast.expr) -> Any:
    """Return the value of an option.

    Raises:
        ValueError: It is no plain value.
    """
    try:
        return ast.literal_eval(node)
    except ValueError:
        raise _no_option(node, call) from None


def _no_option(node: ast.expr, call: ast.expr) -> ValueError:
    return ValueError(f"Options are NAME=NUMBER. Got {ast.unparse(node)!r} in {ast.unparse(call)}")


def _reason(error: Exception) -> str:
    """Return what was found as a further sentence; the parser's own errors say nothing useful."""
    return f". {error}" if type(error) is ValueError else ""


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
    builder, known = losses.builder(term.name), _parameters(term.name)
    given: dict[str, Any] = {"label_mode": label_mode, "class_weights": class_weights}
    _check_options(term, known, tuple(given))
    arguments = {name: value for name, value in given.items() if name in known}
    checked = losses.checked(term.name, **arguments, **term.arguments)
    if losses.is_own(builder):
        return builder(**checked)
    with _named_mistakes(term.name):
        return own_loss(builder(**checked), term.name)


def _check_options(term: Term, known: Parameters, given: Sequence[str]) -> None:
    """Refuse options that the builder does not have, and arguments that pixelwise gives it.

    Raises:
        UnknownNameError: There is such an option.
    """
    named = [one for one in known.values() if one.kind is not one.VAR_KEYWORD]
    options = [one.name for one in named if one.name not in given]
    for option in term.arguments:
        if option in given or (option not in options and len(named) == len(known)):
            hint = None if options else "It has none"
            raise UnknownNameError(f"option of loss {term.name!r}", option, options, hint=hint)


@contextmanager
def _named_mistakes(name: str) -> Iterator[None]:
    """Name the loss whose builder raises an error.

    Raises:
        ConfigError: The builder raised anything but a PixelwiseError.
    """
    try:
        yield
    except PixelwiseError:
        raise
    except Exception as error:  # whatever the code of a user raises
        raise ConfigError(
            f"loss {name!r} cannot be built: its builder raised {in_one_line(error)}. The builder "
            "takes label_mode and options, and returns a function of logits and target"
        ) from error


def _parameters(name: str) -> Parameters:
    return inspect.signature(losses.builder(name)).parameters


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
            f"loss {name!r} must be a function of an imported module that is not Python's own. It "
            f"is not. Import {module}, if it is yours, or pass the loss itself"
        )
    with _named_mistakes(name):
        return cast("Loss", found() if inspect.isclass(found) else found)


def name_of_loss(loss: Loss) -> str:
    """Return ``module:name`` of a function, or of the class of an object."""
    named: Any = loss if hasattr(loss, "__qualname__") else type(loss)
    return f"{named.__module__}:{named.__qualname__}"


def own_loss(loss: Loss, name: str | None = None) -> Loss:
    """Check what a loss of the user returns.

    Args:
        loss: A function of logits and target; see :data:`pixelwise.losses.base.Loss`.
        name: Its registered name, if any.

    Returns:
        The loss; it raises a TrainingError that names it if it raises any error, or returns
        anything but one number with a gradient.

    Raises:
        ConfigError: It cannot be called.
    """
    if not callable(loss):
        what = (
            "loss must be a name or"
            if name is None
            else f"the builder of loss {name!r} must return"
        )
        raise ConfigError(f"{what} a function of logits and target. Got {loss!r}")
    if isinstance(loss, nn.Module) and list(loss.parameters()):
        raise ConfigError(
            f"loss must have no weights of its own, which would not be trained. Got {loss!r}"
        )
    name = name or name_of_loss(loss)

    def checked(logits: Tensor, target: Tensor) -> Tensor:
        try:
            value = loss(logits, target)
        except Exception as error:  # whatever the code of a user raises
            if isinstance(error, PixelwiseError) or is_out_of_memory(error):
                raise
            raise TrainingError(
                f"the loss {name!r} raised {in_one_line(error)}. It was given logits "
                f"{_words(logits)} and the target {_words(target)}. Correct the loss"
            ) from error
        has_gradient = isinstance(value, Tensor) and (
            value.requires_grad or not logits.requires_grad
        )
        if not has_gradient or value.ndim or not value.is_floating_point():
            raise TrainingError(
                f"the loss {name!r} must return one number with a gradient. It returned "
                f"{_found(value)}. Compute it with torch functions of the logits"
            )
        return value

    return checked


def _found(value: object) -> str:
    """Return what a loss returned, in words."""
    if not isinstance(value, Tensor):
        return f"{value!r}, which is no tensor"
    if value.ndim:
        return f"a tensor of shape {tuple(value.shape)}"
    kind = "a constant" if value.is_floating_point() else f"a tensor of type {_type(value)}"
    return f"{kind} without a gradient"


def _words(tensor: Tensor) -> str:
    return f"{_type(tensor)} {tuple(tensor.shape)}"


def _type(tensor: Tensor) -> str:
    return str(tensor.dtype).removeprefix("torch.")
