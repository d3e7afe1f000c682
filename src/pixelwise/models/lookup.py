"""Finds the builder of a model by its name, without importing anything for it."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable

from torch import nn

from pixelwise.errors import ConfigError, UnknownNameError
from pixelwise.imports import find_imported
from pixelwise.models.base import models

INSTANCE = "(...)"
"""End of the name of a model that was given as an instance and cannot be built from its class."""

CLASS_PATH = re.compile(r"(?P<module>[\w.]+):(?P<qualname>[\w.<>]+)")
"""Name of a class that is not registered: ``module:QualName``."""


def class_name(cls: type[nn.Module]) -> str:
    """Return the registered name of a class, or else ``module:QualName``."""
    models.names()  # those of entry points, too
    return models.name_of(cls) or f"{cls.__module__}:{cls.__qualname__}"


def find_builder(name: str, defined_in: str | None = None) -> Callable[..., nn.Module]:
    """Return the class or function that builds a model.

    Args:
        name: A registered name, or ``module:QualName`` of a class in a module that is imported.
        defined_in: The module that registers the name, if known; for the message.

    Raises:
        UnknownNameError: The name is not registered.
        ConfigError: The module of the class is not imported.
    """
    try:
        return models.builder(name)
    except UnknownNameError:
        found = _imported_class(name)
        if found is not None:
            return found
        if defined_in is None and not CLASS_PATH.fullmatch(name.removesuffix(INSTANCE)):
            raise
    raise ConfigError(f"the model {name!r} is not known here. {_advice(name, defined_in)}")


def short_name(name: str) -> str:
    """Return a name for folders: of ``module:QualName``, only the name of the class."""
    name = name.removesuffix(INSTANCE)
    path = CLASS_PATH.fullmatch(name)
    return path["qualname"].rpartition(".")[2] if path else name


def _imported_class(name: str) -> type[nn.Module] | None:
    """Return the class ``module:QualName`` if its module is imported."""
    path = CLASS_PATH.fullmatch(name)
    if path is None:
        return None
    found = find_imported(path["module"], path["qualname"])
    return found if isinstance(found, type) and issubclass(found, nn.Module) else None


def _advice(name: str, defined_in: str | None) -> str:
    """Return how to make a model known."""
    path = CLASS_PATH.fullmatch(name.removesuffix(INSTANCE))
    module = path["module"] if path else defined_in
    own = path["qualname"].rpartition(".")[2] if path else "ITS_CLASS"
    if name.endswith(INSTANCE):
        return (
            "It was given as an instance, which cannot be built again from its class. Give an "
            f"instance with the same arguments: model={own}(...)"
        )
    if module == "__main__" or (path and "<locals>" in path["qualname"]):
        return (
            f"It was defined in a script, a notebook or a function. Give its class: model={own}; "
            "for the command line, define it in a module"
        )
    if module in sys.modules:
        return (
            f"{module} is imported and does not define it. Give its class: model={own}, or restore "
            f"it in {module}"
        )
    return (
        f"Import its module first: import {module}, or `imports=['{module}']`. Or give its class: "
        f"model={own}"
    )
