"""Tables of run lengths, against the masks from which they were made by another way."""

import csv

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image

from pixelwise.data.dataset import open_dataset
from pixelwise.data.formats.rle_tables import _draw, _runs_of
from pixelwise.doctor import check_data
from pixelwise.errors import FormatError, MaskError

RANDOM = np.random.default_rng(3)


def encoded(region, order="F"):
    """Encode a region as in the kernels of Kaggle: the places where 0 and 1 change."""
    flat = np.concatenate([[0], region.astype(np.uint8).flatten(order=order), [0]])
    places = np.where(flat[1:] != flat[:-1])[0] + 1
    places[1::2] -= places[::2]
    return " ".join(map(str, places))


def blobs(count, height=40, width=56):
    """Return masks of two classes with one rectangle each."""
    masks = np.zeros((count, height, width), np.uint8)
    for mask in masks:
        for label in (1, 2):
            top, left = RANDOM.integers(0, height - 12), RANDOM.integers(0, width - 12)
            mask[top : top + 9, left : left + 12] = label
    return masks


def write(folder, rows, header, masks, ending=".jpg", images="train_images"):
    (folder / images).mkdir(parents=True)
    for number, mask in enumerate(masks):
        pixels = RANDOM.integers(0, 255, (*mask.shape, 3), np.uint8)
        Image.fromarray(pixels).save(folder / images / f"im{number}{ending}")
    with (folder / "train.csv").open("w", newline="") as file:
        csv.writer(file).writerows([header, *rows])
    return folder


def test_a_row_for_each_class_gives_the_masks_that_were_encoded(tmp_path):
    masks = blobs(8)
    rows = [(f"im{at}.jpg", label, encoded(mask == label))
            for at, mask in enumerate(masks) for label in (1, 2)]  # fmt: skip
    dataset = open_dataset(write(tmp_path, rows, ("ImageId", "ClassId", "EncodedPixels"), masks))
    assert dataset.format.name == "rle-table"
    assert dataset.class_map.names == ("background", "class-1", "class-2")
    for mask, record in zip(masks, dataset.records, strict=True):
        assert (dataset.load(record).mask == mask).all()


def test_the_class_may_follow_the_name_of_the_image(tmp_path):
    masks = blobs(8)
    rows = [(f"im{at}.jpg_{label}", encoded(mask == label) if label < 3 else "")
            for at, mask in enumerate(masks) for label in (1, 2, 3)]  # fmt: skip
    dataset = open_dataset(write(tmp_path, rows, ("ImageId_ClassId", "EncodedPixels"), masks))
    for mask, record in zip(masks, dataset.records, strict=True):
        assert (dataset.load(record).mask == mask).all()


def test_rows_of_one_image_are_its_objects_and_names_need_no_ending(tmp_path):
    masks = blobs(8)
    rows = [(f"im{at}", encoded(mask == label))
            for at, mask in enumerate(masks[:-1]) for label in (1, 2)]  # fmt: skip
    rows.append(("im7", ""))
    folder = write(tmp_path, rows, ("id", "rle_mask"), masks, ".png", "train/images")
    dataset = open_dataset(folder)
    assert dataset.class_map.names == ("background", "foreground")
    for mask, record in zip(masks[:-1], dataset.records, strict=False):
        assert (dataset.load(record).mask == (mask > 0)).all()
    assert not dataset.load(dataset.records[-1]).mask.any()


def test_masks_in_pictures_take_precedence_and_agree_with_the_table(tmp_path):
    masks = blobs(8)
    rows = [(f"im{at}", encoded(mask > 0)) for at, mask in enumerate(masks)]
    write(tmp_path, rows, ("id", "rle_mask"), masks, ".png", "train/images")
    (tmp_path / "train" / "masks").mkdir()
    for at, mask in enumerate(masks):
        Image.fromarray(np.where(mask > 0, np.uint8(255), np.uint8(0))).save(
            tmp_path / "train" / "masks" / f"im{at}.png"
        )
    pictures = open_dataset(tmp_path)
    assert pictures.format.name == "grayscale-masks"
    table = open_dataset(tmp_path, format="rle-table")
    for ours, theirs in zip(table.records, pictures.records, strict=True):
        assert ours.image == theirs.image
        assert (table.load(ours).mask == pictures.load(theirs).mask).all()


