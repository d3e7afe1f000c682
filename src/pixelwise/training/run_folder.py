"""What a run's folder says of its training, in files that a person can read too."""

from __future__ import annotations

import csv
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from pixelwise.config import Recipe, load_recipe
from pixelwise.errors import ModelFileError
from pixelwise.files import write_text
from pixelwise.modelfile import MODEL_NAME
from pixelwise.training.events import Alarmed

RECIPE_NAME = "recipe.yaml"
HISTORY_NAME = "history.csv"
SCORES_NAME = "scores.json"
NOTES_NAME = "notes.json"
CURVES_NAME = "curves.png"


@dataclass(frozen=True)
class Notes:
    """What no other file says; kept from the start on, so that a resumed run knows it too.

    Attributes:
        reasons: Why the open choices were filled as they are, in words.
        alarms: What the watchdog said, in its order.
    """

    reasons: tuple[str, ...] = ()
    alarms: tuple[Alarmed, ...] = ()


def load_notes(folder: Path) -> Notes:
    """The notes of a run; empty where it has none, or they cannot be read."""
    try:
        content = json.loads((folder / NOTES_NAME).read_text("utf-8"))
        alarms = tuple(Alarmed(**alarm) for alarm in content["alarms"])
        return Notes(tuple(map(str, content["reasons"])), alarms)
    except (OSError, ValueError, KeyError, TypeError):
        return Notes()  # nothing that a training or a report could not do without


def save_notes(folder: Path, notes: Notes) -> None:
    """Write the notes of a run, whole or not at all.

    Raises:
        OutputError: They cannot be written.
    """
    write_text(folder / NOTES_NAME, json.dumps(asdict(notes), indent=2) + "\n")


def read_history(folder: Path) -> list[dict[str, Any]]:
    """The rows of a run's history, numbers as such; none where there is no history.

    Raises:
        ModelFileError: The file is damaged.
    """
    path = folder / HISTORY_NAME
    if not path.is_file():
        return []
    try:
        with path.open(encoding="utf-8", newline="") as file:
            return [
                {name: value == "True" if name == "is_best" else float(value or "nan")
                 for name, value in row.items()}
                for row in csv.DictReader(file)
            ]  # fmt: skip
    except (OSError, ValueError, TypeError, csv.Error) as error:
        raise ModelFileError(
            f"{path} must be the history of a run. It cannot be read: {error}. Restore or remove it"
        ) from error


def recipe_in(run: Path) -> Recipe | None:
    """The recipe of a run; ``None`` where there is none, as for a model file without its run.

    Raises:
        ConfigError: It cannot be read.
    """
    path = run / RECIPE_NAME
    return load_recipe(path) if path.is_file() else None


def require_run(run: Path) -> Recipe:
    """The recipe of a run that has a model.

    Raises:
        ModelFileError: It is no folder of a run, or has no model yet.
    """
    for name in (RECIPE_NAME, MODEL_NAME):
        if not (run / name).is_file():
            raise ModelFileError(
                f"RUN must be the folder of a training. {run} holds no {name}. Give the folder "
                "that train made"
            )
    return load_recipe(run / RECIPE_NAME)
