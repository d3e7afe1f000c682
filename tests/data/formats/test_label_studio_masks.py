"""Label Studio's brush export: a PNG for each task and label, and images named after the tasks."""

import numpy as np
import pytest
from PIL import Image

from pixelwise.data.dataset import open_dataset
from pixelwise.errors import FormatError


def save(path, pixels):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.asarray(pixels, np.uint8)).save(path)


def save_mask(folder, task, label, box, *, annotation=7, number=0):
    top, left, bottom, right = box
    alpha = np.zeros((20, 30))
    alpha[top:bottom, left:right] = 255
    name = f"task-{task}-annotation-{annotation}-by-1-tag-{label}-{number}.png"
    save(folder / name, alpha)


@pytest.mark.parametrize("stem", ["task-{}", "{}", "task_00{}"])
def test_the_masks_of_a_task_become_the_labels_of_its_image(tmp_path, stem):
    for task in (3, 12):
        save(tmp_path / "images" / f"{stem.format(task)}.jpg", np.zeros((20, 30, 3)))
        save_mask(tmp_path, task, "road-side", (0, 0, 10, 10))
        save_mask(tmp_path, task, "car", (5, 5, 8, 8))
        save_mask(tmp_path, task, "car", (12, 12, 14, 14), number=1)
    dataset = open_dataset(tmp_path)
    assert dataset.format.name == "label-studio-masks"
    assert dataset.class_map.names == ("background", "car", "road-side")
    assert len(dataset.records) == 2
    mask = dataset.load(dataset.records[0]).mask
    assert np.bincount(mask.ravel()).tolist() == [600 - 104, 9 + 4, 100 - 9]
    multilabel = open_dataset(tmp_path, label_mode="multilabel")
    assert [int((plane > 0).sum()) for plane in multilabel.load(multilabel.records[0]).mask] == [
        13, 100,
    ]  # fmt: skip


def test_the_latest_annotation_of_a_task_counts(tmp_path):
    save(tmp_path / "photo.png", np.zeros((20, 30, 3)))
    save_mask(tmp_path / "masks", 1, "old", (0, 0, 5, 5), annotation=9)
    save_mask(tmp_path / "masks", 1, "new", (0, 0, 5, 5), annotation=10)
    dataset = open_dataset(tmp_path)
    assert dataset.class_map.names == ("background", "new")
    assert "tasks of which the latest annotation counts: 1" in dataset.notes


def test_images_that_no_task_names_are_a_question(tmp_path):
    for task, name in enumerate(("street", "garden")):
        save(tmp_path / f"{name}.png", np.zeros((20, 30, 3)))
        save_mask(tmp_path, task, "car", (0, 0, 5, 5))
    with pytest.raises(FormatError, match=r"task-0\.\*\. Got garden\.png, street\.png\. Name"):
        open_dataset(tmp_path)
