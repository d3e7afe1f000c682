"""``pixelwise data``: making, looking at and converting data sets."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import typer

from pixelwise.cli.console import (
    DataPath,
    FormatName,
    IgnoredValues,
    StrayValues,
    note,
    progress_bar,
    say,
    stray_rule,
)

app = typer.Typer(help="Make and look at data sets.", no_args_is_help=True)


@app.callback()
def options() -> None:
    """Make and look at data sets."""


@app.command("digits")
def digits(
    out: Annotated[Path, typer.Argument(help="The folder to make.", show_default=False)],
    source: Annotated[
        Path | None,
        typer.Option(help="Folder of the four MNIST idx files, plain or gzipped.", metavar="DIR"),
    ] = None,
    download: Annotated[
        bool, typer.Option("--download", help="Fetch MNIST into --source (default: mnist/).")
    ] = False,
    train: Annotated[int, typer.Option(help="Pictures to train on.", min=1)] = 1000,
    val: Annotated[int, typer.Option(help="Pictures to validate with.", min=1)] = 200,
    classes: Annotated[int, typer.Option(help="Classes: digits from 0 on, 1 to 10.")] = 3,
    height: Annotated[int, typer.Option(help="Height of a picture in pixels.")] = 60,
    width: Annotated[int, typer.Option(help="Width of a picture in pixels.")] = 60,
    min_digits: Annotated[int, typer.Option(help="Fewest digits in a picture.")] = 2,
    max_digits: Annotated[int, typer.Option(help="Most digits in a picture.")] = 4,
    max_iou: Annotated[
        float, typer.Option(help="Largest overlap (IoU) of two digits' boxes.")
    ] = 0.2,
    proportion_of_mnist: Annotated[
        float, typer.Option(help="Draw this share of MNIST, with replacement, before choosing.")
    ] = 1.0,
    exclusive: Annotated[
        bool, typer.Option("--exclusive", help="A pixel belongs to the first digit inking it.")
    ] = False,
    whole_boxes: Annotated[
        bool, typer.Option("--whole-boxes", help="The mask of a digit is its whole 28 x 28 box.")
    ] = False,
    seed: Annotated[int, typer.Option(help="The same seed gives the same images.", min=0)] = 0,
) -> None:
    """Make MNIST extended (article A1): pictures of several digits with one soft mask per class.

    Without --source or --download, the handwritten digits that scikit-learn ships are used.
    """
    from pixelwise.data.digits import DigitOptions, write_digits

    options = DigitOptions(
        num_classes=classes,
        height=height,
        width=width,
        min_digits=min_digits,
        max_digits=max_digits,
        max_iou=max_iou,
        labels_are_exclusive=exclusive,
        target_is_whole_bounding_box=whole_boxes,
        proportion_of_mnist=proportion_of_mnist,
    )
    started = time.perf_counter()
    origin = write_digits(
        out,
        num_train=train,
        num_val=val,
        source=source,
        download=download,
        options=options,
        seed=seed,
    )
    note(f"digits from {origin}")
    seconds = time.perf_counter() - started
    say(f"{out}: {train} + {val} pictures, {height} x {width}, {classes} classes ({seconds:.1f} s)")


@app.command("convert")
def convert(
    data: DataPath,
    out: Annotated[Path, typer.Argument(help="The folder to make.", show_default=False)],
    to: Annotated[str, typer.Option("--to", help="The format to write.", show_default=False)],
    format: FormatName = None,  # noqa: A002  the option is called --format
    ignore: IgnoredValues = None,
    strays: StrayValues = None,
) -> None:
    """Write a data set in another format, pixel by pixel the same, with its classes and splits."""
    from pixelwise.data.convert import convert_dataset
    from pixelwise.data.dataset import open_dataset

    dataset = open_dataset(data, format=format, ignore=ignore or (), strays=stray_rule(strays))
    for line in dataset.notes:
        note(line)
    keep_splits = dataset.drawn_split is None
    with progress_bar("writing") as on_written:
        convert_dataset(dataset, out, to, keep_splits=keep_splits, on_written=on_written)
    say(f"{out}: {len(dataset.records)} images as {to}")
