"""How many folders open as people published them, compared with the reading that is right.

    python benchmarks/wild.py                  half a minute, with ../shared/data/wild
    python benchmarks/wild.py FOLDER --top     the top of each set instead of its ``point_at``
    python benchmarks/wild.py --only rocks     one set, with the whole message

Each set is a folder beside a ``NAME.json`` that says which image belongs to which mask, and which
classes the stored values are. A set is

    right     opened from the folder alone; pairs, classes and pixels as in the JSON
    command   refused, and one of the commands in the message opens it right
    asked     refused, with commands of which none opens it right
    refused   refused without a command, or a trap that was refused: see ``reason``
    wrong     opened with other pairs, other classes or other pixels

Sets without mask files (polygons) count as right if they open with the number of classes in the
JSON: their pixels are compared by the tests of their formats.
"""

from __future__ import annotations

import argparse
import ast
import json
import re
import sys
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import numpy.typing as npt
from PIL import Image

from measuring import DATA, print_table
from pixelwise.data.dataset import Dataset, open_dataset
from pixelwise.data.scene_windows import whole_records
from pixelwise.errors import PixelwiseError
from pixelwise.io.members import file_of

TOLERATED = 0.01
"""Largest share of pixels that may differ: the smoothed edges of a mask, whose class is a choice of
its reader."""

NOISE = 8.0
"""Colors nearer than this to a more frequent one are noise around it."""

OUTCOMES = ("right", "command", "asked", "refused", "wrong")

VOLUMES = (".nii", ".nii.gz")

_ARGUMENT = re.compile(r"`([a-z_]+)=('[^`]*')`")
_GENERIC = re.compile(r"class[ -]\d|gray-|#|\?$|background$|foreground$", re.IGNORECASE)
"""Names that say nothing about what a class is."""

_PATH = re.compile(r"pixelwise data check ('[^']*'|\S+)")


@dataclass(frozen=True)
class Result:
    """What became of one set.

    Attributes:
        name: The set.
        outcome: One of ``OUTCOMES``.
        is_trap: Whether the set has to be refused.
        reason: The first line of the refusal, or what is wrong.
        message: The whole message, or the notes of the opened data set.
    """

    name: str
    outcome: str
    is_trap: bool
    reason: str
    message: str


def main() -> None:
    """Open every set and print the table and the shares."""
    parser = argparse.ArgumentParser(description="See the module.")
    parser.add_argument("folder", type=Path, nargs="?", default=DATA / "wild")
    parser.add_argument("--top", action="store_true", help="open the top of each set")
    parser.add_argument("--only", help="one set, with the whole message")
    parser.add_argument("--json", type=Path, help="write the results here")
    arguments = parser.parse_args()
    names = sorted(path.stem for path in arguments.folder.glob("*.json"))
    results = [
        judge(arguments.folder / name, is_top=arguments.top)
        for name in names
        if arguments.only in (None, name)
    ]
    if arguments.only:
        sys.stdout.write("\n\n".join(f"{one.outcome}\n{one.message}" for one in results) + "\n")
        return
    print_table(
        ["set", "outcome", "reason"],
        [[one.name, one.outcome, " ".join(one.reason.split())[:110]] for one in results],
    )
    for line in summary(results):
        sys.stdout.write(line + "\n")
    if arguments.json:
        content = [{**vars(one), "message": None} for one in results]
        arguments.json.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


def summary(results: list[Result]) -> list[str]:
    """Return the shares in words; traps are counted apart."""
    sets = [one for one in results if not one.is_trap]
    counts = Counter(one.outcome for one in sets)
    traps = [one for one in results if one.is_trap]
    refused = sum(one.outcome in ("refused", "asked") for one in traps)
    shares = ", ".join(
        f"{outcome} {counts[outcome]} ({counts[outcome] / max(1, len(sets)):.0%})"
        for outcome in OUTCOMES
    )
    return [f"{len(sets)} sets: {shares}", f"{len(traps)} traps: {refused} refused"]


def judge(folder: Path, *, is_top: bool) -> Result:
    """Open one set and compare it with its JSON."""
    expected = json.loads(folder.with_name(f"{folder.name}.json").read_text(encoding="utf-8"))
    is_trap = bool(expected["should_be_refused"])
    place = folder if is_top else folder / expected["point_at"]
    try:
        dataset = open_dataset(place, cache=False)
        difference = compare(dataset, folder, expected)
    except PixelwiseError as error:
        message = str(error)
        outcome = "refused" if is_trap else _after_commands(message, place, folder, expected)
        return Result(folder.name, outcome, is_trap, message, message)
    notes = "\n".join(dataset.notes)
    if is_trap:
        difference = difference or "opened, although it has to be refused"
    outcome = "wrong" if difference else "right"
    return Result(folder.name, outcome, is_trap, difference or dataset.notes[0], notes)


def _after_commands(message: str, place: Path, folder: Path, expected: dict[str, Any]) -> str:
    """Return what becomes of a refused set when a person copies the commands of the message."""
    commands = [line for line in message.splitlines() if "pixelwise data check" in line]
    for line in commands:
        arguments = {key: ast.literal_eval(text) for key, text in _ARGUMENT.findall(line)}
        named = _PATH.search(line)
        target = Path(named[1].strip("'")) if named else place
        try:
            dataset = open_dataset(target, cache=False, **arguments)
            if not compare(dataset, folder, expected):
                return "command"
        except PixelwiseError:
            continue
    return "asked" if commands else "refused"


