"""A review's page and its files for LabelMe: what stands there is what was found."""

import base64
import io
import json
import re

import numpy as np
import pytest
from parsed_page import Page
from PIL import Image

from pixelwise.classes import ClassMap
from pixelwise.data.dataset import open_dataset
from pixelwise.data.formats import formats
from pixelwise.data.sample import Sample
from pixelwise.errors import MaskError, OutputError
from pixelwise.metrics.label_quality import Suspect
from pixelwise.reporting.data_check_page import MARK_COLOR
from pixelwise.reporting.review_labelme import REVIEW_MARK, write_labelme_review
from pixelwise.reporting.review_page import as_suggested, suspect_pictures, write_review_page

CLASSES = ClassMap.build(["background", "cell", "dirt"])


def suspect_at(name, box, given="background", suggested="cell", region=None, score=1.0):
    region = np.ones(box[2:], bool) if region is None else region
    area = int(region.sum())
    return Suspect(name, box, given, suggested, area, 0.93, score, region)


def picture_of(uri):
    content = base64.b64decode(uri.partition(",")[2])
    return np.asarray(Image.open(io.BytesIO(content)).convert("RGB")).astype(int)


def sample_named(name, size=(60, 90)):
    mask = np.zeros(size, np.uint8)
    mask[5:15, 5:25] = 1
    return Sample(name, np.full((*size, 3), 120, np.uint8), mask, "multiclass")


def test_a_page_shows_every_suspect_in_order_and_fetches_nothing(tmp_path):
    nasty = "<img src=x onerror=alert(1)>"
    suspects = [
        suspect_at("b/002", (20, 30, 8, 9), score=3),
        suspect_at(nasty, (0, 0, 6, 6), "cell", "dirt", score=2),
        suspect_at("b/002", (50, 80, 10, 10), "cell", None, score=1),
    ]
    path = tmp_path / "review.html"
    write_review_page(path, suspects, sample_named, CLASSES, title="m on d", notes=["a <b> note"])
    page = Page(path.read_text(encoding="utf-8"))
    images = [attributes for tag, attributes in page.tags if tag == "img"]
    assert len(images) == 9
    assert all(one["src"].startswith("data:image/") for one in images)
    assert not any(tag in ("script", "link", "iframe") for tag, _ in page.tags)
    assert not re.search(r"url\(|@import", page.text)
    places = [page.text.index(f"{rank}. ") for rank in (1, 2, 3)]
    assert places == sorted(places)
    assert nasty in page.text
    for words in ("row 20, column 30", "cell → not cell", "confidence 93%", "a <b> note"):
        assert words in page.text


def test_a_page_without_suspects_states_that_none_were_found(tmp_path):
    write_review_page(tmp_path / "review.html", [], sample_named, CLASSES, title="m on d")
    text = (tmp_path / "review.html").read_text(encoding="utf-8")
    assert "No likely label errors" in text


@pytest.mark.parametrize("box", [(0, 0, 3, 3), (57, 87, 3, 3), (20, 30, 30, 50), (0, 0, 60, 90)])
def test_a_picture_shows_the_region_inside_its_outline_wherever_it_is(box):
    decoded = []

    def load(name):
        decoded.append(name)
        return sample_named(name)

    (entry, _) = suspect_pictures([suspect_at("a", box), suspect_at("a", box)], load, CLASSES)
    assert decoded == ["a"]  # once, however many suspects it has
    assert [words for words, _ in entry.pictures] == ["image", "label", "suggested"]
    pictures = [picture_of(uri) for _, uri in entry.pictures]
    assert len({picture.shape for picture in pictures}) == 1
    assert 90 <= max(pictures[0].shape) <= 240
    is_whole = box[2:] == (60, 90)
    drawn = (abs(pictures[0] - MARK_COLOR).sum(-1) < 120).any()
    assert drawn != is_whole  # there is no outside of the whole image


def test_the_suggestion_is_painted_into_the_mask():
    sample = sample_named("a")
    region = np.eye(4, dtype=bool)
    changed = as_suggested(sample, [suspect_at("a", (30, 40, 4, 4), region=region)], CLASSES)
    expected = sample.mask.copy()
    for index in range(4):
        expected[30 + index, 40 + index] = 1
    np.testing.assert_array_equal(changed.mask, expected)
    assert (sample.mask[30:34, 40:44] == 0).all()


