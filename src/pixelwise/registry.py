"""A registry that builds objects by name, also those that other packages register."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import warnings
from collections.abc import Callable, Mapping
from functools import partial
from importlib import metadata
from types import ModuleType
from typing import Any, Generic, TypeVar, get_type_hints

from pydantic import TypeAdapter, ValidationError
from pydantic.errors import PydanticUserError

from pixelwise.errors import ConfigError, PixelwiseWarning, UnknownNameError, in_one_line
from pixelwise.schemas import rule_in_words

Item = TypeVar("Item")
Builder = TypeVar("Builder", bound=Callable[..., Any])


class Registry(Generic[Item]):
    """Maps names to builders; filled when the modules of a package are imported.

    Args:
        kind: What a name refers to, such as ``"model"``; used in messages.
        package: The package whose modules register the builders; they are imported at first use.
        hint: How to list all names, for messages; ``None`` lists the names themselves.
        group: The group of the entry points by which installed packages register builders; they
            are loaded at first use. An entry point names a builder, which is registered under the
            name of the entry point, or a module, which registers its builders when it is imported.
            ``None`` means that there is no such group.
        is_open: Whether modules of the user register builders too, which unknown names point out.
    """

    def __init__(
        self,
        kind: str,
        package: str,
        *,
        hint: str | None = None,
        group: str | None = None,
        is_open: bool = False,
    ) -> None:
        self.kind = kind
        self._package = package
        self._hint = hint
        self._group = group
        self._is_open = is_open
        self._broken: dict[str, str] = {}
        self._entries: dict[str, Callable[..., Item]] = {}
        self._families: dict[str, tuple[str, Callable[..., Item]]] = {}
        self._is_loaded = False

    def register(self, name: str) -> Callable[[Builder], Builder]:
        """Register a class or a function that builds an item under a name, as a decorator.

        A builder from outside the package replaces an earlier one of the same name, so that a cell
        of a notebook can be run again. It also takes precedence over a builder of the package that
        is imported later.

        Raises:
            ValueError: Two modules of the package register the same name.
        """

        def decorate(builder: Builder) -> Builder:
            before = self._entries.get(name)
            if before is not None and self.is_own(builder):
                if not self.is_own(before):
                    return builder
                if before.__module__ != builder.__module__:
                    raise ValueError(f"{self.kind} {name!r} is registered twice")
            self._entries[name] = builder
            return builder

        return decorate

    def is_own(self, builder: Callable[..., Any]) -> bool:
        """Whether the builder is defined in a module of the package."""
        if isinstance(builder, partial):
            builder = builder.func
        return f"{builder.__module__}.".startswith(f"{self._package}.")

    def register_family(self, prefix: str, shape: str) -> Callable[[Builder], Builder]:
        """Register a builder for all names that begin with ``prefix``, as a decorator.

        The builder gets the full name as its first argument.

        Args:
            prefix: The beginning of the names.
            shape: The pattern of the names, shown in lists.
        """

        def decorate(builder: Builder) -> Builder:
            self._families[prefix] = (shape, builder)
            return builder

        return decorate

    def families(self) -> list[str]:
        """Return the patterns of all families of names, sorted."""
        self._load()
        return sorted(shape for shape, _ in self._families.values())

    def names(self) -> list[str]:
        """Return all registered names, sorted; see :meth:`families` for families of names."""
        self._load()
        return sorted(self._entries)

    def builder(self, name: str) -> Callable[..., Item]:
        """Return the builder registered under a name.

        Raises:
            UnknownNameError: The name is not registered.
            ConfigError: It is that of an entry point that cannot be loaded.
        """
        self._load()
        if name in self._entries:
            return self._entries[name]
        for prefix, (_, builder) in self._families.items():
            if name.startswith(prefix):
                return partial(builder, name)
        if name in self._broken:
            raise ConfigError(self._broken[name])
        raise UnknownNameError(
            self.kind, name, self._entries, hint=self._hint, may_be_own=self._is_open
        )

    def name_of(self, builder: object) -> str | None:
        """Return the name of a registered class or function; ``None`` if it is not registered."""
        return next((name for name, entry in self._entries.items() if entry is builder), None)

    def create(self, name: str, **arguments: Any) -> Item:
        """Build the item of a name; the arguments are those of the builder's signature.

        Raises:
            UnknownNameError: The name or an argument is unknown.
            ConfigError: An argument is missing or of the wrong type.
        """
        return self.builder(name)(**self.checked(name, **arguments))

    def checked(self, name: str, **arguments: Any) -> dict[str, Any]:
        """Validate arguments against the builder's signature and convert them to its types.

        Raises:
            UnknownNameError: No such name, or no such argument.
            ConfigError: An argument is missing.
        """
        return checked_arguments(self.builder(name), arguments, f"{self.kind} {name!r}")

    def _load(self) -> None:
        if self._is_loaded:
            return
        package = importlib.import_module(self._package)
        # Subpackages too: an entry with helper modules is a package of its own.
        paths = getattr(package, "__path__", ())  # empty where all builders are in one module
        for module in pkgutil.walk_packages(paths, f"{self._package}."):
            importlib.import_module(module.name)
        self._is_loaded = True  # before the entry points, whose packages may ask for names
        if self._group is not None:
            for entry in metadata.entry_points(group=self._group):
                self._load_entry_point(entry)

    def _load_entry_point(self, entry: metadata.EntryPoint) -> None:
        """Register the builder of an entry point; warn if it cannot be loaded."""
        try:
            found = entry.load()
        except (Exception, SystemExit) as error:  # whatever another package raises when imported
            reason = in_one_line(error)
            source = entry.dist.name if entry.dist else entry.value
            self._broken[entry.name] = (
                f"the entry point {entry.name!r} ({self._group}) of the package {source!r} must be "
                f"importable. Importing {entry.value} raised {reason}. Repair or uninstall {source}"
            )
            warnings.warn(self._broken[entry.name], PixelwiseWarning, stacklevel=2)
            return
        # A builder that was registered before, in a notebook, say, is the one that is wanted.
        if not isinstance(found, ModuleType):
            self._entries.setdefault(entry.name, found)


def checked_arguments(
    builder: Callable[..., Any], arguments: Mapping[str, Any], what: str
) -> dict[str, Any]:
    """Validate arguments against a builder's signature and convert them to its types.

    Args:
        builder: A class or a function.
        arguments: Its arguments by name.
        what: What is built, for messages, such as ``"model 'unet'"``.

    Returns:
        The arguments. Those whose annotation cannot be checked are returned as given.

    Raises:
        UnknownNameError: The builder has no such argument.
        ConfigError: An argument is missing or of the wrong type.
    """
    signature = inspect.signature(builder)
    takes_any = any(entry.kind is entry.VAR_KEYWORD for entry in signature.parameters.values())
    for argument in arguments:
        if argument not in signature.parameters and not takes_any:
            raise UnknownNameError(f"argument of {what}", argument, list(signature.parameters))
    types, checked = _types(builder), dict(arguments)
    for argument in arguments.keys() & types.keys():
        try:
            checked[argument] = TypeAdapter(types[argument]).validate_python(arguments[argument])
        except ValidationError as error:
            raise ConfigError(
                f"argument {argument!r} of {what} must {rule_in_words(error.errors()[0])}. "
                f"Got {arguments[argument]!r}"
            ) from error
        except PydanticUserError:
            continue  # a type that pydantic does not know, such as torch.Tensor
    try:
        signature.bind(**checked)
    except TypeError as error:
        raise ConfigError(f"{what} cannot be built: {error}") from error
    return checked


def _types(builder: Callable[..., Any]) -> dict[str, Any]:
    """Return the annotations of a builder's arguments, against which values are checked."""
    if isinstance(builder, partial):
        builder = builder.func
    target = builder.__init__ if inspect.isclass(builder) else builder
    try:
        return get_type_hints(target, include_extras=True)
    except (NameError, TypeError):  # annotations that only a type checker can resolve
        return {}
