"""A registry of named builders: register by decorator, create by name, list."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from collections.abc import Callable
from functools import partial
from typing import Any, Generic, TypeVar, get_type_hints

from pydantic import TypeAdapter, ValidationError

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
        self._families: dict[str, tuple[str, Callable[..., Item]]] = {}
        self._is_loaded = False

    def register(self, name: str) -> Callable[[Builder], Builder]:
        """Decorate a class or a function that builds an item, and give it a name.

        A builder from outside the package replaces what had the name before, so that a cell of a
        notebook can be run again, and it stays where the package's own is imported only later.

        Raises:
            ValueError: Two modules of the package take the same name.
        """

        def decorate(builder: Builder) -> Builder:
            before = self._entries.get(name)
            if before is not None and self._is_own(builder):
                if not self._is_own(before):
                    return builder
                if before.__module__ != builder.__module__:
                    raise ValueError(f"{self.kind} {name!r} is registered twice")
            self._entries[name] = builder
            return builder

        return decorate

    def _is_own(self, builder: Callable[..., Any]) -> bool:
        """It is defined in a module of the package."""
        return f"{builder.__module__}.".startswith(f"{self._package}.")

    def register_family(self, prefix: str, shape: str) -> Callable[[Builder], Builder]:
        """Decorate a builder for every name that begins with ``prefix``; it gets the name first.

        Args:
            prefix: Of the names.
            shape: What such a name looks like, for lists.
        """

        def decorate(builder: Builder) -> Builder:
            self._families[prefix] = (shape, builder)
            return builder

        return decorate

    def families(self) -> list[str]:
        """What the names of each family look like, sorted."""
        self._load()
        return sorted(shape for shape, _ in self._families.values())

    def names(self) -> list[str]:
        """Every registered name, sorted; see :meth:`families` for those that are endless."""
        self._load()
        return sorted(self._entries)

    def builder(self, name: str) -> Callable[..., Item]:
        """What is registered under a name.

        Raises:
            UnknownNameError: Nothing is.
        """
        self._load()
        if name in self._entries:
            return self._entries[name]
        for prefix, (_, builder) in self._families.items():
            if name.startswith(prefix):
                return partial(builder, name)
        raise UnknownNameError(self.kind, name, self._entries, hint=self._hint)

    def name_of(self, builder: object) -> str | None:
        """The name that a class or function is registered under; ``None`` where it has none."""
        return next((name for name, entry in self._entries.items() if entry is builder), None)

    def create(self, name: str, **arguments: Any) -> Item:
        """Build the item of that name; the builder's signature is the schema of its arguments.

        Raises:
            UnknownNameError: No such name, or no such argument.
            ConfigError: An argument is missing.
        """
        return self.builder(name)(**self.checked(name, **arguments))

    def checked(self, name: str, **arguments: Any) -> dict[str, Any]:
        """The arguments as the builder of that name takes them, with the types of its signature.

        Raises:
            UnknownNameError: No such name, or no such argument.
            ConfigError: An argument is missing.
        """
        builder = self.builder(name)
        signature = inspect.signature(builder)
        takes_any = any(entry.kind is entry.VAR_KEYWORD for entry in signature.parameters.values())
        for argument in arguments:
            if argument not in signature.parameters and not takes_any:
                raise UnknownNameError(
                    f"argument of {self.kind} {name!r}", argument, list(signature.parameters)
                )
        types = _types(builder)
        for argument in arguments.keys() & types.keys():
            try:
                checked = TypeAdapter(types[argument]).validate_python(arguments[argument])
            except ValidationError as error:
                raise ConfigError(
                    f"argument {argument!r} of {self.kind} {name!r}: {error.errors()[0]['msg']}. "
                    f"Got {arguments[argument]!r}"
                ) from error
            arguments[argument] = checked
        try:
            signature.bind(**arguments)
        except TypeError as error:
            raise ConfigError(f"{self.kind} {name!r} cannot be built: {error}") from error
        return arguments

    def _load(self) -> None:
        if self._is_loaded:
            return
        package = importlib.import_module(self._package)
        # With the packages inside: an entry that needs helpers is a package of its own.
        for module in pkgutil.walk_packages(package.__path__, f"{self._package}."):
            importlib.import_module(module.name)
        self._is_loaded = True


def _types(builder: Callable[..., Any]) -> dict[str, Any]:
    """The annotations of a builder's arguments: what it is called with is held against them."""
    if isinstance(builder, partial):
        builder = builder.func
    target = builder.__init__ if inspect.isclass(builder) else builder
    return get_type_hints(target, include_extras=True)
