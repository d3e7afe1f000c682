"""Turns the arguments that a message names into the options of the running command.

Messages are written for Python: they name an argument in backticks, as in "`out` must be a new
folder", with a value where they propose one. The command line prints ``--out`` instead.
"""

from __future__ import annotations

import re
import shlex
import sys
from typing import Any

_ARGUMENT = re.compile(r"`([a-z_]+)(?:\.([a-z_]+))?(?:=([^`]*))?`")


def in_options(message: str) -> str:
    """Return a message with options instead of the arguments that it names.

    ``out`` becomes ``--out``, and ``model`` becomes ``MODEL`` where a command takes it without an
    option; ``resume=True`` becomes ``--resume``, ``split='all'`` becomes ``--split all``, and an
    entry of the recipe, ``data.scale=1``, becomes ``--set data.scale=1``. Names that the running
    command does not take stay as they are.
    """
    if "`" not in message:
        return message
    options = _options_of_command()

    def option(found: re.Match[str]) -> str:
        name, key, value = found.groups()
        if key is not None:
            return f"{name}.{key}" if value is None else f"--set {name}.{key}={value}"
        words = [options.get(name, name), _in_shell((value or "").strip("[]'\""))]
        return " ".join(word for word in words if word not in ("", "True"))

    return _ARGUMENT.sub(option, message)


def _in_shell(value: str) -> str:
    """Return a value as a shell takes it; braces are quoted too, as in the docs."""
    return shlex.quote(value) if "{" in value else value


def _options_of_command() -> dict[str, str]:
    """Return the option or the placeholder of each argument of the running command."""
    from typer.main import get_command

    from pixelwise.cli.application import app

    command: Any = get_command(app)
    for word in sys.argv[1:]:
        command = getattr(command, "commands", {}).get(word, command)
    return {
        entry.name: entry.name.upper() if entry.param_type_name == "argument" else entry.opts[0]
        for entry in command.params
    }
