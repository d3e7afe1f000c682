"""Annotations that are left out or covered by others are listed."""

import json

import numpy as np
import pytest
from doctored import photograph, save

from pixelwise.data.dataset import open_dataset
from pixelwise.doctor import check_data
from pixelwise.errors import FormatError

SIZE = 64


def polygon(number, image, category, left, top, width, height, **entries):
    right, bottom = left + width, top + height
    ring = [left, top, right, top, right, bottom, left, bottom]
    return {
        "id": number, "image_id": image, "category_id": category, "segmentation": [ring],
        "iscrowd": 0, **entries,
    }  # fmt: skip


def coco(folder, annotations, num_images=8):
    for number in range(num_images):
        save(folder / f"{number}.png", photograph(np.random.default_rng(number)))
    content = {
        "images": [{"id": n, "file_name": f"{n}.png"} for n in range(num_images)],
        "annotations": annotations,
        "categories": [{"id": 1, "name": "facade"}, {"id": 2, "name": "window"}],
    }
    (folder / "coco.json").write_text(json.dumps(content))
    return folder


def kinds_of(folder, **options):
    return {finding.kind: finding for finding in check_data(folder, **options).findings}


def test_the_annotations_that_are_left_out_are_listed(tmp_path):
    good = [polygon(n, n % 8, 1 + n % 2, 20, 20, 24, 24) for n in range(40)]
    box = {"id": 77, "image_id": 3, "category_id": 1, "segmentation": [], "bbox": [1, 1, 2, 2]}
    found = kinds_of(coco(tmp_path, [*good, box]))
    assert found["bad-annotations"].severity == "harmful"
    assert found["bad-annotations"].details == (
        "coco.json: id 77 must have a segmentation. Got none, as in boxes for object detection",
    )
    assert "too-many-bad-annotations" not in found


@pytest.mark.parametrize("most", [None, 0.3, 0.6])
def test_the_check_and_the_opening_accept_the_same_share(tmp_path, most):
    good = [polygon(n, n, 1 + n % 2, 20, 20, 24, 24) for n in range(8)]
    boxes = [{"id": 9, "image_id": 1, "category_id": 1, "segmentation": []}] * 8
    coco(tmp_path, [*good, *boxes])
    examination = check_data(tmp_path, max_bad_annotations=most)
    found = {finding.kind for finding in examination.findings}
    assert "bad-annotations" in found
    is_accepted = most == 0.6
    assert ("too-many-bad-annotations" not in found) is is_accepted
    assert examination.is_refused is not is_accepted
    if is_accepted:
        open_dataset(tmp_path, max_bad_annotations=most)
    else:
        with pytest.raises(FormatError, match="8 of 16"):
            open_dataset(tmp_path, max_bad_annotations=most)


def test_classes_and_shapes_that_others_cover_are_named(tmp_path):
    # The windows are larger than the part of the facade between them.
    shapes = [
        shape
        for n in range(8)
        for shape in (
            polygon(10 * n, n, 1, 0, 0, 40, 40),
            polygon(10 * n + 1, n, 2, 0, 0, 36, 36),
            polygon(10 * n + 2, n, 2, 4, 4, 8, 8),
        )
    ]
    found = kinds_of(coco(tmp_path, shapes))["hidden-shapes"]
    assert found.severity == "harmful"
    assert found.details[0] == (
        f"facade: {8 * 36 * 36:,} of {8 * 40 * 40:,} pixels are covered, 8 of 8 shapes by more "
        "than half"
    )
    assert found.details[1] == "coco.json: 1 of 3 shapes in 0.png: facade"
    assert len(found.details) == 9
    assert "hidden-shapes" not in kinds_of(tmp_path, label_mode="multilabel")


def test_windows_in_a_facade_hide_nothing(tmp_path):
    shapes = [
        shape
        for n in range(8)
        for shape in (polygon(n, n, 2, 4, 4, 16, 16), polygon(n, n, 1, 0, 0, 60, 60))
    ]
    assert "hidden-shapes" not in kinds_of(coco(tmp_path, shapes))


def test_a_crowd_beneath_objects_is_not_reported(tmp_path):
    shapes = [
        shape
        for n in range(8)
        for shape in (
            polygon(n, n, 1, 20, 20, 24, 24),
            polygon(n, n, 2, 0, 0, 16, 16),
            polygon(n, n, 1, 20, 20, 26, 26, iscrowd=1),
        )
    ]
    assert "hidden-shapes" not in kinds_of(coco(tmp_path, shapes))
