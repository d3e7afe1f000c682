"""Printing shared by the verbs: results to stdout, progress to stderr."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pixelwise.cli.streams import write_error
from pixelwise.cli.wording import in_options
from pixelwise.text import amount, portable, printable, shortened, whole_number

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from pixelwise.data.splits.plans import SplitPlan
    from pixelwise.metrics.intervals import Interval
    from pixelwise.metrics.metrics import Metrics

AsJson = Annotated[
    bool, typer.Option("--json", help="Print one JSON document and nothing else on stdout.")
]
DeviceName = Annotated[str, typer.Option("--device", help="auto, cpu, cuda or mps.")]
DataPath = Annotated[str, typer.Argument(help="A folder, a dataset card, or 'digits'.")]
Imports = Annotated[
    list[str] | None,
    typer.Option(
        "--import",
        help="A module to import first, which registers models, losses or formats; may be "
        "repeated.",
        metavar="MODULE",
    ),
]
PIPED_WIDTH = 10_000
"""Line width in characters where the output is not a terminal."""

ModelPath = Annotated[Path, typer.Argument(help="A model file or a run folder.")]


def say(line: str = "") -> None:
    """Print a line of the result to stdout."""
    typer.echo(printable(line))


def import_first(modules: Sequence[str] | None) -> None:
    """Import the modules of ``--import``.

    Raises:
        ConfigError: A module cannot be imported.
    """
    from pixelwise.imports import import_modules

    import_modules(modules or ())


def note(line: str) -> None:
    """Print a line of progress or context to stderr, with options instead of arguments."""
    write_error(f"{printable(in_options(line))}\n")


def print_json(content: Any) -> None:
    """Print the JSON document of ``--json``.

    NaN and infinite values become null, and names that are not Unicode are escaped.
    """
    typer.echo(json.dumps(_as_json(content), indent=2, allow_nan=False))


def plain_console(**options: Any) -> Console:
    """Return a console that prints text as it is.

    Names of classes, files and layouts are not markup: ``car [occluded]`` keeps its brackets, and
    ``x [/y]`` and ``:dog:`` are no tags. Control characters are shown as escapes.

    Args:
        options: Further arguments of :class:`rich.console.Console`.
    """
    from rich.console import Console
    from rich.text import Text

    class PlainConsole(Console):
        def render_str(self, text: str, **more: Any) -> Text:
            return super().render_str(printable(text), **more)

    stream = sys.stderr if options.get("stderr") else sys.stdout
    if not stream.isatty():  # a file or a pipe has no width, so nothing is cut or wrapped
        options.setdefault("width", PIPED_WIDTH)
    return PlainConsole(markup=False, emoji=False, highlight=False, **options)


def print_table(table: Table) -> None:
    """Print a table with all of its text; a terminal too narrow for its words breaks its lines.

    Args:
        table: The table; a column that must not wrap keeps its longest line.
    """
    from rich.cells import cell_len

    for column in table.columns:
        column.overflow = "fold"
        if column.no_wrap:
            cells = (printable(str(cell)) for cell in (column.header, *column.cells))
            column.min_width = max(map(cell_len, cells))
    console = plain_console()
    needed = console.measure(table, options=console.options.update(width=PIPED_WIDTH))
    if console.width < needed.minimum:
        console.width = needed.maximum
    console.print(table)


def _as_json(content: Any) -> Any:
    if isinstance(content, dict):
        return {key: _as_json(value) for key, value in content.items()}
    if isinstance(content, list | tuple):
        return [_as_json(value) for value in content]
    if isinstance(content, str):
        return portable(content)
    return None if isinstance(content, float) and not math.isfinite(content) else content


def is_terminal() -> bool:
    """Whether stderr is an interactive terminal, so that a progress bar can be drawn."""
    return sys.stderr.isatty()


@contextmanager
def progress_bar(what: str) -> Iterator[Callable[[int, int], None]]:
    """Show a progress bar with ETA on a terminal; elsewhere a plain line after each tenth.

    Args:
        what: Name of the work, shown in front of the bar.

    Yields:
        A function to call with the number of items done and their total number.
    """
    if not is_terminal():
        last = -1

        def plain(done: int, total: int) -> None:
            nonlocal last
            tenth = 10 * done // max(1, total)
            if tenth != last and total >= 10:
                last = tenth
                note(f"{what} {done}/{total}")

        yield plain
        return
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
    from rich.progress import TimeRemainingColumn as Remaining

    description = TextColumn("{task.description}", markup=False)
    columns = (description, BarColumn(), MofNCompleteColumn(), Remaining())
    with Progress(*columns, console=plain_console(stderr=True), transient=True) as bar:
        task = bar.add_task(what, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


def print_metrics(metrics: Metrics) -> None:
    """Print metrics as a table, with their definition."""
    from rich.table import Table

    from pixelwise.label_modes import mode_of
    from pixelwise.reporting.verdict import calibration_errors, caveats

    console = plain_console()
    has_intervals = any(entry.iou_interval for entry in metrics.per_class)
    table = Table("class", box=None, pad_edge=False)
    for heading in (
        "IoU",
        *(["95 %"] if has_intervals else []),
        "Dice",
        "precision",
        "recall",
        "pixels",
    ):
        table.add_column(heading, justify="right")
    for entry in metrics.per_class:
        table.add_row(
            entry.name,
            _share(entry.iou),
            *([_range(entry.iou_interval)] if has_intervals else []),
            *(_share(value) for value in (entry.dice, entry.precision, entry.recall)),
            f"{entry.pixels:,}",
        )
    print_table(table)
    accuracy = f"pixel accuracy {_with_interval(metrics, 'pixel_accuracy')}"
    console.print(
        f"\nmean IoU {_with_interval(metrics, 'mean_iou')} · {accuracy} · "
        f"{amount(metrics.images, 'image')}"
    )
    console.print(
        f"mean per image {metrics.image_mean_iou:.4f} · Dice {metrics.mean_dice:.4f} · "
        f"class accuracy {metrics.class_accuracy:.4f} · "
        f"frequency-weighted IoU {metrics.frequency_weighted_iou:.4f}"
    )
    if metrics.detail:
        detail = metrics.detail
        console.print(
            f"borders: boundary IoU {_share(detail.boundary_iou)} · "
            f"trimap IoU {_share(detail.trimap_iou)} · "
            f"surface Dice {_share(detail.surface_dice)}"
        )
        errors = calibration_errors(detail)
        console.print(" · ".join(f"{name}: {error:.4f}" for name, error in errors))
    if metrics.absent_classes:
        console.print(
            f"absent from these masks, so not averaged: {', '.join(metrics.absent_classes)}"
        )
    for caveat in caveats(metrics):
        console.print(caveat)
    console.print(f"({mode_of(metrics.label_mode).definition})", style="dim")
    print_extra(metrics)


def print_extra(metrics: Metrics) -> None:
    """Print the values of additional metrics, and name those that have none."""
    if metrics.extra:
        figures = (f"{name.replace('_', ' ')} {value:.4f}" for name, value in metrics.extra.items())
        plain_console().print(" · ".join(figures))
    if metrics.undefined:
        names = ", ".join(metrics.undefined)
        say(f"no value of {names}: not defined for {metrics.label_mode} masks like these")


def require_convention(name: str) -> None:
    """Check the value of ``--like`` before the evaluation starts.

    Raises:
        UnknownNameError: The convention is unknown.
    """
    from pixelwise.errors import UnknownNameError
    from pixelwise.metrics.conventions import convention_names

    known = [*convention_names(), "all"]
    if name not in known:
        raise UnknownNameError("--like", name, known)


def figures_like(metrics: Metrics, name: str) -> dict[str, float]:
    """Return the mean IoU by convention: under one convention, or under ``all``."""
    from pixelwise.label_modes import mode_of
    from pixelwise.metrics.conventions import convention_names, figure_like

    counts, has_background = metrics.counts, mode_of(metrics.label_mode).needs_background
    assert counts is not None
    return {
        key: figure_like(key, counts, has_background=has_background)
        for key in (convention_names() if name == "all" else [name])
    }


def print_like(metrics: Metrics, name: str) -> None:
    """Print the mean IoU under one convention, or under all, with their descriptions."""
    from pixelwise.metrics.conventions import convention_names

    conventions = convention_names()
    for key, figure in figures_like(metrics, name).items():
        say(f"{key:<20} {f'{figure:.4f}':<7} {conventions[key]}")
    say(f"{'pixelwise':<20} {metrics.mean_iou:.4f}  IoU over the split, absent classes left out")
    print_extra(metrics)


def _with_interval(metrics: Metrics, name: str) -> str:
    text = f"{getattr(metrics, name):.4f}"
    interval = metrics.intervals.get(name)
    return f"{text} (95 %: {_range(interval)})" if interval else text


def _range(interval: Interval | None) -> str:
    return f"{interval.low:.4f} to {interval.high:.4f}" if interval else "-"


def print_split(plan: SplitPlan, class_names: Sequence[str]) -> None:
    """Print, for each part of a split, the number of images, of groups and of images per class."""
    from rich.table import Table

    parts = {name: part for division in plan.divisions[:1] for name, part in division.items()}
    columns = [(str(name), part) for name, part in parts.items()]
    if len(plan.divisions) > 1:  # each fold is the validation part once
        folds = enumerate((division["val"] for division in plan.divisions), start=1)
        columns = [(f"fold {number}", part) for number, part in folds]
        columns += [("test", parts["test"])] if "test" in parts else []
    table = Table("images", box=None, pad_edge=False)
    for heading, _ in columns:
        table.add_column(heading, justify="right")
    table.add_row("total", *(f"{len(part.names):,}" for _, part in columns))
    table.add_row("groups", *(f"{part.num_groups:,}" for _, part in columns))
    for index, name in enumerate(class_names):
        shown = (part.num_showing[index] for _, part in columns)
        table.add_row(f"with {name}", *(f"{count:,}" for count in shown))
    print_table(table)


def _share(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}"


def parse_size(text: str) -> tuple[int, int]:
    """Parse ``HxW`` into (height, width)."""
    from pixelwise.errors import ConfigError

    height, width = (whole_number(side) for side in text.lower().partition("x")[::2])
    if not (height and width):
        shown = shortened(text, 80)
        raise ConfigError(f"--size must be HxW in pixels, such as 256x256. Got {shown!r}")
    return height, width


def parse_bands(text: str) -> tuple[int, ...]:
    """Parse ``4,3,2`` into band numbers."""
    from pixelwise.errors import ConfigError

    bands = [whole_number(part.strip()) or 0 for part in text.split(",")]
    if not all(bands):
        raise ConfigError(
            "--bands must be band numbers starting at 1, such as 4,3,2. "
            f"Got {shortened(text, 80)!r}"
        )
    return tuple(bands)
