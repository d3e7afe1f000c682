"""Creates models from registered names, classes and instances."""

from __future__ import annotations

import copy
import inspect
import json
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, TypeVar

import torch
from torch import nn

from pixelwise.devices import is_out_of_memory
from pixelwise.errors import ConfigError, PixelwiseError, in_one_line
from pixelwise.models.adapter import AdaptedModel, try_out
from pixelwise.models.base import FRESH_ONLY, SegmentationModel, models
from pixelwise.models.lookup import INSTANCE, class_name, find_builder
from pixelwise.registry import checked_arguments
from pixelwise.text import amount

Builder = TypeVar("Builder", bound=Callable[..., nn.Module])

GivenModel = type[nn.Module] | nn.Module
"""A model as its class, or as an instance."""

Architecture = str | GivenModel
"""A model by its name, as its class, or as an instance."""

COUNTS = {
    "num_classes": ("num_classes", "classes", "n_classes", "out_channels"),
    "in_channels": ("in_channels", "in_chans", "n_channels"),
}
"""What constructors call the number of classes and of image channels, the most usual name first."""

TRIED_COUNTS = {"num_classes": 2, "in_channels": 3}
"""Counts by which a model is tried before the data is read."""

COMPARED_PX = 64
"""Side of the image on which an instance is compared with one that is built from its class."""


def register_model(name: str) -> Callable[[Builder], Builder]:
    """Register a model under a name, as a decorator of a class or a function.

    The class is any ``torch.nn.Module`` that maps images (N, C, H, W) to logits (N, K, H, W), or to
    a dict with them as ``out``; a function returns such a module. It is built with those of the
    arguments ``num_classes`` (or ``classes``, ``n_classes``, ``out_channels``) and ``in_channels``
    (or ``in_chans``, ``n_channels``) that it takes, and with the ``model.arguments`` of the recipe.
    A name that is registered again is replaced, so a notebook cell can be run again.

    Args:
        name: The name, for ``--model``, recipes and model files.

    Raises:
        ConfigError: The name has spaces, commas, brackets or slashes, or what is decorated does not
            build a ``torch.nn.Module``.

    Example:
        >>> @register_model("my-net")
        ... class MyNet(torch.nn.Module):
        ...     def __init__(self, num_classes, in_channels):
        ...         super().__init__()
        ...         self.layer = torch.nn.Conv2d(in_channels, num_classes, 3, padding=1)
        ...
        ...     def forward(self, image):
        ...         return self.layer(image)
    """
    if not name or set(name) & set(" ,()[]{}/\\"):
        raise ConfigError(
            f"the name of a model must have no spaces, commas, brackets or slashes. Got {name!r}"
        )

    def decorate(builder: Builder) -> Builder:
        is_wrong_class = inspect.isclass(builder) and not issubclass(builder, nn.Module)
        if is_wrong_class or not callable(builder):
            raise ConfigError(
                f"the model {name!r} must be a class derived from torch.nn.Module, or a function "
                f"that returns an instance of one. Got {builder!r}"
            )
        return models.register(name)(builder)

    return decorate


def create_model(
    model: Architecture, /, num_classes: int, in_channels: int = 3, **arguments: Any
) -> SegmentationModel:
    """Build a model with newly initialized weights.

    Args:
        model: A registered name, see :func:`pixelwise.models.list_models`; ``module:QualName`` of a
            class in an imported module; a class; or an instance, which is copied with its weights.
        num_classes: Number of classes, which is the number of channels of the logits, at least 1.
        in_channels: Channels of the images, at least 1.
        **arguments: Further arguments of the architecture, see the signature of its class.

    Raises:
        UnknownNameError: The model or an argument is unknown.
        ConfigError: A count is below 1, the model cannot be built, or it does not map images to
            logits of the same size.
    """
    return build_model(model, num_classes, in_channels, arguments)


def build_model(
    model: Architecture,
    num_classes: int,
    in_channels: int,
    arguments: Mapping[str, Any],
    *,
    is_fresh: bool = True,
) -> SegmentationModel:
    """Build a model.

    Args:
        model: See :func:`create_model`.
        num_classes: See :func:`create_model`.
        in_channels: See :func:`create_model`.
        arguments: Further arguments of the architecture.
        is_fresh: Whether its initial weights matter; ``False`` if they are replaced by those of a
            file, so that none are downloaded.

    Raises:
        PixelwiseError: See :func:`create_model`.
    """
    for what, count in (("num_classes", num_classes), ("in_channels", in_channels)):
        if count < 1:
            raise ConfigError(f"{what} must be at least 1. Got {count}")
    if isinstance(model, nn.Module):
        return copied(model, num_classes, in_channels, arguments)
    return build_named(model, num_classes, in_channels, arguments, is_fresh=is_fresh)