@pytest.mark.real_data
def test_real_masks_come_back_from_their_table(tmp_path, test_data):
    source = open_dataset(test_data / "steel", cache=False)
    chosen = [source.load(record) for record in source.records[:40]]
    rows = [(f"im{at}.jpg", label, encoded(sample.mask == label))
            for at, sample in enumerate(chosen) for label in (1, 2, 3)]  # fmt: skip
    masks = [sample.mask for sample in chosen]
    write(tmp_path, rows, ("ImageId", "ClassId", "EncodedPixels"), masks)
    dataset = open_dataset(tmp_path)
    by_name = {record.image.stem: record for record in dataset.records}
    names = [source.class_map.names.index(name) if name in source.class_map.names else at
             for at, name in enumerate(dataset.class_map.names)]  # fmt: skip
    assert len(names) <= 4
    for at, mask in enumerate(masks):
        found = dataset.load(by_name[f"im{at}"]).mask
        stored = np.array([int(name.rpartition("-")[2]) if "-" in name else 0
                           for name in dataset.class_map.names])  # fmt: skip
        assert (stored[found] == mask).all()


def test_images_without_a_row_are_left_out_and_counted(tmp_path):
    masks = blobs(8)
    rows = [(f"im{at}.jpg", encoded(mask > 0)) for at, mask in enumerate(masks[:6])]
    dataset = open_dataset(write(tmp_path, rows, ("ImageId", "EncodedPixels"), masks))
    assert len(dataset.records) == 6
    assert "images without a row are left out: 2 of 8" in dataset.notes


def test_runs_along_the_rows_are_refused(tmp_path):
    masks = blobs(8)
    rows = [(f"im{at}.jpg", encoded(mask > 0, "C")) for at, mask in enumerate(masks)]
    write(tmp_path, rows, ("img", "rle_mask"), masks)
    with pytest.raises(FormatError, match="down each column"):
        open_dataset(tmp_path)


def test_runs_that_are_no_runs_are_bad_annotations(tmp_path):
    masks = blobs(40)
    rows = [(f"im{at}.jpg", encoded(mask > 0)) for at, mask in enumerate(masks)]
    rows[20] = ("im20.jpg", "30 5 10 5")
    dataset = open_dataset(write(tmp_path, rows, ("ImageId", "EncodedPixels"), masks))
    assert any("line 22" in note for note in dataset.notes)
    kinds = {finding.kind for finding in check_data(tmp_path).findings}
    assert "bad-annotations" in kinds


def test_runs_beyond_the_image_name_their_line(tmp_path):
    masks = blobs(8)
    rows = [(f"im{at}.jpg", encoded(mask > 0)) for at, mask in enumerate(masks)]
    rows[3] = ("im3.jpg", "1 99999999")
    write(tmp_path, rows, ("ImageId", "EncodedPixels"), masks)
    dataset = open_dataset(tmp_path)
    with pytest.raises(MaskError, match="line 5"):
        dataset.load(dataset.records[3])


def test_a_table_of_predictions_is_none(tmp_path):
    masks = blobs(8)
    write(tmp_path, [("im0.jpg", "1 5")], ("ImageId", "EncodedPixels"), masks)
    (tmp_path / "train.csv").rename(tmp_path / "sample_submission.csv")
    with pytest.raises(FormatError):
        open_dataset(tmp_path)


@settings(max_examples=200, deadline=None)
@given(arrays(np.bool_, st.tuples(st.integers(1, 9), st.integers(1, 9))))
def test_any_region_comes_back(region):
    text = encoded(region)
    if region.any():
        shape = _draw(_runs_of(text), "here", region.shape)
        assert (shape.bitmap == region).all()
    else:
        assert _runs_of(text) is None


@pytest.mark.parametrize(
    "cell", ["1", "0 3", "1 0", "5 2 1 2", "1 3 2 2", "a b", "1 9" * 40, "9" * 40 + " 1"]
)
def test_what_is_no_run_is_told(cell):
    assert _runs_of(cell) is None