def compare(dataset: Dataset, folder: Path, expected: dict[str, Any]) -> str:
    """Return how an opened data set differs from what is expected; empty if it does not."""
    records = whole_records(dataset.records)  # one large image is read in windows
    if not expected["pairs"]:
        classes, count = dataset.class_map.num_classes, expected["number_of_classes"]
        return f"{classes} classes instead of {count}" if count not in (0, classes) else ""
    wanted = {(folder / image).resolve(): (folder / mask).resolve()
              for image, mask in expected["pairs"]}  # fmt: skip
    found = {file_of(one.image).resolve(): tuple(file_of(mask).resolve() for mask in one.masks)
             for one in records}  # fmt: skip
    if found.keys() != wanted.keys():
        missing, further = wanted.keys() - found.keys(), found.keys() - wanted.keys()
        return f"{len(missing)} images missing, {len(further)} too many"
    for image, masks in found.items():
        if masks != (wanted[image],):
            return f"{image.name} with {', '.join(mask.name for mask in masks)}"
        slices = [one for one in records if file_of(one.image).resolve() == image]
        if image.name.endswith(VOLUMES) and len(slices) not in nibabel.load(image).shape:
            return f"{len(slices)} slices of {image.name}"
    for record in records:
        difference = _pixels(dataset, record, expected)
        if difference:
            return f"{record.masks[0].name}: {difference}"
    return ""


def _pixels(dataset: Dataset, record: Any, expected: dict[str, Any]) -> str:
    """Return how the class ids of one mask differ from its stored values; empty if they do not."""
    ids = dataset.load(record).mask
    stored = _stored(record.masks[0])
    if ids.shape != stored.shape[:2]:
        return f"shape {ids.shape} instead of {stored.shape[:2]}"
    codes = np.array([_code(one["stored"]) for one in expected["classes"]] or [[-1] * 3])
    if (codes < 0).any():  # the meaning of the values is not known: a class is one value
        values, classes = np.unique(stored.reshape(-1, 3), axis=0, return_inverse=True)
        # Of smoothed masks, only the frequent values can be compared, and of JPEG-like ones not
        # those beside a more frequent one.
        counts = np.bincount(classes.ravel())
        keep = np.isin(classes.ravel(), _apart(values.astype(np.int64), counts, ids.size))
        labels = classes.ravel()[keep]
        return _one_to_one(ids.ravel()[keep], labels) if len(values) > 1 else ""
    pixels = stored.reshape(-1, 3).astype(np.int64)
    if codes.max() < 32 and stored.max() > 32:  # ids of a palette, which is shown in colors
        pixels = np.repeat(np.asarray(Image.open(record.masks[0])).reshape(-1, 1), 3, 1)
    distance = np.stack([((pixels - code) ** 2).sum(1) for code in codes])
    labels = distance.argmin(0)
    return _one_to_one(ids.ravel(), labels) or _names(dataset, ids.ravel(), labels, expected)


def _apart(values: npt.NDArray[Any], counts: npt.NDArray[Any], num_pixels: int) -> list[int]:
    """Return the indices of frequent values that are far from each other."""
    chosen: list[int] = []
    for index in np.argsort(-counts).tolist():
        distances = [float(np.linalg.norm(values[index] - values[other])) for other in chosen]
        if counts[index] > TOLERATED * num_pixels and min(distances, default=np.inf) > NOISE:
            chosen.append(index)
    return chosen


def _names(
    dataset: Dataset, ids: npt.NDArray[Any], labels: npt.NDArray[Any], expected: dict[str, Any]
) -> str:
    """Return the first class that has the name of another one; empty if none has."""
    for index, entry in enumerate(expected["classes"]):
        found = Counter(ids[labels == index].tolist()).most_common(1)
        if not found or found[0][0] == 255:
            continue
        name = dataset.class_map.names[found[0][0]]
        if not any(map(_GENERIC.match, (name, entry["name"]))) and name != entry["name"]:
            return f"{entry['name']!r} is called {name!r}"
    return ""


def _one_to_one(ids: npt.NDArray[Any], labels: npt.NDArray[Any]) -> str:
    """Return why class ids are not the expected classes under other numbers."""
    pairs, counts = np.unique(np.stack([ids, labels]), axis=1, return_counts=True)
    keep = counts > TOLERATED * len(ids)
    for side, what in ((0, "ids share a class"), (1, "classes share an id")):
        if len(set(pairs[side][keep].tolist())) < keep.sum():
            return what
    if 255 in pairs[0][keep]:
        return "labeled pixels are ignored"
    return ""


def _code(stored: Any) -> list[int]:
    """Return a stored value or color as three numbers; negative if the JSON does not say it."""
    numbers = [int(part) for part in str(stored).split()] if _is_said(stored) else [-1]
    return numbers if len(numbers) == 3 else numbers[:1] * 3


def _is_said(stored: Any) -> bool:
    return all(part.isdigit() for part in str(stored).split())


def _stored(path: Path) -> npt.NDArray[np.uint8]:
    """Read a mask as RGB, independently of pixelwise."""
    if path.parent.name.endswith(VOLUMES):
        voxels = nibabel.load(path.parent).get_fdata()
        plane = np.take(voxels, int(path.name[1:]), axis="xyz".index(path.name[0]))
        return np.repeat(plane.astype(np.uint8)[..., None], 3, 2)
    picture = Image.open(path)
    if picture.mode == "1":
        return np.repeat(np.asarray(picture).astype(np.uint8)[..., None], 3, 2)
    return np.asarray(picture.convert("RGB"))


if __name__ == "__main__":
    main()