def build_named(
    model: str | type[nn.Module],
    num_classes: int | None,
    in_channels: int | None,
    arguments: Mapping[str, Any],
    *,
    is_fresh: bool,
) -> SegmentationModel:
    """Build a model from a name or a class; counts that are not known yet are ``None``."""
    name = model if isinstance(model, str) else class_name(model)
    builder = find_builder(name) if isinstance(model, str) else model
    taken = inspect.signature(builder).parameters
    counts = {}
    for count, value in (("num_classes", num_classes), ("in_channels", in_channels)):
        argument = next((argument for argument in COUNTS[count] if argument in taken), None)
        if argument is not None:
            counts[argument] = value or TRIED_COUNTS[count]
    num_classes = num_classes or _first(counts, "num_classes")
    in_channels = in_channels or _first(counts, "in_channels")
    for argument in counts.keys() & arguments.keys():
        raise ConfigError(
            f"{argument} of model {name!r} must be left out: the data determines it. "
            f"Got {arguments[argument]!r}"
        )
    random = {} if is_fresh else without_pretrained(builder)
    built = _called(builder, name, {**counts, **arguments}, random)
    if not isinstance(built, SegmentationModel):
        built = AdaptedModel(built, name, num_classes, in_channels)
    for count, value in (("num_classes", num_classes), ("in_channels", in_channels)):
        if value is not None:
            setattr(built, count, value)
    built.name = name
    built.arguments = {key: value for key, value in arguments.items() if key not in FRESH_ONLY}
    built.defined_in = None if models.is_own(builder) else _origin(builder).__module__
    return built


def _first(counts: Mapping[str, int], count: str) -> int | None:
    """Return a count by whatever name the constructor has for it."""
    return next((counts[argument] for argument in COUNTS[count] if argument in counts), None)


def _origin(builder: Callable[..., Any]) -> Callable[..., Any]:
    """Return the class or function inside a partial."""
    return builder.func if isinstance(builder, partial) else builder


def without_pretrained(model: Architecture | Callable[..., nn.Module]) -> dict[str, Any]:
    """Return the arguments by which a model is built without pretrained weights.

    Raises:
        PixelwiseError: The model is unknown.
    """
    if isinstance(model, nn.Module):
        return {}
    taken = inspect.signature(find_builder(model) if isinstance(model, str) else model).parameters
    return {key: value for key, value in FRESH_ONLY.items() if key in taken}


def _words(arguments: Mapping[str, Any]) -> str:
    return ", ".join(f"{key}={value!r}" for key, value in arguments.items())


def _called(
    builder: Callable[..., nn.Module],
    name: str,
    arguments: Mapping[str, Any],
    random: Mapping[str, Any],
) -> nn.Module:
    """Call a builder; what goes wrong in one from outside pixelwise is told in one line.

    The values of ``random`` replace arguments, which are checked nevertheless.
    """
    checked = checked_arguments(builder, {**random, **arguments}, f"model {name!r}")
    arguments = {**checked, **random}
    if models.is_own(builder):
        try:
            return builder(**arguments)
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            raise ConfigError(
                f"model {name!r} must fit into memory. Its weights do not, with "
                f"{_words(arguments)}. Choose smaller `arguments`"
            ) from error
    try:
        built = builder(**arguments)
    except PixelwiseError:
        raise
    except Exception as error:  # whatever the class of a user raises
        reason = in_one_line(error)
        raise ConfigError(
            f"model {name!r} must be built with ({_words(arguments)}). It raised {reason}"
        ) from error
    if not isinstance(built, nn.Module):
        raise ConfigError(
            f"model {name!r} must be a torch.nn.Module. Building it returned "
            f"{type(built).__name__}. Correct the function that is registered"
        )
    return built


