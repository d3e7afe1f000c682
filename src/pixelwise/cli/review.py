"""``pixelwise review``: finds likely label errors."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pixelwise.cli.console import (
    AsJson,
    DataPath,
    DeviceName,
    Imports,
    ModelPath,
    import_first,
    note,
    print_json,
    print_table,
    progress_bar,
    say,
)
from pixelwise.cli.progress import listening
from pixelwise.cli.reading_options import Labels, takes_label_options
from pixelwise.text import amount

if TYPE_CHECKING:
    from pixelwise.data.dataset import Dataset
    from pixelwise.metrics.label_quality import Suspect
    from pixelwise.prediction.predictor import Predictor

MAX_LINES = 10
"""Maximum number of regions printed; the page and ``--json`` list all."""


@takes_label_options
def command(
    model: ModelPath,
    data: DataPath,
    split: Annotated[
        str | None,
        typer.Option(help="train, val, test or all. [default: the images it was not trained on]"),
    ] = None,
    top: Annotated[int, typer.Option(help="Maximum number of regions.", min=1)] = 50,
    folds: Annotated[
        int | None,
        typer.Option(
            help="Train K models with the model's recipe, and review each image with the model "
            "that was not trained on it.",
            min=2,
            max=100,
        ),
    ] = None,
    minutes: Annotated[
        float | None,
        typer.Option(help="Budget of each training run of --folds. [default: as in the recipe]"),
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Output folder. [default: review-DATA]")] = None,
    save: Annotated[
        str | None, typer.Option(help="labelme: also write files for that tool.")
    ] = None,
    *,
    labels: Labels,
    device: DeviceName = "auto",
    imports: Imports = None,
    as_json: AsJson = False,
) -> None:
    """Find regions where the model is confident and the label disagrees, likeliest errors first.

    Writes review.html, a gallery, and review.csv into --out.
    """
    import_first(imports)
    from pixelwise.config import Recipe, with_values
    from pixelwise.data.split_assignment import check_part
    from pixelwise.devices import choose_device
    from pixelwise.errors import ConfigError, OutputError, UnknownNameError
    from pixelwise.evaluation.evaluate import open_for_model
    from pixelwise.files import require_outside
    from pixelwise.prediction.loading import load_model
    from pixelwise.reporting.review_labelme import FORMAT_NAME

    if save not in (None, FORMAT_NAME):
        raise UnknownNameError("--save", save, [FORMAT_NAME])
    if minutes is not None and folds is None:
        raise ConfigError(
            "--minutes sets the budget of each training run of --folds and needs --folds"
        )
    check_part(split)
    choose_device(device)
    with_values(Recipe(), {"training.minutes": minutes}, "review")
    predictor = load_model(model, device=device)
    dataset, _ = open_for_model(
        predictor,
        data,
        split="all",
        **labels,
    )
    for line in dataset.notes:
        note(line)
    out = out or Path(f"review-{dataset.path.resolve().name}")
    require_outside(out, dataset.path, "the data set")
    tool_folder = out / FORMAT_NAME
    if save and tool_folder.exists():  # checked before hours of work, not after
        raise OutputError(
            f"{tool_folder} must be new. It exists and may hold somebody's edits. Remove it, or "
            "choose another --out"
        )
    unreviewed: list[str] = []
    if folds is None:
        suspects, notes = _by_model(predictor, dataset, split, top, unreviewed)
    else:
        notes = [f"{folds} models were trained; each reviewed the images it was not trained on"]
        suspects, dataset = _by_folds(
            model, data, dataset, split, top, folds, minutes, out, device, unreviewed
        )
    notes += unreviewed
    written = _write(out, suspects, dataset, f"{model} on {data}", notes)
    if save and suspects:
        from pixelwise.reporting.review_labelme import write_labelme_review

        with progress_bar("writing") as on_written:
            write_labelme_review(tool_folder, suspects, dataset, on_written=on_written)
        written.append(tool_folder)
    if as_json:
        regions = [
            {key: value for key, value in dataclasses.asdict(one).items() if key != "region"}
            for one in suspects
        ]
        places = [str(path) for path in written]
        print_json({"written": places, "notes": notes, "suspects": regions})
        return
    _print_suspects(suspects)
    for line in unreviewed:
        say(line)
    for path in written:
        say(str(path))


def _by_model(
    predictor: Predictor, dataset: Dataset, split: str | None, top: int, unreviewed: list[str]
) -> tuple[list[Suspect], list[str]]:
    """Find suspects with the given model, and describe what was reviewed."""
    from pixelwise.evaluation.evaluate import trained_on
    from pixelwise.evaluation.review import records_to_review, review_labels

    records = records_to_review(predictor, dataset, split)
    seen = trained_on(predictor)
    num_seen = sum(record in seen for record in records)
    left = len(dataset.records) - len(records)
    notes = [f"{amount(len(records), 'image')} reviewed"]
    if split is None and left:
        notes[0] += f"; the model was trained on the other {left}: use --folds to review those too"
    if num_seen:
        notes.append(
            f"the model was trained on {num_seen} of these images and may have memorized their "
            "errors. Use --folds to review them with models that were not trained on them"
        )
    for line in notes:
        note(line)
    with progress_bar("reviewing") as on_progress:
        found = review_labels(
            predictor,
            dataset,
            split=split,
            top=top,
            on_progress=on_progress,
            note=unreviewed.append,
        )
    return found, notes


def _by_folds(
    model: Path,
    data: str,
    dataset: Dataset,
    split: str | None,
    top: int,
    folds: int,
    minutes: float | None,
    out: Path,
    device: str,
    unreviewed: list[str],
) -> tuple[list[Suspect], Dataset]:
    """Find suspects with models that were trained without the images (out of fold).

    What could not be reviewed is added to ``unreviewed``. The data set is returned as it was
    divided.
    """
    from pixelwise.data.splits.plans import plan_split
    from pixelwise.data.splits.split_cards import require_new
    from pixelwise.devices import keep_freed_memory
    from pixelwise.training.out_of_fold import CARD_NAME, recipe_of, review_folds, train_folds

    recipe = recipe_of(model)
    home = out / "folds"
    require_new(home / CARD_NAME, folds)
    if split is not None:
        dataset.split(split)  # raised now instead of after the training runs
    with progress_bar("reading images") as on_progress:
        plan = plan_split(dataset, folds=folds, redraw=True, on_progress=on_progress)
    for line in plan.notes:
        note(line)
    dataset = plan.applied_to(dataset)
    keep_freed_memory()
    with listening() as listener:
        trained = train_folds(
            dataset, data, plan, recipe, home, minutes=minutes, device=device, listener=listener
        )
    with progress_bar("reviewing") as on_progress:
        found = review_folds(
            dataset, trained,
            split=split, top=top, device=device, on_progress=on_progress, note=unreviewed.append,
        )  # fmt: skip
    return found, dataset


def _write(
    out: Path, suspects: Sequence[Suspect], dataset: Dataset, title: str, notes: Sequence[str]
) -> list[Path]:
    """Write the page and the table."""
    from pixelwise.reporting.review_page import (
        PAGE_NAME,
        TABLE_NAME,
        write_review_page,
        write_review_table,
    )

    records = {record.name: record for record in dataset.records}
    page, table = out / PAGE_NAME, out / TABLE_NAME
    write_review_page(
        page,
        suspects,
        lambda name: dataset.load(records[name]),
        dataset.class_map,
        title=title,
        notes=notes,
    )
    write_review_table(table, suspects, lambda name: records[name].image)
    return [page, table]


def _print_suspects(suspects: Sequence[Suspect]) -> None:
    from rich.table import Table

    if not suspects:
        say("no likely label errors found")
        return
    table = Table("", "image", "labeled as", "looks like", box=None, pad_edge=False)
    for heading in ("row", "column", "pixels", "confidence", "score"):
        table.add_column(heading, justify="right")
    for rank, one in enumerate(suspects[:MAX_LINES], start=1):
        table.add_row(
            str(rank),
            one.name,
            *one.answers,
            *map(str, one.box[:2]),
            f"{one.area_px:,}",
            f"{one.confidence:.0%}",
            f"{one.score:.2f}",
        )
    print_table(table)
    if len(suspects) > MAX_LINES:
        say(f"... and {len(suspects) - MAX_LINES} more")
    say()
