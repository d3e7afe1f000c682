"""Imports the modules of users, and finds what imported modules define."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterable
from pathlib import Path

from pixelwise.errors import ConfigError, in_one_line
from pixelwise.text import several


def import_modules(names: Iterable[str]) -> None:
    """Import modules by name, also from the current folder, as ``python -m`` does.

    Only names that the user gave are imported: those of ``--import`` and of the ``imports`` of a
    recipe. The names in a model file are not, because a model file must not run code.

    Args:
        names: Names of modules, such as ``my_package.nets``. An imported module is not run again.

    Raises:
        ConfigError: A module cannot be imported.
    """
    for name in several(names):
        here = str(Path.cwd())
        if not {"", here} & set(sys.path):
            sys.path.insert(0, here)
        try:
            importlib.import_module(name)
        except (Exception, SystemExit) as error:  # whatever the module of a user raises
            reason = in_one_line(error)
            raise ConfigError(
                f"imports must be modules that can be imported from {here}. Importing {name!r} "
                f"raised {reason}. {_advice(name, error)}"
            ) from error


def find_imported(module: str, qualname: str) -> object | None:
    """Return a class or function of a module that is imported already; ``None`` without it.

    Modules of Python's own library define no networks and no losses, and are left out.

    Args:
        module: Name of the module.
        qualname: Its qualified name in the module.
    """
    # What a file names may be called, and so it must not be a function of Python itself.
    is_pythons = module.partition(".")[0] in sys.stdlib_module_names
    found: object = None if is_pythons else sys.modules.get(module)
    for part in qualname.split("."):
        # Not getattr: a module with lazy attributes would import what a file names.
        found = getattr(found, "__dict__", {}).get(part)
    return found


def _advice(name: str, error: BaseException) -> str:
    """Return what to do about a module that cannot be imported."""
    if "," in name:
        modules = [f"`imports=['{module.strip()}']`" for module in name.split(",")]
        return f"Name each module by itself: {' '.join(modules)}"
    path = Path(name)
    if path.suffix == ".py" or len(path.parts) > 1:
        module = ".".join(path.with_suffix("").parts)
        return f"Give the name of the module, not of its file: {module}"
    if isinstance(error, ModuleNotFoundError) and name.split(".")[0] == error.name:
        return "Check the name, or change to the folder that contains the module"
    return f"Correct {name}"
