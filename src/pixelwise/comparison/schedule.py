"""Lists the runs of a comparison with their recipes, and starts or resumes each."""

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
"""Recipe entries chosen by the first run and shared by all, so that batches are the same."""

FREE = {"data": {"path", "format", "split"}, "training": {"device"}}
"""Recipe entries that may differ from the request without making a run a different one."""


class Plan:
    """The planned runs of a comparison and their recipes.

    Args:
        candidates: The compared models.
        folder: Folder of the comparison.
        given: Recipe entries that apply to all models.
        seeds: Seeds of each trained model.
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
        """Iterate over the training runs: all models with one seed before the next seed.

        Models with their own recipe come last, so that the others choose the shared values.

        Yields:
            The candidate, the seed and the run's folder.
        """
        for seed in range(self.seeds):
            for candidate in sorted(self.candidates, key=lambda one: one.is_own_recipe):
                if candidate.recipe:
                    name = f"{candidate.folder_name}-seed{seed}"
                    yield candidate, seed, self.folder / name

    def check_runs(self) -> None:
        """Check that the existing runs were trained as requested now.

        Raises:
            ConfigError: A run was trained with other settings.
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
                            "Choose another --out, or use the earlier settings"
                        )

    def recipe(self, candidate: Candidate, seed: int) -> Recipe:
        """Return the recipe of a model: its own entries, the budget, and the first run's choices.

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
        """Return a model's recipe with the entries of the comparison; open choices stay open."""
        assert candidate.recipe
        content = candidate.recipe.model_dump()
        for section, entries in self._given.items():
            content[section].update(entries)
        content["training"]["seed"] = seed
        return validated(Recipe, content, "compare")

    def shared(self) -> Recipe | None:
        """Return the recipe of the first started run among models without their own recipe."""
        recipes = [
            run / RECIPE_NAME for candidate, _, run in self.runs() if not candidate.is_own_recipe
        ]
        begun = [path for path in recipes if path.is_file()]
        if not begun:
            return None
        return load_recipe(min(begun, key=lambda path: path.stat().st_mtime_ns))

    def shared_words(self) -> tuple[str, ...]:
        """Describe the choices of the first run that apply to all."""
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
    """Return the entries in which recipes differ.

    Args:
        recipes: Recipe of each model by name; ``None`` if it is unknown.

    Returns:
        The values by ``section.key``, in the order of a recipe; ``None`` where a recipe is unknown
        or leaves the entry open.
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
    """Train one run, or resume it after an interruption.

    Args:
        recipe: Recipe of a new run; a resumed run keeps its own.
        run: The run folder.
        listener: Called with each event.

    Returns:
        The error message if the model failed; ``None`` for a finished run.

    Raises:
        OutputError: The run cannot be written.
    """
    try:
        if (run / CHECKPOINT_NAME).is_file():
            path, device = recipe.data.path, recipe.training.device
            train(path, out=run, resume=True, device=device, listener=listener)
        else:
            (run / RECIPE_NAME).unlink(missing_ok=True)  # the run was stopped before its first step
            train(recipe=recipe, out=run, listener=listener)
    except OutputError:
        raise  # a full disk is not the model's failure
    except (PixelwiseError, RuntimeError, MemoryError) as error:
        return failure(error)
    return None


def failure(error: Exception) -> str:
    """Return a model's failure in one line; re-raise errors that indicate a bug in pixelwise."""
    if isinstance(error, PixelwiseError):
        return " ".join(str(error).split())
    if is_out_of_memory(error):
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        return (
            "model and batch must fit into device memory. They do not. Use a smaller batch or crop"
        )
    raise error


def budget_in_words(epochs: int | None, minutes: float | None) -> str:
    """Describe the training budget of each run."""
    if minutes:
        return f"{amount(minutes, 'minute')} each"
    return f"{amount(epochs, 'epoch')} each" if epochs else "runs that were finished before"
