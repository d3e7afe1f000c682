"""A registry of named builders: register by decorator, create by name, list."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from collections.abc import Callable
from typing import Any, Generic, TypeVar

from pixelwise.errors import ConfigError, UnknownNameError

Item = TypeVar("Item")
Builder = TypeVar("Builder", bound=Callable[..., Any])


class Registry(Generic[Item]):
    """Names and what they stand for; filled when the modules of a package are imported.

    Args:
        kind: What a name names, such as ``"model"``; used in messages.
        package: The package whose modules hold the entries; each module is imported at first use.
        hint: What to do to see every name; ``None`` to list them in the message.
    """

    def __init__(self, kind: str, package: str, *, hint: str | None = None) -> None:
        self.kind = kind
        self._package = package
        self._hint = hint
        self._entries: dict[str, Callable[..., Item]] = {}
        self._is_loaded = False

    def register(self, name: str) -> Callable[[Builder], Builder]:
        """Decorate a class or a function that builds an item, and give it a name."""

        def decorate(builder: Builder) -> Builder:
            if name in self._entries:
                raise ValueError(f"{self.kind} {name!r} is registered twice")
            self._entries[name] = builder
            return builder

        return decorate

    def names(self) -> list[str]:
        """Every registered name, sorted."""
        self._load()
        return sorted(self._entries)

    def builder(self, name: str) -> Callable[..., Item]:
        """What is registered under a name.

        Raises:
            UnknownNameError: Nothing is.
        """
        self._load()
        if name not in self._entries:
            raise UnknownNameError(self.kind, name, self._entries, hint=self._hint)
        return self._entries[name]

    def create(self, name: str, **arguments: Any) -> Item:
        """Build the item of that name; the builder's signature is the schema of its arguments.

        Raises:
            UnknownNameError: No such name, or no such argument.
            ConfigError: An argument is missing.
        """
        builder = self.builder(name)
        signature = inspect.signature(builder)
        for argument in arguments:
            if argument not in signature.parameters:
                raise UnknownNameError(
                    f"argument of {self.kind} {name!r}", argument, list(signature.parameters)
                )
        try:
            signature.bind(**arguments)
        except TypeError as error:
            raise ConfigError(f"{self.kind} {name!r} cannot be built: {error}") from error
        return builder(**arguments)

    def _load(self) -> None:
        if self._is_loaded:
            return
        package = importlib.import_module(self._package)
        for module in pkgutil.iter_modules(package.__path__):
            importlib.import_module(f"{self._package}.{module.name}")
        self._is_loaded = True
