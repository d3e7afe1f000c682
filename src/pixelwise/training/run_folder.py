"""Reads and writes the human-readable files of a run folder."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from pydantic_core import from_json

from pixelwise.config import RECIPE_NAME as RECIPE_NAME
from pixelwise.config import Recipe, load_recipe
from pixelwise.data.dataset import Dataset
from pixelwise.errors import ConfigError, ModelFileError
from pixelwise.files import (
    as_path,
    file_names,
    free_folder,
    make_folder,
    open_regular,
    readable,
    write_json,
    write_text,
    writing,
)
from pixelwise.models.lookup import short_name
from pixelwise.models.model_file import MODEL_NAME, ModelCard
from pixelwise.text import amount, listed
from pixelwise.training.checkpoint import CHECKPOINT_NAME
from pixelwise.training.events import WarningRaised
from pixelwise.training.run_lock import is_locked, remove_lock, run_lock

HISTORY_NAME = "history.csv"
METRICS_NAME = "metrics.json"
NOTES_NAME = "notes.json"
CURVES_NAME = "curves.png"

RUN_FILES = (RECIPE_NAME, CHECKPOINT_NAME, MODEL_NAME, HISTORY_NAME, METRICS_NAME, NOTES_NAME)
"""Files that mark a folder as a run; such a folder is never overwritten."""

MAX_NAMES = 5
"""Maximum number of class or image names in a message."""


@dataclass(frozen=True)
class Notes:
    """Notes that are in no other file; written at the start, so that a resumed run has them.

    Attributes:
        reasons: Reasons for the choices of open entries.
        problems: Messages of the watchdog, in order.
    """

    reasons: tuple[str, ...] = ()
    problems: tuple[WarningRaised, ...] = ()


def load_notes(folder: Path) -> Notes:
    """Return the notes of a run; empty if they are missing or unreadable."""
    try:
        with open_regular(folder / NOTES_NAME) as file:
            content = from_json(file.read())
        problems = tuple(WarningRaised(**problem) for problem in content["problems"])
        return Notes(tuple(map(str, content["reasons"])), problems)
    except (OSError, ValueError, KeyError, TypeError):
        return Notes()  # training runs and reports work without the notes


def save_notes(folder: Path, notes: Notes) -> None:
    """Write the notes of a run atomically.

    Raises:
        OutputError: They cannot be written.
    """
    write_json(folder / NOTES_NAME, asdict(notes))


def read_history(folder: Path) -> list[dict[str, Any]]:
    """Return the rows of a run's history with numeric values; empty without a history.

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


def write_history(folder: Path, history: Sequence[dict[str, Any]]) -> None:
    """Write the history of a run atomically, one row per epoch.

    Raises:
        OutputError: It cannot be written.
    """
    text = io.StringIO()
    # A metric that is undefined at first has no column in the first rows.
    columns = list(dict.fromkeys(name for row in history for name in row))
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(history)
    write_text(folder / HISTORY_NAME, text.getvalue())


def recipe_in(run: Path) -> Recipe | None:
    """Return the recipe of a run; ``None`` if it is missing, as for a model file alone.

    Raises:
        ConfigError: It cannot be read.
    """
    path = run / RECIPE_NAME
    return load_recipe(path) if path.is_file() else None


def difference_from_run(dataset: Dataset, card: ModelCard) -> str | None:
    """Describe how a data set differs from the one that a model was trained on.

    Args:
        dataset: The data set; its training and validation files are hashed once and cached.
        card: The card of the model.

    Returns:
        ``None`` if label mode, classes, training and validation images are the same; names, masks
        and the order within the splits are not compared.
    """
    found = []
    if dataset.label_mode != card.label_mode:
        found.append(f"its labels are {dataset.label_mode}, and those of the run {card.label_mode}")
    own, trained = dataset.class_map.names, card.class_map.names
    if own != trained:
        found.append(
            f"its classes are {listed(own, MAX_NAMES)}, and those of the run "
            f"{listed(trained, MAX_NAMES)}"
        )
    if not set(card.data.images or ()) & {record.key for record in dataset.records}:
        return "; ".join([*found, "it has none of the run's training images"])
    for split, known in (("train", card.data.images), ("val", card.data.selected_by)):
        if known is None:
            continue
        records = [record for record in dataset.records if record.split == split]
        keys = {record.key: record.name for record in records}
        new = [name for key, name in keys.items() if key not in known]
        gone = set(known) - keys.keys()
        if new:
            found.append(
                f"{len(new)} of its {amount(len(records), f'{split} image')} were not in the run "
                f"({listed(new, MAX_NAMES)})"
            )
        if gone:
            found.append(
                f"{len(gone)} of the run's {amount(len(known), f'{split} image')} are gone"
            )
    return "; ".join(found) or None


