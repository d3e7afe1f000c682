"""The Typer application: every verb of :data:`pixelwise.cli.VERBS` and the global options."""

from __future__ import annotations

import importlib
import os
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from pixelwise.cli import OPTIONS, VERBS, Interrupted, overview, version_line

# The arguments below are click's; Typer imports click from different places by version.


class WithOverview(TyperGroup):
    """The top-level group; its help is always the text of ``pixelwise --help``."""

    def invoke(self, ctx: Any) -> Any:
        """Run the verb."""
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt as error:
            raise Interrupted(error) from error

    def format_help(self, ctx: Any, formatter: Any) -> None:  # noqa: ARG002
        """Write the overview of the verbs."""
        formatter.write(overview())


class WithWholeLines(TyperGroup):
    """A group that lists its commands with the complete first line of their docstrings."""

    def format_commands(self, ctx: Any, formatter: Any) -> None:  # noqa: ARG002
        """Write the list of commands; click itself would truncate the lines."""
        rows = [
            (name, command.get_short_help_str(limit=1000))
            for name, command in self.commands.items()
        ]
        with formatter.section("Commands"):
            formatter.write_dl(rows)


app = typer.Typer(
    cls=WithOverview,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    # Parsed as markup, hints in square brackets such as [default: index] would disappear.
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _print_version(is_asked: bool) -> None:
    if is_asked:
        typer.echo(version_line())
        raise typer.Exit


@app.callback()
def options(
    debug: Annotated[bool, typer.Option("--debug", help=OPTIONS["--debug"])] = False,
    version: Annotated[  # noqa: ARG001  --version was handled before
        bool,
        typer.Option(
            "--version", help=OPTIONS["--version"], callback=_print_version, is_eager=True
        ),
    ] = False,
) -> None:
    """Handle the options of all verbs."""
    if debug:
        os.environ["PIXELWISE_DEBUG"] = "1"


def _add(verb: str) -> None:
    """Add a module's command, or its group of commands."""
    module = importlib.import_module(f"pixelwise.cli.{verb}")
    if hasattr(module, "app"):
        app.add_typer(module.app, name=verb, cls=WithWholeLines)
    else:
        app.command(verb)(module.command)


for verb in VERBS:
    _add(verb)
