"""What is fuzzed: for each target, sound files, which of them is damaged, and what reads them."""

import itertools
import random
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import fuzz_seeds as seeds
import torch

from pixelwise.config import load_recipe
from pixelwise.data.card import CARD_NAME, find_card
from pixelwise.data.dataset import open_dataset
from pixelwise.data.formats import formats
from pixelwise.errors import PixelwiseError
from pixelwise.io import images
from pixelwise.io.image_rows import open_rows
from pixelwise.models.model_file import load_model_file
from pixelwise.training import checkpoint
from pixelwise.training.inspection import inspect

MOST_PIECES = 3
"""Largest number of damages of one input."""


@dataclass(frozen=True)
class Target:
    """One reader of foreign files.

    Attributes:
        name: Its name.
        folders: Sound folders.
        read: Reads a folder; it returns whether anything was accepted.
        damaged: Returns an input: a sound folder, one of whose files is damaged.
    """

    name: str
    folders: list[seeds.Files]
    read: Callable[[Path], bool]
    damaged: Callable[["Target", random.Random], seeds.Files]


def damage(content: bytes, rng: random.Random) -> bytes:
    """Return bytes after one to three random changes."""
    kinds = ("flip", "cut", "splice", "drop", "word", "token", "token", "token")
    pieces = [
        (rng.choice(kinds), rng.random(), rng.random(), rng.randrange(256))
        for _ in range(rng.randint(1, MOST_PIECES))
    ]
    return seeds.neighbor("data/test_fuzz.py").damaged(content, pieces)


def one_file(target: Target, rng: random.Random) -> seeds.Files:
    """Return a folder one of whose files is damaged; rather one that is no picture."""
    files = rng.choice(target.folders)
    others = [path for path in files if path.suffix not in images.IMAGE_SUFFIXES]
    path = rng.choice(others if others and rng.random() < 0.8 else list(files))
    return {**files, path: damage(files[path], rng)}


def any_accepted(*reads: Callable[[], object]) -> bool:
    """Run all, and return whether one of them did not refuse."""
    is_accepted = False
    for read in reads:
        with suppress(PixelwiseError):
            read()
            is_accepted = True
    return is_accepted


def read_picture(folder: Path) -> bool:
    """Read a picture in every way in which images and masks are read."""
    (path,) = folder.iterdir()

    def by_rows() -> None:
        with open_rows(path) as rows:
            rows.read(0, min(rows.height, 64))

    readers = (
        images.read_image, images.read_mask_values, images.read_grayscale_mask,
        images.read_mask_colors,
    )  # fmt: skip
    whole = any_accepted(*(lambda read=read: read(path) for read in readers))
    if path.suffix == ".tif":
        with suppress(PixelwiseError):
            images.read_nodata(path)
    return any_accepted(by_rows) or whole if path.suffix in (".tif", ".npy") else whole


def read_data_set(folder: Path, name: str | None = None) -> bool:
    """Open a data set, detected and as the format with the name, and load every sample."""
    is_accepted = False
    for as_format in dict.fromkeys((None, name)):
        with suppress(PixelwiseError):
            dataset = open_dataset(folder, format=as_format, cache=False)
            loads = (partial(dataset.load, record) for record in dataset.records)
            is_accepted |= any_accepted(*loads)
    return is_accepted


def read_card(folder: Path) -> bool:
    """Read a card, its classes, and what is shown of it."""
    path = folder / CARD_NAME

    def read() -> None:
        found, file, _ = find_card(folder)
        found.class_map(file)

    return any_accepted(read, lambda: inspect(path))


def read_recipe(folder: Path) -> bool:
    """Read a recipe and what is shown of it."""
    path = folder / "recipe.yaml"
    return any_accepted(lambda: load_recipe(path), lambda: inspect(path).lines())


