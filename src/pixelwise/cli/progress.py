"""Shows the events of a training run: a progress bar on a terminal, plain lines elsewhere."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from pixelwise.cli.console import is_terminal, note, plain_console

if TYPE_CHECKING:
    from pixelwise.training.events import Event, Listener, StepEnded


def _print_lines(event: Event) -> None:
    """Print the events that get a line of their own."""
    from pixelwise.training.events import EpochEnded, FilesWritten, Message, WarningRaised

    if isinstance(event, Message):
        note(f"{event.title}:")
        for line in event.lines:
            note(f"  {line}")
    elif isinstance(event, EpochEnded):
        note(_epoch_line(event.row, event.epochs, event.eta_s))
    elif isinstance(event, WarningRaised):
        note(f"warning: {event.text} [{event.kind}]")
    elif isinstance(event, FilesWritten):
        note("written:")
        for path in event.paths:
            note(f"  {path}")


@contextmanager
def listening() -> Iterator[Listener]:
    """Print the events of a training run: a progress bar on a terminal, plain lines elsewhere."""
    if not is_terminal():
        yield _print_lines
        return
    from rich.progress import BarColumn, Progress, TextColumn

    from pixelwise.training.events import Decoded, StepEnded

    description, text = "{task.description}", "{task.fields[text]}"
    columns = (TextColumn(description, markup=False), BarColumn(), TextColumn(text, markup=False))
    with Progress(*columns, console=plain_console(stderr=True), transient=True) as bar:
        task = bar.add_task("reading", total=1.0, text="")

        def draw(event: Event) -> None:
            if isinstance(event, Decoded):
                text = f"{event.done}/{event.total} images"
                share = event.done / event.total
                bar.update(task, description=f"reading {event.split}", completed=share, text=text)
            elif isinstance(event, StepEnded):
                description, text = _step_texts(event)
                bar.update(task, description=description, completed=event.fraction, text=text)
            else:
                # The bar is on stderr too: it is cleared while these lines are written.
                bar.stop()
                _print_lines(event)
                bar.start()

        yield draw


def _step_texts(event: StepEnded) -> tuple[str, str]:
    """Return the texts before and after the bar."""
    epochs = f"/{event.epochs}" if event.epochs else ""
    mean_iou = "" if event.mean_iou is None else f" · mean IoU {event.mean_iou:.3f}"
    eta = "?" if event.eta_s is None else _duration(event.eta_s)
    speed = f"{event.images_per_s:.1f} images/s"
    text = f"{eta} left · {speed} · loss {event.loss:.4f}{mean_iou}"
    return f"epoch {event.epoch}{epochs}", text


def _epoch_line(row: dict[str, Any], epochs: int | None, eta_s: float) -> str:
    of = f"/{epochs}" if epochs else ""
    best = " *" if row["is_best"] else ""
    speed = f"{row['images_per_s']:.1f} images/s, " if math.isfinite(row["images_per_s"]) else ""
    return (
        f"epoch {row['epoch']}{of}: loss {row['train_loss']:.4f}, val loss {row['val_loss']:.4f}, "
        f"mean IoU {row['val_mean_iou']:.4f}, {speed}{_duration(eta_s)} left{best}"
    )


def _duration(seconds: float) -> str:
    whole = round(seconds)
    minutes, rest = divmod(whole, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"
