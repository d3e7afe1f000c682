"""Planted label errors, found again: precision of the ranking of ``pixelwise review --folds``.

    python benchmarks/review.py digits                  a minute for each of 3 folds
    python benchmarks/review.py nuclei --minutes 2      2 minutes for each of 3 folds
    python benchmarks/review.py nuclei --model RUN      with a model that is there already

A model that is there already looks at the images that it was not trained on. It may know clean
labels; those of the folds learn from the planted errors too.

Errors are planted in 5 % of the objects of a copy of the data. Digits: the digit's label is swapped
for another class, or dropped. Nuclei: an object is removed, shifted by most of its size, or an
object is added where there is none. A region counts as found where at least half of it lies on
pixels whose label was changed by one planted error. Errors that the data had before count as wrong
answers here.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image
from scipy.ndimage import distance_transform_edt, label

from measuring import DATA, print_table
from pixelwise import load_model, review_labels
from pixelwise.config import load_recipe
from pixelwise.data.dataset import open_dataset
from pixelwise.data.digits import write_digits
from pixelwise.data.splits.plans import plan_split
from pixelwise.evaluation.review import records_to_review
from pixelwise.metrics.label_quality import Suspect
from pixelwise.training.out_of_fold import review_folds, train_folds

SHARE = 0.05
"""Of the objects that get a wrong label."""

FOLDS = 3
RANKS = (10, 20, 50)
MIN_OBJECT_PX = 40
"""Smaller objects are left as they are."""

BoolArray = npt.NDArray[np.bool_]
Planes = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class Planted:
    """A wrong label.

    Attributes:
        name: The record.
        kind: What was done.
        changed: bool (H, W).
    """

    name: str
    kind: str
    changed: BoolArray


def plant_digits(folder: Path, num_train: int, num_val: int, seed: int) -> list[Planted]:
    """Make digits, and swap or drop some of them in the masks."""
    write_digits(folder, num_train=num_train, num_val=num_val, seed=seed)
    rng = np.random.default_rng(seed)
    dataset = open_dataset(folder, cache=False)
    planted = []
    for record in dataset.records:
        planes = [np.array(Image.open(path)) for path in record.masks]
        objects = [
            (index, parts == number)
            for index, plane in enumerate(planes)
            for parts, count in [label(plane > 0, np.ones((3, 3)))]
            for number in range(1, count + 1)
            if (parts == number).sum() >= MIN_OBJECT_PX
        ]
        for index, place in objects:
            if rng.random() >= SHARE:
                continue
            kind = str(rng.choice(["swapped", "dropped"]))
            other = int((index + rng.integers(1, len(planes))) % len(planes))
            if kind == "swapped":
                planes[other][place] = np.maximum(planes[other], planes[index])[place]
            planes[index][place] = 0
            planted.append(Planted(record.name, kind, place))
        for path, plane in zip(record.masks, planes, strict=True):
            Image.fromarray(plane).save(path)
    return planted


def plant_nuclei(folder: Path, source: Path, seed: int) -> list[Planted]:
    """Copy nuclei, and remove, shift or add some of them."""
    shutil.copytree(source, folder)
    rng = np.random.default_rng(seed)
    planted = []
    for record in open_dataset(folder, cache=False).records:
        objects = {path: np.array(Image.open(path).convert("L")) > 0 for path in record.masks}
        before = np.any(list(objects.values()), axis=0)
        for path, place in objects.items():
            if place.sum() < MIN_OBJECT_PX or rng.random() >= SHARE:
                continue
            kind = str(rng.choice(["removed", "shifted", "added"]))
            if kind == "removed" and len(objects) > 1:
                moved = np.zeros_like(place)
            elif kind == "shifted":
                moved = _shifted(place, rng)
            else:
                kind, moved = "added", _elsewhere(place, before, rng)
            others = np.any([own for other, own in objects.items() if other != path], axis=0)
            now = others | moved | (place if kind == "added" else False)
            changed = before & place & ~now | moved & ~before
            if changed.sum() < MIN_OBJECT_PX // 2:
                continue
            target = path.with_name(f"added-{path.name}") if kind == "added" else path
            Image.fromarray(np.where(moved, 255, 0).astype(np.uint8)).save(target)
            planted.append(Planted(record.name, kind, changed))
    return planted


def _shifted(place: BoolArray, rng: np.random.Generator) -> BoolArray:
    """The object, moved by two thirds of its diameter in any direction."""
    angle = rng.uniform(0, 2 * np.pi)
    step = 4 / 3 * np.sqrt(place.sum() / np.pi)
    return _moved(place, round(step * np.sin(angle)), round(step * np.cos(angle)))


def _elsewhere(place: BoolArray, taken: BoolArray, rng: np.random.Generator) -> BoolArray:
    """The object, moved to where it touches no other, if there is such a place."""
    radius = np.sqrt(place.sum() / np.pi)
    rows, columns = np.nonzero(distance_transform_edt(~taken) > radius + 3)
    if not len(rows):
        return np.zeros_like(place)
    chosen = rng.integers(len(rows))
    own = np.argwhere(place).mean(0).round().astype(int)
    return _moved(place, int(rows[chosen] - own[0]), int(columns[chosen] - own[1])) & ~taken


def _moved(place: BoolArray, down: int, right: int) -> BoolArray:
    moved = np.zeros_like(place)
    rows, columns = np.nonzero(place)
    rows, columns = rows + down, columns + right
    inside = (rows >= 0) & (rows < place.shape[0]) & (columns >= 0) & (columns < place.shape[1])
    moved[rows[inside], columns[inside]] = True
    return moved


def hits_of(suspects: list[Suspect], planted: list[Planted]) -> list[int | None]:
    """For each suspect the number of the planted error that it is on; ``None`` where on none."""
    found: list[int | None] = []
    for suspect in suspects:
        shares = {
            number: (error.changed[suspect.place] & suspect.region).sum() / suspect.area_px
            for number, error in enumerate(planted)
            if error.name == suspect.name
        }
        best = max(shares, key=shares.__getitem__, default=None)
        found.append(best if best is not None and shares[best] >= 0.5 else None)
    return found


def main() -> None:
    """Plant, train, review, count, and print a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", choices=["digits", "nuclei"])
    parser.add_argument("--source", type=Path, default=DATA / "nuclei")
    parser.add_argument("--minutes", type=float, default=1.0, help="of each fold")
    parser.add_argument("--folds", type=int, default=FOLDS)
    parser.add_argument("--num-train", type=int, default=400, help="digits: pictures")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--model", type=Path, help="a run, instead of folds")
    parser.add_argument("--set", action="append", default=[], help="override the recipe")
    parser.add_argument("--keep", type=Path, help="keep data and runs in this new folder")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.keep or Path(temporary)
        started = time.perf_counter()
        if options.data == "digits":
            num_val = max(1, options.num_train // 5)
            planted = plant_digits(folder / "data", options.num_train, num_val, options.seed)
        else:
            planted = plant_nuclei(folder / "data", options.source, options.seed)
        if options.model:
            planted = unseen(planted, folder / "data", options.model)
        suspects = review(folder, options, num_found=2 * max(len(planted), max(RANKS)))
        print_found(options, planted, suspects, time.perf_counter() - started)


def unseen(planted: list[Planted], data: Path, model: Path) -> list[Planted]:
    """The errors in images that a model was not trained on."""
    predictor = load_model(model, device="cpu")
    records = records_to_review(predictor, open_dataset(data), None)
    names = {record.name for record in records}
    return [error for error in planted if error.name in names]


def review(folder: Path, options: Any, num_found: int) -> list[Suspect]:
    """The suspects of the folds' models, or of the one that is given."""
    data = folder / "data"
    if options.model:
        return review_labels(load_model(options.model, device="cpu"), data, top=num_found)
    dataset = open_dataset(data)
    recipe = load_recipe(None, [f"training.seed={options.seed}", *options.set])
    plan = plan_split(dataset, folds=options.folds, redraw=True, seed=options.seed)
    folds = train_folds(
        dataset, data, plan, recipe, folder / "folds", minutes=options.minutes, device="cpu"
    )
    return review_folds(dataset, folds, top=num_found, device="cpu")


def print_found(
    options: Any, planted: list[Planted], suspects: list[Suspect], seconds: float
) -> None:
    """Print what was planted and what of it was found."""
    hits = hits_of(suspects, planted)
    num = len(planted)
    kinds = dict.fromkeys(sorted({error.kind for error in planted}), 0)
    found = set(hits[:num]) - {None}
    for number in found:
        assert number is not None
        kinds[planted[number].kind] += 1
    cells = [sum(hit is not None for hit in hits[:rank]) / rank for rank in RANKS]
    how = options.model or f"{options.folds} folds of {options.minutes:g} min"
    print(f"{num} errors planted; {how}, {seconds:.0f} s\n")
    headings = [f"precision at {rank}" for rank in RANKS]
    precise = [f"{cell:.2f}" for cell in cells]
    print_table(
        ("data", "planted", *headings, f"of the planted, among the first {num}"),
        [(options.data, str(num), *precise, f"{len(found) / num:.2f}")],
    )
    print()
    rows = [
        (kind, str(sum(error.kind == kind for error in planted)), str(count))
        for kind, count in kinds.items()
    ]
    print_table(("kind", "planted", "found"), rows)


if __name__ == "__main__":
    main()
