"""Lists of names, one per split, beside images that no folder divides."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from pixelwise.data.dataset import open_dataset


@pytest.fixture
def folder(tmp_path):
    random = np.random.default_rng(0)
    for number in range(12):
        for kind, pixels in (
            ("images", random.integers(0, 255, (24, 24, 3), np.uint8)),
            ("masks", np.kron([[0, 1], [2, 0]], np.ones((12, 12), np.uint8)).astype(np.uint8)),
        ):
            (tmp_path / kind).mkdir(exist_ok=True)
            Image.fromarray(pixels).save(tmp_path / kind / f"{number:03}.png")
    return tmp_path


def names_by_split(dataset):
    return {
        split: [record.image.stem for record in dataset.records if record.split == split]
        for split in ("train", "val", "test")
    }


NAMES = [f"{number:03}" for number in range(12)]

WRITINGS = {
    "bare names": "{n}",
    "with endings": "{n}.png",
    "with folders of another machine": "/home/me/data/images/{n}.png",
    "with backslashes": "images\\{n}.png",
    "with further columns": "{n} 1 2 1",
    "as a table": "{n}.png,cat,7",
    "in quotes": '"{n}"',
}


@pytest.mark.parametrize("writing", WRITINGS)
def test_lists_give_the_splits(folder, writing):
    for split, names in (("train", NAMES[:7]), ("val", NAMES[7:9]), ("test", NAMES[9:])):
        lines = [WRITINGS[writing].format(n=name) for name in names]
        (folder / f"{split}.txt").write_text("\n".join(lines) + "\n\n")
    dataset = open_dataset(folder, cache=False)
    assert names_by_split(dataset) == {"train": NAMES[:7], "val": NAMES[7:9], "test": NAMES[9:]}
    assert any("as given by test.txt, train.txt, val.txt" in note for note in dataset.notes)


def test_lists_may_lie_in_folders_and_have_headers(folder):
    (folder / "splits").mkdir()
    (folder / "splits" / "train_ids.csv").write_text("name\n" + "\n".join(NAMES[:8]))
    (folder / "splits" / "validation.csv").write_text("name\n" + "\n".join(NAMES[8:]))
    assert names_by_split(open_dataset(folder, cache=False))["val"] == NAMES[8:]


def test_a_list_of_both_counts_only_without_the_lists_of_each(folder):
    (folder / "trainval.txt").write_text("\n".join(NAMES[:8]))
    (folder / "test.txt").write_text("\n".join(NAMES[8:]))
    assert names_by_split(open_dataset(folder, cache=False))["test"] == NAMES[8:]
    (folder / "train.txt").write_text("\n".join(NAMES[:6]))
    (folder / "val.txt").write_text("\n".join(NAMES[6:8]))
    splits = names_by_split(open_dataset(folder, cache=False))
    assert splits == {"train": NAMES[:6], "val": NAMES[6:8], "test": NAMES[8:]}


def test_images_in_no_list_are_left_out_and_counted(folder):
    (folder / "train.txt").write_text("\n".join(NAMES[:6]))
    (folder / "val.txt").write_text("\n".join(NAMES[6:9]))
    dataset = open_dataset(folder, cache=False)
    assert len(dataset.records) == 9
    assert any("which leave out 3 images" in note for note in dataset.notes)


@pytest.mark.parametrize(
    "lists",
    [
        {"train": NAMES[:8]},  # the rest may be anything
        {"train": NAMES[:8], "val": NAMES[7:]},  # one image in two splits
        {"train": NAMES[:8], "val": ["x", "y", "z"]},  # names of another data set
        {"classes": NAMES[:8], "labels": NAMES[8:]},
    ],
)
def test_lists_that_do_not_divide_the_images_are_not_used(folder, lists):
    for name, lines in lists.items():
        (folder / f"{name}.txt").write_text("\n".join(lines))
    dataset = open_dataset(folder, cache=False)
    assert len(dataset.records) == 12
    assert dataset.drawn_split == "70/15/15"


def test_shares_that_are_asked_for_take_precedence(folder):
    (folder / "train.txt").write_text("\n".join(NAMES[:6]))
    (folder / "val.txt").write_text("\n".join(NAMES[6:]))
    assert open_dataset(folder, split="50/50", cache=False).drawn_split == "50/50"
