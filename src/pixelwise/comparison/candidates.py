"""Parses the candidates of a comparison: models with arguments, recipes and finished runs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from pixelwise.config import Recipe, load_recipe
from pixelwise.errors import ConfigError, ModelFileError
from pixelwise.files import file_names
from pixelwise.imports import import_modules
from pixelwise.models.base import models as registered
from pixelwise.models.lookup import find_builder
from pixelwise.models.model_file import MODEL_NAME
from pixelwise.text import several

RECIPE_SUFFIXES = (".yaml", ".yml")
BRACKETS = {"(": ")", "[": "]", "{": "}"}


@dataclass(frozen=True)
class Candidate:
    """A candidate of a comparison.

    Attributes:
        name: Display name, unique in the comparison.
        folder_name: The name in a form that is safe in file names.
        recipe: The recipe it is trained with; ``None`` for a finished run.
        run: The folder or model file of a finished run, which is only evaluated.
        is_own_recipe: Whether the recipe is from a file, whose values override the shared ones.
    """

    name: str
    folder_name: str
    recipe: Recipe | None
    run: Path | None = None
    is_own_recipe: bool = False


def parse_candidates(models: str | Path | Sequence[str | Path], base: Recipe) -> list[Candidate]:
    """Parse the models to compare.

    Args:
        models: Names with commas between them, or a list. A name is a registered one, such as
            ``unet``, one with arguments, such as ``unet(filters=16, depth=4)`` with values in
            YAML, the file of a recipe, or the folder of a finished run.
        base: The recipe that registered names are trained with.

    Raises:
        ConfigError: A name is unknown or cannot be parsed.
        ModelFileError: A path is not a run.
    """
    if isinstance(models, str):
        texts = split_outside_brackets(models)
    else:
        given = [models] if isinstance(models, Path) else several(models)
        texts = [str(model) for model in given]
    if not texts:
        raise ConfigError("`models` must name at least one model, such as unet,unet-elu. Got none")
    found = [_parse(text.strip(), base) for text in texts]
    names = _all_different([name for name, *_ in found])
    return [
        Candidate(name, folder, recipe, run, is_own)
        for name, folder, (_, recipe, run, is_own) in zip(
            names, file_names(names), found, strict=True
        )
    ]


def split_outside_brackets(text: str) -> list[str]:
    """Split at the commas outside brackets, without empty parts.

    Raises:
        ConfigError: Brackets do not match.
    """
    parts, closing = [""], []
    for letter in text:
        if letter in BRACKETS:
            closing.append(BRACKETS[letter])
        elif letter in BRACKETS.values() and (not closing or closing.pop() != letter):
            raise ConfigError(f"`models` must have matching brackets. Got {text!r}")
        if letter == "," and not closing:
            parts.append("")
        else:
            parts[-1] += letter
    if closing:
        raise ConfigError(f"`models` must have matching brackets. Got {text!r}")
    return [part.strip() for part in parts if part.strip()]


def _parse(text: str, base: Recipe) -> tuple[str, Recipe | None, Path | None, bool]:
    path = Path(text)
    if path.suffix.lower() in RECIPE_SUFFIXES:
        recipe = load_recipe(path)
        import_modules(recipe.imports)
        return path.stem, recipe, None, True
    if path.exists():  # registered names take precedence; a folder of that name is written ./unet
        is_name = path.name == text and text in registered.names()
        if not is_name:
            return _run_name(path), None, path, False
    elif "/" in text and "(" not in text:
        raise ModelFileError(f"a run to compare must exist. {text} does not exist. Check the path")
    name, arguments = _name_and_arguments(text)
    find_builder(name)  # raises for a misspelled name now, not hours later
    recipe = base.model_copy(deep=True)
    recipe.model.name, recipe.model.arguments = name, arguments
    return text.replace(" ", ""), recipe, None, False


def _run_name(path: Path) -> str:
    if path.is_dir() and not (path / MODEL_NAME).is_file():
        raise ModelFileError(
            f"a run to compare must contain a {MODEL_NAME}. {path} contains none. "
            "Give the folder of a finished run, or the name of a model"
        )
    return path.resolve().name if path.is_dir() else path.resolve().parent.name


def _name_and_arguments(text: str) -> tuple[str, dict[str, Any]]:
    """Split ``unet(filters=16)`` into its name and arguments."""
    name, bracket, inside = text.partition("(")
    if not bracket:
        return text, {}
    if not inside.endswith(")"):
        raise ConfigError(f"a model must be NAME or NAME(ARGUMENT=VALUE, ...). Got {text!r}")
    arguments: dict[str, Any] = {}
    for part in split_outside_brackets(inside[:-1]):
        key, equals, value = part.partition("=")
        key = key.strip()
        if not equals or not key.isidentifier() or key in arguments:
            raise ConfigError(
                f"arguments of a model must be ARGUMENT=VALUE, each once. Got {part!r} in {text!r}"
            )
        try:
            arguments[key] = yaml.safe_load(value)
        except (yaml.YAMLError, ValueError) as error:
            raise ConfigError(f"{part!r} in {text!r} must contain a YAML value") from error
    return name.strip(), arguments


def _all_different(names: Sequence[str]) -> list[str]:
    """Return the name, numbered if it is already taken."""
    found: list[str] = []
    for name in names:
        number, candidate = 1, name
        while candidate in found:
            number += 1
            candidate = f"{name} #{number}"
        found.append(candidate)
    return found