def given_name(model: Architecture | None) -> tuple[str | None, GivenModel | None]:
    """Return the name of a model, and the class or the copied instance if it is given as such.

    Raises:
        ConfigError: It is neither a name, nor a class, nor an instance; or it is an instance that
            does not map images to logits of the same size.
    """
    if model is None or isinstance(model, str):
        return model, None
    if isinstance(model, nn.Module):
        instance = adopted(model)
        return instance.name, instance
    if inspect.isclass(model) and issubclass(model, nn.Module):
        return class_name(model), model
    raise ConfigError(
        "model must be a registered name, a class derived from torch.nn.Module or an instance of "
        f"one. Got {model!r}. A function that builds one can be registered with register_model"
    )


def adopted(model: nn.Module) -> SegmentationModel:
    """Return a copy of an instance as a model with its name; the copy is on the CPU.

    Its name is that of its class. It ends in ``(...)`` if the class, built with the arguments that
    are known and with the same weights, does not give the same logits: then a model file needs an
    instance to be loaded.

    Args:
        model: A network with any weights.

    Raises:
        ConfigError: It does not map images to logits of the same size.
    """
    try:
        model = copy.deepcopy(model).cpu()
    except Exception as error:  # whatever the network of a user raises
        reason = in_one_line(error)
        raise ConfigError(
            f"an instance of {type(model).__name__} must be copied, so that it stays as it is. "
            f"Copying raised {reason}. Give the class"
        ) from error
    if isinstance(model, AdaptedModel):
        return model
    cls = type(model)
    name = class_name(cls)
    if isinstance(model, SegmentationModel):
        if _is_built_by(model.name, cls):
            name = model.name
        if not {"num_classes", "in_channels"} <= vars(model).keys():
            found = try_out(model, f"model {name!r}", (1,))
            model.num_classes, model.in_channels = found.num_classes, found.in_channels
        twin = model
    else:
        twin = AdaptedModel(model, name)
    twin.name = name
    twin.defined_in = None if models.is_own(cls) else cls.__module__
    is_known = _is_rebuildable(twin, cls)
    if twin.arguments and not is_known:
        twin.arguments = {}
        is_known = _is_rebuildable(twin, cls)
    if not is_known:
        twin.name = name + INSTANCE
    return twin


def _is_built_by(name: str, cls: type[nn.Module]) -> bool:
    """Whether a name is that of a class."""
    try:
        return _origin(find_builder(name)) is cls
    except ConfigError:
        return False


def _is_rebuildable(model: SegmentationModel, cls: type[nn.Module]) -> bool:
    """Whether the class gives the same logits with the known arguments and the same weights."""
    if not _is_built_by(model.name, cls):
        return False
    generator = torch.Generator().manual_seed(0)
    image = torch.rand(1, model.in_channels, COMPARED_PX, COMPARED_PX, generator=generator)
    try:
        json.dumps(model.arguments)
        with torch.random.fork_rng(devices=[]), torch.no_grad():
            counts = (model.num_classes, model.in_channels)
            again = build_model(model.name, *counts, model.arguments, is_fresh=False)
            again.load_state_dict(model.state_dict())
            expected = copy.deepcopy(model).eval()(image)
            return torch.allclose(again.eval()(image), expected, rtol=1e-4, atol=1e-5)
    except Exception:  # whatever the class of a user raises: it cannot be built
        return False


def copied(
    model: nn.Module, num_classes: int, in_channels: int | None, arguments: Mapping[str, Any]
) -> SegmentationModel:
    """Return a copy of an instance, after a check of its channels."""
    twin = adopted(model)
    what = f"model {twin.name!r}"
    if arguments:
        raise ConfigError(
            f"{what} must be given without model.arguments, because it is an instance. Got "
            f"{', '.join(arguments)}. Give its class, or an instance with these arguments"
        )
    if twin.num_classes != num_classes:
        raise ConfigError(
            f"{what} must return logits of {amount(num_classes, 'channel')}, one for each class. "
            f"It returned {twin.num_classes}. Build it for {amount(num_classes, 'class')}"
        )
    if in_channels not in (None, twin.in_channels):
        if not isinstance(twin, AdaptedModel):
            raise ConfigError(
                f"{what} must take images of {amount(in_channels, 'channel')}. It takes "
                f"{twin.in_channels}. Build it for {amount(in_channels, 'channel')}"
            )
        twin.fit_to(num_classes, in_channels)
    return twin
