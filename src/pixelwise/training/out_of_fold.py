"""Every label looked at again by a model that has not seen it: one training for each fold."""

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
from pixelwise.prediction.predictor import load_model
from pixelwise.training.events import Listener, Message, each_once, ignore_events
from pixelwise.training.run_folder import RECIPE_NAME
from pixelwise.training.train import train

CARD_NAME = "split.yaml"
"""The cards of the folds are ``split-fold1.yaml`` and so on."""


@dataclass(frozen=True)
class Fold:
    """A model, and the images that it has not seen.

    Attributes:
        run: The folder of its training.
        names: The records that were held out.
    """

    run: Path
    names: tuple[str, ...]


def recipe_of(model: Path) -> Recipe:
    """The recipe that a model was trained with.

    Args:
        model: A run's folder, or the model file inside it.

    Raises:
        ConfigError: There is no recipe beside the model.
    """
    folder = model if model.is_dir() else model.parent
    if not (folder / RECIPE_NAME).is_file():
        raise ConfigError(
            f"--folds needs the recipe that the model was trained with. {folder} holds no "
            f"{RECIPE_NAME}. Give the folder of its run"
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
    """Train a model for each division, all alike but for the images that are held out.

    Args:
        dataset: The data.
        data: The path that it was opened by; what its card says is kept.
        plan: The divisions, as :func:`~pixelwise.data.splits.plans.plan_split` makes folds.
        recipe: Of every training.
        out: The folder for the cards and the runs.
        minutes: Budget of each training; ``None`` leaves what the recipe says.
        device: Where to compute; ``None`` leaves what the recipe says.
        listener: Told of what happens.

    Raises:
        PixelwiseError: The folder holds folds already, or a training cannot be made.
    """
    recipe = recipe.model_copy(deep=True)
    # The card of each fold says how its data are read; the recipe may be of other data.
    recipe.data.format, recipe.data.split = dataset.format.name, None
    recipe.data.label_mode, recipe.data.unexpected = dataset.label_mode, dataset.format.unexpected
    recipe.data.ignore = ()
    listener = each_once(listener)
    cards = write_cards(plan, dataset, data, out / CARD_NAME)
    folds = []
    for number, (card, division) in enumerate(zip(cards, plan.divisions, strict=True), start=1):
        held_out = division["val"].names
        listener(Message(f"fold {number} of {len(cards)}", (f"{len(held_out)} images held out",)))
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
) -> list[Suspect]:
    """Find wrong labels, each image by the model of its fold.

    See :func:`~pixelwise.evaluation.review.review_labels`.

    Args:
        dataset: What was divided.
        folds: As :func:`train_folds` gives them.
        split: Look at the images of this split alone; ``None`` looks at all.
        top: How many regions are kept.
        min_area_px: Smaller regions are left out.
        device: Where to compute.
        on_progress: Called with how many looks at an image are done and how many there are.

    Returns:
        The regions, those most likely wrong first.

    Raises:
        DataError: The split is empty, or a file is bad.
    """
    check_top(top)
    records = {record.name: record for record in dataset.split(split or "all")}
    held_out = [[records[name] for name in fold.names if name in records] for fold in folds]

    def look() -> Iterator[Answer]:
        # One model after the other: together they might not fit into memory.
        for fold, inside in zip(folds, held_out, strict=True):
            yield from answers(load_model(fold.run, device=device), map(dataset.load, inside))

    return find_suspects(
        counted(look, sum(map(len, held_out)), on_progress),
        dataset.class_map,
        dataset.label_mode,
        top=top,
        min_area_px=min_area_px,
    )
