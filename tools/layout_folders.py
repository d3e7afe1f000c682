"""The layouts of docs/data/layouts.md: their names, words and files, and folders made of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

SIZE = (64, 96)
"""Height and width of the images that are made."""

Places = tuple[tuple[str, ...], ...]


@dataclass(frozen=True)
class Layout:
    """One way to arrange images and masks in a folder.

    Attributes:
        name: Name of its picture.
        title: Its heading.
        words: What is special about it.
        folder: Name of the folder that is made.
        scene: What the images show: ``cells``, ``road`` or ``land``.
        files: Patterns of paths with what each file holds (see ``KINDS``); the image is first.
        places: What the braces of the patterns hold, for each image.
        lists: Text files with their lines.
        told: The beginnings of the notes that are shown.
    """

    name: str
    title: str
    words: str
    folder: str
    scene: str
    files: tuple[tuple[str, str], ...]
    places: Places = (("1",), ("2",))
    lists: dict[str, Sequence[str]] = field(default_factory=dict)
    told: tuple[str, ...] = ("format ",)

    @property
    def alt(self) -> str:
        """The words that stand for the picture."""
        return f"The folder {self.folder}, an image of it with its mask, and what is printed"

    def paths(self, *, of_first: bool = False) -> list[str]:
        """Return the paths of all files with pictures, image by image."""
        places = self.places[:1] if of_first else self.places
        return [pattern.format(*place) for place in places for pattern, _ in self.files]

    @staticmethod
    def is_photo(kind: str) -> bool:
        """Whether a kind of file is an image and no mask."""
        return kind in ("photo", "infrared")


LAYOUTS = (
    Layout(
        "affixes", "One folder, affixes",
        "Images and masks lie side by side, and an affix tells them apart.",
        "cells", "cells",
        (("data/{}_img.png", "photo"), ("data/{}_mask.png", "white")),
        (("2",), ("5",), ("9",)),
    ),
    Layout(
        "two-folders", "Two folders with any names",
        "The folders may have any names, and the names of the masks an affix.",
        "veins", "land",
        (("images/{}.jpg", "photo"), ("av-labels/{}--av.png", "classes")),
        (("9",), ("12",), ("31",)),
    ),
    Layout(
        "prefixes", "Prefixes on both sides",
        "One prefix is stripped on each side; what is left must be equal.",
        "seeds", "cells",
        (("images/image_{}.png", "photo"), ("masks/mask_{}.png", "classes")),
        (("7",), ("8",), ("11",)),
    ),
    Layout(
        "split-in-folder-names", "Splits in the names of folders",
        "A word such as train or val inside the name of a folder is the split.",
        "streets", "road",
        (("images_{}/{}.png", "photo"), ("annots_{}/{}.png", "classes")),
        (("train", "1"), ("train", "2"), ("val", "3")),
    ),
    Layout(
        "folder-per-subject", "A folder per subject",
        "Folders above images and masks are the same on both sides.",
        "animals", "cells",
        (("data/{}/JPEGImages/{}.png", "photo"), ("data/{}/SegmentationClass/{}.png", "classes")),
        (("fox", "1"), ("owl", "1")),
    ),
    Layout(
        "tiles", "Tiles of a map",
        "The shared name may include folders, as in zoom/x/y.",
        "map", "land",
        (("images/18/{}/{}.webp", "photo"), ("labels/18/{}/{}.png", "classes")),
        (("696", "104"), ("696", "105"), ("697", "104")),
    ),
    Layout(
        "masks-without-splits", "Splits on one side only",
        "The images are divided into splits, and one folder holds all masks.",
        "tissue", "cells",
        (("patches/{}/{}.png", "photo"), ("mask/{1}.png", "classes")),
        (("train", "10"), ("train", "11"), ("test", "12")),
    ),
    Layout(
        "visualizations", "Visualizations beside them",
        "Pictures that show the masks are set aside, and named.",
        "drives", "road",
        (("{}/{}.jpg", "photo"), ("{}/{}_mask.png", "classes"),
         ("visualizations/{1}.jpg", "overlay")),
        (("train", "a"), ("val", "b")),
    ),
    Layout(
        "two-part-names", "A word inside the names",
        "The names of masks have a word in the middle, as in the road data of KITTI.",
        "kitti", "road",
        (("training/image_2/{}_{}.png", "photo"), ("training/gt_image_2/{}_road_{}.png", "white")),
        (("um", "000000"), ("um", "000001"), ("uu", "000000")),
    ),
    Layout(
        "several-masks", "Several masks for one image",
        "Further masks of the same image have a number, and are joined.",
        "ultrasound", "cells",
        (("{0}/{0} ({1}).png", "photo"), ("{0}/{0} ({1})_mask.png", "first"),
         ("{0}/{0} ({1})_mask_1.png", "second")),
        (("benign", "1"), ("benign", "2")),
    ),
    Layout(
        "listed-pairs", "A list of pairs",
        "A list of images and masks is taken before any names. Its name gives the split.",
        "knees", "cells",
        (("scans/{0}.png", "photo"), ("drawn/{1}.png", "classes")),
        (("a", "r7"), ("b", "r1"), ("c", "r4")),
        {"train.csv": ("a.png,r7.png", "b.png,r1.png"), "val.csv": ("c.png,r4.png",)},
    ),
    Layout(
        "listed-names", "Lists of names give the splits",
        "Names and contents pair the files, and the lists only divide them.",
        "fields", "land",
        (("images/{}.png", "photo"), ("masks/{}.png", "classes")),
        (("01",), ("02",), ("03",)),
        {"train.txt": ("01", "02"), "val.txt": ("03",)},
        ("format ", "split"),
    ),
    Layout(
        "class-folders", "A folder of masks per class",
        "Each folder below the masks is a class, and a pixel may belong to several.",
        "retina", "cells",
        (("images/{}.jpg", "photo"), ("masks/EX/{}_EX.png", "first"),
         ("masks/HE/{}_HE.png", "second")),
    ),
    Layout(
        "two-annotators", "Masks of two annotators: a question",
        "Two sets of masks fit the images. pixelwise asks, and every reading is a command to copy.",
        "rivers", "land",
        (("images/{}.jpg", "photo"), ("anna/{}.png", "white"), ("ben/{}.png", "wide")),
    ),
    Layout(
        "color-and-infrared", "Two images for one mask: a question",
        "Two sets of images fit the masks. The answer can also be kept in a card.",
        "orchard", "land",
        (("rgb/{}.png", "photo"), ("nir/{}.png", "infrared"), ("masks/{}.png", "classes")),
    ),
)  # fmt: skip

COLORS = {
    "cells": ((222, 205, 214), (142, 84, 140), (196, 110, 120)),
    "road": ((96, 128, 84), (118, 116, 122), (168, 196, 224)),
    "land": ((196, 178, 122), (70, 112, 152), (82, 124, 66)),
}
"""Colors of the classes 0 to 2 in the images of each scene."""


def scene(name: str, seed: int) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint8]]:
    """Draw an image, uint8 (H, W, 3), and its class ids 0 to 2, uint8 (H, W)."""
    random = np.random.default_rng(seed)
    height, width = SIZE
    rows, columns = np.mgrid[:height, :width]
    ids = np.zeros(SIZE, np.uint8)
    shift = int(random.integers(-8, 9))
    if name == "road":
        ids[rows < 22] = 2
        ids[(rows >= 22) & (abs(columns - 48 - shift) < 4 + (rows - 22) * 0.8)] = 1
    elif name == "land":
        river = 46 + shift + 14 * np.sin(rows / 13 + seed)
        ids[columns > river + 14] = 2
        ids[abs(columns - river) < 7] = 1
    else:
        for number, (x, y) in enumerate(((22, 18), (66, 16), (40, 44), (78, 46))):
            top, left = y + random.integers(-4, 5), x + random.integers(-6, 7)
            radius = random.integers(9, 14)
            ids[(rows - top) ** 2 + (columns - left) ** 2 < radius**2] = 1 + number % 2
    light = 1 + 0.16 * np.sin(columns / 17 + seed) * np.cos(rows / 11)
    grain = random.normal(0, 5, (height // 2, width // 2)).repeat(2, 0).repeat(2, 1)
    photo = np.asarray(COLORS[name])[ids] * light[..., None] + grain[..., None]
    return np.clip(photo, 0, 255).astype(np.uint8), ids


def _infrared(photo: npt.NDArray[np.uint8], ids: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    gray = photo.mean(-1) * np.asarray((0.8, 0.4, 1.6))[ids]
    return np.clip(gray, 0, 255).astype(np.uint8)


def _overlay(photo: npt.NDArray[np.uint8], ids: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    tint = np.asarray(((0, 0, 0), (228, 26, 28), (55, 126, 184)))[ids]
    return np.where(ids[..., None] > 0, photo // 2 + tint // 2, photo).astype(np.uint8)


def _of_class(number: int) -> Callable[..., npt.NDArray[np.uint8]]:
    return lambda _, ids: (ids == number).astype(np.uint8) * 255


def _wide(_: npt.NDArray[np.uint8], ids: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    first = ids == 1
    return (first | np.roll(first, 9, 1) | np.roll(first, -5, 1)).astype(np.uint8) * 255


KINDS: dict[str, Callable[..., npt.NDArray[np.uint8]]] = {
    "photo": lambda photo, _: photo,
    "infrared": _infrared,
    "overlay": _overlay,
    "classes": lambda _, ids: ids,
    "white": _of_class(1),
    "first": _of_class(1),
    "second": _of_class(2),
    "wide": _wide,
}
"""What a file may hold, made of the image and its class ids."""


def make_folder(layout: Layout, root: Path) -> None:
    """Write the files of a layout below a folder."""
    for seed, place in enumerate(layout.places):
        photo, ids = scene(layout.scene, seed)
        for pattern, kind in layout.files:
            path = root / pattern.format(*place)
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(KINDS[kind](photo, ids)).save(path)
    for name, lines in layout.lists.items():
        (root / name).write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")


def tree_lines(layout: Layout) -> list[str]:
    """Return the tree of a layout as text: folders end with a slash, lists show their lines.

    Folders and files are in the order of the layout, so that images come before masks.
    """
    tree: dict[str, Any] = {}
    for path in (*layout.paths(), *layout.lists):
        *folders, name = path.split("/")
        inside = tree
        for folder in folders:
            inside = inside.setdefault(f"{folder}/", {})
        inside[name] = {f"| {line}": {} for line in layout.lists.get(path, ())}
    return _indented({f"{layout.folder}/": tree})


def _indented(tree: dict[str, Any], depth: int = 0) -> list[str]:
    lines = []
    for name, inside in tree.items():
        lines += ["  " * depth + name, *_indented(inside, depth + 1)]
    return lines
