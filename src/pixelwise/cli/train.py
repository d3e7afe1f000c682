"""``pixelwise train``: trains a model and writes a run folder."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pixelwise.cli import COMMAND
from pixelwise.cli.console import (
    AsJson,
    Imports,
    parse_bands,
    parse_size,
    print_json,
    print_metrics,
    say,
)
from pixelwise.cli.progress import listening
from pixelwise.cli.reading_options import Labels, takes_label_options
from pixelwise.text import NOTHING_YET, amount, import_words

if TYPE_CHECKING:
    from pixelwise.training.finish import Outcome


@takes_label_options
def command(
    data: Annotated[
        str | None,
        typer.Argument(help="A folder, a dataset card, or 'digits'.", show_default=False),
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(help="Name of the model; see: pixelwise models. [default: unet-fast]"),
    ] = None,
    start_from: Annotated[
        Path | None,
        typer.Option(
            "--from", help="A run or a file of weights to start from.", metavar="RUN|FILE"
        ),
    ] = None,
    freeze: Annotated[
        str | None, typer.Option(help="'encoder' excludes the encoder from training.")
    ] = None,
    loss: Annotated[
        str | None,
        typer.Option(help="Such as 'ce + 0.5 * dice'. [default: ce]", metavar="EXPRESSION"),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Output folder of the run. [default: runs/MODEL-DATA]")
    ] = None,
    epochs: Annotated[
        int | None, typer.Option(help="Number of passes over the training images.", min=1)
    ] = None,
    minutes: Annotated[
        float | None, typer.Option(help="Wall-clock budget, instead of --epochs.")
    ] = None,
    batch_size: Annotated[int | None, typer.Option(help="Batch size.", min=1)] = None,
    size: Annotated[
        str | None, typer.Option(help="Size of the training crops, in pixels.", metavar="HxW")
    ] = None,
    split: Annotated[
        str | None,
        typer.Option(help="70/15/15 (train/val/test) or 70/30 (train/test).", metavar="SHARES"),
    ] = None,
    bands: Annotated[
        str | None,
        typer.Option(help="Bands to train on, numbered from 1. [default: all]", metavar="4,3,2"),
    ] = None,
    *,
    labels: Labels,
    recipe: Annotated[Path | None, typer.Option(help="A YAML recipe to start from.")] = None,
    overrides: Annotated[
        list[str] | None,
        typer.Option(
            "--set", help="Override the recipe; may be repeated.", metavar="SECTION.KEY=VALUE"
        ),
    ] = None,
    imports: Imports = None,
    resume: Annotated[bool, typer.Option("--resume", help="Resume the run in --out.")] = False,
    sanity_check: Annotated[
        bool,
        typer.Option(
            "--sanity-check",
            help="Overfit one batch first as a sanity check; stop if that fails.",
        ),
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print the plan and stop; nothing is written.")
    ] = False,
    seed: Annotated[int | None, typer.Option(help="Random seed. [default: 0]")] = None,
    device: Annotated[
        str | None, typer.Option(help="auto, cpu, cuda or mps. [default: auto]")
    ] = None,
    metrics: Annotated[
        list[str] | None,
        typer.Option("--metric", help="An additional registered metric; may be repeated."),
    ] = None,
    loggers: Annotated[
        list[str] | None,
        typer.Option(
            "--logger",
            help="tensorboard, mlflow, wandb or another registered logger; may be repeated.",
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Train a model on a folder of labeled images.

    Options that are not given are chosen from the data and this machine; each choice is printed
    with its reason.
    """
    try:
        from pixelwise.devices import keep_freed_memory
        from pixelwise.training.budget import counting_from
        from pixelwise.training.train import train
    except KeyboardInterrupt as error:  # it takes seconds
        error.args = (NOTHING_YET,)
        raise

    keep_freed_memory()
    with listening() as listener, counting_from(COMMAND.started):
        outcome = train(
            data,
            model=model,
            start_from=start_from,
            freeze=freeze,
            loss=loss,
            out=out,
            epochs=epochs,
            minutes=minutes,
            batch_size=batch_size,
            size=parse_size(size) if size else None,
            split=split,
            bands=parse_bands(bands) if bands else None,
            **labels,
            recipe=recipe,
            overrides=overrides or (),
            imports=imports or (),
            resume=resume,
            sanity_check=sanity_check,
            dry_run=dry_run,
            seed=seed,
            device=device,
            metrics=metrics or (),
            loggers=loggers or (),
            listener=listener,
        )
    if dry_run:
        if as_json:
            print_json({"recipe": outcome.plan.recipe.model_dump(mode="json"),
                        "plan": list(outcome.plan.lines())})  # fmt: skip
        return
    if as_json:
        summary = {
            "folder": str(outcome.folder),
            "best_epoch": outcome.best_epoch,
            "epochs": outcome.epochs,
            "seconds": round(outcome.seconds, 1),
        }
        print_json({**summary, "split": "val", "metrics": outcome.metrics.to_json()})
        return
    _print_outcome(outcome)


def _print_outcome(outcome: Outcome) -> None:
    """Print the metrics with their split, what was kept, and the commands to run next."""
    metrics, dataset = outcome.metrics, outcome.plan.dataset
    say(f"metrics on the {amount(metrics.images, 'validation image')} (split val):")
    print_metrics(metrics)
    seconds = f"{outcome.seconds:.0f} s of training"
    say(f"\nkept epoch {outcome.best_epoch} of {outcome.epochs}, {seconds}")
    if metrics.detail is not None:
        say(f"stored with it: temperature {metrics.detail.temperature:.3g} for its probabilities")
    say(f"run: {outcome.folder}")
    split = "test" if any(record.split == "test" for record in dataset.records) else "val"
    run, recipe = str(outcome.folder), outcome.plan.recipe
    first = import_words(recipe.imports, outcome.plan.card.defined_in)
    for what, words in (
        ("next", ("evaluate", run, str(recipe.data.path), "--split", split)),
        ("then", ("predict", run, "IMAGES", "--out", "predictions", "--save", "overlay")),
    ):
        say(f"{what}: {shlex.join(('pixelwise', *words, *first))}")