def other_data(dataset: Dataset, run: Path, difference: str) -> ModelFileError:
    """Return the error for resuming a run with a different data set.

    Args:
        dataset: The data set.
        run: The run folder.
        difference: Description of the difference.
    """
    return ModelFileError(
        f"`data` must be the data set that the run in {run} was trained on. {dataset.path} "
        f"differs: {difference}. Give the data of the run, correct data.path in "
        f"{run / RECIPE_NAME}, or start a new run with another `out`"
    )


def require_run(run: Path) -> Recipe:
    """Return the recipe of a run that has a model.

    Raises:
        ModelFileError: It is not a run folder, or has no model yet.
    """
    with readable(run, ModelFileError):
        missing = next((n for n in (RECIPE_NAME, MODEL_NAME) if not (run / n).is_file()), None)
    if missing:
        raise ModelFileError(
            f"`run` must be a run folder. {run} contains no {missing}. Give a folder written by "
            "pixelwise train"
        )
    return load_recipe(run / RECIPE_NAME)


def new_run_folder(out: Path | str | None, model: str, data: str) -> Path:
    """Return the folder of a new run.

    A run that was killed before it saved anything may be started over in its folder.

    Args:
        out: The requested folder; ``None`` means ``runs/MODEL-DATA``, numbered if it exists.
        model: Name of the architecture.
        data: Name of the data set.

    Raises:
        ConfigError: The folder contains a run, which is never overwritten, or another process
            writes one there.
    """
    if out is None:
        # A name such as smp:unet:resnet34 is not valid in a file name everywhere.
        (name,) = file_names([f"{short_name(model)}-{data}"])
        return free_folder(Path("runs") / name)
    folder = as_path(out, "out")
    if is_locked(folder) and not has_saved(folder):
        with run_lock(folder):
            return folder
    held = [name for name in RUN_FILES if (folder / name).exists()]
    if held:
        raise ConfigError(
            f"`out` must be a new folder. {folder} contains a run ({', '.join(held)}). "
            "Choose another, or resume that run with `resume=True`"
        )
    return folder


def has_saved(folder: Path) -> bool:
    """Whether a training has saved anything in a folder that can be resumed or used."""
    return any((folder / name).exists() for name in (CHECKPOINT_NAME, MODEL_NAME))


@contextmanager
def claimed_run_folder(out: Path | str | None, model: str, data: str) -> Iterator[Path]:
    """Create the folder of a new run and own it inside the context.

    Args:
        out: As for :func:`new_run_folder`.
        model: Name of the architecture.
        data: Name of the data set.

    Yields:
        The folder. It is removed after an error, unless something was written into it.

    Raises:
        ConfigError: The folder holds a run, maybe since a moment ago.
        OutputError: The folder cannot be created.
    """
    folder = _made_folder(out, model, data)
    with run_lock(folder):
        if out is not None and has_saved(folder):
            new_run_folder(out, model, data)  # raises: another training was here in the meantime
        try:
            yield folder
        except BaseException:
            if not has_saved(folder):
                _give_back(folder)
            raise


def _made_folder(out: Path | str | None, model: str, data: str) -> Path:
    while True:
        folder = new_run_folder(out, model, data)
        make_folder(folder.parent)
        with writing(folder):
            try:
                folder.mkdir(exist_ok=out is not None)
                return folder
            except FileExistsError:
                if out is not None:  # it is a file
                    raise
                # Another training was faster, so take the next name.


def _give_back(folder: Path) -> None:
    """Remove a claimed folder in which nothing was saved."""
    with suppress(OSError):  # the folder may hold other files of the user
        for name in (RECIPE_NAME, NOTES_NAME):
            (folder / name).unlink(missing_ok=True)
        remove_lock(folder)
        folder.rmdir()
