"""Out-of-fold label review: each image is reviewed by a model that was not trained on it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from pixelwise.config import Recipe, load_recipe
from pixelwise.data.dataset import Dataset
from pixelwise.data.splits.plans import SplitPlan
from pixelwise.data.splits.split_cards import write_cards
from pixelwise.errors import ConfigError
from pixelwise.evaluation.review import answers, check_top, counted
from pixelwise.metrics.label_quality import MIN_AREA_PX, Answer, Suspect, find_suspects
from pixelwise.prediction.loading import load_model
from pixelwise.text import amount
from pixelwise.training.events import Listener, Message, each_once, ignore_events
from pixelwise.training.run_folder import RECIPE_NAME
from pixelwise.training.train import train

CARD_NAME = "split.yaml"
"""Prefix of the cards of the folds, such as ``split-fold1.yaml``."""


@dataclass(frozen=True)
class Fold:
    """A model and its held-out images.

    Attributes:
        run: Its run folder.
        names: Names of the held-out records.
    """

    run: Path
    names: tuple[str, ...]


def recipe_of(model: Path) -> Recipe:
    """Return the recipe that a model was trained with.

    Args:
        model: A run folder, or the model file inside it.

    Raises:
        ConfigError: There is no recipe next to the model.
    """
    folder = model if model.is_dir() else model.parent
    if not (folder / RECIPE_NAME).is_file():
        raise ConfigError(
            f"`folds` needs the recipe of the model. {folder} contains no "
            f"{RECIPE_NAME}. Give the run folder of the model"
        )
    return load_recipe(folder / RECIPE_NAME)


def train_folds(
    dataset: Dataset,
    data: Path | str,
    plan: SplitPlan,
    recipe: Recipe,
    out: Path,
    *,
    minutes: float | None = None,
    device: str | None = None,
    listener: Listener = ignore_events,
) -> list[Fold]:
    """Train one model per fold with the same recipe and different held-out images.

    Args:
        dataset: The data.
        data: The path that it was opened with; the entries of its card are kept.
        plan: The folds, from :func:`~pixelwise.data.splits.plans.plan_split`.
        recipe: Recipe of all training runs.
        out: The folder for the cards and the runs.
        minutes: Budget of each training run; ``None`` means that of the recipe.
        device: Device to use; ``None`` means that of the recipe.
        listener: Called with each event.

    Raises:
        PixelwiseError: The folder already holds folds, or a training run failed.
    """
    recipe = recipe.model_copy(deep=True)
    # The card of each fold defines how the data is read; the recipe may be for other data.
    recipe.data.format, recipe.data.split = dataset.format.name, None
    recipe.data.label_mode, recipe.data.unexpected = dataset.label_mode, dataset.format.unexpected
    recipe.data.ignore = None
    listener = each_once(listener)
    cards = write_cards(plan, dataset, data, out / CARD_NAME)
    folds = []
    for number, (card, division) in enumerate(zip(cards, plan.divisions, strict=True), start=1):
        held_out = division["val"].names
        listener(
            Message(
                f"fold {number} of {len(cards)}", (f"{amount(len(held_out), 'image')} held out",)
            )
        )
        outcome = train(
            card,
            recipe=recipe,
            minutes=minutes,
            device=device,
            out=out / f"fold{number}",
            listener=listener,
        )
        folds.append(Fold(outcome.folder, held_out))
    return folds


def review_folds(
    dataset: Dataset,
    folds: list[Fold],
    *,
    split: str | None = None,
    top: int = 50,
    min_area_px: int = MIN_AREA_PX,
    device: str = "auto",
    on_progress: Callable[[int, int], None] | None = None,
    note: Callable[[str], None] | None = None,
) -> list[Suspect]:
    """Find likely label errors in each image with the model of its fold.

    See :func:`~pixelwise.evaluation.review.review_labels`.

    Args:
        dataset: The data set that was divided.
        folds: The folds from :func:`train_folds`.
        split: Review only the images of this split; ``None`` reviews all.
        top: Maximum number of regions.
        min_area_px: Smaller regions are left out.
        device: Device to use.
        on_progress: Called with the number of finished predictions and the total number.
        note: Called with what could not be reviewed, because the model has not learned it.

    Returns:
        The regions, most likely label errors first.

    Raises:
        DataError: The split is empty, or a file is invalid.
    """
    check_top(top)
    records = {record.name: record for record in dataset.split(split or "all")}
    held_out = [[records[name] for name in fold.names if name in records] for fold in folds]

    def look() -> Iterator[Answer]:
        # Load one model at a time: together they might not fit into memory.
        for fold, inside in zip(folds, held_out, strict=True):
            yield from answers(load_model(fold.run, device=device), map(dataset.load, inside))

    return find_suspects(
        counted(look, sum(map(len, held_out)), on_progress),
        dataset.class_map,
        dataset.label_mode,
        top=top,
        min_area_px=min_area_px,
        note=note,
    )
