"""``pixelwise data``: creates, checks, shows, splits and converts data sets."""

from __future__ import annotations

import shlex
import time
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from pixelwise.cli.console import (
    AsJson,
    DataPath,
    Imports,
    import_first,
    note,
    print_json,
    print_split,
    print_table,
    progress_bar,
    say,
)
from pixelwise.cli.reading_options import Labels, takes_label_options
from pixelwise.text import amount

app = typer.Typer(help="Create and inspect data sets.", no_args_is_help=True)


@app.callback()
def options() -> None:
    """Create and inspect data sets."""


@app.command("digits")
def digits(
    out: Annotated[Path, typer.Argument(help="Folder to create.", show_default=False)],
    source: Annotated[
        Path | None,
        typer.Option(help="Folder with the four MNIST idx files, plain or gzipped.", metavar="DIR"),
    ] = None,
    download: Annotated[
        bool, typer.Option("--download", help="Download MNIST into --source (default: mnist/).")
    ] = False,
    train: Annotated[int, typer.Option(help="Number of training images.", min=1)] = 1000,
    val: Annotated[int, typer.Option(help="Number of validation images.", min=1)] = 200,
    classes: Annotated[
        int, typer.Option(help="Number of classes, 1 to 10: the digits from 0.")
    ] = 3,
    height: Annotated[int, typer.Option(help="Image height in pixels.")] = 60,
    width: Annotated[int, typer.Option(help="Image width in pixels.")] = 60,
    min_digits: Annotated[int, typer.Option(help="Minimum number of digits per image.")] = 2,
    max_digits: Annotated[int, typer.Option(help="Maximum number of digits per image.")] = 4,
    max_iou: Annotated[
        float, typer.Option(help="Maximum overlap (IoU) of the boxes of two digits.")
    ] = 0.2,
    proportion_of_mnist: Annotated[
        float, typer.Option(help="First draw this fraction of MNIST with replacement.")
    ] = 1.0,
    multiclass: Annotated[
        bool, typer.Option("--multiclass", help="Assign each pixel to the first digit drawn on it.")
    ] = False,
    whole_boxes: Annotated[
        bool,
        typer.Option("--whole-boxes", help="Use the whole 28 x 28 box of a digit as its mask."),
    ] = False,
    seed: Annotated[int, typer.Option(help="The same seed gives the same images.", min=0)] = 0,
) -> None:
    """Create MNIST extended: images of several digits with one soft mask per class.

    Without --source or --download, the handwritten digits included in scikit-learn are used.
    """
    from pixelwise.data.digits import DigitOptions, write_digits

    options = DigitOptions(
        num_classes=classes,
        height=height,
        width=width,
        min_digits=min_digits,
        max_digits=max_digits,
        max_iou=max_iou,
        labels_are_multiclass=multiclass,
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
    say(f"{out}: {train} + {val} images, {height} x {width}, {classes} classes ({seconds:.1f} s)")


@app.command("formats")
def formats_(imports: Imports = None, as_json: AsJson = False) -> None:
    """List the label formats with their file layouts and label modes."""
    import_first(imports)
    from pixelwise.data.formats import formats

    known = [formats.create(name) for name in formats.names()]
    if as_json:
        print_json([
            {"name": one.name, "layout": one.layout, "label_modes": one.label_modes}
            for one in known
        ])  # fmt: skip
        return
    from rich.table import Table

    table = Table("name", "layout", "labels", box=None, pad_edge=False)
    for one in known:
        table.add_row(one.name, one.layout, ", ".join(one.label_modes))
    print_table(table)


@app.command("convert")
@takes_label_options
def convert(
    data: DataPath,
    out: Annotated[Path, typer.Argument(help="Folder to create.", show_default=False)],
    to: Annotated[
        str,
        typer.Option(
            "--to", help="Format to write; see: pixelwise data formats.", show_default=False
        ),
    ],
    *,
    labels: Labels,
    imports: Imports = None,
) -> None:
    """Convert a data set to another format; pixels, classes and splits stay the same."""
    import_first(imports)
    from pixelwise.data.convert import convert_data
    from pixelwise.data.dataset import open_dataset
    from pixelwise.data.formats import formats

    formats.create(to)  # an unknown name is refused before anything is read
    dataset = open_dataset(
        data,
        **labels,
    )
    for line in dataset.notes:
        note(line)
    keep_splits = dataset.drawn_split is None
    with progress_bar("writing") as on_written:
        convert_data(dataset, out, to, keep_splits=keep_splits, on_written=on_written)
    say(f"{out}: {amount(len(dataset.records), 'image')} as {to}")


@app.command("split")
@takes_label_options
def split(
    data: DataPath,
    out: Annotated[Path, typer.Option("--out", help="Dataset card to write.", show_default=False)],
    shares: Annotated[
        str | None,
        typer.Option(help="TRAIN/VAL/TEST or TRAIN/TEST. [default: 70/15/15]", metavar="SHARES"),
    ] = None,
    folds: Annotated[
        int | None,
        typer.Option(
            help="Write K cards instead, each with a different fold for validation.", min=2, max=100
        ),
    ] = None,
    group_by: Annotated[
        str | None,
        typer.Option(
            help="Keep images together that have the same parent folder (parent), were cut from "
            "the same picture (scene), or share a part of the name (a regular expression).",
            metavar="parent|scene|REGEX",
        ),
    ] = None,
    stratify: Annotated[
        bool,
        typer.Option("--stratify", help="Stratify: keep the class proportions in every split."),
    ] = False,
    duplicates: Annotated[
        bool,
        typer.Option(
            "--keep-duplicates/--separate-duplicates",
            help="Keep near-duplicates in the same split.",
        ),
    ] = True,
    redraw: Annotated[
        bool, typer.Option("--redraw", help="Also draw the folder's own test images again.")
    ] = False,
    seed: Annotated[int, typer.Option(help="Random seed of the draw.", min=0)] = 0,
    *,
    labels: Labels,
    imports: Imports = None,
    as_json: AsJson = False,
) -> None:
    """Split a data set and write a card that lists the images of each split."""
    import_first(imports)
    from pixelwise.data.dataset import open_dataset
    from pixelwise.data.splits.plans import plan_split
    from pixelwise.data.splits.split_cards import require_new, write_cards

    require_new(out, folds)
    dataset = open_dataset(
        data,
        **labels,
    )
    with progress_bar("reading images") as on_progress:
        plan = plan_split(
            dataset,
            shares=shares,
            folds=folds,
            group_by=group_by,
            stratify=stratify,
            keep_duplicates=duplicates,
            redraw=redraw,
            seed=seed,
            on_progress=on_progress,
        )
    cards = write_cards(plan, dataset, data, out)
    if as_json:
        print_json({"cards": [str(card) for card in cards], **asdict(plan)})
        return
    print_split(plan, dataset.class_map.names)
    for line in plan.notes:
        note(line)
    say(f"\nnext: {shlex.join(('pixelwise', 'train', str(cards[0])))}")


@app.command("check")
@takes_label_options
def check(
    data: DataPath,
    write: Annotated[
        Path | None,
        typer.Option(help="Write a dataset card for you to review and correct.", metavar="FILE"),
    ] = None,
    report: Annotated[
        Path | None,
        typer.Option(help="Write an HTML page with pictures of the findings.", metavar="FILE"),
    ] = None,
    split: Annotated[
        str | None,
        typer.Option(help="Split fractions, for a folder without splits.", metavar="SHARES"),
    ] = None,
    *,
    labels: Labels,
    imports: Imports = None,
    as_json: AsJson = False,
) -> None:
    """Check every file and list the problems, worst first; exit 1 if training would fail."""
    import_first(imports)
    from pixelwise.cli.data_check import print_examination
    from pixelwise.doctor import check_data
    from pixelwise.doctor.suggested_card import require_new_card, write_card
    from pixelwise.files import require_file

    if write:
        require_new_card(write)
    if report:
        require_file(report)
    with progress_bar("reading images") as on_progress:
        examination = check_data(
            data,
            **labels,
            split=split,
            on_progress=on_progress,
        )
    for line in examination.dataset.notes if examination.dataset else ():
        note(line)
    if as_json:
        print_json(examination.to_json())
    else:
        print_examination(examination)
    if report:
        from pixelwise.reporting.data_check_page import write_data_check_page

        page, *maps = write_data_check_page(examination, report)
        note(f"page: {page}")
        for path in maps:
            note(f"map: {path}")
    if write:
        write_card(examination, write)
        note(f"card: {write}")
    if examination.is_refused:
        raise typer.Exit(1)


@app.command("show")
@takes_label_options
def show(
    data: DataPath,
    out: Annotated[
        Path | None,
        typer.Option(help="PNG file to write. [default: samples-DATA.png]", metavar="PNG"),
    ] = None,
    num: Annotated[int, typer.Option(help="Number of samples.", min=1, max=50)] = 6,
    split: Annotated[str, typer.Option(help="train, val or test.")] = "train",
    seed: Annotated[int, typer.Option(help="Random seed for the choice of samples.", min=0)] = 0,
    recipe: Annotated[Path | None, typer.Option(help="A YAML recipe to start from.")] = None,
    overrides: Annotated[
        list[str] | None,
        typer.Option(
            "--set", help="Override the recipe; may be repeated.", metavar="SECTION.KEY=VALUE"
        ),
    ] = None,
    *,
    labels: Labels,
    imports: Imports = None,
) -> None:
    """Draw samples with their masks, next to augmented versions as used in training.

    The augmentation is the default for this data, or that of the recipe.
    """
    import_first(imports)
    from pixelwise.cli.progress import listening
    from pixelwise.training.preview import show_data

    with listening() as listener:
        path = show_data(
            data,
            out,
            split=split,
            num=num,
            seed=seed,
            **labels,
            recipe=recipe,
            overrides=overrides or (),
            listener=listener,
        )
    say(str(path))
