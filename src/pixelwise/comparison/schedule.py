"""Which runs a comparison has, with which recipes, and how each is begun or continued."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from pixelwise.comparison.candidates import Candidate
from pixelwise.config import Recipe, load_recipe
from pixelwise.devices import is_out_of_memory
from pixelwise.errors import ConfigError, OutputError, PixelwiseError
from pixelwise.schemas import validated
from pixelwise.text import amount
from pixelwise.training.checkpoint import CHECKPOINT_NAME
from pixelwise.training.events import Listener
from pixelwise.training.run_folder import RECIPE_NAME
from pixelwise.training.train import train

SHARED = {
    "data": ("scale",),
    "training": ("batch_size", "size", "class_weights", "patience", "precision"),
    "augmentation": ("orientation", "scale", "brightness", "contrast"),
}
"""Open choices that the first run makes for all: with others, batches would not be the same."""

FREE = {"data": {"path", "format", "split"}, "training": {"device"}}
"""What a run's recipe may say otherwise than what is asked for now, and still be the same run."""


class Plan:
    """Which runs there are to be, and with which recipes.

    Args:
        candidates: What is compared.
        folder: Of the comparison.
        given: Entries of a recipe that hold for all.
        seeds: Of each model that is trained.
    """

    def __init__(
        self,
        candidates: Sequence[Candidate],
        folder: Path,
        given: dict[str, dict[str, Any]],
        seeds: int,
    ) -> None:
        self.candidates = candidates
        self.folder = folder
        self.seeds = seeds
        self._given = given

    def runs(self) -> Iterator[tuple[Candidate, int, Path]]:
        """Every training: all models with one seed before the next seed.

        Those with a recipe of their own come last: what they leave open, the others have chosen.

        Yields:
            The candidate, the seed and the run's folder.
        """
        for seed in range(self.seeds):
            for candidate in sorted(self.candidates, key=lambda one: one.is_own_recipe):
                if candidate.recipe:
                    name = f"{candidate.folder_name}-seed{seed}"
                    yield candidate, seed, self.folder / name

    def check_runs(self) -> None:
        """Refuse a folder whose runs were trained otherwise than is asked for now.

        Raises:
            ConfigError: One was.
        """
        for candidate, seed, run in self.runs():
            if not (run / RECIPE_NAME).is_file():
                continue
            wanted = self._asked(candidate, seed).model_dump(mode="json")
            there = load_recipe(run / RECIPE_NAME).model_dump(mode="json")
            for section, entries in wanted.items():
                for key, value in entries.items():
                    is_free = value is None or key in FREE.get(section, ())
                    if not is_free and there[section][key] != value:
                        raise ConfigError(
                            f"{run} must be a run of this comparison. It was trained with "
                            f"{section}.{key} {there[section][key]}, not {value}. "
                            "Choose another --out, or ask for the same again"
                        )

    def recipe(self, candidate: Candidate, seed: int) -> Recipe:
        """What a model is trained with: its own recipe, the budget, and what the first run chose.

        Raises:
            ConfigError: A value is out of range.
        """
        recipe, shared = self._asked(candidate, seed), self.shared()
        for section, keys in SHARED.items() if shared else ():
            for key in keys:
                ours, theirs = getattr(recipe, section), getattr(shared, section)
                is_resized = (section, key) == ("data", "scale") and recipe.data.resize
                if getattr(ours, key) is None and not is_resized:
                    setattr(ours, key, getattr(theirs, key))
        return recipe

    def _asked(self, candidate: Candidate, seed: int) -> Recipe:
        """A model's recipe with what the comparison gives, its open choices left open."""
        assert candidate.recipe
        content = candidate.recipe.model_dump()
        for section, entries in self._given.items():
            content[section].update(entries)
        content["training"]["seed"] = seed
        return validated(Recipe, content, "compare")

    def shared(self) -> Recipe | None:
        """The recipe of the first run that began, of those without a recipe of their own."""
        recipes = [
            run / RECIPE_NAME for candidate, _, run in self.runs() if not candidate.is_own_recipe
        ]
        begun = [path for path in recipes if path.is_file()]
        if not begun:
            return None
        return load_recipe(min(begun, key=lambda path: path.stat().st_mtime_ns))

    def shared_words(self) -> tuple[str, ...]:
        """What the first run chose for all, in words."""
        shared = self.shared()
        if shared is None or shared.training.size is None:
            return ()
        training, (height, width) = shared.training, shared.training.size
        varied = shared.augmentation.model_dump().items()
        return (
            f"batches of {training.batch_size}, in one order for each seed",
            f"crops of {height} x {width} at working scale {shared.data.scale:g}",
            f"class weights {training.class_weights}, precision {training.precision}",
            ", ".join(f"{key} {value}" for key, value in varied),
        )


def differences(recipes: Mapping[str, Recipe | None]) -> dict[str, dict[str, Any]]:
    """The choices in which recipes differ.

    Args:
        recipes: By the name of what was trained with each; ``None`` where none is known.

    Returns:
        By ``section.key``, in the order of a recipe, the value of each; ``None`` where its recipe
        is not known or leaves it open.
    """
    known = {name: recipe.model_dump(mode="json") for name, recipe in recipes.items() if recipe}
    found: dict[str, dict[str, Any]] = {}
    for section, entries in next(iter(known.values()), {}).items():
        for key in entries:
            values = {name: content[section][key] for name, content in known.items()}
            if len({str(value) for value in values.values()}) > 1:
                found[f"{section}.{key}"] = {name: values.get(name) for name in recipes}
    return found


def train_or_resume(recipe: Recipe, run: Path, listener: Listener) -> str | None:
    """Train one run, or continue it where it was interrupted.

    Args:
        recipe: Of a new run; one that is continued keeps its own.
        run: The folder.
        listener: Told of what happens.

    Returns:
        The error, where the model is at fault; ``None`` for a finished run.

    Raises:
        OutputError: The run cannot be written.
    """
    try:
        if (run / CHECKPOINT_NAME).is_file():
            path, device = recipe.data.path, recipe.training.device
            train(path, out=run, resume=True, device=device, listener=listener)
        else:
            (run / RECIPE_NAME).unlink(missing_ok=True)  # it was stopped before its first step
            train(recipe=recipe, out=run, listener=listener)
    except OutputError:
        raise  # a full disk is no model's fault
    except (PixelwiseError, RuntimeError, MemoryError) as error:
        return failure(error)
    return None


def failure(error: Exception) -> str:
    """A model's failure in one line; an error that is a fault of ours is raised on."""
    if isinstance(error, PixelwiseError):
        return " ".join(str(error).split())
    if is_out_of_memory(error):
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        return "the memory of the device must hold it. It does not. Use a smaller batch or crop"
    raise error


def budget_in_words(epochs: int | None, minutes: float | None) -> str:
    """What each run was trained for."""
    if minutes:
        return f"{amount(minutes, 'minute')} each"
    return f"{amount(epochs, 'epoch')} each" if epochs else "runs that were finished before"
