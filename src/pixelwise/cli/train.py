"""``pixelwise train``: a data set to a run folder."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pixelwise.cli.console import (
    AsJson,
    FormatName,
    IgnoredValues,
    is_terminal,
    note,
    parse_size,
    print_json,
    print_scores,
    say,
)

if TYPE_CHECKING:
    from pixelwise.training.events import Event, Listener, Stepped

NAME = "train"


def command(
    data: Annotated[
        str | None,
        typer.Argument(help="A folder, a dataset card, or 'digits'.", show_default=False),
    ] = None,
    model: Annotated[
        str | None, typer.Option(help="See: pixelwise models. [default: unet-elu]")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="The run's folder. [default: runs/MODEL-DATA]")
    ] = None,
    epochs: Annotated[int | None, typer.Option(help="Passes over the images.", min=1)] = None,
    minutes: Annotated[float | None, typer.Option(help="Wall-clock budget instead.")] = None,
    batch_size: Annotated[int | None, typer.Option(help="Images per step.", min=1)] = None,
    size: Annotated[
        str | None, typer.Option(help="Crops to train on, in pixels.", metavar="HxW")
    ] = None,
    split: Annotated[
        str | None,
        typer.Option(help="70/15/15 (train/val/test) or 70/30 (train/test).", metavar="SHARES"),
    ] = None,
    ignore: IgnoredValues = None,
    format: FormatName = None,  # noqa: A002  the option is called --format
    recipe: Annotated[Path | None, typer.Option(help="A YAML recipe to start from.")] = None,
    set_: Annotated[
        list[str] | None,
        typer.Option(
            "--set", help="Override the recipe; may be repeated.", metavar="SECTION.KEY=VALUE"
        ),
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the run in --out.")] = False,
    seed: Annotated[int | None, typer.Option(help="Of everything random. [default: 0]")] = None,
    device: Annotated[
        str | None, typer.Option(help="auto, cpu, cuda or mps. [default: auto]")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Train a model on a folder of labelled images.

    What is not given is chosen from the data and this machine, and said with its reason.
    """
    from pixelwise.training.session import train

    with _listening() as listener:
        outcome = train(
            data,
            model=model,
            out=out,
            epochs=epochs,
            minutes=minutes,
            batch_size=batch_size,
            size=parse_size(size) if size else None,
            split=split,
            ignore=ignore or (),
            format=format,
            recipe=recipe,
            overrides=set_ or (),
            resume=resume,
            seed=seed,
            device=device,
            listener=listener,
        )
    if as_json:
        summary = {
            "folder": str(outcome.folder),
            "best_epoch": outcome.best_epoch,
            "epochs": outcome.epochs,
            "seconds": round(outcome.seconds, 1),
        }
        print_json({**summary, "scores": outcome.scores.to_json()})
        return
    print_scores(outcome.scores)
    seconds = f"{outcome.seconds:.0f} s of training"
    say(f"\nkept epoch {outcome.best_epoch} of {outcome.epochs}, {seconds}")
    say(f"run: {outcome.folder}")
    say(f"next: pixelwise predict {outcome.folder} IMAGES --out predictions --save overlay")


def _print_lines(event: Event) -> None:
    """Print what is worth a line of its own."""
    from pixelwise.training.events import Drawn, EpochEnded, Said

    if isinstance(event, Said):
        note(f"{event.title}:")
        for line in event.lines:
            note(f"  {line}")
    elif isinstance(event, EpochEnded):
        note(_epoch_line(event.row, event.epochs, event.eta_s))
    elif isinstance(event, Drawn):
        note("pictures:")
        for path in event.paths:
            note(f"  {path}")


@contextmanager
def _listening() -> Iterator[Listener]:
    """Print what a training says: a progress bar on a terminal, plain lines elsewhere."""
    if not is_terminal():
        yield _print_lines
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn

    from pixelwise.training.events import Decoded, Stepped

    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[text]}"))
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("reading", total=1.0, text="")

        def draw(event: Event) -> None:
            if isinstance(event, Decoded):
                text = f"{event.done}/{event.total} images"
                share = event.done / event.total
                bar.update(task, description=f"reading {event.split}", completed=share, text=text)
            elif isinstance(event, Stepped):
                description, text = _step_texts(event)
                bar.update(task, description=description, completed=event.fraction, text=text)
            else:
                # The bar writes to stderr beside these lines: it makes way for a moment.
                bar.stop()
                _print_lines(event)
                bar.start()

        yield draw


def _step_texts(event: Stepped) -> tuple[str, str]:
    """What stands before and behind the bar."""
    epochs = f"/{event.epochs}" if event.epochs else ""
    score = "" if event.score is None else f" · mean IoU {event.score:.3f}"
    eta = "?" if event.eta_s is None else _duration(event.eta_s)
    speed = f"{event.images_per_s:.1f} images/s"
    text = f"{eta} left · {speed} · loss {event.loss:.4f}{score}"
    return f"epoch {event.epoch}{epochs}", text


def _epoch_line(row: dict[str, Any], epochs: int | None, eta_s: float) -> str:
    of = f"/{epochs}" if epochs else ""
    best = " *" if row["is_best"] else ""
    return (
        f"epoch {row['epoch']}{of}: loss {row['train_loss']:.4f}, val loss {row['val_loss']:.4f}, "
        f"mean IoU {row['val_mean_iou']:.4f}, {row['images_per_s']:.1f} images/s, "
        f"{_duration(eta_s)} left{best}"
    )


def _duration(seconds: float) -> str:
    whole = round(seconds)
    minutes, rest = divmod(whole, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"