def read_model(folder: Path) -> bool:
    """Load a model, and read what is shown of it."""
    path = folder / "model.safetensors"
    return any_accepted(lambda: load_model_file(path), lambda: list(inspect(path).lines()))


def read_checkpoint(folder: Path) -> bool:
    """Resume from a checkpoint, and read what is shown of it."""
    layer = torch.nn.Linear(3, 2)
    parts = {"model": layer, "optimizer": torch.optim.Adam(layer.parameters())}
    return any_accepted(
        lambda: checkpoint.load_checkpoint(folder, parts),
        lambda: list(inspect(folder / checkpoint.CHECKPOINT_NAME).lines()),
    )


def signed_model(_target: Target, rng: random.Random) -> seeds.Files:
    """Return a model file whose card was changed by somebody who knows how to sign it."""

    def text(content: bytes) -> bytes:
        return damage(content, rng) if rng.random() < 0.8 else content

    def weights(tensors: dict) -> dict:
        name = rng.choice(sorted(tensors))
        changes = (
            lambda tensor: tensor,
            lambda tensor: tensor.double(),
            lambda tensor: tensor.reshape(-1)[:-1].clone(),
            lambda tensor: torch.full_like(tensor, rng.choice((0, 1, -1))),
            lambda tensor: tensor * float("nan"),
            lambda tensor: tensor[:0],
        )
        return {**tensors, name: rng.choice(changes)(tensors[name])}

    return {Path("model.safetensors"): seeds.signed_model(text, weights)}


def signed_checkpoint(target: Target, rng: random.Random) -> seeds.Files:
    """Return a checkpoint that was changed by somebody who knows how to sign it."""
    ((path, content),) = target.folders[0].items()
    length = len(checkpoint._with_checksum(b"\0\0")) - 2
    return {path: checkpoint._with_checksum(damage(content[:-length] + b"\0\0", rng))}


def _targets() -> list[Target]:
    found = [
        Target(f"decoder {kinds[0]}", seeds.pictures(kinds), read_picture, one_file)
        for kinds in (("png",), ("jpeg",), ("tif",), ("bmp",), ("gif",), ("webp",), ("npy",))
    ]
    for name in formats.names():
        files = seeds.data_set(name) or seeds.read_only_data_set(name)
        found.append(
            Target(
                f"format {name}", [files], lambda path, name=name: read_data_set(path, name),
                one_file,
            )
        )  # fmt: skip
    model = [{Path("model.safetensors"): seeds.model_file()}]
    saved = [{Path(checkpoint.CHECKPOINT_NAME): seeds.checkpoint()}]
    found += [
        Target("class tables", seeds.CLASS_TABLES, read_data_set, one_file),
        Target("list files", seeds.LISTS, read_data_set, one_file),
        Target("dataset card", [{Path(CARD_NAME): seeds.card()}], read_card, one_file),
        Target("recipe", [{Path("recipe.yaml"): seeds.RECIPE}], read_recipe, one_file),
        Target("model file", model, read_model, one_file),
        Target("model file, signed", model, read_model, signed_model),
        Target("checkpoint", saved, read_checkpoint, one_file),
        Target("checkpoint, signed", saved, read_checkpoint, signed_checkpoint),
    ]
    return found


TARGETS = {target.name: target for target in _targets()}

_numbers = itertools.count()


def run_one(target: Target, number: int, seed: int, folder: Path) -> bool:
    """Make an input, write it into a new folder and read it; return whether it was accepted.

    The first inputs are the sound ones, which must be accepted.
    """
    rng = random.Random(f"{target.name} {seed} {number}")
    is_sound = number < len(target.folders)
    files = target.folders[number] if is_sound else target.damaged(target, rng)
    place = folder / str(next(_numbers))
    for path, content in files.items():
        (place / path).parent.mkdir(parents=True, exist_ok=True)
        (place / path).write_bytes(content)
    is_accepted = target.read(place)
    assert is_accepted or not is_sound, "the sound files were refused"
    return is_accepted