def test_of_multilabel_masks_one_plane_is_changed():
    planes = np.zeros((2, 20, 20), np.uint8)
    planes[0, 2:6, 2:6] = 180
    sample = Sample("a", np.zeros((20, 20, 3), np.uint8), planes, "multilabel")
    names = ClassMap.build(["one", "two"])
    suspects = [
        suspect_at("a", (2, 2, 4, 4), "one", None),
        suspect_at("a", (10, 10, 3, 3), None, "two"),
    ]
    changed = as_suggested(sample, suspects, names).mask
    assert not changed[0].any()
    assert changed[1].sum() == 9 * 255


@pytest.fixture
def folder(tmp_path, make_index_dataset):
    folder = make_index_dataset(tmp_path / "data", size=(40, 50), splits=("train", "val"))
    (folder / "dataset.yaml").write_text("classes: [background, cell, dirt]\n")
    return folder


def test_labelme_files_are_read_back_with_labels_and_questions(folder, tmp_path):
    dataset = open_dataset(folder)
    first, second = dataset.records[1], dataset.records[-1]
    blob = np.zeros((9, 11), bool)
    blob[2:7, :] = True
    blob[:, 4:8] = True
    blob[4, 5] = False  # a hole, which a polygon of LabelMe has none of
    suspects = [
        suspect_at(second.name, (20, 30, 9, 11), region=blob),
        suspect_at(first.name, (0, 0, 1, 12), "cell", "dirt"),
        suspect_at(second.name, (2, 3, 5, 6), "dirt", "background"),
    ]
    out = tmp_path / "labelme"
    files = write_labelme_review(out, suspects, dataset)
    assert len(files) == 2
    questions = [f"{REVIEW_MARK}{one.change}" for one in suspects]
    reader = formats.create("labelme")
    records = reader.records(out)
    assert [record.masks[0].name for record in records] == sorted(path.name for path in files)
    wider = ClassMap.build([*CLASSES.names, *questions])
    for record, original in zip(records, (first, second), strict=True):
        mask = reader.load(record, wider).mask
        target = dataset.load(original).mask
        own = [one for one in suspects if one.name == original.name]
        asked = np.zeros(mask.shape, bool)
        for one in own:
            marked = mask[one.place][one.region]
            assert (marked == wider.names.index(f"{REVIEW_MARK}{one.change}")).all()
            top, left, height, width = one.box
            # LabelMe fills its outlines too: a pixel more below and to the right.
            asked[top : top + height + 1, left : left + width + 1] = True
        np.testing.assert_array_equal(mask[~asked], target[~asked])


def test_a_reviewed_folder_is_a_data_set_once_the_questions_are_gone(folder, tmp_path):
    dataset = open_dataset(folder)
    suspects = [suspect_at(record.name, (3, 4, 5, 6)) for record in dataset.records[:3]]
    out = tmp_path / "labelme"
    files = write_labelme_review(out, suspects, dataset)
    unfinished = open_dataset(out)
    assert unfinished.format.name == "labelme"
    with pytest.raises(MaskError, match="review: background -> cell"):
        unfinished.load(unfinished.records[0])
    for path in files:
        content = json.loads(path.read_text(encoding="utf-8"))
        content["shapes"] = [
            shape for shape in content["shapes"] if not shape["label"].startswith(REVIEW_MARK)
        ]
        path.write_text(json.dumps(content), encoding="utf-8")
    done = open_dataset(out)
    assert done.class_map == dataset.class_map
    for record, original in zip(done.records, dataset.records[:3], strict=True):
        np.testing.assert_array_equal(done.load(record).mask, dataset.load(original).mask)


def test_soft_labels_are_written_as_hard_ones(tmp_path, make_class_dataset):
    dataset = open_dataset(make_class_dataset(tmp_path / "data"))
    name = dataset.records[0].name
    out = tmp_path / "labelme"
    write_labelme_review(out, [suspect_at(name, (1, 1, 4, 4), None, "kind-1")], dataset)
    (record,) = formats.create("labelme", label_mode="multilabel").records(out)
    wider = ClassMap.build([*dataset.class_map.names, "review: not kind-1 -> kind-1"])
    mask = formats.create("labelme", label_mode="multilabel").load(record, wider).mask
    np.testing.assert_array_equal(mask[:-1] > 0, dataset.load(dataset.records[0]).mask >= 128)


def test_a_folder_in_which_a_person_has_worked_is_not_written_over(folder, tmp_path):
    dataset = open_dataset(folder)
    suspects = [suspect_at(dataset.records[0].name, (3, 4, 5, 6))]
    write_labelme_review(tmp_path / "labelme", suspects, dataset)
    with pytest.raises(OutputError, match="new or empty"):
        write_labelme_review(tmp_path / "labelme", suspects, dataset)
