"""Writes dataset cards that list the images of every split."""

from __future__ import annotations

import os
from contextlib import ExitStack
from pathlib import Path

from pixelwise.data.card import DatasetCard, card_of, find_card
from pixelwise.data.dataset import Dataset
from pixelwise.data.splits.plans import SplitPlan
from pixelwise.errors import ConfigError, OutputError
from pixelwise.files import written_aside


def require_new(out: Path, folds: int | None = None) -> list[Path]:
    """Return the paths of the cards to write, which must not exist.

    Args:
        out: The card; for several folds, the number is appended to its stem.
        folds: Number of folds; ``None`` and 1 mean ``out`` itself.

    Raises:
        ConfigError: The name is not that of a card.
        OutputError: A file of that name exists; it could be a card that a person edited.
    """
    if out.suffix.lower() not in (".yaml", ".yml"):
        raise ConfigError(f"`out` must name a new card, such as split.yaml. Got {out}")
    targets = [out]
    if folds is not None and folds > 1:
        targets = [
            out.with_name(f"{out.stem}-fold{number}{out.suffix}") for number in range(1, folds + 1)
        ]
    for target in targets:
        if target.exists():
            raise OutputError(
                f"{target} must be new. It exists. Remove it, or choose another `out`"
            )
    return targets


def write_cards(plan: SplitPlan, dataset: Dataset, data: Path | str, out: Path) -> list[Path]:
    """Write one card per division with the names of the images of every split.

    Args:
        plan: The divisions.
        dataset: The divided data set.
        data: The path by which it was opened; the content of its card is kept.
        out: The card to write; for several divisions, ``out-fold1`` and so on.

    Returns:
        The written cards.

    Raises:
        OutputError: A card exists or cannot be written; then none is written.
    """
    targets = require_new(out, len(plan.divisions))
    card = _card(dataset, find_card(Path(data))[0], out)
    with ExitStack() as all_or_none:
        for target, division in zip(targets, plan.divisions, strict=True):
            splits = {split: list(part.names) for split, part in division.items()}
            text = card.model_copy(update={"splits": splits}).to_yaml()
            all_or_none.enter_context(written_aside(target)).write_text(text, encoding="utf-8")
    return targets


def _card(dataset: Dataset, source: DatasetCard, out: Path) -> DatasetCard:
    """Return the card of a data set without its splits, with paths relative to ``out``."""
    folder = dataset.path.resolve()
    try:
        path = Path(os.path.relpath(folder, out.resolve().parent))
    except ValueError:  # on another drive, so there is no relative path
        path = folder
    said = card_of(
        dataset.class_map,
        path=path.as_posix(),
        format=dataset.format.name,
        label_mode=dataset.label_mode,
        max_bad_annotations=dataset.max_bad_annotations,
        ignore_mask=dataset.ignore_mask,
        split=None,
        **dataset.format.card_entries(),
    )
    return source.model_copy(update={key: getattr(said, key) for key in said.model_fields_set})
